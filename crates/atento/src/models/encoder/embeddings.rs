//! What an encoder begins with: tokens, their places and their types, added, normalised and perhaps projected.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Positions, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::EncoderConfig;
use crate::layers::{Embedding, LayerNorm, Linear};
use crate::models::Texts;

/// The tables and what follows them.
pub(super) struct Embeddings {
    pub tokens: Embedding,
    positions: Positions,
    types: Option<Weight>,
    norm: LayerNorm,
    project: Option<Linear>,
    dropout: f32,
    max_positions: usize,
    first_position: usize,
    /// The token that takes no place of its own, in models whose positions leave padding out.
    skipped: Option<u32>,
}

impl Embeddings {
    pub fn init(p: &mut Params, config: &EncoderConfig, normal: Init, rng: &mut Rng) -> Self {
        let width = config.embedding_size;
        let at = |name: &str| format!("embeddings.{name}.weight");
        let shape = [config.vocab_size, width];
        let table = p.add_matrix(&at("word_embeddings"), shape, WeightLayout::OutIn, normal, rng);
        let tokens = Embedding { table, scale: 1.0, padding_id: None };
        let tokens = config.pad_id.map_or(tokens, |pad_id| tokens.with_padding(p, pad_id));
        let positions = p.add(&at("position_embeddings"), &[config.position_rows(), width], normal, rng);
        let types = (config.token_types > 0)
            .then(|| p.add(&at("token_type_embeddings"), &[config.token_types, width], normal, rng));
        let norm = LayerNorm::init(p, "embeddings.LayerNorm", width, config.norm_eps, rng);
        let project = (width != config.d_model).then(|| {
            let parts = [("embeddings_project", config.d_model)];
            Linear::stacked(p, &parts, width, true, normal, rng)
        });
        Self {
            tokens,
            positions: Positions::Learned(positions),
            types,
            norm,
            project,
            dropout: config.dropout,
            max_positions: config.max_positions,
            first_position: config.first_position,
            skipped: config.pad_id.filter(|_| config.first_position > 0),
        }
    }

    /// The states before the first block: [tokens, d_model].
    pub fn forward(&self, g: &mut Graph<'_>, texts: Texts<'_>) -> Tensor {
        g.label(|| "embeddings".into());
        let tokens = self.tokens.forward(g, texts.ids);
        // Behind a prompt, `transformers` sees embeddings in place of ids, and gives every row a place.
        let skipped = self.skipped.filter(|_| g.params().prompt().is_none());
        let mut x = g.add_positions(&tokens, &self.positions, &self.positions_of(texts, skipped));
        match (self.types, texts.type_ids) {
            (Some(types), Some(ids)) => x = g.add_positions(&x, &Positions::Learned(types), ids),
            (Some(types), None) => x = g.add_positions(&x, &Positions::Learned(types), &vec![0; texts.ids.len()]),
            (None, _) => {}
        }
        let x = self.norm.forward(g, &x);
        let x = g.dropout(&x, self.dropout);
        self.project.map_or_else(|| x.clone(), |project| project.forward(g, &x))
    }

    /// The row of each token in the table of positions. Where padding is skipped, it has the row before the first and takes no
    /// other, as `create_position_ids_from_input_ids` of `transformers` has it.
    fn positions_of(&self, texts: Texts<'_>, skipped: Option<u32>) -> Vec<u32> {
        let (first, limit) = (self.first_position as u32, self.max_positions);
        let mut rows = Vec::with_capacity(texts.ids.len());
        for pair in texts.cu_seqlens.windows(2) {
            assert!((pair[1] - pair[0]) as usize <= limit, "encoder: a text longer than {limit} tokens");
            let mut next = first;
            for id in &texts.ids[pair[0] as usize..pair[1] as usize] {
                if Some(*id) == skipped {
                    rows.push(first - 1);
                } else {
                    rows.push(next);
                    next += 1;
                }
            }
        }
        rows
    }
}
