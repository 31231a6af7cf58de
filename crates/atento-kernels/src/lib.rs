//! Kernels over slices: SIMD, threads.

pub mod activation;
pub mod linear;
pub mod math;
pub mod matmul;
mod parallel;
pub mod philox;
mod reduce;
pub mod simd;
