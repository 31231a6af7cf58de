//! Activation functions, element by element.
//!
//! | name | f(x) | f′(x) |
//! |---|---|---|
//! | identity | x | 1 |
//! | relu | max(x, 0) | 1 if x > 0, else 0 |
//! | gelu | x·Φ(x), Φ(x) = ½(1 + erf(x/√2)) | Φ(x) + x·φ(x), φ(x) = e^(−x²/2)/√(2π) |
//! | gelu_new | ½x(1 + tanh u) = x·s, u = √(2/π)(x + 0.044715x³), s = σ(2u) | s + x·s(1 − s)·2u′ |
//! | silu | x·σ(x) | σ(x)(1 + x(1 − σ(x))) |
//! | tanh | tanh x | 1 − tanh² x |
//!
//! GELU: Hendrycks and Gimpel 2016, arXiv:1606.08415; SiLU: Elfwing et al. 2017, arXiv:1702.03118.
//! The backward takes the input of the forward. Functions of a gate: [`gated`](crate::gated).

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use crate::math::{erf, exp, sigmoid, tanh};
use crate::parallel::TASK;
use crate::simd::mul_add;

/// Which function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// max(x, 0)
    Relu,
    /// x·Φ(x), with the exact error function.
    Gelu,
    /// The tanh approximation of GELU, as GPT-2 uses it.
    GeluTanh,
    /// x·σ(x), also called swish.
    Silu,
    /// tanh(x)
    Tanh,
}

/// A name that is no activation function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownActivation(
    /// The name found.
    pub String,
);

impl fmt::Display for UnknownActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown activation '{}': use identity, relu, gelu, gelu_new, silu or tanh", self.0)
    }
}

impl std::error::Error for UnknownActivation {}

impl FromStr for Activation {
    type Err = UnknownActivation;

    /// Hugging Face's names and their synonyms.
    fn from_str(name: &str) -> Result<Self, UnknownActivation> {
        match name {
            "identity" | "linear" => Ok(Activation::Identity),
            "relu" => Ok(Activation::Relu),
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            _ => Err(UnknownActivation(name.to_owned())),
        }
    }
}

impl Activation {
    /// The name Hugging Face configurations use.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Identity => "linear",
            Activation::Relu => "relu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_new",
            Activation::Silu => "silu",
            Activation::Tanh => "tanh",
        }
    }
}

/// A function and its derivative.
pub(crate) trait Function {
    fn value<const FMA: bool>(x: f32) -> f32;
    fn slope<const FMA: bool>(x: f32) -> f32;
    /// Both, which share what costs most.
    #[inline(always)]
    fn value_and_slope<const FMA: bool>(x: f32) -> (f32, f32) {
        (Self::value::<FMA>(x), Self::slope::<FMA>(x))
    }
}

pub(crate) struct Identity;
pub(crate) struct Relu;
pub(crate) struct Gelu;
pub(crate) struct GeluTanh;
pub(crate) struct Silu;
pub(crate) struct Tanh;

impl Function for Identity {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn slope<const FMA: bool>(_: f32) -> f32 {
        1.0
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        // Written so that NaN stays NaN, as in PyTorch.
        if x < 0.0 { 0.0 } else { x }
    }
    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }
}

/// Φ(x), the distribution function of the normal distribution.
#[inline(always)]
fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    mul_add::<FMA>(0.5, erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2), 0.5)
}

impl Function for Gelu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * normal_cdf::<FMA>(x)
    }
    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        Self::value_and_slope::<FMA>(x).1
    }
    #[inline(always)]
    fn value_and_slope<const FMA: bool>(x: f32) -> (f32, f32) {
        const INVERSE_SQRT_TAU: f32 = 0.398_942_3;
        let density = INVERSE_SQRT_TAU * exp::<FMA>(-0.5 * x * x);
        let cdf = normal_cdf::<FMA>(x);
        (x * cdf, mul_add::<FMA>(x, density, cdf))
    }
}

