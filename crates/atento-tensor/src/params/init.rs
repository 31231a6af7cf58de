//! How a parameter starts.

use atento_kernels::philox::Rng;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones (norm gains).
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform in ±bound.
    Uniform(f32),
    /// Uniform in ±sqrt(6 / (rows + cols)) (Glorot & Bengio 2010, eq. 16).
    Xavier,
}

impl Init {
    /// Writes the values of a parameter over zeros.
    pub(super) fn write(self, values: &mut [f32], rows: usize, cols: usize, rng: &mut Rng) {
        let mut fill_uniform = |bound: f32| values.iter_mut().for_each(|v| *v = (2.0 * rng.uniform() - 1.0) * bound);
        match self {
            // As the arena's room is.
            Init::Zeros => {}
            Init::Ones => values.fill(1.0),
            Init::Normal(std) => values.iter_mut().for_each(|v| *v = rng.normal() * std),
            Init::Uniform(bound) => fill_uniform(bound),
            Init::Xavier => fill_uniform((6.0 / (rows + cols) as f32).sqrt()),
        }
    }
}
