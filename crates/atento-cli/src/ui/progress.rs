//! A run as it goes, on standard error: a bar for a person, plain lines for a file.

use std::time::Duration;

use atento::train::events::{
    Ending, StepReport, format_duration, format_evaluation, format_step_line, group_thousands,
};
use atento::train::{Event, Reporter};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::bar;
use super::options::Options;
use super::stderr::{is_watched, tell};

/// Steps are rare on large models; the clock shows that the run lives.
const TICK: Duration = Duration::from_millis(500);

/// Shows a run on standard error.
pub struct Progress {
    quiet: bool,
    /// Where a person watches, once the run has started.
    bar: Option<ProgressBar>,
    /// What the bar says of the updates, their number excepted.
    last: Option<StepReport>,
}

impl Progress {
    /// Shows nothing at all if the options ask for quiet.
    pub fn new(options: &Options) -> Self {
        Progress { quiet: options.quiet, bar: None, last: None }
    }

    /// Writes a line that stays, above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    fn start(&mut self) {
        if self.quiet || !is_watched() {
            return;
        }
        let bar = bar::of_shares(ProgressDrawTarget::stderr());
        // A terminal that cannot draw one gets lines, as a file does.
        if bar.is_hidden() {
            return;
        }
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }

    fn step(&mut self, report: &StepReport) {
        match &self.bar {
            Some(_) => self.last = Some(*report),
            None => self.line(&format_step_line(report)),
        }
    }

    fn advance(&self, step: u64, share: f64, eta: Option<Duration>) {
        let Some(bar) = &self.bar else { return };
        // The bar has a place of its own for the time left.
        let report = self.last.map(|last| format_step_line(&StepReport { step, eta: None, ..last }));
        bar.set_message(report.unwrap_or_else(|| format!("step {}", group_thousands(step))));
        bar::set_share(bar, share, eta);
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
            Event::Started { run, parameters, all_parameters, examples, what, max_steps: _ } => {
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
                self.start();
            }
            Event::Resumed { step, path } => {
                self.line(&format!("resumed at step {} from {}", group_thousands(*step), path.display()));
            }
            Event::Advanced { step, share, eta } => self.advance(*step, *share, *eta),
            Event::Step(report) => self.step(report),
            Event::Evaluated { step, loss, scores, best } => {
                self.line(&format_evaluation(*step, *loss, scores, *best));
            }
            Event::Saved { step, path } => {
                self.line(&format!("step {} | saved {}", group_thousands(*step), path.display()));
            }
            Event::Note(message) => self.line(message),
            Event::Warning(message) => self.line(&format!("warning: {message}")),
            Event::Finished { step, elapsed, reason } => {
                let (step, elapsed) = (group_thousands(*step), format_duration(*elapsed));
                self.finish(&format!("{} at step {step} after {elapsed}", ending(*reason)));
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal of some width that keeps what is written.
    #[derive(Debug, Clone)]
    struct Terminal {
        width: u16,
        written: Arc<Mutex<Vec<String>>>,
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.width
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.written.lock().unwrap().push(text.to_owned());
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines on a terminal of this width after these events.
    fn shown(width: u16, events: &[Event]) -> Vec<String> {
        let terminal = Terminal { width, written: Arc::default() };
        let bar = bar::of_shares(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        let mut progress = Progress { quiet: false, bar: Some(bar), last: None };
        events.iter().for_each(|event| progress.event(event));
        terminal.written.lock().unwrap().clear();
        progress.bar.as_ref().unwrap().tick();
        let written = terminal.written.lock().unwrap();
        written.iter().filter(|text| !text.trim().is_empty()).cloned().collect()
    }

    fn step(step: u64) -> Event {
        let eta = Some(Duration::from_secs(724));
        let (max_steps, loss, lr) = (Some(18_000), 2.3131, 4.1e-4);
        Event::Step(StepReport { step, max_steps, loss, lr, grad_norm: 0.82, tokens_per_second: 31_412.0, eta })
    }

    #[test]
    fn the_bar_fits_into_terminals_of_any_width_and_keeps_its_share_and_the_time_left() {
        let advanced = Event::Advanced { step: 7600, share: 0.4222, eta: Some(Duration::from_secs(724)) };
        for width in [20, 40, 80, 200] {
            let lines = shown(width, &[step(7550), advanced.clone()]);
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)), "{width}: {lines:?}");
            assert!(lines[0].starts_with(" 42% ") && lines[0].ends_with(" eta 12m04s"), "{width}: {lines:?}");
            assert!(lines[0].contains('█'), "{width}: {lines:?}");
        }
        let lines = shown(80, &[step(7550), advanced]);
        let details = "step 7,600/18,000 | loss 2.3131 | lr 4.1e-4 | grad 0.82 | 31,412 tok/s";
        assert!(lines[1].contains(&details[..60]), "{lines:?}");
    }

    #[test]
    fn the_bar_moves_with_every_update() {
        let at = |share: f64| shown(80, &[Event::Advanced { step: 2, share, eta: None }]).remove(0);
        assert!(shown(80, &[Event::Advanced { step: 2, share: 0.1, eta: None }])[1].contains(" step 2"));
        let filled = |line: String| line.matches('█').count();
        assert!(filled(at(0.1)) < filled(at(0.2)) && filled(at(0.2)) < filled(at(0.9)));
        assert!(at(0.0).starts_with("  0% ") && at(1.0).starts_with("100% "), "{} {}", at(0.0), at(1.0));
    }
}
