//! A register of f32 lanes, for the one loop nest that LLVM does not vectorise by itself: tiles of
//! dot products, whose accumulators it would keep in memory.

/// Arithmetic on `WIDTH` lanes.
///
/// # Safety
/// The implementations for machine registers may be called only where the instruction set is
/// present; everything is inlined into functions with the target feature.
pub(crate) unsafe trait Vector: Copy {
    const WIDTH: usize;
    /// All lanes 0.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn zero() -> Self;
    /// The `WIDTH` numbers at `from`.
    ///
    /// # Safety
    /// As the trait says, and `from` must be readable for `WIDTH` numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// `self · b + c` in each lane.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Sum of the lanes.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn sum(self) -> f32;
}

// SAFETY: needs no instruction set beyond the baseline.
unsafe impl Vector for [f32; 4] {
    const WIDTH: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: promised by the caller; arrays of f32 have the alignment of f32.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    // SAFETY: used only inside functions with AVX2 and FMA.
    unsafe impl Vector for __m256 {
        const WIDTH: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: promised by the caller, here and below.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above; `__m256` is eight floats.
            let lanes: [f32; 8] = unsafe { std::mem::transmute(self) };
            let half: [f32; 4] = std::array::from_fn(|i| lanes[i] + lanes[i + 4]);
            (half[0] + half[2]) + (half[1] + half[3])
        }
    }

    // SAFETY: used only inside functions with AVX-512F.
    unsafe impl Vector for __m512 {
        const WIDTH: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: promised by the caller, here and below.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe { _mm512_reduce_add_ps(self) }
        }
    }
}