/// σ(x) and 1 − σ(x), both to full relative accuracy. Below −80 both are as at −80, where σ is 0
/// for all purposes, so that e⁻ˣ stays finite.
#[inline(always)]
fn sigmoid_and_rest<const FMA: bool>(x: f32) -> (f32, f32) {
    let e = exp::<FMA>(if x < -80.0 { 80.0 } else { -x });
    let s = 1.0 / (1.0 + e);
    (s, e * s)
}

/// 2√(2/π) and 2√(2/π)·0.044715: with ½(1 + tanh u) = σ(2u) nothing cancels where tanh u is near
/// −1, and one exponential does instead of a tanh.
const TANH_SLOPE: f32 = 1.595_769;
const TANH_CUBE: f32 = 0.071_354_82;

impl Function for GeluTanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * sigmoid::<FMA>(x * mul_add::<FMA>(TANH_CUBE, x * x, TANH_SLOPE))
    }
    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        Self::value_and_slope::<FMA>(x).1
    }
    #[inline(always)]
    fn value_and_slope<const FMA: bool>(x: f32) -> (f32, f32) {
        let square = x * x;
        let (s, rest) = sigmoid_and_rest::<FMA>(x * mul_add::<FMA>(TANH_CUBE, square, TANH_SLOPE));
        let du = mul_add::<FMA>(3.0 * TANH_CUBE, square, TANH_SLOPE);
        let value = x * s;
        (value, mul_add::<FMA>(value * rest, du, s))
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * sigmoid::<FMA>(x)
    }
    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        Self::value_and_slope::<FMA>(x).1
    }
    #[inline(always)]
    fn value_and_slope<const FMA: bool>(x: f32) -> (f32, f32) {
        let (s, rest) = sigmoid_and_rest::<FMA>(x);
        (x * s, s * mul_add::<FMA>(x, rest, 1.0))
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        tanh::<FMA>(x)
    }
    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        let y = tanh::<FMA>(x);
        (1.0 - y) * (1.0 + y)
    }
}

/// Calls a macro with the type of an [`Activation`].
macro_rules! with_function {
    ($act:expr, $call:ident $(, $arg:expr)*) => {
        match $act {
            $crate::activation::Activation::Identity => $call::<$crate::activation::Identity>($($arg),*),
            $crate::activation::Activation::Relu => $call::<$crate::activation::Relu>($($arg),*),
            $crate::activation::Activation::Gelu => $call::<$crate::activation::Gelu>($($arg),*),
            $crate::activation::Activation::GeluTanh => $call::<$crate::activation::GeluTanh>($($arg),*),
            $crate::activation::Activation::Silu => $call::<$crate::activation::Silu>($($arg),*),
            $crate::activation::Activation::Tanh => $call::<$crate::activation::Tanh>($($arg),*),
        }
    };
}
pub(crate) use with_function;

/// `out = f(x)`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn forward(activation: Activation, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "activation::forward: x and out");
    #[inline(always)]
    fn body<const FMA: bool, F: Function>(x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = F::value::<FMA>(x);
        }
    }
    fn run<F: Function>(x: &[f32], out: &mut [f32]) {
        x.par_chunks(TASK).zip(out.par_chunks_mut(TASK)).for_each(|(x, out)| {
            crate::dispatch!(body<F: Function>(x: &[f32], out: &mut [f32]));
        });
    }
    with_function!(activation, run, x, out)
}

/// `dx = dy · f′(x)`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn backward(activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == dy.len() && x.len() == dx.len(), "activation::backward: x, dy and dx");
    #[inline(always)]
    fn body<const FMA: bool, F: Function>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = dy * F::slope::<FMA>(x);
        }
    }
    fn run<F: Function>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let chunks = x.par_chunks(TASK).zip(dy.par_chunks(TASK)).zip(dx.par_chunks_mut(TASK));
        chunks.for_each(|((x, dy), dx)| {
            crate::dispatch!(body<F: Function>(x: &[f32], dy: &[f32], dx: &mut [f32]));
        });
    }
    with_function!(activation, run, x, dy, dx)
}

/// An activation function in f64.
pub fn reference(activation: Activation, x: f64) -> f64 {
    let cdf = |x: f64| 0.5 * (1.0 + crate::math::erf_f64(x / std::f64::consts::SQRT_2));
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * cdf(x),
        Activation::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    }
}
