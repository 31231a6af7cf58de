//! What a warm training step takes from the system: no buffer as large as an activation, but for the scratch of matrix
//! products. The `gemm` crate packs operands into a buffer of its own in every call and offers no way to lend it one;
//! `matmul` cuts products so that the buffer stays small. It is aligned to two cache lines, which nothing else here is,
//! so it is told apart by its alignment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::{Model, Sizes, alone};

/// From here the program's allocator maps fresh pages for a block and gives them back with it.
const MAPPED: usize = 2 << 20;

/// The most that a kernel takes for partial sums: sixteen rows of its output, here of 3072 numbers.
const PARTIAL_SUMS: usize = 16 * 3072 * 4;

/// Alignment of the `gemm` crate's scratch.
const PACKING_ALIGNMENT: usize = 128;

/// The largest block asked for since it was last set to 0, of `gemm` and of everything else.
static LARGEST_PACKED: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, watched.
struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

#[allow(unsafe_code)]
// SAFETY: every request goes to `System` unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let largest = if layout.align() < PACKING_ALIGNMENT { &LARGEST } else { &LARGEST_PACKED };
        largest.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The largest block of each of some steps over 16 sequences of 40 tokens: of `gemm`, and of everything else.
fn largest_blocks(sizes: Sizes, n_steps: u64) -> Vec<(usize, usize)> {
    let mut model = Model::new(sizes);
    let step = |step| {
        LARGEST_PACKED.store(0, Ordering::Relaxed);
        LARGEST.store(0, Ordering::Relaxed);
        model.train(&[40; 16], step);
        (LARGEST_PACKED.load(Ordering::Relaxed), LARGEST.load(Ordering::Relaxed))
    };
    (0..n_steps).map(step).collect()
}

#[test]
fn a_warm_step_allocates_nothing_large() {
    let _alone = alone();
    // Activations are 640 tokens by 96 floats and more: 245,760 bytes each.
    let largest = largest_blocks(Sizes { vocab_size: 2000, d_model: 96, d_ff: 384, n_layers: 2 }, 9);
    assert!(largest[0].1 > 640 * 384 * 4, "the first step fills the pool: {largest:?}");
    assert!(largest[5..].iter().all(|&(packed, other)| packed < MAPPED && other < 64 << 10), "{largest:?}");
}

/// The width of GPT-2: a gradient of its widest matrix is 9 MiB, of its vocabulary more.
#[test]
fn a_warm_step_of_a_wide_model_allocates_nothing_large() {
    let _alone = alone();
    let largest = largest_blocks(Sizes { vocab_size: 17_000, d_model: 768, d_ff: 3072, n_layers: 1 }, 4);
    assert!(largest[0].1 > 640 * 3072 * 4, "the first step fills the pool: {largest:?}");
    let (packed, other) = largest[3];
    assert!(packed > 0 && packed < MAPPED, "gemm packs into {packed} bytes");
    assert!(other <= PARTIAL_SUMS, "a kernel allocates {other} bytes");
}
