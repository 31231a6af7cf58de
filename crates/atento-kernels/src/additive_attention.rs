//! Additive attention (Bahdanau et al. 2014, arXiv:1409.0473, eq. 6) of one query per sequence.
//!
//! For sequence b with keys t ∈ `cu_k[b]..cu_k[b+1]`: u_t = tanh(q_b + k_t), s_t = v·u_t,
//! α = softmax(s), c_b = Σ α_t·value_t. A sequence without keys has context 0. α is saved.
//!
//! Backward, from dc: dα_t = dc·value_t, dvalue_t = α_t·dc, ds_t = α_t·(dα_t − Σ α·dα),
//! dv = Σ ds_t·u_t, da_t = ds_t·v·(1 − u_t²), dk_t = da_t, dq_b = Σ_t da_t. The u_t are computed
//! again rather than stored: A numbers per key are more than one tanh is worth.

use rayon::prelude::*;

use crate::math::{exp, tanh};
use crate::parallel::add_partials;
use crate::reduce;
use crate::simd::mul_add;

/// Tensors of one step, all read only.
///
/// # Shapes
/// `q_proj: [batch, A]`, `k_proj: [total_keys, A]`, `values: [total_keys, C]`, `v: [A]`,
/// `cu_k: [batch + 1]`, from 0 to `total_keys`.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Projected queries.
    pub q_proj: &'a [f32],
    /// Projected keys, sequence after sequence.
    pub k_proj: &'a [f32],
    /// What is averaged.
    pub values: &'a [f32],
    /// The vector that turns a hidden unit into a score.
    pub v: &'a [f32],
    /// Where each sequence begins.
    pub cu_k: &'a [u32],
}

/// Gradients; `dq_proj` is written, the others are added to, as they gather over decoder steps.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[batch, A]`, written.
    pub dq_proj: &'a mut [f32],
    /// `[total_keys, A]`, added to.
    pub dk_proj: &'a mut [f32],
    /// `[total_keys, C]`, added to.
    pub dvalues: &'a mut [f32],
    /// `[A]`, added to.
    pub dv: &'a mut [f32],
}

/// One sequence's part of the inputs.
#[derive(Clone, Copy)]
struct Sequence<'a> {
    q: &'a [f32],
    k: &'a [f32],
    values: &'a [f32],
    v: &'a [f32],
}

impl<'a> Inputs<'a> {
    fn batch(&self) -> usize {
        self.cu_k.len().saturating_sub(1)
    }

    /// Width of the hidden units and of the values.
    #[track_caller]
    fn check(&self, op: &str, alpha: usize) -> (usize, usize) {
        let (hidden, batch) = (self.v.len(), self.batch());
        let keys = self.cu_k.last().map_or(0, |&k| k as usize);
        assert!(hidden > 0, "{op}: v is empty");
        assert!(self.cu_k.first().is_none_or(|&k| k == 0) && self.cu_k.is_sorted(), "{op}: cu_k must rise from 0");
        assert_eq!(self.q_proj.len(), batch * hidden, "{op}: q_proj against [{batch}, {hidden}]");
        assert_eq!(self.k_proj.len(), keys * hidden, "{op}: k_proj against [{keys}, {hidden}]");
        assert_eq!(alpha, keys, "{op}: alpha against {keys} keys");
        let width = self.values.len() / keys.max(1);
        assert_eq!(self.values.len(), keys * width, "{op}: values against {keys} keys");
        (hidden, width)
    }

    fn sequence(&self, b: usize, width: usize) -> Sequence<'a> {
        let (start, end) = (self.cu_k[b] as usize, self.cu_k[b + 1] as usize);
        let hidden = self.v.len();
        Sequence {
            q: &self.q_proj[b * hidden..][..hidden],
            k: &self.k_proj[start * hidden..end * hidden],
            values: &self.values[start * width..end * width],
            v: self.v,
        }
    }
}

/// Cuts `x`, rows of `width`, into the sequences' parts.
fn split<'a>(mut x: &'a mut [f32], cu_k: &[u32], width: usize) -> Vec<&'a mut [f32]> {
    let lengths = cu_k.windows(2).map(|w| (w[1] - w[0]) as usize * width);
    lengths.map(|n| x.split_off_mut(..n).expect("checked by the caller")).collect()
}

