//! AMX tiles: `tdpbf16ps` multiplies 16 rows of A by 16 columns of B over 32 numbers along k.
//!
//! A tile of C is 2 × 2 tiles of the unit, so that each tile that is loaded is multiplied twice. For each pair along k the
//! unit sums the products of the even numbers and those of the odd ones, and adds them to the sum.
//!
//! The system lends the tiles to processes that ask (`arch_prctl`), and each thread says once how it divides them
//! (`ldtilecfg`). Nothing else in the program uses tile registers, so they keep their contents between two `asm!`.

use super::Kernel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::emulated;

/// Whether the processor has tiles with bf16, the system lends them, and they multiply as the emulation does; asks and tries
/// on the first call. Where one of these fails, products are left to vectors.
pub(super) fn is_available() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        static LENT: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *LENT.get_or_init(|| x86::request() && emulated::agrees(&x86::KERNEL, &emulated::TILES))
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// The kernel, handed out only where [`is_available`] says so (`unit.rs`).
pub(super) fn kernel() -> Option<&'static Kernel> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return Some(&x86::KERNEL);
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    None
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::cell::Cell;

    use crate::matmul::packed::panels::PAIRS;
    use crate::matmul::packed::{Kernel, Term};

    /// Rows of a tile register; its columns are as many f32 numbers.
    const SIDE: usize = 16;
    /// Rows and columns of C of one call.
    const BLOCK: usize = 2 * SIDE;

    pub(in crate::matmul::packed) static KERNEL: Kernel = Kernel { rows: BLOCK, cols: BLOCK, depth: 512, tile };

    /// CPUID leaf 7, EDX.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    /// `arch_prctl`: the request, and the component that tile data are.
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;

    /// Asks for the tiles. The answer holds for every thread of the process.
    pub(super) fn request() -> bool {
        let (most, features) = (__cpuid_count(0, 0).eax, AMX_BF16 | AMX_TILE);
        if most < 7 || __cpuid_count(7, 0).edx & features != features {
            return false;
        }
        // SAFETY: the call takes two numbers and touches no memory of ours. Systems that do not know it answer an error.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    /// What `ldtilecfg` reads: the palette, the bytes of a row of each tile from byte 16 on, its rows from byte 48 on.
    #[repr(align(64))]
    struct Config([u8; 64]);

    /// Eight tiles of 16 rows of 64 bytes.
    static CONFIG: Config = {
        let (mut bytes, mut tile) = ([0; 64], 0);
        bytes[0] = 1;
        while tile < 8 {
            (bytes[16 + 2 * tile], bytes[48 + tile]) = (4 * SIDE as u8, SIDE as u8);
            tile += 1;
        }
        Config(bytes)
    };

    /// Divides the tiles of this thread, once.
    fn configure() {
        thread_local! {
            static IS_CONFIGURED: Cell<bool> = const { Cell::new(false) };
        }
        if !IS_CONFIGURED.get() {
            // SAFETY: the kernel is handed out only where the tiles are there and lent; the instruction reads 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) CONFIG.0.as_ptr(), options(nostack, preserves_flags)) };
            IS_CONFIGURED.set(true);
        }
    }

    fn tile(terms: &[Term<'_>], sums: &mut [f32]) {
        assert_eq!(sums.len(), BLOCK * BLOCK, "amx tile: sums");
        configure();
        // SAFETY: the tiles are there, lent and configured.
        unsafe { asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nomem, nostack)) };
        for (a, b) in terms {
            // Steps of 32 numbers along k: a line for each row of A, and sixteen rows of two lines of B.
            let steps = a.len() / BLOCK;
            assert!(a.len() == steps * BLOCK && b.len() == steps * BLOCK, "amx tile: {} and {}", a.len(), b.len());
            if steps == 0 {
                continue;
            }
            // SAFETY: as above; every step reads 2 KiB of A and of B, whose lengths were checked.
            unsafe {
                asm!(
                    "2:",
                    "tileloadd tmm4, [{a} + {row_a}]",
                    "tileloadd tmm6, [{b} + {row_b}]",
                    "tileloadd tmm7, [{b} + {row_b} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{a} + {row_a} + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "dec {steps}",
                    "jnz 2b",
                    a = inout(reg) a.as_ptr() => _,
                    b = inout(reg) b.as_ptr() => _,
                    steps = inout(reg) steps => _,
                    row_a = in(reg) 4 * PAIRS,
                    row_b = in(reg) 4 * BLOCK,
                    options(readonly, nostack),
                );
            }
        }
        // SAFETY: as above; four tiles of 16 rows of 64 bytes, rows 128 bytes apart, are all of `sums`.
        unsafe {
            asm!(
                "tilestored [{c} + {row}], tmm0",
                "tilestored [{c} + {row} + 64], tmm1",
                "tilestored [{c} + {row} + 2048], tmm2",
                "tilestored [{c} + {row} + 2112], tmm3",
                c = in(reg) sums.as_mut_ptr(),
                row = in(reg) 4 * BLOCK,
                options(nostack, preserves_flags),
            );
        }
    }
}
