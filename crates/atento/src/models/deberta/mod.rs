//! DeBERTa, versions 2 and 3: an encoder whose attention knows contents and relative positions apart (He et al. 2021,
//! arXiv:2006.03654), log buckets and a convolution by option (§A.2 of He et al. 2023, arXiv:2111.09543).
//!
//! Texts are packed: `[total_tokens, d_model]`, never padded. Parameter names are those of `transformers` without the prefix.
//! Random weights are normal with the standard deviation `initializer_range`, biases 0.

mod block;
pub mod config;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, Positions, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::trunk::{Texts, Trunk};
use crate::families::{Config, Sizes, Start, parameter_count};
use crate::layers::attention::self_segments;
use crate::layers::{Embedding, LayerNorm, Linear, activation};
use block::Block;

pub use config::{Convolution, DebertaConfig};

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0xdeb2;

/// A DeBERTa and its parameters.
pub struct Deberta {
    /// Sizes and options.
    pub config: DebertaConfig,
    /// All parameters.
    pub params: Params,
    /// Whether training recomputes each block in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    tokens: Embedding,
    positions: Option<Positions>,
    types: Option<Weight>,
    project: Option<Linear>,
    norm: LayerNorm,
    relative: Embedding,
    relative_norm: Option<LayerNorm>,
    convolution: Option<Convolving>,
    blocks: Vec<Block>,
}

/// The convolution over the embeddings, which joins the states behind the first block.
#[derive(Clone, Copy)]
struct Convolving {
    kernel: usize,
    linear: Linear,
    activation: Activation,
    norm: LayerNorm,
}

impl Deberta {
    /// A model whose weights start so.
    #[must_use]
    pub fn build(config: DebertaConfig, start: Start) -> Self {
        let random = Init::Normal(config.initializer_range);
        let (mut params, seed, normal) = match start {
            Start::Random(seed) => (Params::with_room(parameter_count(&config)), seed, random),
            Start::Unloaded | Start::NewHead(_) => (Params::unloaded(parameter_count(&config)), 0, random),
            Start::Outline => (Params::outline(), 0, Init::Zeros),
        };
        let (p, rng) = (&mut params, &mut Rng::new(seed, INIT_STREAM));
        let (width, d_model, eps) = (config.embedding_size, config.d_model, config.norm_eps);
        let table = |p: &mut Params, name: &str, rows: usize, columns: usize, rng: &mut Rng| {
            p.add_matrix(&format!("{name}.weight"), [rows, columns], WeightLayout::OutIn, normal, rng)
        };
        let words = table(p, "embeddings.word_embeddings", config.vocab_size, width, rng);
        let tokens = Embedding { table: words, scale: 1.0, padding_id: None };
        let tokens = config.pad_id.map_or(tokens, |pad_id| tokens.with_padding(p, pad_id));
        let places = [config.max_positions, width];
        let positions = config
            .absolute_positions
            .then(|| Positions::Learned(p.add("embeddings.position_embeddings.weight", &places, normal, rng)));
        let types = (config.token_types > 0)
            .then(|| p.add("embeddings.token_type_embeddings.weight", &[config.token_types, width], normal, rng));
        let project = (width != d_model).then(|| {
            let parts = [("embeddings.embed_proj", d_model)];
            Linear::stacked(p, &parts, width, false, normal, rng)
        });
        let norm = LayerNorm::init(p, "embeddings.LayerNorm", d_model, eps, rng);
        let rows = table(p, "encoder.rel_embeddings", 2 * config.span(), d_model, rng);
        let relative = Embedding { table: rows, scale: 1.0, padding_id: None };
        let relative_norm = config.norms_relative.then(|| LayerNorm::init(p, "encoder.LayerNorm", d_model, eps, rng));
        let convolution = config.convolution.as_ref().map(|Convolution { kernel, activation: function }| {
            let parts = [("encoder.conv.conv", d_model)];
            Convolving {
                kernel: *kernel,
                linear: Linear::stacked(p, &parts, d_model * kernel, true, normal, rng),
                activation: activation(function),
                norm: LayerNorm::init(p, "encoder.conv.LayerNorm", d_model, eps, rng),
            }
        });
        let blocks = (0..config.layers).map(|layer| Block::init(p, &config, layer, normal, rng)).collect();
        let checkpoint_activations = false;
        Self {
            config,
            params,
            checkpoint_activations,
            tokens,
            positions,
            types,
            project,
            norm,
            relative,
            relative_norm,
            convolution,
            blocks,
        }
    }

