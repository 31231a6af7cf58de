//! Norms: a row at a time, sums in registers.

use atento_kernels::dropout::DropoutKey;
use atento_kernels::qk_norm::{self, Heads};
use atento_kernels::{norm, rms_norm};

use super::Cpu;
use crate::device::Norms;
use crate::slice::{Slice, SliceMut};

impl Norms for Cpu {
    fn layer_norm(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        beta: Slice<'_>,
        eps: f32,
        out: SliceMut<'_>,
        mean: SliceMut<'_>,
        rstd: SliceMut<'_>,
    ) {
        norm::layer_norm_forward(x.f32(), gamma.f32(), beta.f32(), eps, out.f32(), mean.f32(), rstd.f32());
    }

    fn layer_norm_backward(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        mean: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dx: SliceMut<'_>,
        accumulate: bool,
        dgamma: SliceMut<'_>,
        dbeta: SliceMut<'_>,
    ) {
        norm::layer_norm_backward(
            x.f32(),
            gamma.f32(),
            mean.f32(),
            rstd.f32(),
            dy.f32(),
            dx.f32(),
            accumulate,
            dgamma.f32(),
            dbeta.f32(),
        );
    }

    fn residual_layer_norm(
        &self,
        residual: Slice<'_>,
        branch: Slice<'_>,
        dropout: Option<DropoutKey>,
        gamma: Slice<'_>,
        beta: Slice<'_>,
        eps: f32,
        sum: SliceMut<'_>,
        out: SliceMut<'_>,
        mean: SliceMut<'_>,
        rstd: SliceMut<'_>,
    ) {
        norm::add_dropout_layer_norm_forward(
            residual.f32(),
            branch.f32(),
            dropout,
            gamma.f32(),
            beta.f32(),
            eps,
            sum.f32(),
            out.f32(),
            mean.f32(),
            rstd.f32(),
        );
    }

    fn residual_layer_norm_backward(
        &self,
        sum: Slice<'_>,
        gamma: Slice<'_>,
        mean: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dsum: Option<Slice<'_>>,
        dropout: Option<DropoutKey>,
        dresidual: SliceMut<'_>,
        dbranch: SliceMut<'_>,
        dgamma: SliceMut<'_>,
        dbeta: SliceMut<'_>,
    ) {
        norm::add_dropout_layer_norm_backward(
            sum.f32(),
            gamma.f32(),
            mean.f32(),
            rstd.f32(),
            dy.f32(),
            dsum.map(Slice::f32),
            dropout,
            dresidual.f32(),
            dbranch.f32(),
            dgamma.f32(),
            dbeta.f32(),
        );
    }

    fn rms_norm(&self, x: Slice<'_>, gamma: Slice<'_>, eps: f32, out: SliceMut<'_>, rstd: SliceMut<'_>) {
        rms_norm::rms_norm_forward(x.f32(), gamma.f32(), eps, out.f32(), rstd.f32());
    }

    fn rms_norm_backward(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dx: Option<SliceMut<'_>>,
        accumulate: bool,
        dgamma: Option<SliceMut<'_>>,
    ) {
        let (dx, dgamma) = (dx.map(SliceMut::f32), dgamma.map(SliceMut::f32));
        rms_norm::rms_norm_backward(x.f32(), gamma.f32(), rstd.f32(), dy.f32(), dx, accumulate, dgamma);
    }

    fn residual_rms_norm(
        &self,
        residual: Slice<'_>,
        branch: Slice<'_>,
        dropout: Option<DropoutKey>,
        gamma: Slice<'_>,
        eps: f32,
        sum: SliceMut<'_>,
        out: SliceMut<'_>,
        rstd: SliceMut<'_>,
    ) {
        rms_norm::add_dropout_rms_norm_forward(
            residual.f32(),
            branch.f32(),
            dropout,
            gamma.f32(),
            eps,
            sum.f32(),
            out.f32(),
            rstd.f32(),
        );
    }

    fn residual_rms_norm_backward(
        &self,
        sum: Slice<'_>,
        gamma: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dropout: Option<DropoutKey>,
        dresidual: SliceMut<'_>,
        accumulate: bool,
        dbranch: Option<SliceMut<'_>>,
        dgamma: Option<SliceMut<'_>>,
    ) {
        rms_norm::add_dropout_rms_norm_backward(
            sum.f32(),
            gamma.f32(),
            rstd.f32(),
            dy.f32(),
            dropout,
            dresidual.f32(),
            accumulate,
            dbranch.map(SliceMut::f32),
            dgamma.map(SliceMut::f32),
        );
    }

    fn qk_norm(
        &self,
        x: Slice<'_>,
        heads: Heads,
        gammas: [Slice<'_>; 2],
        eps: f32,
        out: SliceMut<'_>,
        rstd: SliceMut<'_>,
    ) {
        qk_norm::forward(x.f32(), heads, gammas.map(Slice::f32), eps, out.f32(), rstd.f32());
    }

    fn qk_norm_backward(
        &self,
        x: Slice<'_>,
        heads: Heads,
        gammas: [Slice<'_>; 2],
        rstd: Slice<'_>,
        dx: SliceMut<'_>,
        dgammas: [Option<SliceMut<'_>>; 2],
    ) {
        let dgammas = dgammas.map(|dgamma| dgamma.map(SliceMut::f32));
        qk_norm::backward(x.f32(), heads, gammas.map(Slice::f32), rstd.f32(), dx.f32(), dgammas);
    }
}
