//! The encoder–decoder of "Attention Is All You Need" (Vaswani et al. 2017).
//!
//! Post-norm as in the paper, pre-norm by option; sinusoidal positions; embeddings scaled by `√d_model` and shared two-
//! or three-ways. Sentences are packed: `[total_tokens, d_model]`, never padded. Parameter names are those of
//! [`TransformerConfig::parameters`].

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{AttentionSpec, CrossEntropy, Positions, Segment};
use atento_tensor::{Graph, Init, Params, Side, Tensor, Weight};

use super::config::{Norm, TieEmbeddings, TransformerConfig};
use super::sinusoid::PositionTable;
use super::transformer_layer::{DecoderLayer, EncoderLayer};
use super::translator::PairAttention;
use super::trunk::only_segments;
use crate::data::batches::PackedBatch;
use crate::layers::attention::{cross_segments, self_segments};
use crate::layers::{Embedding, LayerNorm, Linear};

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x1A17;

/// An encoder–decoder and its parameters.
pub struct Transformer {
    /// Sizes and options.
    pub config: TransformerConfig,
    /// All parameters, in one arena.
    pub params: Params,
    /// Whether training recomputes each layer in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    pub(super) encoder: Vec<EncoderLayer>,
    pub(super) decoder: Vec<DecoderLayer>,
    pub(super) source_embedding: Embedding,
    pub(super) target_embedding: Embedding,
    pub(super) output: Linear,
    pub(super) encoder_norm: Option<LayerNorm>,
    pub(super) decoder_norm: Option<LayerNorm>,
    positions: PositionTables,
}

/// What is added to the embeddings.
enum PositionTables {
    /// Sinusoids, on both sides.
    Sinusoids(PositionTable),
    /// The tables of a checkpoint that stores its own, of source and target.
    Own([Arc<[f32]>; 2]),
}

impl Transformer {
    /// A model with random weights decided by `seed`.
    #[must_use]
    pub fn init(config: TransformerConfig, seed: u64) -> Self {
        Self::build(config, Params::new(), seed)
    }

    /// The parameters' names and shapes ([`Params::outline`]): a model that takes no memory and cannot be used.
    #[must_use]
    pub fn outline(config: TransformerConfig) -> Self {
        Self::build(config, Params::outline(), 0)
    }

    fn build(config: TransformerConfig, mut params: Params, seed: u64) -> Self {
        let rng = &mut Rng::new(seed, INIT_STREAM);
        let p = &mut params;
        let d_model = config.d_model;
        let scale = if config.scale_embedding { (d_model as f32).sqrt() } else { 1.0 };
        let (source_embedding, target_embedding, table) = init_embeddings(p, &config, scale, rng);
        let bias =
            (config.norm == Norm::Post).then(|| p.add("final_logits_bias", &[config.vocab_size], Init::Zeros, rng));
        let output = Linear::over(table, bias);
        let final_norm = |p: &mut Params, path: &str, rng: &mut Rng| {
            (config.norm == Norm::Pre).then(|| LayerNorm::init(p, path, d_model, config.layer_norm_eps, rng))
        };
        let encoder = (0..config.encoder_layers)
            .map(|i| EncoderLayer::init(p, &format!("encoder.layers.{i}"), &config, rng))
            .collect();
        let encoder_norm = final_norm(p, "encoder.layer_norm", rng);
        let decoder = (0..config.decoder_layers)
            .map(|i| DecoderLayer::init(p, &format!("decoder.layers.{i}"), &config, rng))
            .collect();
        let decoder_norm = final_norm(p, "decoder.layer_norm", rng);
        if bias.is_some() {
            // A buffer in the reference implementation, zero unless a checkpoint says otherwise.
            p.make_buffers(|entry| entry.name == "final_logits_bias");
        }
        let positions = PositionTables::Sinusoids(PositionTable::new(&config));
        Self {
            config,
            params,
            checkpoint_activations: false,
            encoder,
            decoder,
            source_embedding,
            target_embedding,
            output,
            encoder_norm,
            decoder_norm,
            positions,
        }
    }

    /// Replaces the position tables: those of a checkpoint that stores its own.
    ///
    /// # Shapes
    /// Both: [max_positions, d_model], row-major.
    ///
    /// # Panics
    /// If a table has another size.
    pub fn set_positions(&mut self, source: Vec<f32>, target: Vec<f32>) {
        let len = self.config.max_positions * self.config.d_model;
        assert_eq!((source.len(), target.len()), (len, len), "set_positions: sizes of the tables");
        self.positions = PositionTables::Own([source.into(), target.into()]);
    }

    /// The position tables that [`Transformer::set_positions`] has set.
    #[must_use]
    pub fn own_positions(&self) -> Option<[&[f32]; 2]> {
        match &self.positions {
            PositionTables::Own([source, target]) => Some([source, target]),
            PositionTables::Sinusoids(_) => None,
        }
    }

    /// Encodes packed source sentences.
    ///
    /// # Shapes
    /// `ids`: `[source_tokens]`; `cu_source`: [sentences + 1]; result: [source_tokens, d_model].
    #[must_use]
    pub fn encode(&self, g: &mut Graph<'_>, ids: &[u32], cu_source: &[u32]) -> Tensor {
        self.encode_segments(g, ids, cu_source, &self_segments(cu_source))
    }

