//! One encoder layer and one decoder layer (Vaswani et al. 2017, Figure 1).
//!
//! Post-norm: `x ← LN(x + sublayer(x))` for each sub-layer. Pre-norm: `x ← x + sublayer(LN(x))`, which leaves a
//! residual stream that the model normalises once at the end (Xiong et al. 2020).

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, Segment};
use atento_tensor::{Graph, Params, Tensor};

use super::config::{Norm, TransformerConfig};
use super::transformer::attention_spec;
use crate::layers::{CrossAttention, FeedForward, LayerNorm, SelfAttention};

/// Self-attention and feed-forward.
#[derive(Clone, Copy, Debug)]
pub struct EncoderLayer {
    attention: SelfAttention,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
    final_norm: LayerNorm,
    join: Join,
}

/// Masked self-attention, cross-attention and feed-forward.
#[derive(Clone, Copy, Debug)]
pub struct DecoderLayer {
    pub(super) self_attention: SelfAttention,
    self_attention_norm: LayerNorm,
    pub(super) cross_attention: CrossAttention,
    cross_attention_norm: LayerNorm,
    feed_forward: FeedForward,
    final_norm: LayerNorm,
    join: Join,
}

/// How a sub-layer meets its residual stream.
#[derive(Clone, Copy, Debug)]
struct Join {
    norm: Norm,
    dropout: f32,
}

impl Join {
    fn apply(
        self,
        g: &mut Graph<'_>,
        x: &Tensor,
        norm: &LayerNorm,
        sublayer: impl FnOnce(&mut Graph<'_>, &Tensor) -> Tensor,
    ) -> Tensor {
        match self.norm {
            Norm::Post => {
                let branch = sublayer(g, x);
                norm.forward_residual(g, x, &branch, self.dropout).1
            }
            Norm::Pre => {
                let normalised = norm.forward(g, x);
                let branch = sublayer(g, &normalised);
                let branch = g.dropout(&branch, self.dropout);
                g.add(x, &branch)
            }
        }
    }
}

fn feed_forward(
    params: &mut Params,
    path: &str,
    config: &TransformerConfig,
    d_ff: usize,
    rng: &mut Rng,
) -> FeedForward {
    let activation: Activation = config.activation.parse().expect("the configuration is validated");
    FeedForward::init(params, path, config.d_model, d_ff, activation, config.activation_dropout, rng)
}

impl EncoderLayer {
    /// Random weights, named below `path`.
    pub fn init(params: &mut Params, path: &str, config: &TransformerConfig, rng: &mut Rng) -> Self {
        let d_model = config.d_model;
        let spec = attention_spec(config, config.encoder_heads, false);
        let norm = |params: &mut Params, name: &str, rng: &mut Rng| {
            LayerNorm::init(params, &format!("{path}.{name}"), d_model, config.layer_norm_eps, rng)
        };
        Self {
            attention: SelfAttention::init(params, &format!("{path}.self_attn"), d_model, spec, rng),
            attention_norm: norm(params, "self_attn_layer_norm", rng),
            feed_forward: feed_forward(params, path, config, config.encoder_ffn, rng),
            final_norm: norm(params, "final_layer_norm", rng),
            join: Join { norm: config.norm, dropout: config.dropout },
        }
    }

    /// # Shapes
    /// `x` and the result: [source_tokens, d_model].
    #[must_use]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor, segments: &Arc<[Segment]>) -> Tensor {
        let x = self.join.apply(g, x, &self.attention_norm, |g, x| self.attention.forward(g, x, segments));
        self.join.apply(g, &x, &self.final_norm, |g, x| self.feed_forward.forward(g, x))
    }
}

impl DecoderLayer {
    /// Random weights, named below `path`.
    pub fn init(params: &mut Params, path: &str, config: &TransformerConfig, rng: &mut Rng) -> Self {
        let d_model = config.d_model;
        let norm = |params: &mut Params, name: &str, rng: &mut Rng| {
            LayerNorm::init(params, &format!("{path}.{name}"), d_model, config.layer_norm_eps, rng)
        };
        let masked = attention_spec(config, config.decoder_heads, true);
        let cross = attention_spec(config, config.decoder_heads, false);
        Self {
            self_attention: SelfAttention::init(params, &format!("{path}.self_attn"), d_model, masked, rng),
            self_attention_norm: norm(params, "self_attn_layer_norm", rng),
            cross_attention: CrossAttention::init(params, &format!("{path}.encoder_attn"), d_model, cross, rng),
            cross_attention_norm: norm(params, "encoder_attn_layer_norm", rng),
            feed_forward: feed_forward(params, path, config, config.decoder_ffn, rng),
            final_norm: norm(params, "final_layer_norm", rng),
            join: Join { norm: config.norm, dropout: config.dropout },
        }
    }

    /// # Shapes
    /// `x` and the result: [target_tokens, d_model]; `memory`: [source_tokens, d_model].
    #[must_use]
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        memory: &Tensor,
        target: &Arc<[Segment]>,
        cross: &Arc<[Segment]>,
    ) -> Tensor {
        self.forward_with(
            g,
            x,
            |g, x| self.self_attention.forward(g, x, target),
            |g, x| self.cross_attention.forward(g, x, memory, cross),
        )
    }

    /// The layer around given attentions: over whole sentences in training, over a cache in decoding.
    pub(super) fn forward_with(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        self_attend: impl FnOnce(&mut Graph<'_>, &Tensor) -> Tensor,
        cross_attend: impl FnOnce(&mut Graph<'_>, &Tensor) -> Tensor,
    ) -> Tensor {
        let x = self.join.apply(g, x, &self.self_attention_norm, self_attend);
        let x = self.join.apply(g, &x, &self.cross_attention_norm, cross_attend);
        self.join.apply(g, &x, &self.final_norm, |g, x| self.feed_forward.forward(g, x))
    }
}
