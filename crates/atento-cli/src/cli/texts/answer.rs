//! `atento answer MODEL`: the answer to a question, found in a context.

use anyhow::{anyhow, bail};
use atento::families::Head;
use atento::pipelines::TextModel;
use atento::pipelines::texts::answer::{Answer, AnswerOptions};
use atento::text::EncodedPair;
use serde_json::{Value, json};

use super::{ModelAndTexts, Ready, load};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::number::positive;
use crate::ui::options::Options;

/// Find answers to questions in texts
///
/// Lines are `question TAB context`. A context too long for the model is read in windows that overlap. Prints `answer TAB
/// score`.
///
/// With --json every line gives {"question", "context", "answer", "start", "end", "score"}. "start" and "end" are characters of
/// the context; "score" is the probability of the first token times that of the last one. Where the model may say that there
/// is no answer (--null-threshold), "answer" is then empty. A line that cannot be used gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct AnswerArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    /// The longest question with a window of the context, in tokens; at most the model's positions
    #[arg(long, value_name = "N", default_value_t = AnswerOptions::default().max_length, value_parser = positive)]
    max_len: usize,

    /// Tokens that a window has in common with the one before, at most a third of it
    #[arg(long, value_name = "N", default_value_t = AnswerOptions::default().stride)]
    stride: usize,

    /// The longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = AnswerOptions::default().max_answer_length, value_parser = positive)]
    max_answer_len: usize,

    /// Give no answer where the logits of none exceed those of the best one by more than this [default: always answer]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    null_threshold: Option<f32>,

    /// With --json: tokens and logits too, as "input_ids", "start_logits", "end_logits"; of a context in several windows those
    /// of each, in "windows"
    #[arg(long)]
    logits: bool,
}

impl AnswerArgs {
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
pub fn run(args: &AnswerArgs, options: &Options) -> Result<(), Failure> {
    let models = load(&args.input, &[Head::Span], "answer", options)?;
    let how = AnswerOptions {
        max_length: args.max_len,
        stride: args.stride,
        max_answer_length: args.max_answer_len,
        null_threshold: args.null_threshold,
    };
    let prepare = |model: &TextModel, line: &str| {
        let (question, context) = sides(line)?;
        let windows = model.encode_question(question, context, &how);
        let input = windows.map_err(|error| anyhow!("the question with its context: {error}"))?;
        anyhow::Ok(Ready { input, note: None })
    };
    let work = |model: &TextModel, windows: &[&Vec<EncodedPair>]| {
        model.answer(&windows.iter().map(|list| list.as_slice()).collect::<Vec<_>>(), &how)
    };
    args.input.each(&models, options, prepare, work, |_, out, line, windows, answer| {
        let (question, context) = sides(line).unwrap_or_default();
        let text: String = context.chars().skip(answer.start).take(answer.end - answer.start).collect();
        if !options.json {
            return out.line(format_args!("{}\t{:.4}", text.replace('\t', " "), answer.score));
        }
        let mut object = json!({
            "question": question, "context": context, "answer": text,
            "start": answer.start, "end": answer.end, "score": answer.score,
        });
        if args.logits {
            add_logits(&mut object, windows, &answer);
        }
        out.json(&object)
    })
}

fn sides(line: &str) -> anyhow::Result<(&str, &str)> {
    let Some((question, context)) = line.split_once('\t') else {
        bail!("there is no tab; expected question TAB context");
    };
    match () {
        () if question.trim().is_empty() => bail!("the question is empty"),
        () if context.trim().is_empty() => bail!("the context is empty"),
        () => Ok((question, context)),
    }
}

fn add_logits(object: &mut Value, windows: &[EncodedPair], answer: &Answer) {
    let window = |at: usize| {
        json!({
            "input_ids": windows[at].ids, "start_logits": answer.start_logits[at], "end_logits": answer.end_logits[at],
        })
    };
    if windows.len() > 1 {
        object["windows"] = (0..windows.len()).map(window).collect();
        return;
    }
    for (key, value) in window(0).as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
}
