//! How the program ends when it cannot do what was asked: one line on standard error and an exit code.

use std::io;
use std::panic;
use std::process::ExitCode;

use atento::messages;
use clap::error::{ContextKind, ContextValue};

use super::stderr::tell;

/// Why a verb did not do what was asked.
///
/// The `?` operator makes every error an [`Input`](Failure::Input), since most of what can go wrong is a wrong file or
/// setting; an error that the input is not to blame for is made a [`Run`](Failure::Run) by name.
#[derive(Debug)]
pub enum Failure {
    /// The command, a setting or an input was wrong: exit code 2.
    Input(anyhow::Error),
    /// The work itself failed: exit code 1.
    Run(anyhow::Error),
    /// A signal stopped the work, and what there is was printed: this exit code.
    Stopped(u8),
    /// Whoever read standard output has closed it, as `head` does; nobody waits for the rest.
    Closed,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Input(error.into())
    }
}

impl Failure {
    /// The work itself failed.
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Failure::Run(error.into())
    }

    /// Something could not be written to standard output.
    pub fn writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Run(anyhow::Error::new(error).context("cannot write to standard output")),
        }
    }

    fn report(&self) -> ExitCode {
        match self {
            Failure::Input(error) => complain(error, 2),
            Failure::Run(error) => complain(error, 1),
            Failure::Stopped(code) => ExitCode::from(*code),
            Failure::Closed => ExitCode::SUCCESS,
        }
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    tell(format_args!("error: {}", messages::printable(&with_causes(error))));
    ExitCode::from(code)
}

/// Tells what is wrong with the command, or the help that was asked for, and ends the program. What was given is not
/// told whole where it is long.
pub fn refuse_command(mut error: clap::Error) -> ! {
    let given = |(kind, value): (ContextKind, &ContextValue)| match value {
        ContextValue::String(text) if text.len() > messages::cut(text).len() => {
            Some((kind, ContextValue::String(messages::cut(text).into_owned())))
        }
        _ => None,
    };
    let long: Vec<_> = error.context().filter_map(given).collect();
    for (kind, value) in long {
        error.insert(kind, value);
    }
    error.exit()
}

/// The message and its causes in one line; a cause that is part of what comes before it is not told again.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Runs `verb` and turns what becomes of it into an exit code. A panic, which is a bug, is told in one line too.
pub fn catch_bugs(verb: impl FnOnce() -> Result<(), Failure> + panic::UnwindSafe) -> ExitCode {
    panic::set_hook(Box::new(|bug| {
        let message = bug.payload_as_str().unwrap_or("no message");
        let place = bug.location().map_or(String::new(), |place| format!(" at {}:{}", place.file(), place.line()));
        tell(format_args!("error: this is a bug in atento{place}: {message}"));
    }));
    match panic::catch_unwind(verb) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        Err(_) => ExitCode::FAILURE,
    }
}
