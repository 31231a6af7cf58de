//! [`Lanes`] for AVX-512 and for AVX2 with FMA.
//!
//! # Safety
//! As [`Lanes`] says: a processor with the instructions, and pointers to the numbers that its methods name.

use std::arch::x86_64::*;

use super::lanes::{EXP2_LOWEST, Lanes, WIDEST, exp2_polynomial, tiles};
use super::product::{Kernel, Product, tile_body};

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Methods of [`Lanes`] that are intrinsics. One comment holds for all of them: a masked load or store touches only the
/// numbers of its mask, and any other as many as its register has.
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? { $($body:tt)* })*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller promises the instruction set, and the numbers that the trait's documentation names.
            unsafe { $($body)* }
        }
    )*};
}

/// 32 registers of 16 numbers.
pub(super) struct Avx512;

impl Avx512 {
    /// # Safety
    /// As [`tile_body`].
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    unsafe fn tile<const M: usize, const N: usize, const PARTIAL: bool>(product: &Product, row: usize, column: usize) {
        // SAFETY: this function has the instruction set; the caller promises the rest.
        unsafe { tile_body::<Self, M, N, PARTIAL>(product, row, column) }
    }

    /// The mask of the first `count` lanes.
    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    /// Four quarters of a register from four places.
    ///
    /// # Safety
    /// The processor has the instruction set, and each pointer is to four numbers.
    #[inline(always)]
    unsafe fn quarters(a: *const f32, b: *const f32, c: *const f32, d: *const f32) -> __m512 {
        // SAFETY: promised by the caller; each load is of four numbers.
        unsafe {
            let x = _mm512_castps128_ps512(_mm_loadu_ps(a));
            let x = _mm512_insertf32x4::<1>(x, _mm_loadu_ps(b));
            let x = _mm512_insertf32x4::<2>(x, _mm_loadu_ps(c));
            _mm512_insertf32x4::<3>(x, _mm_loadu_ps(d))
        }
    }
}

// SAFETY: 16 divides 16. Methods touch the 16 numbers of a register, or those of their mask. The tables list kernels of
// one vector, up to four, each of 1, 2, 3… rows.
unsafe impl Lanes for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const FMA: bool = true;
    // At most 24 accumulators of two vectors and more: the columns and a row take the rest.
    const TILES: &'static [&'static [Kernel]] = &[
        tiles!(1 false: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
        tiles!(2 false: 1 2 3 4 5 6 7 8 9 10 11 12),
        tiles!(3 false: 1 2 3 4 5 6 7 8),
        tiles!(4 false: 1 2 3 4 5 6),
    ];
    const PARTIAL: &'static [Kernel] = tiles!(1 true: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);

    intrinsics! {
        fn splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn load(from: *const f32) -> __m512 { _mm512_loadu_ps(from) }
        fn store(to: *mut f32, x: __m512) { _mm512_storeu_ps(to, x) }
        fn load_first(from: *const f32, count: usize) -> __m512 { _mm512_maskz_loadu_ps(Self::first(count), from) }
        fn store_first(to: *mut f32, x: __m512, count: usize) { _mm512_mask_storeu_ps(to, Self::first(count), x) }
        fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn from_lane(first: usize, x: __m512, other: __m512) -> __m512 {
            _mm512_mask_mov_ps(x, Self::first(first), other)
        }
        fn exp2(x: __m512) -> __m512 {
            let normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(EXP2_LOWEST));
            let whole = _mm512_roundscale_ps::<NEAREST>(x);
            let p = exp2_polynomial::<Self>(_mm512_sub_ps(x, whole));
            _mm512_maskz_scalef_ps(normal, p, whole)
        }
        fn sum(x: __m512) -> f32 { _mm512_reduce_add_ps(x) }
        fn four_columns(rows: &[*const f32; WIDEST]) -> [__m512; 4] {
            // Register i holds rows i, i + 4, i + 8 and i + 12, so that transposing its quarters
            // leaves the rows in order; loading the quarters is cheaper than moving them.
            let a = Self::quarters(rows[0], rows[4], rows[8], rows[12]);
            let b = Self::quarters(rows[1], rows[5], rows[9], rows[13]);
            let c = Self::quarters(rows[2], rows[6], rows[10], rows[14]);
            let d = Self::quarters(rows[3], rows[7], rows[11], rows[15]);
            let ab0 = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
            let ab1 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            let cd0 = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
            let cd1 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab0, cd0)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab0, cd0)),
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab1, cd1)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab1, cd1)),
            ]
        }
    }
}

