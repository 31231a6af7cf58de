//! Where a chain of kernels runs.

use std::cell::Cell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::Yield;

/// Rounds without work after which a waiting thread lets other processes go first.
const PATIENCE: usize = 1 << 10;

thread_local! {
    /// Whether this thread leads a chain of kernels or waits for a share of one.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, a chain of kernels, on a thread of the pool, with the pool's other threads awake until it ends.
///
/// A kernel that is called from outside the pool hands its work over and sleeps until it is told of the end; and between
/// two kernels the pool's threads fall asleep. Waking one takes some tens of microseconds, as long as a small kernel. Both
/// together are a third of the time of decoding token by token. Results do not depend on it.
///
/// `f` must not wait for other threads except through rayon.
pub fn within<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return f();
    }
    let ended = AtomicBool::new(false);
    rayon::scope(|scope| {
        scope.spawn_broadcast(|_, _| stay_awake(&ended));
        let _leading = Taken::take();
        let _end = SetOnDrop(&ended);
        f()
    })
}

/// Does what work there is until the chain of kernels has ended; at once where this thread has something of its own to do.
fn stay_awake(ended: &AtomicBool) {
    let Some(_waiting) = Taken::take() else { return };
    let mut idle = 0;
    while !ended.load(Ordering::Acquire) {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle = 0,
            _ if idle < PATIENCE => {
                idle += 1;
                spin_loop();
            }
            _ => std::thread::yield_now(),
        }
    }
}

/// Marks this thread as taken while it lives.
struct Taken;

impl Taken {
    fn take() -> Option<Self> {
        (!TAKEN.replace(true)).then_some(Self)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.set(false);
    }
}

/// Set also where a kernel panics, or its helpers would wait for ever.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn work_runs_on_a_thread_of_the_pool_and_returns_its_result() {
        assert!(rayon::current_thread_index().is_none());
        let inner = within(|| (rayon::current_thread_index(), within(rayon::current_thread_index)));
        assert!(inner.0.is_some());
        assert_eq!(inner.0, inner.1);
    }

    #[test]
    fn chains_of_many_callers_end_also_where_one_panics() {
        let chain =
            |seed: u64| within(|| (0..50).map(|i| (0..100).into_par_iter().map(|j| i * j + seed).sum::<u64>()).sum());
        let expected: Vec<u64> = (0..8).map(|seed| 49 * 25 * 99 * 50 + 5000 * seed).collect();
        let found: Vec<u64> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|seed| scope.spawn(move || chain(seed))).collect();
            let panics = scope.spawn(|| within(|| panic!("as a kernel may")));
            assert!(panics.join().is_err());
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(found, expected);
    }
}
