//! One block of the encoder, normalised after each sum: `x = norm(x + attend(x))`, then `x = norm(x + mlp(x))`.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, AttentionSpec, Segment};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::EncoderConfig;
use crate::layers::{LayerNorm, Linear, activation};
use crate::models::virtual_tokens;

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Block {
    index: usize,
    qkv: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    spec: AttentionSpec,
    activation: Activation,
    dropout: f32,
}

impl Block {
    /// Block number `index`.
    pub fn init(params: &mut Params, config: &EncoderConfig, index: usize, normal: Init, rng: &mut Rng) -> Self {
        let (d_model, d_ff, eps) = (config.d_model, config.d_ff, config.norm_eps);
        let at = |name: &str| format!("encoder.layer.{index}.{name}");
        let linear = |params: &mut Params, name: &str, from: usize, to: usize, rng: &mut Rng| {
            Linear::stacked(params, &[(&at(name), to)], from, true, normal, rng)
        };
        let paths = ["query", "key", "value"].map(|part| at(&format!("attention.self.{part}")));
        let parts = paths.each_ref().map(|path| (path.as_str(), d_model));
        let qkv = Linear::stacked(params, &parts, d_model, true, normal, rng);
        let attention_out = linear(params, "attention.output.dense", d_model, d_model, rng);
        let attention_norm = LayerNorm::init(params, &at("attention.output.LayerNorm"), d_model, eps, rng);
        let inner = linear(params, "intermediate.dense", d_model, d_ff, rng);
        let outer = linear(params, "output.dense", d_ff, d_model, rng);
        let norm = LayerNorm::init(params, &at("output.LayerNorm"), d_model, eps, rng);
        let spec = AttentionSpec::new(config.heads, d_model / config.heads, false, config.attention_dropout);
        let (activation, dropout) = (activation(&config.activation), config.dropout);
        Self { index, qkv, attention_out, attention_norm, inner, outer, norm, spec, activation, dropout }
    }

    /// The states after the block; with `rows`, of these tokens alone.
    ///
    /// # Shapes
    /// `x`: [tokens, d_model]; result: the same, or [rows, d_model].
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        segments: &Arc<[Segment]>,
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        let qkv = self.qkv.forward(g, x);
        let context = virtual_tokens::attend(g, self.index, self.spec, &qkv, segments);
        let of_rows = |g: &mut Graph<'_>, x: &Tensor| rows.map_or_else(|| x.clone(), |rows| g.gather_rows(x, rows));
        let (x, context) = (of_rows(g, x), of_rows(g, &context));
        let attended = self.attention_out.forward(g, &context);
        let x = self.attention_norm.join(g, &x, &attended, self.dropout, rows);
        let hidden = self.inner.forward_activated(g, &x, self.activation);
        let transformed = self.outer.forward(g, &hidden);
        self.norm.join(g, &x, &transformed, self.dropout, rows)
    }
}
