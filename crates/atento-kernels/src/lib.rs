//! Kernels over slices: SIMD, threads.

pub mod activation;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod linear;
pub mod math;
pub mod matmul;
pub mod norm;
pub mod optim;
mod parallel;
pub mod philox;
mod reduce;
mod rms_norm;
pub mod simd;
