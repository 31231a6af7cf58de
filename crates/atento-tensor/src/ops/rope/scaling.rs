//! Frequencies for contexts longer than those of the first training, as `transformers` computes them: in f32, with
//! parameters in f64.

use std::f64::consts::{PI, TAU};

/// How the frequencies of a [`Rope`](super::Rope) are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Position interpolation (Chen et al. 2023, arXiv:2306.15595): `ω / factor`.
    Linear {
        /// How many times longer the context is.
        factor: f64,
    },
    /// Llama 3.1 (Grattafiori et al. 2024, arXiv:2407.21783): with the wavelength λ = 2π/ω and L the first context,
    /// ω stays where `λ < L / high_freq_factor`, is `ω / factor` where `λ > L / low_freq_factor`, and between them is
    /// their mean weighted by `s = (L/λ − low_freq_factor) / (high_freq_factor − low_freq_factor)`.
    Llama3 {
        /// How many times slower the slow pairs turn.
        factor: f64,
        /// Turns within the first context below which a pair is slow.
        low_freq_factor: f64,
        /// Turns within the first context above which a pair stays.
        high_freq_factor: f64,
        /// Length of the first context.
        original_max_position: usize,
    },
    /// YaRN (Peng et al. 2023, arXiv:2309.00071, §3): pairs with more than `beta_fast` turns within the first context
    /// stay, those with fewer than `beta_slow` are slowed by `factor`, and those between them are mixed along a ramp over
    /// the pair's number. Cosines and sines, and so the scores' square roots, get a factor.
    Yarn {
        /// How many times longer the context is.
        factor: f64,
        /// Length of the first context.
        original_max_position: usize,
        /// Turns above which a pair stays; 32 in the paper.
        beta_fast: f64,
        /// Turns below which a pair is interpolated; 1 in the paper.
        beta_slow: f64,
        /// The factor on cosines and sines; follows from the others where it is not given.
        attention_factor: Option<f64>,
        /// With `mscale_all_dim`: the factor is a ratio of two (DeepSeek).
        mscale: Option<f64>,
        /// See `mscale`.
        mscale_all_dim: Option<f64>,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
    },
}

impl RopeScaling {
    /// Turns the periods of `theta`, in positions a radian, into frequencies, in radians a position.
    pub(super) fn frequencies(&self, theta: f64, periods: &mut [f32]) {
        let pairs = periods.len();
        let each = periods.iter_mut();
        match *self {
            RopeScaling::None => each.for_each(|x| *x = 1.0 / *x),
            RopeScaling::Linear { factor } => each.for_each(|x| *x = 1.0 / *x / factor as f32),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => {
                let (low, high, context) = (low_freq_factor, high_freq_factor, original_max_position as f64);
                each.for_each(|x| *x = llama3(1.0 / *x, factor as f32, low, high, context));
            }
            RopeScaling::Yarn { factor, original_max_position, beta_fast, beta_slow, truncate, .. } => {
                let at = |turns: f64| pair_of_turns(turns, 2 * pairs, theta, original_max_position as f64);
                let (begin, end) = match (at(beta_fast), at(beta_slow)) {
                    (begin, end) if truncate => (begin.floor(), end.ceil()),
                    ends => ends,
                };
                let (begin, end) = (begin.max(0.0), end.min((2 * pairs - 1) as f64));
                // A ramp of no length would divide by zero.
                let end = if begin == end { end + 0.001 } else { end };
                each.enumerate().for_each(|(pair, x)| {
                    let ramp = ((pair as f32 - begin as f32) / (end - begin) as f32).clamp(0.0, 1.0);
                    let (stays, slowed) = (1.0 - ramp, 1.0 / (factor as f32 * *x));
                    *x = slowed * (1.0 - stays) + 1.0 / *x * stays;
                });
            }
        }
    }

    /// The factor on cosines and sines.
    pub(super) fn attention_factor(&self) -> f32 {
        let RopeScaling::Yarn { factor, attention_factor, mscale, mscale_all_dim, .. } = *self else {
            return 1.0;
        };
        let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        let given = |mscale: Option<f64>| mscale.filter(|&mscale| mscale != 0.0);
        let computed = match (given(mscale), given(mscale_all_dim)) {
            (Some(mscale), Some(all)) => scale(mscale) / scale(all),
            _ => scale(1.0),
        };
        attention_factor.unwrap_or(computed) as f32
    }
}

fn llama3(frequency: f32, factor: f32, low: f64, high: f64, context: f64) -> f32 {
    let wavelength = TAU as f32 / frequency;
    if wavelength < (context / high) as f32 {
        frequency
    } else if wavelength > (context / low) as f32 {
        frequency / factor
    } else {
        let stays = (context as f32 / wavelength - low as f32) / (high - low) as f32;
        (1.0 - stays) * frequency / factor + stays * frequency
    }
}

/// The number, not rounded, of the pair that turns so many times within `context` positions: solves
/// `context · θ^(−2i/D) = 2π · turns` for i.
fn pair_of_turns(turns: f64, head_dim: usize, theta: f64, context: f64) -> f64 {
    head_dim as f64 * (context / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
}
