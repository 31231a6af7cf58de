//! Which vector instructions to use, decided once at run time.
//!
//! A kernel is written once as an `#[inline(always)]` body over plain slices with a first const
//! parameter `FMA: bool`. [`dispatch!`](crate::dispatch) instantiates that body inside functions
//! compiled for AVX-512, for AVX2 + FMA, and for the baseline, and calls the best one the machine
//! has; LLVM vectorises the same loops for each. Bodies use [`mul_add`] instead of
//! `f32::mul_add`, because without the FMA instruction the latter is a slow library call, and
//! sum over [`LANES`] explicit accumulators, because LLVM may not reorder a float sum.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Independent accumulators of a vectorised reduction: one 512-bit or two 256-bit registers.
pub const LANES: usize = 16;

/// Vector instruction sets, from least to most capable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The target's baseline, without fused multiply-add (SSE2 on x86-64).
    Scalar = 1,
    /// 128-bit NEON with fused multiply-add, the baseline of AArch64.
    Neon = 2,
    /// 256-bit AVX2 with fused multiply-add and half floats (F16C).
    Avx2 = 3,
    /// 512-bit AVX-512 (F, VL, DQ, BW).
    Avx512 = 4,
}

impl Level {
    /// The level's name as the environment variable `ATENTO_SIMD` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// The most capable level of this machine, whatever `ATENTO_SIMD` says.
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    if cfg!(target_arch = "aarch64") { Level::Neon } else { Level::Scalar }
}

/// 0 until [`set_level`] is called, then a [`Level`].
static OVERRIDE: AtomicU8 = AtomicU8::new(0);

/// The level kernels use: the detected one, lowered by the environment variable `ATENTO_SIMD`
/// (`scalar`, `neon`, `avx2`, `avx512`; anything else is ignored) or by [`set_level`].
#[inline]
pub fn level() -> Level {
    match OVERRIDE.load(Ordering::Relaxed) {
        1 => Level::Scalar,
        2 => Level::Neon,
        3 => Level::Avx2,
        4 => Level::Avx512,
        _ => default_level(),
    }
}

fn default_level() -> Level {
    static DEFAULT: OnceLock<Level> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        let wanted = std::env::var("ATENTO_SIMD").unwrap_or_default();
        available().into_iter().find(|level| level.name() == wanted).unwrap_or_else(detected)
    })
}

/// Every level this machine can run, least capable first.
pub fn available() -> Vec<Level> {
    let has = |level: &Level| match level {
        Level::Scalar => true,
        Level::Neon => cfg!(target_arch = "aarch64"),
        Level::Avx2 | Level::Avx512 => *level <= detected() && cfg!(target_arch = "x86_64"),
    };
    [Level::Scalar, Level::Neon, Level::Avx2, Level::Avx512].into_iter().filter(has).collect()
}

/// Makes every thread of the process use `level`; `None` returns to the default.
///
/// # Panics
/// If the machine lacks the level.
pub fn set_level(level: Option<Level>) {
    if let Some(level) = level {
        assert!(available().contains(&level), "set_level: this machine has no {}", level.name());
    }
    OVERRIDE.store(level.map_or(0, |level| level as u8), Ordering::Relaxed);
}

/// Runs `f` with every thread at `level`, one caller at a time; tests that compare bits run inside.
/// Calls do not nest.
pub fn with_level<R>(level: Level, f: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            set_level(None);
        }
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _reset = Reset;
    set_level(Some(level));
    f()
}

/// Runs `f` once at every level of this machine, as a test of a kernel does.
pub fn for_each_level(mut f: impl FnMut(Level)) {
    for level in available() {
        with_level(level, || f(level));
    }
}

/// `a·b + c`, fused when `FMA`, with two roundings otherwise.
#[inline(always)]
pub fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Sum of the lanes of an accumulator, pairwise: a fixed order, the same at every level.
#[inline(always)]
pub fn reduce_sum(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Largest lane; a NaN lane is ignored.
#[inline(always)]
pub fn reduce_max(lanes: [f32; LANES]) -> f32 {
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Calls `body::<FMA>(arguments…)` compiled for the best instruction set of [`simd::level`](level()).
///
/// `dispatch!(body(x: &[f32], out: &mut [f32]))` passes the variables `x` and `out` on; the types
/// are repeated because the instantiations are functions of their own. A return type may follow
/// (`-> f32`), and further type parameters with their bounds (`body<F: Unary>(…)`). `body` must be
/// `#[inline(always)]`, or it keeps the baseline's instructions.
#[macro_export]
macro_rules! dispatch {
    ($body:ident $(<$($generic:ident : $bound:path),+>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn avx512 $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            $body::<true $($(, $generic)+)?>($($arg),*)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2 $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            $body::<true $($(, $generic)+)?>($($arg),*)
        }
        match $crate::simd::level() {
            // SAFETY: `level` reports only what `is_x86_feature_detected!` found.
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx512 => unsafe { avx512 $(::<$($generic),+>)? ($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx2 => unsafe { avx2 $(::<$($generic),+>)? ($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            $crate::simd::Level::Neon => $body::<true $($(, $generic)+)?>($($arg),*),
            _ => $body::<false $($(, $generic)+)?>($($arg),*),
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
            for i in 0..LANES {
                lanes[i] = mul_add::<FMA>(a[i], b[i], lanes[i]);
            }
        }
        reduce_sum(lanes)
    }

    #[test]
    fn every_level_computes_the_same_sum() {
        let a: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let expected = (0..64).map(|i| (i * i) as f32).sum::<f32>();
        for_each_level(|at| {
            assert_eq!(level(), at);
            let (a, b) = (&a[..], &a[..]);
            assert_eq!(dispatch!(dot(a: &[f32], b: &[f32]) -> f32), expected, "{at:?}");
        });
    }

    #[test]
    fn scalar_is_always_available_and_detected_is_the_best() {
        assert_eq!(available().first(), Some(&Level::Scalar));
        assert_eq!(available().last(), Some(&detected()));
    }
}
