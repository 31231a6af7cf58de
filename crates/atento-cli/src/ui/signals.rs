//! Ctrl-C during a run: the first asks it to save and stop, the second ends the program at once.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use atento::train::StopFlag;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::stderr::tell;

/// What a training run does when it is stopped.
pub const SAVING: &str = "stopping: this step is finished and a checkpoint written";

/// The exit code of a program ended by signal N is 128 + N, by the shell's convention.
const SIGNAL_BASE: i32 = 128;

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
    stop_work_on_interrupt(stop, &Arc::new(AtomicBool::new(true)), what_happens)
}

/// The same for a program that waits for input between its pieces of work: while `works` is not set, the first interrupt
/// ends the program at once.
///
/// # Errors
/// The system refuses to hand over its signals.
pub fn stop_work_on_interrupt(stop: &StopFlag, works: &Arc<AtomicBool>, what_happens: &'static str) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (stop, works) = (stop.clone(), Arc::clone(works));
    thread::spawn(move || {
        for signal in signals.forever() {
            if stop.is_stopped() || !works.load(Ordering::Relaxed) {
                process::exit(SIGNAL_BASE + signal);
            }
            stop.stop();
            tell(format_args!("{what_happens}; once more ends the program at once"));
        }
    });
    Ok(())
}
