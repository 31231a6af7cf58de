//! Kernels over slices: SIMD, threads.

pub mod attention;
pub mod math;
pub mod philox;
pub mod simd;
