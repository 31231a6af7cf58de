//! A request to stop, made anywhere and seen by the training loop between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag shared between whoever may stop a run (a signal handler, a server, a test) and the loop that polls it.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to save and stop. It stays asked.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for libraries that raise one from a signal handler.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_sees_the_request() {
        let flag = StopFlag::new();
        let copy = flag.clone();
        assert!(!copy.is_stopped());
        std::thread::spawn(move || flag.stop()).join().unwrap();
        assert!(copy.is_stopped());
        assert!(copy.shared().load(Ordering::Relaxed));
    }
}
