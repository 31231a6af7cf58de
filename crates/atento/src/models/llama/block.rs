//! One block of a Llama-like decoder: `x + attend(norm(x))`, then `x + mlp(norm(x))`.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, AttentionSpec, Turns};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::LlamaConfig;
use crate::layers::{Linear, RmsNorm};
use crate::models::causal::Attend;

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub attention_norm: RmsNorm,
    pub attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
}

/// Masked self-attention with rotary positions.
#[derive(Clone, Copy)]
pub(super) struct Attention {
    /// Queries, keys and values in one product: [(heads + 2·kv_heads)·head_dim, d_model].
    qkv: Linear,
    /// What the heads of queries and of keys are scaled by, where they are normalised: `[head_dim]` each.
    norms: Option<[Weight; 2]>,
    norm_eps: f32,
    out: Linear,
    spec: AttentionSpec,
}

/// `down(act(gate(x)) ⊙ up(x))` (Shazeer 2020, eq. 6).
#[derive(Clone, Copy)]
struct FeedForward {
    /// Gate and up in one product: [2·d_ff, d_model].
    gate_up: Linear,
    down: Linear,
    activation: Activation,
}

impl Attention {
    fn init(params: &mut Params, config: &LlamaConfig, layer: usize, normal: Init, rng: &mut Rng) -> Self {
        let &LlamaConfig { d_model, heads, kv_heads, head_dim, .. } = config;
        let path = |part: &str| format!("layers.{layer}.self_attn.{part}");
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(path);
        let parts = [(&*q, heads * head_dim), (&*k, kv_heads * head_dim), (&*v, kv_heads * head_dim)];
        let qkv = Linear::stacked(params, &parts, d_model, config.qkv_bias, normal, rng);
        let norm = |params: &mut Params, part: &str, rng: &mut Rng| {
            params.add(&path(&format!("{part}_norm.weight")), &[head_dim], Init::Ones, rng)
        };
        let norms = config.qk_norm.then(|| ["q", "k"].map(|part| norm(params, part, rng)));
        let out =
            Linear::stacked(params, &[(&path("o_proj"), d_model)], heads * head_dim, config.out_bias, normal, rng);
        let window = config.window.filter(|_| config.windowed[layer]);
        let spec = AttentionSpec::new(heads, head_dim, true, config.attention_dropout);
        let spec = AttentionSpec { n_kv_heads: kv_heads, window, ..spec };
        Self { qkv, norms, norm_eps: config.norm_eps, out, spec }
    }

    /// Attends, every token to itself and those before it.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, d_model].
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        layer: usize,
        x: &Tensor,
        turns: &Turns,
        attend: &mut Attend<'_>,
    ) -> Tensor {
        let &AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = &self.spec;
        let mut qkv = self.qkv.forward(g, x);
        if let Some([q, k]) = self.norms {
            qkv = g.qk_norm(&qkv, q, k, n_heads, n_kv_heads, head_dim, self.norm_eps);
        }
        let qkv = g.rope(qkv, turns, n_heads + n_kv_heads);
        let context = attend.forward(g, layer, self.spec, &qkv);
        self.out.forward(g, &context)
    }
}

impl FeedForward {
    fn init(params: &mut Params, config: &LlamaConfig, layer: usize, normal: Init, rng: &mut Rng) -> Self {
        let &LlamaConfig { d_model, d_ff, mlp_bias, .. } = config;
        let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("layers.{layer}.mlp.{part}_proj"));
        let gate_up = Linear::stacked(params, &[(&gate, d_ff), (&up, d_ff)], d_model, mlp_bias, normal, rng);
        let down = Linear::stacked(params, &[(&down, d_model)], d_ff, mlp_bias, normal, rng);
        Self { gate_up, down, activation: crate::layers::activation(&config.activation) }
    }

    fn forward(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        let both = self.gate_up.forward(g, x);
        let gated = g.gated(&both, self.activation);
        self.down.forward(g, &gated)
    }
}

impl Block {
    pub fn init(params: &mut Params, config: &LlamaConfig, layer: usize, normal: Init, rng: &mut Rng) -> Self {
        let norm = |params: &mut Params, name: &str, rng: &mut Rng| {
            RmsNorm::init(params, &format!("layers.{layer}.{name}"), config.d_model, config.norm_eps, rng)
        };
        Self {
            attention_norm: norm(params, "input_layernorm", rng),
            attention: Attention::init(params, config, layer, normal, rng),
            feed_forward_norm: norm(params, "post_attention_layernorm", rng),
            feed_forward: FeedForward::init(params, config, layer, normal, rng),
        }
    }

    /// What follows the attention: joins it to the residual stream and runs the feed-forward sublayer. Returns the
    /// stream and the sublayer's output, which is still to be added to it.
    pub fn transform(&self, g: &mut Graph<'_>, x: &Tensor, attended: &Tensor) -> (Tensor, Tensor) {
        let (sum, normalised) = self.feed_forward_norm.forward_residual(g, x, attended);
        (sum, self.feed_forward.forward(g, &normalised))
    }
}
