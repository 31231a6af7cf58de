//! Attention in tiles with an online softmax.

use atento_kernels::attention::disentangled::{Disentangled, Relative, RelativeGrad};
use atento_kernels::attention::{self, Bias, Dropout, Qkv, QkvGrad};
use atento_kernels::dropout::DropoutKey;

use super::Cpu;
use crate::device::{Attention, AttentionGradients, AttentionInputs, DisentangledGradients, DisentangledInputs};
use crate::slice::{Slice, SliceMut};

fn dropout_of(key: DropoutKey) -> Dropout {
    Dropout { probability: key.probability, seed: key.seed, stream: key.stream, first_row: key.first }
}

fn kernel_of<'a>(inputs: &AttentionInputs<'a>) -> (attention::Attention<'a>, Qkv<'a>) {
    let AttentionInputs { spec, segments, query, key_value, bias, dropout } = *inputs;
    let kernel = attention::Attention {
        n_heads: spec.n_heads,
        n_kv_heads: spec.n_kv_heads,
        head_dim: spec.head_dim,
        scale: spec.scale,
        causal: spec.causal,
        window: spec.window,
        bias: bias.map(|bias| Bias {
            data: bias.values.f32(),
            max_query_len: bias.max_query_len,
            max_key_len: bias.max_key_len,
        }),
        dropout: dropout.map(dropout_of),
        segments,
    };
    let query = query.f32();
    let qkv = match key_value {
        None => Qkv::Packed(query),
        Some(key_value) => Qkv::QueryAndPacked { query, key_value: key_value.f32() },
    };
    (kernel, qkv)
}

fn disentangled_of<'a>(inputs: &DisentangledInputs<'a>) -> (Disentangled<'a>, Relative<'a>) {
    let DisentangledInputs { spec, segments, relative_keys, relative_queries, dropout, .. } = *inputs;
    let kernel = Disentangled {
        n_heads: spec.n_heads,
        head_dim: spec.head_dim,
        scale: spec.scale,
        span: spec.span,
        buckets: spec.buckets,
        dropout: dropout.map(dropout_of),
        segments,
    };
    (kernel, Relative { keys: relative_keys.map(Slice::f32), queries: relative_queries.map(Slice::f32) })
}

impl Attention for Cpu {
    fn attention(&self, inputs: AttentionInputs<'_>, out: SliceMut<'_>, log_sum_exp: Option<SliceMut<'_>>) {
        let (kernel, qkv) = kernel_of(&inputs);
        kernel.forward(&qkv, out.f32(), log_sum_exp.map(SliceMut::f32));
    }

    fn attention_backward(
        &self,
        inputs: AttentionInputs<'_>,
        out: Slice<'_>,
        log_sum_exp: Slice<'_>,
        dout: Slice<'_>,
        gradients: AttentionGradients<'_>,
    ) {
        let (kernel, qkv) = kernel_of(&inputs);
        let AttentionGradients { query, key_value, bias } = gradients;
        let query = query.f32();
        let grad = match key_value {
            None => QkvGrad::Packed(query),
            Some(key_value) => QkvGrad::QueryAndPacked { query, key_value: key_value.f32() },
        };
        kernel.backward(&qkv, out.f32(), log_sum_exp.f32(), dout.f32(), grad, bias.map(SliceMut::f32));
    }

    fn attention_weights(&self, inputs: AttentionInputs<'_>, segment: usize, weights: SliceMut<'_>) {
        let (kernel, qkv) = kernel_of(&inputs);
        kernel.weights(&qkv, segment, weights.f32());
    }

    fn disentangled_attention(
        &self,
        inputs: DisentangledInputs<'_>,
        out: SliceMut<'_>,
        log_sum_exp: Option<SliceMut<'_>>,
    ) {
        let (kernel, relative) = disentangled_of(&inputs);
        kernel.forward(inputs.qkv.f32(), relative, out.f32(), log_sum_exp.map(SliceMut::f32));
    }

    fn disentangled_attention_weights(&self, inputs: DisentangledInputs<'_>, segment: usize, weights: SliceMut<'_>) {
        let (kernel, relative) = disentangled_of(&inputs);
        kernel.weights(inputs.qkv.f32(), relative, segment, weights.f32());
    }

    fn disentangled_attention_backward(
        &self,
        inputs: DisentangledInputs<'_>,
        out: Slice<'_>,
        log_sum_exp: Slice<'_>,
        dout: Slice<'_>,
        gradients: DisentangledGradients<'_>,
    ) {
        let (kernel, relative) = disentangled_of(&inputs);
        let DisentangledGradients { qkv, relative_keys, relative_queries } = gradients;
        let drelative =
            RelativeGrad { keys: relative_keys.map(SliceMut::f32), queries: relative_queries.map(SliceMut::f32) };
        let (out, log_sum_exp, dout) = (out.f32(), log_sum_exp.f32(), dout.f32());
        kernel.backward(inputs.qkv.f32(), relative, out, log_sum_exp, dout, qkv.f32(), drelative);
    }
}
