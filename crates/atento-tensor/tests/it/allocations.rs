//! A warm training step takes nothing large from the system, but for the scratch of large matrix products: the `gemm`
//! crate packs an operand into a buffer of its own in every call and offers no way to lend it one. That buffer is
//! aligned to two cache lines, which nothing else here is, so it is told apart by its alignment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::{Model, Sizes, alone};

/// From here an allocation may be served by fresh, unmapped pages.
const LARGE: usize = 64 << 10;

/// Alignment of the `gemm` crate's scratch.
const PACKING_ALIGNMENT: usize = 128;

static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code)]
// SAFETY: every request goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && layout.align() < PACKING_ALIGNMENT {
            LARGE_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn a_warm_step_allocates_nothing_large() {
    let _alone = alone();
    // Activations are 16 sequences of 40 tokens by 96 floats and more: 245,760 bytes each.
    let mut model = Model::new(Sizes { vocab_size: 2000, d_model: 96, d_ff: 384, n_layers: 2 });
    let mut counts = Vec::new();
    for step in 0..9 {
        let before = LARGE_ALLOCATIONS.load(Ordering::Relaxed);
        model.train(&[40; 16], step);
        counts.push(LARGE_ALLOCATIONS.load(Ordering::Relaxed) - before);
    }
    assert!(counts[0] > 10, "the first step fills the pool: {counts:?}");
    assert_eq!(counts[5..], [0; 4], "large allocations of each step: {counts:?}");
}