/// 16 registers of 8 numbers.
pub(super) struct Avx2;

impl Avx2 {
    /// # Safety
    /// As [`tile_body`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const M: usize, const N: usize, const PARTIAL: bool>(product: &Product, row: usize, column: usize) {
        // SAFETY: this function has the instruction set; the caller promises the rest.
        unsafe { tile_body::<Self, M, N, PARTIAL>(product, row, column) }
    }

    /// The mask of the first `count` lanes.
    ///
    /// # Safety
    /// The processor has the instruction set.
    #[inline(always)]
    unsafe fn first(count: usize) -> __m256i {
        // SAFETY: promised by the caller.
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
        }
    }

    /// Two halves of a register from two places.
    ///
    /// # Safety
    /// The processor has the instruction set, and each pointer is to four numbers.
    #[inline(always)]
    unsafe fn halves(low: *const f32, high: *const f32) -> __m256 {
        // SAFETY: promised by the caller; each load is of four numbers.
        unsafe {
            let x = _mm256_castps128_ps256(_mm_loadu_ps(low));
            _mm256_insertf128_ps::<1>(x, _mm_loadu_ps(high))
        }
    }
}

// SAFETY: 8 divides 16. Methods touch the 8 numbers of a register, or those of their mask. The tables list kernels of
// one vector, up to two, each of 1, 2, 3… rows.
unsafe impl Lanes for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const FMA: bool = true;
    const TILES: &'static [&'static [Kernel]] =
        &[tiles!(1 false: 1 2 3 4 5 6 7 8 9 10 11 12), tiles!(2 false: 1 2 3 4 5 6)];
    const PARTIAL: &'static [Kernel] = tiles!(1 true: 1 2 3 4 5 6 7 8 9 10 11 12);

    intrinsics! {
        fn splat(x: f32) -> __m256 { _mm256_set1_ps(x) }
        fn load(from: *const f32) -> __m256 { _mm256_loadu_ps(from) }
        fn store(to: *mut f32, x: __m256) { _mm256_storeu_ps(to, x) }
        fn load_first(from: *const f32, count: usize) -> __m256 { _mm256_maskload_ps(from, Self::first(count)) }
        fn store_first(to: *mut f32, x: __m256, count: usize) { _mm256_maskstore_ps(to, Self::first(count), x) }
        fn add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        fn from_lane(first: usize, x: __m256, other: __m256) -> __m256 {
            _mm256_blendv_ps(x, other, _mm256_castsi256_ps(Self::first(first)))
        }
        fn exp2(x: __m256) -> __m256 {
            let normal = _mm256_cmp_ps::<_CMP_NLT_UQ>(x, _mm256_set1_ps(EXP2_LOWEST));
            let whole = _mm256_round_ps::<NEAREST>(x);
            let p = exp2_polynomial::<Self>(_mm256_sub_ps(x, whole));
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
            let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
            _mm256_and_ps(_mm256_mul_ps(p, power), normal)
        }
        fn sum(x: __m256) -> f32 {
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
        fn four_columns(rows: &[*const f32; WIDEST]) -> [__m256; 4] {
            let a = Self::halves(rows[0], rows[4]);
            let b = Self::halves(rows[1], rows[5]);
            let c = Self::halves(rows[2], rows[6]);
            let d = Self::halves(rows[3], rows[7]);
            let ab0 = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
            let ab1 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
            let cd0 = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
            let cd1 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
            [
                _mm256_castpd_ps(_mm256_unpacklo_pd(ab0, cd0)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(ab0, cd0)),
                _mm256_castpd_ps(_mm256_unpacklo_pd(ab1, cd1)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(ab1, cd1)),
            ]
        }
    }
}
