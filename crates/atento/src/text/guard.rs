//! Keeps a panic of the `tokenizers` crate from ending the program.
//!
//! The crate takes what it reads for sound: a slice out of bounds or an `unwrap` answers a file that is not. What was
//! wrong then was the file, so the panic becomes an error, and nothing is printed about it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::Error;

thread_local! {
    /// Whether this thread is inside [`guard`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as guarded until it is dropped.
struct Mark {
    before: bool,
}

impl Mark {
    fn set() -> Self {
        Self { before: GUARDED.replace(true) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        GUARDED.set(self.before);
    }
}

/// The result of `work`, which calls the `tokenizers` crate; of a panic, its message. `work` must not go on with values
/// that the panic has left half changed.
pub(super) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence();
    let _mark = Mark::set();
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(&*payload))
}

/// [`guard`] of a fallible call; both kinds of failure say what was being done.
pub(super) fn guarded<T>(action: &'static str, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, Error> {
    match guard(work) {
        Ok(result) => result.map_err(Error::engine(action)),
        Err(detail) => Err(Error::Engine { action, detail: format!("the file does not go with this text: {detail}") }),
    }
}

/// Makes the panic hook, whichever is set, pass over panics of guarded threads.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a part of it is not what the others need").lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_becomes_its_message_and_a_result_stays_one() {
        assert_eq!(guard(|| 7), Ok(7));
        let index = [1, 2].len();
        let caught = guard(|| [1, 2][std::hint::black_box(index)]).unwrap_err();
        assert!(caught.contains("out of bounds"), "{caught}");
        assert!(!GUARDED.get(), "the mark is gone");
    }
}
