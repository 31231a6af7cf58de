//! A register of f32 lanes, for the one loop nest that LLVM does not vectorise by itself: tiles of
//! dot products, whose accumulators it would keep in memory.

use half::{bf16, f16};

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
    /// All lanes one number.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn splat(value: f32) -> Self;
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
    /// The numbers that half floats are.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn widen_halves(halves: &[u8; 8]) -> [f32; 4];
}

/// A stored number that stands for an f32.
///
/// # Safety
/// As [`Vector`].
pub(crate) unsafe trait Load<V: Vector>: Copy {
    /// The `V::WIDTH` numbers at `from`, widened.
    ///
    /// # Safety
    /// As the trait says, and `from` must be readable for `V::WIDTH` numbers.
    unsafe fn load(from: *const Self) -> V;
}

/// A stored number that can become an f32.
pub(crate) trait Widen: Copy + Send + Sync {
    /// The f32 it stands for.
    fn widen(self) -> f32;
}

/// A stored number that every register can be loaded from.
#[cfg(target_arch = "x86_64")]
pub(crate) trait Element: Widen + Load<std::arch::x86_64::__m256> + Load<std::arch::x86_64::__m512> {}
#[cfg(target_arch = "x86_64")]
impl<W: Widen + Load<std::arch::x86_64::__m256> + Load<std::arch::x86_64::__m512>> Element for W {}

/// A stored number that every register can be loaded from.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) trait Element: Widen {}
#[cfg(not(target_arch = "x86_64"))]
impl<W: Widen> Element for W {}

impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Widen for i8 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

impl Widen for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

// SAFETY: needs no instruction set beyond the baseline.
unsafe impl<W: Widen> Load<[f32; 4]> for W {
    #[inline(always)]
    unsafe fn load(from: *const W) -> [f32; 4] {
        // SAFETY: promised by the caller.
        std::array::from_fn(|i| unsafe { *from.add(i) }.widen())
    }
}

// SAFETY: needs no instruction set beyond the baseline.
unsafe impl Vector for [f32; 4] {
    const WIDTH: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
    #[inline(always)]
    unsafe fn widen_halves(halves: &[u8; 8]) -> [f32; 4] {
        std::array::from_fn(|i| f16::from_le_bytes([halves[2 * i], halves[2 * i + 1]]).to_f32_const())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Load, Vector};
    use half::bf16;
    use std::arch::asm;
    use std::arch::x86_64::*;

    macro_rules! loads {
        ($($element:ty, $vector:ty, $from:ident => $body:expr;)*) => {$(
            // SAFETY: used only inside functions with the instruction set of the register.
            unsafe impl Load<$vector> for $element {
                #[inline(always)]
                unsafe fn load($from: *const $element) -> $vector {
                    // SAFETY: promised by the caller.
                    unsafe { $body }
                }
            }
        )*};
    }
    loads! {
        f32, __m256, from => _mm256_loadu_ps(from);
        f32, __m512, from => _mm512_loadu_ps(from);
        i8, __m256, from => _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
        i8, __m512, from => _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
        bf16, __m256, from =>
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()))));
        bf16, __m512, from =>
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()))));
    }

    /// Written as the instruction: of the intrinsic, where a loop uses one lane, LLVM makes a load of two bytes into the register
    /// of the loop's sum, which then waits for them, or takes loads of the next bytes to pieces.
    ///
    /// # Safety
    /// F16C must be present.
    #[inline(always)]
    unsafe fn widen_halves(halves: &[u8; 8]) -> [f32; 4] {
        let wide: __m128;
        // SAFETY: promised by the caller; it reads the eight bytes.
        unsafe {
            asm!(
                "vcvtph2ps {wide}, qword ptr [{halves}]",
                wide = lateout(xmm_reg) wide,
                halves = in(reg) halves.as_ptr(),
                options(pure, readonly, nostack),
            );
            std::mem::transmute(wide)
        }
    }

    // SAFETY: used only inside functions with AVX2 and FMA, on processors that have F16C too (`simd::detected`).
    unsafe impl Vector for __m256 {
        const WIDTH: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: promised by the caller, here and below.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(value) }
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
        #[inline(always)]
        unsafe fn widen_halves(halves: &[u8; 8]) -> [f32; 4] {
            // SAFETY: as above.
            unsafe { widen_halves(halves) }
        }
    }

    // SAFETY: used only inside functions with AVX-512F, on processors that have F16C too (`simd::detected`).
    unsafe impl Vector for __m512 {
        const WIDTH: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: promised by the caller, here and below.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(value) }
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
        #[inline(always)]
        unsafe fn widen_halves(halves: &[u8; 8]) -> [f32; 4] {
            // SAFETY: as above.
            unsafe { widen_halves(halves) }
        }
    }
}
