//! One block of the decoder-only Transformer: `x + attend(norm(x))`, then `x + mlp(norm(x))`.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, AttentionSpec};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::Gpt2Config;
use crate::layers::{LayerNorm, Linear, activation};
use crate::models::causal::Attend;

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub attention_norm: LayerNorm,
    pub attention: MaskedAttention,
    feed_forward_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    activation: Activation,
    pub dropout: f32,
}

/// Masked self-attention with one projection `[d_model, 3·d_model]` for queries, keys and values.
#[derive(Clone, Copy)]
pub(super) struct MaskedAttention {
    pub qkv: Linear,
    pub out: Linear,
    pub spec: AttentionSpec,
}

impl MaskedAttention {
    /// Attends, every token to itself and those before it.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, d_model].
    pub fn forward(&self, g: &mut Graph<'_>, layer: usize, x: &Tensor, attend: &mut Attend<'_>) -> Tensor {
        let qkv = self.qkv.forward(g, x);
        let context = attend.forward(g, layer, self.spec, &qkv);
        self.out.forward(g, &context)
    }
}

impl Block {
    /// Block number `index`; `residual` is how the projections start that write into the residual stream.
    pub fn init(
        params: &mut Params,
        config: &Gpt2Config,
        index: usize,
        weights: Init,
        residual: Init,
        rng: &mut Rng,
    ) -> Self {
        let (d_model, d_ff) = (config.d_model, config.d_ff);
        let norm = |params: &mut Params, name: &str, rng: &mut Rng| {
            LayerNorm::init(params, &format!("h.{index}.{name}"), d_model, config.layer_norm_eps, rng)
        };
        let linear = |params: &mut Params, name: &str, from: usize, to: usize, init: Init, rng: &mut Rng| {
            Linear::init_in_out(params, &format!("h.{index}.{name}"), from, to, init, rng)
        };
        let attention_norm = norm(params, "ln_1", rng);
        let qkv = linear(params, "attn.c_attn", d_model, 3 * d_model, weights, rng);
        let out = linear(params, "attn.c_proj", d_model, d_model, residual, rng);
        let feed_forward_norm = norm(params, "ln_2", rng);
        let inner = linear(params, "mlp.c_fc", d_model, d_ff, weights, rng);
        let outer = linear(params, "mlp.c_proj", d_ff, d_model, residual, rng);
        Self {
            attention_norm,
            attention: MaskedAttention { qkv, out, spec: attention_spec(config, index) },
            feed_forward_norm,
            inner,
            outer,
            activation: activation(&config.activation),
            dropout: config.dropout,
        }
    }

    /// What follows the attention: joins it to the residual stream and runs the feed-forward sublayer. Returns the
    /// stream and the sublayer's output, which is still to be added to it.
    pub fn transform(&self, g: &mut Graph<'_>, x: &Tensor, attended: &Tensor) -> (Tensor, Tensor) {
        let (sum, normalised) = self.feed_forward_norm.forward_residual(g, x, attended, self.dropout);
        let hidden = self.inner.forward_activated(g, &normalised, self.activation);
        (sum, self.outer.forward(g, &hidden))
    }
}

fn attention_spec(config: &Gpt2Config, index: usize) -> AttentionSpec {
    let mut spec = AttentionSpec::new(config.heads, config.d_model / config.heads, true, config.attention_dropout);
    if !config.scale_attention {
        spec.scale = 1.0;
    }
    if config.scale_by_layer {
        spec.scale /= (index + 1) as f32;
    }
    spec
}
