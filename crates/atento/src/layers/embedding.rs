//! Token embeddings.

use atento_kernels::philox::Rng;
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

/// A table of one vector per token.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// [vocab_size, d_model].
    pub table: Weight,
    /// Factor on every vector: `√d_model` or 1.
    pub scale: f32,
}

impl Embedding {
    /// Normal with variance `1/d_model`, so that scaled by `√d_model` the vectors have unit variance; named
    /// `{path}.weight`.
    pub fn init(params: &mut Params, path: &str, vocab_size: usize, d_model: usize, scale: f32, rng: &mut Rng) -> Self {
        let init = Init::Normal((d_model as f32).powf(-0.5));
        let table = params.add(&format!("{path}.weight"), &[vocab_size, d_model], init, rng);
        Self { table, scale }
    }

    /// Looks up tokens.
    ///
    /// # Shapes
    /// result: [ids, d_model].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, ids: &[u32]) -> Tensor {
        g.embedding(self.table, ids, self.scale)
    }
}
