//! The kernels of Transformers over plain slices: forward and backward, SIMD and threads.
//!
//! A kernel reads and writes `&[f32]` slices of contiguous rows, checks their lengths once at the
//! top, allocates no output and knows no tensor. It is written as a plain loop, compiled for each
//! instruction set ([`simd`]), and cut into tasks whose size depends on the shapes only, so that
//! results do not depend on the number of threads. A backward takes what its forward saved as
//! explicit arguments; its derivation stands in the module's documentation.

pub mod activation;
pub mod additive_attention;
pub mod attention;
pub mod compact;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod exp_sum;
mod few_rows;
pub mod gated;
pub mod group_losses;
pub mod gru;
pub mod linear;
pub mod math;
pub mod matmul;
pub mod memory;
pub mod norm;
pub mod optim;
mod parallel;
pub mod peak;
pub mod philox;
pub mod qk_norm;
mod reduce;
mod residual_norm;
mod residual_rms_norm;
pub mod rms_norm;
pub mod rope;
pub mod simd;
pub mod threads;
pub mod unfold;
mod vector;
