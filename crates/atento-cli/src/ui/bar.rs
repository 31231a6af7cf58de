//! How far a piece of work is: a bar on standard error, where a person watches.
//!
//! It has two lines. The first is the share that is done, the bar, and the time left; it fits into any terminal of twenty
//! columns. The second is the clock and what else there is to say, cut where the terminal ends.

use std::fmt::Display;
use std::time::Duration;

use atento::train::events::format_duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::options::Options;
use super::stderr::is_watched;
use super::table::{bytes, thousands};

/// How a bar looks; the prefix is the time left.
const TEMPLATE: &str = "{percent:>3}% {wide_bar} {prefix}\n{elapsed_precise} {wide_msg}";

/// Steps that a bar has where a share of a whole is shown.
const SHARES: f64 = 10_000.0;

/// A longer time is a guess, and needs more room than a narrow terminal has: it is left out.
const LONGEST: Duration = Duration::from_secs(99 * 24 * 3600);

/// A bar that is gone when it is dropped, so that nothing half-drawn stays.
pub struct Bar {
    bar: Option<ProgressBar>,
    /// What is counted, or the file that is fetched.
    things: String,
}

impl Bar {
    /// An empty bar of `total` things; none at all if nobody watches or the options ask for quiet.
    pub fn start(options: &Options, total: usize, things: &str) -> Self {
        Self { bar: watched(options, total as u64), things: things.to_owned() }
    }

    /// An empty bar of a file of `total` bytes, on the same terms.
    pub fn of_bytes(options: &Options, total: u64, file: &str) -> Self {
        Self { bar: watched(options, total), things: file.to_owned() }
    }

    /// Shows that `done` bytes are here.
    pub fn set_bytes(&self, done: u64) {
        let Some(bar) = &self.bar else { return };
        let (total, speed) = (bar.length().unwrap_or(done), bar.per_sec() as u64);
        bar.set_message(format!("{} of {} | {}/s | {}", bytes(done), bytes(total), bytes(speed), self.things));
        self.set_position(bar, done);
    }

    /// Shows that `done` of them are done, and what was found so far.
    pub fn set(&self, done: usize, message: impl Display) {
        let Some(bar) = &self.bar else { return };
        let total = bar.length().map_or(done, |total| total as usize);
        bar.set_message(format!("{} of {} {} | {message}", thousands(done), thousands(total), self.things));
        self.set_position(bar, done as u64);
    }

    fn set_position(&self, bar: &ProgressBar, done: u64) {
        bar.set_prefix(time_left((done > 0).then(|| bar.eta())));
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn watched(options: &Options, total: u64) -> Option<ProgressBar> {
    if options.quiet || !is_watched() {
        return None;
    }
    let bar = drawn_on(ProgressDrawTarget::stderr(), total);
    bar.tick();
    Some(bar)
}

/// A bar that is as wide as its terminal.
fn drawn_on(terminal: ProgressDrawTarget, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), terminal);
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar
}

/// A bar of work whose share is known.
pub fn of_shares(terminal: ProgressDrawTarget) -> ProgressBar {
    drawn_on(terminal, SHARES as u64)
}

/// Shows that a share, from 0 to 1, is done, and how long the rest will take.
pub fn set_share(bar: &ProgressBar, share: f64, left: Option<Duration>) {
    bar.set_prefix(time_left(left));
    bar.set_position((share * SHARES) as u64);
}

fn time_left(left: Option<Duration>) -> String {
    left.filter(|left| *left < LONGEST).map_or_else(String::new, |left| format!("eta {}", format_duration(left)))
}
