//! Kernels over slices: SIMD, threads.

pub mod exp_sum;
pub mod math;
pub mod philox;
pub mod simd;
