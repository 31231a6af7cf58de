//! Vectors of `f32`: the few operations attention needs, for each instruction set.
//!
//! Attention keeps whole tiles in registers and transposes blocks, which plain loops leave to
//! LLVM's luck, so its loops are written over [`Lanes`] instead: one source, compiled for AVX-512,
//! for AVX2 with FMA and, as four-element arrays, for any processor.
//!
//! # Safety
//! Every `unsafe fn` of attention that is generic over [`Lanes`] asks two things of its caller. The
//! first is the same for all of them and is not repeated there: **the processor has the instruction
//! set of `S`**. It holds because the only way in is a function made by [`instantiate!`], called with
//! what [`simd::level`](crate::simd::level) detected. The second is that pointers are valid for the
//! numbers that the function's documentation names: the numbers can be read, or written where the
//! pointer is mutable, and no other thread writes them, or touches them where they are written.

use super::product::{Kernel, Product, tile_body};
use crate::simd::mul_add;

/// Rows whose pointers [`Lanes::four_columns`] takes, the widest vector's number of lanes.
pub(super) const WIDEST: usize = 16;

/// One vector instruction set.
///
/// # Safety
/// Callers of a method promise that the processor has the instruction set, and that pointers are valid for the numbers that
/// the method's documentation names; it asks for no alignment beyond a number's.
///
/// Implementations promise that `LANES` divides [`WIDEST`], that methods touch no other numbers, and that each kernel in the
/// tables computes as many rows and vectors as its place says.
pub(super) unsafe trait Lanes: Sized + 'static {
    /// A vector of [`LANES`](Self::LANES) numbers.
    type V: Copy;
    /// Numbers in a vector; divides [`WIDEST`].
    const LANES: usize;
    /// Whether multiply-add is fused.
    const FMA: bool;
    /// Register-tile kernels: `TILES[n − 1][m − 1]` is m rows by n vectors.
    const TILES: &'static [&'static [Kernel]];
    /// Register-tile kernels of one vector of which only some columns exist: `PARTIAL[m − 1]` is m rows.
    const PARTIAL: &'static [Kernel];

    /// `x` in every lane.
    unsafe fn splat(x: f32) -> Self::V;
    /// Loads `LANES` numbers.
    unsafe fn load(from: *const f32) -> Self::V;
    /// Stores `LANES` numbers.
    unsafe fn store(to: *mut f32, x: Self::V);
    /// Loads `count <= LANES` numbers and fills up with zeros; touches no others.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    /// Stores `count <= LANES` numbers; touches no others.
    unsafe fn store_first(to: *mut f32, x: Self::V, count: usize);
    /// `a + b`.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a·b`.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// Lane-wise maximum; `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a·b + c`.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `x` in the lanes from `first <= LANES` on, `other` in those before.
    unsafe fn from_lane(first: usize, x: Self::V, other: Self::V) -> Self::V;
    /// 2ˣ for x ≤ 127, see [`EXP2`]. NaN propagates, −∞ gives 0.
    unsafe fn exp2(x: Self::V) -> Self::V;
    /// Sum of the lanes.
    unsafe fn sum(x: Self::V) -> f32;
    /// Transposes the first `LANES` rows, four numbers of each: lane `r` of vector `c` is `*rows[r].add(c)`.
    unsafe fn four_columns(rows: &[*const f32; WIDEST]) -> [Self::V; 4];
}

/// Coefficients of 2ʳ on |r| ≤ ½, constant first: least relative error, 1.6e-8 as rounded.
/// Softmax runs on powers of two, with log₂e folded into the scale of the queries, which leaves
/// the reduction `r = x − round(x)` exact and saves three operations over `math::exp`. The result
/// is within 2 units of 2⁻²⁴; below 2⁻¹²⁶ it is 0, as arithmetic on subnormal numbers is slow.
const EXP2: [f32; 7] =
    [1.0, std::f32::consts::LN_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_992_4, 0.000_153_457_92];
/// Exponent of the smallest normal number.
pub(super) const EXP2_LOWEST: f32 = -126.0;

/// 2ʳ for |r| ≤ ½, by the coefficients [`EXP2`].
#[inline(always)]
pub(super) unsafe fn exp2_polynomial<S: Lanes>(r: S::V) -> S::V {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let mut sum = S::splat(EXP2[6]);
        for i in (0..6).rev() {
            sum = S::mul_add(sum, r, S::splat(EXP2[i]));
        }
        sum
    }
}

