//! Token embeddings.

use atento_kernels::philox::Rng;
use atento_tensor::ops::WeightLayout;
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use crate::models::virtual_tokens;

/// A table of one vector per token.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// [vocab_size, d_model].
    pub table: Weight,
    /// Factor on every vector: `√d_model` or 1.
    pub scale: f32,
    /// The token whose lookups are not trained.
    pub padding_id: Option<u32>,
}

impl Embedding {
    /// Normal with variance `1/d_model`, so that scaled by `√d_model` the vectors have unit variance; named
    /// `{path}.weight`.
    pub fn init(params: &mut Params, path: &str, vocab_size: usize, d_model: usize, scale: f32, rng: &mut Rng) -> Self {
        let init = Init::Normal((d_model as f32).powf(-0.5));
        let shape = [vocab_size, d_model];
        let table = params.add_matrix(&format!("{path}.weight"), shape, WeightLayout::OutIn, init, rng);
        Self { table, scale, padding_id: None }
    }

    /// The same table with a token whose lookups are not trained, its vector zero to begin with. An id beyond the table
    /// changes nothing.
    #[must_use]
    pub fn with_padding(self, params: &mut Params, padding_id: u32) -> Self {
        if padding_id as usize >= self.table.rows {
            return self;
        }
        let start = padding_id as usize * self.table.cols;
        if params.has_values() {
            params.get_mut(self.table)[start..start + self.table.cols].fill(0.0);
        }
        Self { padding_id: Some(padding_id), ..self }
    }

    /// Looks up tokens; an id behind the last is a row of the [prompt](Params::prompt).
    ///
    /// # Shapes
    /// result: [ids, d_model].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, ids: &[u32]) -> Tensor {
        let Self { table, scale, padding_id } = *self;
        virtual_tokens::embed(g, ids, table.rows, |g, ids| g.embedding(table, ids, scale, padding_id))
    }
}
