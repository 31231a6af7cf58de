//! What multiplies bf16 numbers, decided once at run time.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Kernel, amx, avx512, emulated};
use crate::simd::{Level, level};

/// What multiplies bf16 numbers, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unit {
    /// One number after the other: slower than f32 by far, on every machine.
    Emulated = 1,
    /// Vectors of AVX512-BF16.
    Avx512 = 2,
    /// Tiles of AMX.
    Amx = 3,
}

impl Unit {
    const ALL: [Self; 3] = [Self::Emulated, Self::Avx512, Self::Amx];

    /// Those of this machine, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|unit| unit.is_available()).collect()
    }

    /// The unit's name as the environment variable `ATENTO_BF16` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unit::Emulated => "emulated",
            Unit::Avx512 => "avx512",
            Unit::Amx => "amx",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Unit::Emulated => true,
            Unit::Avx512 => avx512::is_available(),
            Unit::Amx => amx::is_available(),
        }
    }

    pub(super) fn kernel(self) -> &'static Kernel {
        assert!(self.is_available(), "this machine has no {} unit for bf16", self.name());
        match self {
            Unit::Emulated => &emulated::KERNEL,
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => &avx512::KERNEL,
            #[cfg(not(target_arch = "x86_64"))]
            Unit::Avx512 => &emulated::KERNEL,
            Unit::Amx => amx::kernel().unwrap_or(&emulated::KERNEL),
        }
    }
}

/// The best unit of this machine that does not emulate, whatever the environment says.
#[must_use]
pub fn native_unit() -> Option<Unit> {
    [Unit::Amx, Unit::Avx512].into_iter().find(|unit| unit.is_available())
}

/// 0 until [`with_unit`] runs, then a [`Unit`].
static OVERRIDE: AtomicU8 = AtomicU8::new(0);

/// The unit to compute with: the one that [`with_unit`] or the environment variable `ATENTO_BF16` names (`emulated`,
/// `avx512`, `amx`; one that is not there is ignored), else the best of this machine that does not emulate. `None` where
/// there is none, and where `ATENTO_SIMD` turns AVX-512 off.
#[must_use]
pub fn usable_unit() -> Option<Unit> {
    let forced = OVERRIDE.load(Ordering::Relaxed);
    let named = || {
        static NAMED: OnceLock<Option<Unit>> = OnceLock::new();
        *NAMED.get_or_init(|| {
            let wanted = std::env::var("ATENTO_BF16").unwrap_or_default();
            Unit::ALL.into_iter().find(|unit| unit.name() == wanted && unit.is_available())
        })
    };
    let native = || if level() == Level::Avx512 { native_unit() } else { None };
    Unit::ALL.into_iter().find(|unit| *unit as u8 == forced).or_else(named).or_else(native)
}

/// The unit that products use: [`usable_unit`], or the emulation.
#[must_use]
pub fn unit() -> Unit {
    usable_unit().unwrap_or(Unit::Emulated)
}

/// Runs `f` with products of all threads on `unit`, one caller at a time, as tests do. Calls do not nest.
///
/// # Panics
/// If the machine lacks the unit.
pub fn with_unit<R>(unit: Unit, f: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            OVERRIDE.store(0, Ordering::Relaxed);
        }
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(unit.is_available(), "with_unit: this machine has no {}", unit.name());
    let _reset = Reset;
    OVERRIDE.store(unit as u8, Ordering::Relaxed);
    f()
}
