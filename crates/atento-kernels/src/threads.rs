//! Where a chain of kernels runs.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

/// Rounds without work after which a waiting thread lets other processes go first.
const PATIENCE: usize = 1 << 10;

/// How long a chain of kernels waits for the pool's threads to wake before it begins; waking one takes some tens of
/// microseconds where it has nothing else to do.
const WAKING: Duration = Duration::from_micros(200);

/// Whether a chain of kernels that keeps threads awake is running: one in a process at a time.
static KEEPS_AWAKE: AtomicBool = AtomicBool::new(false);

/// Runs `f`, a chain of kernels, on a thread of the pool, with the pool's other threads awake until it ends.
///
/// A kernel that is called from outside the pool hands its work over and sleeps until it is told of the end; and between
/// two kernels the pool's threads fall asleep. Waking one takes some tens of microseconds, as long as a small kernel. Both
/// together are a third of the time of decoding token by token. Results do not depend on it.
///
/// Of chains that run at the same time one keeps the threads awake; the others run as they would without this.
///
/// `f` must not wait for other threads except through rayon.
pub fn within<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return f();
    }
    rayon::scope(|_| {
        let _awake = (rayon::current_num_threads() > 1).then(KeptAwake::gather).flatten();
        f()
    })
}

/// Where a chain is: threads are being woken for it, it runs, it has ended.
const GATHERS: u8 = 0;
const RUNS: u8 = 1;
const ENDED: u8 = 2;

/// What a chain and the threads it keeps awake share.
#[derive(Default)]
struct Chain {
    state: AtomicU8,
    n_awake: AtomicUsize,
}

impl Chain {
    /// Does what work there is until the chain has ended.
    ///
    /// A thread that comes when the chain already runs goes away again: it may be in the middle of a share of that very
    /// chain, waiting for another share of it, and each would then wait for the other. One that comes before can only hold
    /// up what began before the chain, while the chain waits only for what began after it.
    fn stay_awake(&self) {
        if self.state.load(Ordering::Acquire) != GATHERS {
            return;
        }
        self.n_awake.fetch_add(1, Ordering::Relaxed);
        let mut idle = 0;
        while self.state.load(Ordering::Acquire) != ENDED {
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
}

/// The pool's threads, awake while this lives: until the chain returns or panics.
struct KeptAwake(Arc<Chain>);

impl KeptAwake {
    /// Wakes the pool's other threads; `None` where another chain has them.
    fn gather() -> Option<Self> {
        if KEEPS_AWAKE.swap(true, Ordering::AcqRel) {
            return None;
        }
        let kept = Self(Arc::default());
        let chain = Arc::clone(&kept.0);
        rayon::spawn_broadcast(move |_| chain.stay_awake());
        let since = Instant::now();
        while kept.0.n_awake.load(Ordering::Relaxed) + 1 < rayon::current_num_threads() && since.elapsed() < WAKING {
            spin_loop();
        }
        kept.0.state.store(RUNS, Ordering::Release);
        Some(kept)
    }
}

impl Drop for KeptAwake {
    fn drop(&mut self) {
        self.0.state.store(ENDED, Ordering::Release);
        KEEPS_AWAKE.store(false, Ordering::Release);
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

    /// A thread that is in the middle of a share of a chain, or of other work, must not be kept awake by it for ever.
    #[test]
    fn chains_beside_kernels_that_are_called_without_one_end() {
        fn nested(depth: u32) -> u64 {
            match depth {
                0 => (0..64_u64).map(std::hint::black_box).sum(),
                _ => {
                    let (left, right) = rayon::join(|| nested(depth - 1), || nested(depth - 1));
                    left + right
                }
            }
        }
        std::thread::scope(|scope| {
            for caller in 0..8 {
                scope.spawn(move || {
                    for _ in 0..200 {
                        let sum = if caller % 2 == 0 { within(|| nested(8)) } else { nested(8) };
                        assert_eq!(sum, 256 * 2016);
                    }
                });
            }
        });
    }
}