/// Contexts and attention weights.
///
/// # Shapes
/// `alpha: [total_keys]`, `context: [batch, C]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(inputs: Inputs<'_>, alpha: &mut [f32], context: &mut [f32]) {
    let (_, width) = inputs.check("additive_attention::forward", alpha.len());
    let batch = inputs.batch();
    let width = context.len().checked_div(batch).unwrap_or(width);
    assert_eq!(inputs.values.len(), alpha.len() * width, "additive_attention::forward: values and context");
    if width == 0 {
        return;
    }
    let alphas = split(alpha, inputs.cu_k, 1);
    let tasks = context.par_chunks_mut(width).zip(alphas).enumerate();
    tasks.for_each(|(b, (context, alpha))| {
        let s = inputs.sequence(b, width);
        crate::dispatch!(forward_body(s: Sequence<'_>, alpha: &mut [f32], context: &mut [f32]));
    });
}

#[inline(always)]
fn forward_body<const FMA: bool>(s: Sequence<'_>, alpha: &mut [f32], context: &mut [f32]) {
    for (alpha, k) in alpha.iter_mut().zip(s.k.chunks_exact(s.v.len())) {
        let (score, _) =
            reduce::fold3(s.q, k, s.v, |(sum, _), q, k, v| (mul_add::<FMA>(v, tanh::<FMA>(q + k), sum), 0.0));
        *alpha = score;
    }
    let max = reduce::max(alpha);
    let mut sum = 0.0;
    for alpha in alpha.iter_mut() {
        *alpha = exp::<FMA>(*alpha - max);
        sum += *alpha;
    }
    context.fill(0.0);
    for (alpha, value) in alpha.iter_mut().zip(s.values.chunks_exact(context.len())) {
        *alpha /= sum;
        for (context, value) in context.iter_mut().zip(value) {
            *context = mul_add::<FMA>(*alpha, *value, *context);
        }
    }
}

/// Gradients of [`forward`] from the gradient of the contexts.
///
/// # Shapes
/// `alpha: [total_keys]`, `dcontext: [batch, C]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward(inputs: Inputs<'_>, alpha: &[f32], dcontext: &[f32], gradients: Gradients<'_>) {
    let (hidden, _) = inputs.check("additive_attention::backward", alpha.len());
    let batch = inputs.batch();
    if batch == 0 {
        return;
    }
    let width = dcontext.len() / batch;
    let Gradients { dq_proj, dk_proj, dvalues, dv } = gradients;
    assert!(
        dcontext.len() == batch * width
            && inputs.values.len() == alpha.len() * width
            && dq_proj.len() == inputs.q_proj.len()
            && dk_proj.len() == inputs.k_proj.len()
            && dvalues.len() == inputs.values.len()
            && dv.len() == hidden,
        "additive_attention::backward: gradients against inputs"
    );
    if width == 0 {
        return;
    }
    let (dks, dvaluess) = (split(dk_proj, inputs.cu_k, hidden), split(dvalues, inputs.cu_k, width));
    let mut partials = vec![0.0; batch * hidden];
    dq_proj
        .par_chunks_mut(hidden)
        .zip(dks.into_par_iter().zip(dvaluess))
        .zip(partials.par_chunks_mut(hidden).zip(dcontext.par_chunks(width)))
        .enumerate()
        .for_each(|(b, ((dq, (dk, dvalues)), (dv, dcontext)))| {
            let s = inputs.sequence(b, width);
            let alpha = &alpha[inputs.cu_k[b] as usize..inputs.cu_k[b + 1] as usize];
            let grads = Gradients { dq_proj: dq, dk_proj: dk, dvalues, dv };
            crate::dispatch!(backward_body(s: Sequence<'_>, alpha: &[f32], dcontext: &[f32], grads: Gradients<'_>));
        });
    add_partials(&partials, dv);
}

#[inline(always)]
fn backward_body<const FMA: bool>(s: Sequence<'_>, alpha: &[f32], dcontext: &[f32], grads: Gradients<'_>) {
    let (hidden, width) = (s.v.len(), dcontext.len());
    // A function and a loop: closures inside iterator adapters would not get this function's target features.
    #[inline(always)]
    fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
        reduce::fold2(a, b, |sum, a, b| mul_add::<FMA>(a, b, sum))
    }
    let mut mean = 0.0;
    for (alpha, value) in alpha.iter().zip(s.values.chunks_exact(width)) {
        mean += alpha * dot::<FMA>(value, dcontext);
    }
    grads.dq_proj.fill(0.0);
    let keys = s.k.chunks_exact(hidden).zip(grads.dk_proj.chunks_exact_mut(hidden));
    for (((alpha, value), dvalue), (k, dk)) in
        alpha.iter().zip(s.values.chunks_exact(width)).zip(grads.dvalues.chunks_exact_mut(width)).zip(keys)
    {
        let dscore = alpha * (dot::<FMA>(value, dcontext) - mean);
        for (dvalue, dcontext) in dvalue.iter_mut().zip(dcontext) {
            *dvalue = mul_add::<FMA>(*alpha, *dcontext, *dvalue);
        }
        let (q, v) = (&s.q[..hidden], &s.v[..hidden]);
        let (dq, dv) = (&mut grads.dq_proj[..hidden], &mut grads.dv[..hidden]);
        for i in 0..hidden.min(k.len()).min(dk.len()) {
            let u = tanh::<FMA>(q[i] + k[i]);
            let da = dscore * v[i] * (1.0 - u * u);
            dv[i] = mul_add::<FMA>(dscore, u, dv[i]);
            dk[i] += da;
            dq[i] += da;
        }
    }
}

/// The context of one sequence in f64; `k_proj` and `values` in rows of `v.len()` and `width`.
pub fn reference(q_proj: &[f64], k_proj: &[f64], values: &[f64], v: &[f64], width: usize) -> Vec<f64> {
    let unit = |k: &[f64]| q_proj.iter().zip(k).zip(v).map(|((q, k), v)| v * (q + k).tanh()).sum::<f64>();
    let weights: Vec<f64> = k_proj.chunks_exact(v.len()).map(|k| unit(k).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut context = vec![0.0; width];
    for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
        for (context, value) in context.iter_mut().zip(value) {
            *context += weight / total * value;
        }
    }
    context
}
