//! Recurrent networks.

use atento_kernels::additive_attention::{self, Gradients, Inputs};
use atento_kernels::gru;

use super::Cpu;
use crate::device::{AdditiveGradients, AdditiveInputs, Recurrent};
use crate::slice::{Slice, SliceMut};

fn kernel_inputs(inputs: AdditiveInputs<'_>) -> Inputs<'_> {
    Inputs {
        q_proj: inputs.queries.f32(),
        k_proj: inputs.keys.f32(),
        values: inputs.values.f32(),
        v: inputs.score.f32(),
        cu_k: inputs.cu_keys,
    }
}

impl Recurrent for Cpu {
    fn gru(
        &self,
        gates_x: Slice<'_>,
        gates_h: Slice<'_>,
        previous: Slice<'_>,
        hidden: usize,
        state: SliceMut<'_>,
        saved: SliceMut<'_>,
    ) {
        gru::forward(gates_x.f32(), gates_h.f32(), previous.f32(), hidden, state.f32(), saved.f32());
    }

    fn gru_backward(
        &self,
        dstate: Slice<'_>,
        previous: Slice<'_>,
        saved: Slice<'_>,
        hidden: usize,
        dgates_x: SliceMut<'_>,
        dgates_h: SliceMut<'_>,
        dprevious: SliceMut<'_>,
    ) {
        let (dgates_x, dgates_h) = (dgates_x.f32(), dgates_h.f32());
        gru::backward(dstate.f32(), previous.f32(), saved.f32(), hidden, dgates_x, dgates_h, dprevious.f32());
    }

    fn additive_attention(&self, inputs: AdditiveInputs<'_>, alpha: SliceMut<'_>, context: SliceMut<'_>) {
        additive_attention::forward(kernel_inputs(inputs), alpha.f32(), context.f32());
    }

    fn additive_attention_backward(
        &self,
        inputs: AdditiveInputs<'_>,
        alpha: Slice<'_>,
        dcontext: Slice<'_>,
        gradients: AdditiveGradients<'_>,
    ) {
        let gradients = Gradients {
            dq_proj: gradients.queries.f32(),
            dk_proj: gradients.keys.f32(),
            dvalues: gradients.values.f32(),
            dv: gradients.score.f32(),
        };
        additive_attention::backward(kernel_inputs(inputs), alpha.f32(), dcontext.f32(), gradients);
    }
}