    /// The states before the first block.
    fn embed(&self, g: &mut Graph<'_>, texts: Texts<'_>) -> Tensor {
        g.label(|| "embeddings".into());
        let limit = self.config.max_positions as u32;
        let fits = |pair: &[u32]| pair[1] - pair[0] <= limit;
        assert!(texts.cu_seqlens.windows(2).all(fits), "DeBERTa: a text longer than {limit} tokens");
        let mut x = self.tokens.forward(g, texts.ids);
        if let Some(positions) = &self.positions {
            let places: Vec<u32> = texts.cu_seqlens.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect();
            x = g.add_positions(&x, positions, &places);
        }
        if let Some(types) = self.types {
            let none = vec![0; texts.ids.len()];
            x = g.add_positions(&x, &Positions::Learned(types), texts.type_ids.unwrap_or(&none));
        }
        if let Some(project) = self.project {
            x = project.forward(g, &x);
        }
        let x = self.norm.forward(g, &x);
        g.dropout(&x, self.config.dropout)
    }

    /// The relative embeddings that blocks read: [2·span, d_model].
    fn relative(&self, g: &mut Graph<'_>) -> Tensor {
        g.label(|| "encoder.rel_embeddings".into());
        let rows: Vec<u32> = (0..2 * self.config.span() as u32).collect();
        let relative = self.relative.forward(g, &rows);
        self.relative_norm.map_or_else(|| relative.clone(), |norm| norm.forward(g, &relative))
    }
}

impl Convolving {
    /// Joins what the convolution makes of the embeddings to the states behind the first block.
    fn forward(&self, g: &mut Graph<'_>, embedded: &Tensor, x: &Tensor, cu_seqlens: &[u32], dropout: f32) -> Tensor {
        g.label(|| "encoder.conv".into());
        let around = g.unfold(embedded, cu_seqlens, self.kernel);
        let out = self.linear.forward(g, &around);
        let out = g.dropout(&out, dropout);
        let out = g.activation(&out, self.activation);
        self.norm.forward_residual(g, x, &out, 0.0).1
    }
}

impl Trunk for Deberta {
    fn config(&self) -> Arc<dyn Config> {
        Arc::new(self.config.clone())
    }

    fn sizes(&self) -> Sizes {
        self.config.sizes()
    }

    fn layers(&self) -> usize {
        self.config.layers
    }

    fn heads(&self) -> usize {
        self.config.heads
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn checkpoint_activations(&mut self, checkpoint: bool) {
        self.checkpoint_activations = checkpoint;
    }

    fn token_types(&self) -> Option<usize> {
        Some(self.config.token_types).filter(|&types| types > 0)
    }

    fn token_table(&self) -> Weight {
        self.tokens.table
    }

    fn through(
        &self,
        g: &mut Graph<'_>,
        texts: Texts<'_>,
        each: &mut dyn FnMut(&Tensor),
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        if let Some(rows) = rows.filter(|_| self.blocks.len() == 1 && self.convolution.is_some()) {
            // The convolution joins the states of all tokens.
            let states = self.through(g, texts, each, None);
            return g.gather_rows(&states, rows);
        }
        let segments = self_segments(texts.cu_seqlens);
        let embedded = self.embed(g, texts);
        each(&embedded);
        let relative = self.relative(g);
        let mut x = embedded.clone();
        for (layer, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("encoder.layer.{layer}"));
            let rows = rows.filter(|_| layer + 1 == self.blocks.len());
            x = if self.checkpoint_activations {
                let (block, segments, rows) = (*block, Arc::clone(&segments), rows.cloned());
                g.checkpoint(&[&x, &relative], move |g, x| block.forward(g, &x[0], &x[1], &segments, rows.as_ref()))
            } else {
                block.forward(g, &x, &relative, &segments, rows)
            };
            if let Some(convolution) = self.convolution.filter(|_| layer == 0) {
                x = convolution.forward(g, &embedded, &x, texts.cu_seqlens, self.config.dropout);
            }
            each(&x);
        }
        x
    }
}
