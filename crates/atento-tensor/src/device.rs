//! The one way from ops to kernels.
//!
//! A [`Device`] names every kernel that the ops use; [`Cpu`] is the first. Operands are typed views
//! ([`Slice`](crate::Slice), [`SliceMut`](crate::SliceMut)): of activations, statistics, parameters and gradients alike.
//! What says *where* to read (ids, rows, lengths, segments) comes from the host, as plain slices. A
//! [`Pool`](crate::Pool) is memory of one device and names it, so a graph computes where its pool lies.
//!
//! * A kernel never allocates its outputs. Formulas and numerics stand with the kernels, in `atento-kernels`.
//! * An op gives its output and its inputs' gradients the dtype of its input. Statistics (means, log-sum-exps, losses) and
//!   gradients of parameters are f32.
//! * A kernel that has no code for the dtype of an operand panics, and names it. [`Cpu`] takes f32 alone so far; only
//!   [`copy`](Elementwise::copy) and [`fill`](Elementwise::fill) take every dtype. Inside products with weights it may round
//!   to bf16: [`Cpu::computing_in`].
//!
//! A new device is an implementation of these traits beside [`Cpu`], and a pool of its memory. If the host cannot read that
//! memory, the views and [`Buffer`](crate::Buffer) get a variant for it, and [`Params`](crate::Params) a copy of its arena
//! there. A new dtype of activations is a branch in the kernels that take it; ops and layers stay as they are.

mod attention;
mod cpu;
mod elementwise;
mod losses;
mod norms;
mod products;
mod recurrent;
mod rows;

pub use attention::{
    Attention, AttentionGradients, AttentionInputs, AttentionSpec, DisentangledGradients, DisentangledInputs,
    DisentangledSpec, ScoreBias,
};
pub use cpu::Cpu;
pub use elementwise::Elementwise;
pub use losses::Losses;
pub use norms::Norms;
pub use products::Products;
pub use recurrent::{AdditiveGradients, AdditiveInputs, Recurrent};
pub use rows::Rows;

pub use atento_kernels::attention::disentangled::Buckets;
pub use atento_kernels::dropout::DropoutKey;
pub use atento_kernels::qk_norm::Heads;

/// Everything that computes: one table by topic.
pub trait Device: Products + Attention + Norms + Elementwise + Rows + Recurrent + Losses + Send + Sync {}
