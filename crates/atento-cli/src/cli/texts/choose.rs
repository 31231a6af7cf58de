//! `atento choose MODEL`: one of several texts that may follow a first one.

use anyhow::bail;
use atento::families::Head;
use atento::pipelines::TextModel;
use atento::text::EncodedPair;
use serde_json::json;

use super::{ModelAndTexts, Ready, TooLongArgs, load, ready};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Choose one of several texts
///
/// Lines are `prompt TAB choice TAB choice…`. Prints `number TAB choice TAB probability`, the first choice being 0.
///
/// With --json every line gives {"text", "choice", "scores", "logits"}: "choice" is the number, "scores" are the probabilities.
/// A line that cannot be used gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct ChooseArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    #[command(flatten)]
    too_long: TooLongArgs,
}

impl ChooseArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.input.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or a line is wrong; standard output cannot be written.
pub fn run(args: &ChooseArgs, options: &Options) -> Result<(), Failure> {
    let models = load(&args.input, &[Head::Choice], "choose", options)?;
    let prepare = |model: &TextModel, line: &str| {
        let (prompt, choices) = parts(line)?;
        let mut lists = Ready { input: Vec::new(), note: None };
        for choice in choices {
            let Ready { input, note } = ready(model, prompt, Some(choice), args.too_long.what())?;
            lists.input.push(input);
            lists.note = lists.note.or(note);
        }
        anyhow::Ok(lists)
    };
    let work = |model: &TextModel, lists: &[&Vec<EncodedPair>]| {
        model.choose(&lists.iter().map(|list| list.as_slice()).collect::<Vec<_>>())
    };
    args.input.each(&models, options, prepare, work, |_, out, line, _, found| {
        if options.json {
            let (choice, scores, logits) = (found.choice, found.probabilities, found.logits);
            return out.json(&json!({ "text": line, "choice": choice, "scores": scores, "logits": logits }));
        }
        let (_, choices) = parts(line)?;
        out.line(format_args!("{}\t{}\t{:.4}", found.choice, choices[found.choice], found.probabilities[found.choice]))
    })
}

/// Prompt and choices of a line.
fn parts(line: &str) -> anyhow::Result<(&str, Vec<&str>)> {
    let mut parts = line.split('\t');
    let prompt = parts.next().unwrap_or_default();
    let choices: Vec<&str> = parts.collect();
    if choices.len() < 2 {
        let found = if choices.is_empty() { "no choice" } else { "one choice" };
        bail!("there is {found}; expected prompt TAB choice TAB choice…");
    }
    match choices.iter().position(|choice| choice.trim().is_empty()) {
        Some(at) => bail!("choice {at} is empty"),
        None => Ok((prompt, choices)),
    }
}
