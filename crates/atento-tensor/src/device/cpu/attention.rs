//! Attention in tiles with an online softmax.

use atento_kernels::attention::{self, Bias, Dropout, Qkv, QkvGrad};

use super::Cpu;
use crate::device::{Attention, AttentionGradients, AttentionInputs};
use crate::slice::{Slice, SliceMut};

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
        dropout: dropout.map(|key| Dropout {
            probability: key.probability,
            seed: key.seed,
            stream: key.stream,
            first_row: key.first,
        }),
        segments,
    };
    let query = query.f32();
    let qkv = match key_value {
        None => Qkv::Packed(query),
        Some(key_value) => Qkv::QueryAndPacked { query, key_value: key_value.f32() },
    };
    (kernel, qkv)
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
}
