//! One block of DeBERTa: BERT's, with disentangled attention (He et al. 2021, §3.1, eq. 4).

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, Buckets, DisentangledSpec, Segment, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::DebertaConfig;
use crate::layers::{LayerNorm, Linear, activation};

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Block {
    qkv: Linear,
    /// Projects relative embeddings to keys, which queries meet.
    position_key: Option<Linear>,
    /// Projects relative embeddings to queries, which keys meet.
    position_query: Option<Linear>,
    attention_out: Linear,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm: LayerNorm,
    spec: DisentangledSpec,
    activation: Activation,
    dropout: f32,
}

impl Block {
    /// Block number `index`.
    pub fn init(params: &mut Params, config: &DebertaConfig, index: usize, normal: Init, rng: &mut Rng) -> Self {
        let (d_model, d_ff, eps) = (config.d_model, config.d_ff, config.norm_eps);
        let at = |name: &str| format!("encoder.layer.{index}.{name}");
        let linear = |params: &mut Params, name: &str, from: usize, to: usize, rng: &mut Rng| {
            Linear::stacked(params, &[(&at(name), to)], from, true, normal, rng)
        };
        let names = config.projections();
        let path = |part: &str, end: &str| at(&format!("attention.self.{part}.{end}"));
        let shape = [d_model, d_model];
        let mut weights = Vec::new();
        for part in &names {
            weights.push(params.add_matrix(&path(part, "weight"), shape, WeightLayout::OutIn, normal, rng));
        }
        let mut biases = Vec::new();
        for part in &names {
            biases.push(params.add(&path(part, "bias"), &[d_model], Init::Zeros, rng));
        }
        let of = |name: &str| {
            let part = names.iter().position(|part| *part == name)?;
            Some(Linear::over(weights[part], Some(biases[part])))
        };
        let (shared_key, shared_query) = (of("key_proj"), of("query_proj"));
        let (own_key, own_query) = (of("pos_key_proj"), of("pos_query_proj"));
        let pick = |own: Option<Linear>, shared: Option<Linear>| if config.shares_projections { shared } else { own };
        let position_key = pick(own_key, shared_key).filter(|_| config.content_to_position);
        let position_query = pick(own_query, shared_query).filter(|_| config.position_to_content);
        let qkv = Linear::over(params.fused(&weights[..3]), Some(params.fused(&biases[..3])));
        let attention_out = linear(params, "attention.output.dense", d_model, d_model, rng);
        let attention_norm = LayerNorm::init(params, &at("attention.output.LayerNorm"), d_model, eps, rng);
        let inner = linear(params, "intermediate.dense", d_model, d_ff, rng);
        let outer = linear(params, "output.dense", d_ff, d_model, rng);
        let norm = LayerNorm::init(params, &at("output.LayerNorm"), d_model, eps, rng);
        let (activation, dropout) = (activation(&config.activation), config.dropout);
        Self {
            qkv,
            position_key,
            position_query,
            attention_out,
            attention_norm,
            inner,
            outer,
            norm,
            spec: spec(config),
            activation,
            dropout,
        }
    }

    /// The states after the block; with `rows`, of these tokens alone.
    ///
    /// # Shapes
    /// `x`: [tokens, d_model]; result: the same, or [rows, d_model]; `relative`, the relative embeddings: [2·span, d_model].
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        relative: &Tensor,
        segments: &Arc<[Segment]>,
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        let qkv = self.qkv.forward(g, x);
        let relative = g.dropout(relative, self.dropout);
        let keys = self.position_key.map(|project| project.forward(g, &relative));
        let queries = self.position_query.map(|project| project.forward(g, &relative));
        let context = g.disentangled_attention(self.spec, &qkv, keys.as_ref(), queries.as_ref(), segments);
        let of_rows = |g: &mut Graph<'_>, x: &Tensor| rows.map_or_else(|| x.clone(), |rows| g.gather_rows(x, rows));
        let (x, context) = (of_rows(g, x), of_rows(g, &context));
        let attended = self.attention_out.forward(g, &context);
        let x = self.attention_norm.join(g, &x, &attended, self.dropout, rows);
        let hidden = self.inner.forward_activated(g, &x, self.activation);
        let transformed = self.outer.forward(g, &hidden);
        self.norm.join(g, &x, &transformed, self.dropout, rows)
    }
}

fn spec(config: &DebertaConfig) -> DisentangledSpec {
    let terms = 1 + usize::from(config.content_to_position) + usize::from(config.position_to_content);
    let head_dim = config.d_model / config.heads;
    let buckets = match config.buckets {
        Some(bucket_size) => Buckets::Log { bucket_size, max_position: config.max_relative },
        None => Buckets::Identity,
    };
    DisentangledSpec {
        n_heads: config.heads,
        head_dim,
        scale: ((head_dim * terms) as f32).powf(-0.5),
        dropout: config.attention_dropout,
        span: config.span(),
        buckets,
    }
}
