//! A run as it goes, on standard error: a bar for a person, plain lines for a file.

use std::time::Duration;

use atento::train::events::{
    Ending, StepReport, format_duration, format_evaluation, format_step_line, group_thousands,
};
use atento::train::{Event, Reporter};
use indicatif::{ProgressBar, ProgressStyle};

use super::options::Options;
use super::stderr::{is_watched, tell};

/// Steps are rare on large models; the clock shows that the run lives.
const TICK: Duration = Duration::from_millis(500);

/// Shows a run on standard error.
pub struct Progress {
    quiet: bool,
    /// Where a person watches, once the run has started.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows nothing at all if the options ask for quiet.
    pub fn new(options: &Options) -> Self {
        Progress { quiet: options.quiet, bar: None }
    }

    /// Writes a line that stays, above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    fn start(&mut self, max_steps: Option<u64>) {
        if self.quiet || !is_watched() {
            return;
        }
        let bar = ProgressBar::no_length();
        let template = match max_steps {
            Some(steps) => {
                bar.set_length(steps);
                "{elapsed_precise} {wide_bar} {msg}"
            }
            None => "{elapsed_precise} {spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }

    fn step(&self, report: &StepReport) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(report.step);
                bar.set_message(format_step_line(report));
            }
            None => self.line(&format_step_line(report)),
        }
    }

    fn finish(&mut self, text: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.line(text);
    }
}

impl Drop for Progress {
    /// A run that fails leaves no half-drawn bar.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Reporter for Progress {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { run, parameters, all_parameters, examples, what, max_steps } => {
                let grouped = |number: &usize| group_thousands(*number as u64);
                if parameters < all_parameters {
                    self.line(&format!(
                        "trainable params: {} || all params: {} || trainable%: {:.4}",
                        grouped(parameters),
                        grouped(all_parameters),
                        100.0 * *parameters as f64 / *all_parameters as f64
                    ));
                }
                let (parameters, examples) = (grouped(parameters), grouped(examples));
                self.line(&format!("{}: {parameters} parameters, {examples} {what}", run.display()));
                self.start(*max_steps);
            }
            Event::Resumed { step, path } => self.line(&format!("resumed at step {step} from {}", path.display())),
            Event::Step(report) => self.step(report),
            Event::Evaluated { step, loss, scores, best } => {
                self.line(&format_evaluation(*step, *loss, scores, *best));
            }
            Event::Saved { step, path } => self.line(&format!("step {step} | saved {}", path.display())),
            Event::Note(message) => self.line(message),
            Event::Warning(message) => self.line(&format!("warning: {message}")),
            Event::Finished { step, elapsed, reason } => {
                self.finish(&format!("{} at step {step} after {}", ending(*reason), format_duration(*elapsed)));
            }
        }
    }
}

fn ending(reason: Ending) -> &'static str {
    match reason {
        Ending::Limit => "finished",
        Ending::EarlyStopping => "stopped early: validation no longer improves,",
        Ending::Stopped => "stopped",
    }
}
