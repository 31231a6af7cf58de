//! Kernels over slices: SIMD, threads.

pub mod math;
pub mod philox;
pub mod simd;