    fn encode_segments(&self, g: &mut Graph<'_>, ids: &[u32], cu_source: &[u32], segments: &Arc<[Segment]>) -> Tensor {
        g.set_side(Side::Source);
        g.label(|| "encoder.embed".into());
        let mut x = self.embed(g, Side::Source, ids, cu_source);
        for (i, layer) in self.encoder.iter().enumerate() {
            g.label(|| format!("encoder.layers.{i}"));
            x = if self.checkpoint_activations {
                let (layer, segments) = (*layer, Arc::clone(segments));
                g.checkpoint(&[&x], move |g, x| layer.forward(g, &x[0], &segments))
            } else {
                layer.forward(g, &x, segments)
            };
        }
        self.encoder_norm.map_or(x.clone(), |norm| norm.forward(g, &x))
    }

    /// Decodes packed target sentences, each token seeing the ones before it and the whole source sentence; returns the
    /// hidden states that the output projection reads.
    ///
    /// # Shapes
    /// `memory`: [source_tokens, d_model]; `ids`: `[target_tokens]`; result: [target_tokens, d_model].
    #[must_use]
    pub fn decode(
        &self,
        g: &mut Graph<'_>,
        memory: &Tensor,
        cu_source: &[u32],
        ids: &[u32],
        cu_target: &[u32],
    ) -> Tensor {
        let target = self_segments(cu_target);
        let cross = cross_segments(cu_target, cu_source);
        g.set_side(Side::Target);
        g.label(|| "decoder.embed".into());
        let mut x = self.embed(g, Side::Target, ids, cu_target);
        for (i, layer) in self.decoder.iter().enumerate() {
            g.label(|| format!("decoder.layers.{i}"));
            x = if self.checkpoint_activations {
                let (layer, target, cross) = (*layer, Arc::clone(&target), Arc::clone(&cross));
                g.checkpoint(&[&x, memory], move |g, x| layer.forward(g, &x[0], &x[1], &target, &cross))
            } else {
                layer.forward(g, &x, memory, &target, &cross)
            };
        }
        self.decoder_norm.map_or(x.clone(), |norm| norm.forward(g, &x))
    }

    /// The training loss of a batch: cross-entropy of every target token.
    pub fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        let memory = self.encode(g, &batch.source, &batch.cu_source);
        let hidden = self.decode(g, &memory, &batch.cu_source, &batch.target_input, &batch.cu_target);
        let targets: Vec<Option<u32>> = batch.target_output.iter().map(|&id| Some(id)).collect();
        g.label(|| "output projection".into());
        self.output.cross_entropy(g, &hidden, &targets, smoothing, scale)
    }

    /// The logits of every target position (teacher forcing).
    ///
    /// # Shapes
    /// result: [target_tokens, vocab_size].
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        let memory = self.encode(g, &batch.source, &batch.cu_source);
        let hidden = self.decode(g, &memory, &batch.cu_source, &batch.target_input, &batch.cu_target);
        self.project(g, &hidden)
    }

    /// The attention weights of a batch of one pair.
    pub(super) fn attention(&self, g: &mut Graph<'_>, pair: &PackedBatch) -> PairAttention {
        g.record_attention();
        let memory = self.encode(g, &pair.source, &pair.cu_source);
        let source = only_segments(g.take_attention());
        let _ = self.decode(g, &memory, &pair.cu_source, &pair.target_input, &pair.cu_target);
        // In each decoder layer the target attends to itself first.
        let (mut target, mut cross) = (Vec::new(), Vec::new());
        for (at, weights) in only_segments(g.take_attention()).into_iter().enumerate() {
            if at.is_multiple_of(2) { target.push(weights) } else { cross.push(weights) }
        }
        PairAttention { source, target, cross }
    }

    pub(super) fn project(&self, g: &mut Graph<'_>, hidden: &Tensor) -> Tensor {
        self.output.forward(g, hidden)
    }

    fn embed(&self, g: &mut Graph<'_>, side: Side, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let position_ids: Vec<u32> = cu_seqlens.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect();
        self.embed_at(g, side, ids, &position_ids)
    }

    pub(super) fn embed_at(&self, g: &mut Graph<'_>, side: Side, ids: &[u32], position_ids: &[u32]) -> Tensor {
        let embedding = if side == Side::Source { &self.source_embedding } else { &self.target_embedding };
        let positions = match &self.positions {
            PositionTables::Own([source, _]) if side == Side::Source => Arc::clone(source),
            PositionTables::Own([_, target]) => Arc::clone(target),
            PositionTables::Sinusoids(table) => {
                table.first(position_ids.iter().max().map_or(0, |last| *last as usize + 1))
            }
        };
        let tokens = embedding.forward(g, ids);
        let placed = g.add_positions(&tokens, &Positions::Fixed(positions), position_ids);
        g.dropout(&placed, self.config.dropout)
    }
}

/// Source table, target table and output projection: one, two or three matrices.
fn init_embeddings(
    params: &mut Params,
    config: &TransformerConfig,
    scale: f32,
    rng: &mut Rng,
) -> (Embedding, Embedding, Weight) {
    let mut table = |path: &str| {
        let table = Embedding::init(params, path, config.vocab_size, config.d_model, scale, rng);
        table.with_padding(params, config.pad_id)
    };
    match config.tie_embeddings {
        TieEmbeddings::All => {
            let shared = table("shared");
            (shared, shared, shared.table)
        }
        TieEmbeddings::Decoder => {
            let (source, target) = (table("encoder.embed_tokens"), table("decoder.embed_tokens"));
            (source, target, target.table)
        }
        TieEmbeddings::None => {
            let (source, target) = (table("encoder.embed_tokens"), table("decoder.embed_tokens"));
            (source, target, table("lm_head").table)
        }
    }
}

/// The dropout and head arithmetic that layers share.
pub(super) fn attention_spec(config: &TransformerConfig, n_heads: usize, causal: bool) -> AttentionSpec {
    AttentionSpec::new(n_heads, config.d_model / n_heads, causal, config.attention_dropout)
}
