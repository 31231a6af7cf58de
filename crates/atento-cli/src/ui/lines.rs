//! One bad line costs one line: a verb's way through its texts.

use std::fmt::Display;

use anyhow::anyhow;
use atento::data::LineError;
use atento::data::tokens::Error;
use atento::messages;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rayon::prelude::*;

use super::failure::Failure;
use super::input::{Block, Texts};
use super::stderr::tell;

/// What a verb does at a text that it cannot use.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OnErrorArgs {
    /// A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
    ///
    /// skip prints an empty line for it (an object with `error` with --json), tells its number, goes on, and exits with 1 in
    /// the end. stop prints the lines before it and exits with 2; where the texts are arguments, it does no work at all.
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub on_error: Option<OnError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnError {
    Skip,
    Stop,
}

/// A text and what a verb makes of it.
pub struct Line<T> {
    /// The text; none where the line is no text.
    pub text: Option<String>,
    /// Its number over all texts, from 0.
    pub number: usize,
    /// Where it is, for a message.
    pub place: String,
    /// What is worked on, or why the line cannot be used.
    pub ready: Result<T, String>,
}

/// Lines that cannot be used and are told each; the others are counted.
const TOLD: usize = 10;
const MORE: usize = TOLD + 1;

/// A fault in words. `option` knows which option names a key that is missing.
pub fn with_option(fault: &Error, option: impl Fn(&str) -> Option<&'static str>) -> String {
    match fault.missing_key().and_then(option) {
        Some(option) => format!("{fault}; {option} names another key"),
        None => fault.to_string(),
    }
}

/// How many texts could not be used, of how many.
#[derive(Debug, Default)]
pub struct Tally {
    pub bad: usize,
    pub all: usize,
}

impl Tally {
    /// Counts a line that cannot be used, and tells why, unless many were told before.
    pub fn fault(&mut self, fault: &str) {
        self.bad += 1;
        match self.bad {
            ..=TOLD => tell(format_args!("error: {}", messages::printable(fault))),
            MORE => tell("… more of the same kind are counted, not shown"),
            _ => {}
        }
    }

    /// For a reader: goes past the faults of single lines, tells and counts them, or stops at the first. `option` is that of
    /// [`with_option`].
    pub fn skipping(
        &mut self,
        on_error: Option<OnError>,
        option: impl Fn(&str) -> Option<&'static str>,
    ) -> impl FnMut(Error) -> Result<(), Error> {
        move |fault| {
            if on_error == Some(OnError::Stop) {
                return Err(fault);
            }
            self.fault(&with_option(&fault, &option));
            Ok(())
        }
    }

    /// Which bad lines were told.
    pub fn told(&self) -> String {
        match self.bad {
            ..=TOLD => "each is named above".to_owned(),
            _ => format!("the first {TOLD} are named above"),
        }
    }

    /// The end of a verb that has nothing to measure, as all that it has read is bad.
    pub fn nothing_left(&self, source: impl Display, things: &str) -> Failure {
        Failure::Run(anyhow!("{source}: none of {} {things} can be used; {}", self.bad, self.told()))
    }

    /// The end of a verb that went past bad lines.
    ///
    /// # Errors
    /// There were some.
    pub fn finish(&self, things: &str) -> Result<(), Failure> {
        match self {
            Tally { bad: 0, .. } => Ok(()),
            Tally { bad, all } => {
                let told = self.told();
                Err(Failure::Run(anyhow!("{bad} of {all} {things} could not be used; {told}")))
            }
        }
    }
}

impl OnErrorArgs {
    /// Whether `all` texts known from the beginning, or lines, end at a bad one.
    pub fn stops(self, is_everything: bool) -> bool {
        self.on_error.map_or(is_everything, |on_error| on_error == OnError::Stop)
    }

    /// Prepares texts, a block at a time, and hands each block on to `work`. Every line of a block is there, bad ones with
    /// their fault, which is told on standard error.
    ///
    /// # Errors
    /// Those of reading and of `work`; a bad line where the options say stop, after the lines before it; in the end, that
    /// there were bad lines.
    pub fn each_block<T: Send>(
        self,
        texts: &mut Texts,
        prepare: impl Fn(&str) -> anyhow::Result<T> + Sync,
        mut work: impl FnMut(&[Line<T>]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut tally = Tally::default();
        while let Some(block) = texts.next_block()? {
            let stops = self.stops(block.is_everything());
            let costs_no_work = stops && block.is_everything();
            let mut lines = prepared(block, &prepare);
            let mut stop = None;
            if stops && let Some(at) = lines.iter().position(|line| line.ready.is_err()) {
                stop = lines.drain(at..).next().and_then(|line| line.ready.err());
            }
            if (stop.is_none() || !costs_no_work) && !lines.is_empty() {
                tally.all += lines.len();
                lines.iter().filter_map(|line| line.ready.as_ref().err()).for_each(|fault| tally.fault(fault));
                work(&lines)?;
            }
            if let Some(fault) = stop {
                return Err(anyhow!(fault).into());
            }
        }
        tally.finish("lines")
    }
}

fn prepared<T: Send>(mut block: Block, prepare: &(impl Fn(&str) -> anyhow::Result<T> + Sync)) -> Vec<Line<T>> {
    let texts = std::mem::take(&mut block.texts);
    let line = |(index, text): (usize, Result<String, LineError>)| {
        let (place, number) = (block.place(index), block.number(index));
        match text {
            Ok(text) => {
                let ready = prepare(&text).map_err(|fault| format!("{place}: {fault}"));
                Line { text: Some(text), number, place, ready }
            }
            // The reader's message names the place.
            Err(fault) => Line { text: None, number, place, ready: Err(fault.to_string()) },
        }
    };
    texts.into_par_iter().enumerate().map(line).collect()
}

/// What is done with a text beyond the model's positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnTooLong {
    /// It is a line that cannot be used.
    Skip,
    /// It is cut, and that is told.
    Cut,
    /// It is worked on in parts, and that is told.
    Split,
}

impl OnTooLong {
    /// The values that make sense where a text has to stay one.
    pub fn without_split() -> impl TypedValueParser<Value = OnTooLong> {
        PossibleValuesParser::new(["skip", "cut"])
            .map(|name| if name == "cut" { OnTooLong::Cut } else { OnTooLong::Skip })
    }
}
