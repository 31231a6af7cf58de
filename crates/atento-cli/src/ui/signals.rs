//! Ctrl-C during a run: the first asks it to save and stop, the second ends the program at once.

use std::fs;
use std::io;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use atento::train::StopFlag;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::stderr::tell;

/// What a training run does when it is stopped.
pub const SAVING: &str = "stopping: this step is being finished and a checkpoint saved";

/// The exit code of a program ended by signal N is 128 + N, by the shell's convention.
const SIGNAL_BASE: u8 = 128;

/// The signal that the program was stopped by; 0 before there is one.
#[derive(Debug, Clone, Default)]
pub struct StoppedBy(Arc<AtomicU8>);

impl StoppedBy {
    /// The exit code of the program that was stopped, and none of one that was not.
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Acquire)).filter(|&signal| signal > 0).map(|signal| SIGNAL_BASE + signal)
    }
}

/// A file that grows beyond `ulimit -f` is a failed write with a message, not the end of the program.
///
/// # Errors
/// The system refuses to hand over its signals.
pub fn survive_file_limits() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Raises the flag at the first interrupt or request to terminate and says what happens; exits at the second.
///
/// # Errors
/// The system refuses to hand over its signals.
pub fn stop_on_interrupt(stop: &StopFlag, what_happens: &'static str) -> io::Result<()> {
    stop_work_on_interrupt(stop, &Arc::new(AtomicBool::new(true)), what_happens).map(drop)
}

/// The same for a program that waits for input between its pieces of work: while `works` is not set, the first interrupt
/// ends the program at once.
///
/// # Errors
/// The system refuses to hand over its signals.
pub fn stop_work_on_interrupt(
    stop: &StopFlag,
    works: &Arc<AtomicBool>,
    what_happens: &'static str,
) -> io::Result<StoppedBy> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (stop, works, stopped_by) = (stop.clone(), Arc::clone(works), StoppedBy::default());
    let by = stopped_by.clone();
    thread::spawn(move || {
        // Both are small.
        for signal in signals.forever().filter_map(|signal| u8::try_from(signal).ok()) {
            if stop.is_stopped() || !works.load(Ordering::Relaxed) {
                process::exit((SIGNAL_BASE + signal).into());
            }
            by.0.store(signal, Ordering::Release);
            stop.stop();
            tell(format_args!("{what_happens}; press Ctrl-C again to end at once"));
        }
    });
    Ok(stopped_by)
}

/// Removes a folder of work that is under way and ends the program at an interrupt or a request to terminate.
///
/// # Errors
/// The system refuses to hand over its signals.
pub fn remove_on_interrupt(folder: &Path) -> io::Result<StoppedBy> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (folder, stopped_by) = (folder.to_path_buf(), StoppedBy::default());
    let by = stopped_by.clone();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().find_map(|signal| u8::try_from(signal).ok()) {
            by.0.store(signal, Ordering::Release);
            // The work may still add files.
            for _ in 0..100 {
                if fs::remove_dir_all(&folder).is_err() && !folder.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
            process::exit((SIGNAL_BASE + signal).into());
        }
    });
    Ok(stopped_by)
}
