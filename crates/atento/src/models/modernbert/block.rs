//! One block of ModernBERT: `x + attend(norm(x))`, then `x + mlp(norm(x))`. The first block attends to what the norm of the
//! embeddings gives, without a norm of its own.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, AttentionInput, AttentionSpec, Segment, Turns};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::{ModernBertConfig, Places};
use crate::layers::{LayerNorm, Linear, activation};

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub attention_norm: Option<LayerNorm>,
    /// Queries, keys and values in one matrix, which is one parameter: [3·d_model, d_model].
    qkv: Linear,
    attention_out: Linear,
    feed_forward_norm: LayerNorm,
    /// Gate and up in one matrix, which is one parameter: [2·d_ff, d_model].
    gate_up: Linear,
    down: Linear,
    spec: AttentionSpec,
    activation: Activation,
    attention_dropout: f32,
    dropout: f32,
}

/// A norm of the states, with a bias if the model's norms have one.
pub(super) fn norm(params: &mut Params, config: &ModernBertConfig, path: &str, rng: &mut Rng) -> LayerNorm {
    let (d_model, eps) = (config.d_model, config.norm_eps);
    match config.norm_bias {
        true => LayerNorm::init(params, path, d_model, eps, rng),
        false => LayerNorm::init_without_bias(params, path, d_model, eps, rng),
    }
}

impl Block {
    /// Block number `layer`. What a sublayer adds to the residual stream starts smaller by the square root of their number.
    pub fn init(params: &mut Params, config: &ModernBertConfig, layer: usize, random: bool, rng: &mut Rng) -> Self {
        let &ModernBertConfig { d_model, d_ff, attention_bias, mlp_bias, .. } = config;
        let at = |name: &str| format!("layers.{layer}.{name}");
        let in_std = config.initializer_range;
        let out_std = in_std / (2.0 * config.layers as f32).sqrt();
        let normal = |std: f32| if random { Init::Normal(std) } else { Init::Zeros };
        let linear =
            |params: &mut Params, name: &str, [to, from]: [usize; 2], has_bias: bool, std: f32, rng: &mut Rng| {
                Linear::stacked(params, &[(&at(name), to)], from, has_bias, normal(std), rng)
            };
        let window = config.local[layer].then_some(config.local_window / 2 + 1);
        let spec = AttentionSpec::new(config.heads, config.head_dim(), false, config.attention_dropout);
        Self {
            attention_norm: (layer > 0).then(|| norm(params, config, &at("attn_norm"), rng)),
            qkv: linear(params, "attn.Wqkv", [3 * d_model, d_model], attention_bias, in_std, rng),
            attention_out: linear(params, "attn.Wo", [d_model, d_model], attention_bias, out_std, rng),
            feed_forward_norm: norm(params, config, &at("mlp_norm"), rng),
            gate_up: linear(params, "mlp.Wi", [2 * d_ff, d_model], mlp_bias, in_std, rng),
            down: linear(params, "mlp.Wo", [d_model, d_ff], mlp_bias, out_std, rng),
            spec: AttentionSpec { window, ..spec },
            activation: activation(&config.activation),
            attention_dropout: config.attention_dropout,
            dropout: config.dropout,
        }
    }

    /// The residual stream behind the attention, and what the feed-forward sublayer adds to it.
    ///
    /// # Shapes
    /// `x`, the residual stream, `normalised`, what the attention reads, and the results: [tokens, d_model].
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        normalised: &Tensor,
        places: &Places,
        segments: &Arc<[Segment]>,
    ) -> (Tensor, Tensor) {
        let attended = self.attend(g, normalised, places.of(self.spec.window.is_some()), segments);
        let (x, normalised) = self.feed_forward_norm.forward_residual(g, x, &attended, self.attention_dropout);
        let both = self.gate_up.forward(g, &normalised);
        let gated = g.gated(&both, self.activation);
        let gated = g.dropout(&gated, self.dropout);
        (x, self.down.forward(g, &gated))
    }

    fn attend(&self, g: &mut Graph<'_>, x: &Tensor, turns: &Turns, segments: &Arc<[Segment]>) -> Tensor {
        let qkv = self.qkv.forward(g, x);
        let qkv = g.rope(qkv, turns, 2 * self.spec.n_heads);
        let context = g.attention(self.spec, AttentionInput::Packed(&qkv), None, segments);
        self.attention_out.forward(g, &context)
    }
}
