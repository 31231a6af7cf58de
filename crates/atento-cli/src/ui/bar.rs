//! How far a piece of work is that can be counted: a bar on standard error, where a person watches.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};

use super::options::Options;
use super::stderr::is_watched;

/// A bar that is gone when it is dropped, so that nothing half-drawn stays.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// An empty bar of `total` things; none at all if nobody watches or the options ask for quiet.
    pub fn start(options: &Options, total: usize, things: &str) -> Self {
        if options.quiet || !is_watched() {
            return Bar(None);
        }
        let bar = ProgressBar::new(total as u64);
        let template = format!("{{elapsed_precise}} {{wide_bar}} {{human_pos}}/{{human_len}} {things} | {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&(template + " | eta {eta}")) {
            bar.set_style(style);
        }
        bar.tick();
        Bar(Some(bar))
    }

    /// An empty bar of a file of `total` bytes, on the same terms.
    pub fn of_bytes(options: &Options, total: u64, file: &str) -> Self {
        if options.quiet || !is_watched() {
            return Bar(None);
        }
        let bar = ProgressBar::new(total).with_message(file.to_owned());
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} | {bytes_per_sec} | eta {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.tick();
        Bar(Some(bar))
    }

    /// Shows that `done` bytes are here.
    pub fn set_bytes(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    /// Shows that `done` of them are done, and what was found so far.
    pub fn set(&self, done: usize, message: impl Display) {
        if let Some(bar) = &self.0 {
            bar.set_message(message.to_string());
            bar.set_position(done as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
