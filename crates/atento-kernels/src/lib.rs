//! Kernels over slices: SIMD, threads.