/// A table of `Self::tile` kernels of the given widths and rows.
macro_rules! tiles {
    ($vectors:literal $partial:literal: $($rows:literal)*) => {
        &[$(Self::tile::<$rows, $vectors, $partial>),*]
    };
}
pub(super) use tiles;

/// Four-element arrays, for any processor; `F` says whether it has a fused multiply-add.
pub(super) struct Portable<const F: bool>;

impl<const F: bool> Portable<F> {
    /// # Safety
    /// As [`tile_body`].
    unsafe fn tile<const M: usize, const N: usize, const PARTIAL: bool>(product: &Product, row: usize, column: usize) {
        // SAFETY: promised by the caller; arrays need no instruction set.
        unsafe { tile_body::<Self, M, N, PARTIAL>(product, row, column) }
    }

    #[inline(always)]
    fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

// SAFETY: 4 divides 16. Methods touch the four numbers of a vector, or the first `count` of them. The tables list kernels
// of one vector, then of two, each of 1, 2, 3… rows.
unsafe impl<const F: bool> Lanes for Portable<F> {
    type V = [f32; 4];
    const LANES: usize = 4;
    const FMA: bool = F;
    const TILES: &'static [&'static [Kernel]] = &[tiles!(1 false: 1 2 3 4 5 6 7 8), tiles!(2 false: 1 2 3 4 5 6)];
    const PARTIAL: &'static [Kernel] = tiles!(1 true: 1 2 3 4 5 6 7 8);

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller promises four numbers, and an array of them is aligned as a number is.
        unsafe { from.cast::<[f32; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: [f32; 4]) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; 4]>().write(x) };
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> [f32; 4] {
        let mut x = [0.0; 4];
        for i in 0..count {
            // SAFETY: the caller promises `count` numbers.
            x[i] = unsafe { *from.add(i) };
        }
        x
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, x: [f32; 4], count: usize) {
        for i in 0..count {
            // SAFETY: the caller promises `count` numbers.
            unsafe { *to.add(i) = x[i] };
        }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| mul_add::<F>(a[i], b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn from_lane(first: usize, x: [f32; 4], other: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if i >= first { x[i] } else { other[i] })
    }
    #[inline(always)]
    unsafe fn exp2(x: [f32; 4]) -> [f32; 4] {
        // Adding 1.5·2²³ rounds to a whole number and leaves it in the low bits of the sum.
        const ROUND: f32 = 12_582_912.0;
        // SAFETY: arrays need no instruction set, here and below.
        let shifted = unsafe { Self::add(x, [ROUND; 4]) };
        // SAFETY: as above.
        let p = unsafe { exp2_polynomial::<Self>(Self::sub(x, Self::sub(shifted, [ROUND; 4]))) };
        std::array::from_fn(|i| {
            let power = f32::from_bits(shifted[i].to_bits().wrapping_add(127) << 23);
            if x[i] < EXP2_LOWEST { 0.0 } else { p[i] * power }
        })
    }
    #[inline(always)]
    unsafe fn sum(x: [f32; 4]) -> f32 {
        (x[0] + x[2]) + (x[1] + x[3])
    }
    #[inline(always)]
    unsafe fn four_columns(rows: &[*const f32; WIDEST]) -> [[f32; 4]; 4] {
        let mut columns = [[0.0; 4]; 4];
        for r in 0..4 {
            // SAFETY: the caller promises four numbers of each of the first four rows.
            let row = unsafe { Self::load(rows[r]) };
            for c in 0..4 {
                columns[c][r] = row[c];
            }
        }
        columns
    }
}

/// Defines `unsafe fn name(level, arguments…)`, which runs the `#[inline(always)]` function `body`
/// compiled for `level`.
///
/// # Safety
/// Callers of `name` promise that the processor has `level`, and whatever `body` asks for besides.
macro_rules! instantiate {
    ($(#[$doc:meta])* fn $name:ident = $body:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        pub(super) unsafe fn $name(level: $crate::simd::Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: this function has the instruction set; the caller promises the rest.
                unsafe { $body::<$crate::attention::x86::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: this function has the instruction set; the caller promises the rest.
                unsafe { $body::<$crate::attention::x86::Avx2>($($arg),*) }
            }
            // SAFETY: the caller promises that the processor has `level` and what `body` asks for; the instructions of
            // NEON are AArch64's baseline, and arrays need none.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    $crate::simd::Level::Neon => $body::<$crate::attention::lanes::Portable<true>>($($arg),*),
                    _ => $body::<$crate::attention::lanes::Portable<false>>($($arg),*),
                }
            }
        }
    };
}
pub(super) use instantiate;
