//! What the verbs on models with heads have in common: loading, and the way through lines.

pub mod answer;
pub mod choose;
pub mod classify;
pub mod embed;
pub mod fill_mask;
pub mod tag;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use atento::families::Head;
use atento::models::Precision;
use atento::pipelines::TextModel;
use atento::pipelines::texts::{Error, TooLong};
use atento::text::{EncodedPair, Truncation};
use serde_json::json;

use super::model::{AdapterArgs, AdaptersArgs, named};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::lines::{OnErrorArgs, OnTooLong};
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// The model and the texts of such a verb.
#[derive(Debug, clap::Args)]
pub struct ModelAndTexts {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    #[command(flatten)]
    adapters: AdaptersArgs,

    #[command(flatten)]
    texts: TextArgs,

    #[command(flatten)]
    on_error: OnErrorArgs,
}

impl ModelAndTexts {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        self.adapters.locate(locator)
    }
}

/// What happens to a text beyond the model's positions.
#[derive(Debug, clap::Args)]
pub struct TooLongArgs {
    /// A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
    #[arg(long, value_name = "WHAT", default_value = "skip", hide_possible_values = true, hide_default_value = true, value_parser = OnTooLong::without_split())]
    on_too_long: OnTooLong,
}

impl TooLongArgs {
    fn what(&self) -> TooLong {
        if self.on_too_long == OnTooLong::Cut { TooLong::Cut(Truncation::LongestFirst) } else { TooLong::Refuse }
    }
}

/// A text ready for the model.
pub struct Ready<T> {
    /// What the model reads.
    pub input: T,
    /// What its reader must be told.
    pub note: Option<String>,
}

/// A model, or several adapters of one, of which each line names its own.
pub struct Models(Vec<(Option<String>, TextModel)>);

impl Models {
    /// A model that every line is for.
    pub fn one(model: TextModel) -> Self {
        Self(vec![(None, model)])
    }

    /// The model that a line is for, by its number, and the rest of the line.
    fn pick<'l>(&self, line: &'l str) -> anyhow::Result<(usize, &'l str)> {
        named(self.0.iter().map(|(name, _)| name.as_deref()), line)
    }

    fn get(&self, at: usize) -> &TextModel {
        &self.0[at].1
    }

    /// The answers to inputs, each of its own model, in their order. Those of one model are worked on together.
    fn answers<T, R>(
        &self,
        inputs: &[(usize, &T)],
        work: impl Fn(&TextModel, &[&T]) -> Result<Vec<R>, Error>,
    ) -> Result<Vec<R>, Error> {
        let mut found: Vec<(usize, R)> = Vec::with_capacity(inputs.len());
        for (number, (_, model)) in self.0.iter().enumerate() {
            let is_own = |(_, (of, _)): &(usize, &(usize, &T))| *of == number;
            let (places, own): (Vec<usize>, Vec<&T>) =
                inputs.iter().enumerate().filter(is_own).map(|(place, (_, input))| (place, *input)).unzip();
            if !own.is_empty() {
                found.extend(places.into_iter().zip(work(model, &own)?));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Loads the model of a verb, which must have one of these heads, with each of its adapters; `verb` says what it is to do.
///
/// # Errors
/// A file of it is missing or wrong, or its head is another.
fn load(input: &ModelAndTexts, heads: &[Head], verb: &str, options: &Options) -> Result<Models, Failure> {
    let several = input.adapters.named()?;
    let shares = several.len() > 1;
    let one = |(name, adapter)| Ok((name, load_one(&input.model, &adapter, shares, (heads, verb), options)?));
    several.into_iter().map(one).collect::<Result<_, Failure>>().map(Models)
}

/// Loads a model with an adapter. One that `shares` its base with others reads it where it lies in its file.
fn load_one(
    path: &Path,
    adapter: &AdapterArgs,
    shares: bool,
    (heads, verb): (&[Head], &str),
    options: &Options,
) -> Result<TextModel, Failure> {
    let dir = adapter.open(path)?;
    if !heads.contains(&dir.head()) {
        let (does, wanted) = (dir.head().does(), heads[0].does());
        let advice = if dir.family().heads().iter().any(|head| heads.contains(head)) {
            "; train one from it with `atento train --from`"
        } else {
            ""
        };
        let is = format!("this model {does}; `atento {verb}` needs one that {wanted}{advice}");
        let path = adapter.adapter.as_deref().filter(|_| dir.adapter().is_some()).unwrap_or(path);
        return Err(anyhow!("{}: {is}", path.display()).into());
    }
    let model = match dir.is_int8()? {
        true => TextModel::from_dir(&dir, Precision::Int8)?,
        false if shares => TextModel::mapped(&dir)?,
        false => TextModel::from_dir(&dir, Precision::F32)?,
    };
    model.notes.iter().for_each(|note| options.note(note));
    Ok(model)
}

impl ModelAndTexts {
    /// Goes through the lines, block by block: `prepare` makes one ready, `work` answers those that are, in order, and `write`
    /// prints an answer.
    ///
    /// # Errors
    /// A line is wrong; the model fails; standard output cannot be written.
    pub fn each<T: Send, R>(
        &self,
        models: &Models,
        options: &Options,
        prepare: impl Fn(&TextModel, &str) -> anyhow::Result<Ready<T>> + Sync,
        work: impl Fn(&TextModel, &[&T]) -> Result<Vec<R>, Error>,
        mut write: impl FnMut(&TextModel, &mut Output, &str, &T, R) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.each_or(models, options, prepare, work, |model, out, text, found| match found {
            Ok((input, answer)) => write(model, out, text.unwrap_or_default(), input, answer),
            Err(fault) => write_fault(out, text, fault, options),
        })
    }

    /// [`ModelAndTexts::each`] that hands on the fault of a line that cannot be used.
    ///
    /// # Errors
    /// As there.
    pub fn each_or<T: Send, R>(
        &self,
        models: &Models,
        options: &Options,
        prepare: impl Fn(&TextModel, &str) -> anyhow::Result<Ready<T>> + Sync,
        work: impl Fn(&TextModel, &[&T]) -> Result<Vec<R>, Error>,
        mut write: impl FnMut(&TextModel, &mut Output, Option<&str>, Result<(&T, R), &str>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut texts = self.texts.open(options)?;
        let (mut out, mut unknown) = (Output::open(), Unknowns::default());
        let prepare = |line: &str| {
            let (at, text) = models.pick(line)?;
            Ok((at, prepare(models.get(at), text)?))
        };
        let done = self.on_error.each_block(&mut texts, prepare, |lines| {
            let mut good: Vec<(usize, &T)> = Vec::with_capacity(lines.len());
            for line in lines {
                if let Ok((at, Ready { input, .. })) = &line.ready {
                    good.push((*at, input));
                    let text = models.pick(line.text.as_deref().unwrap_or_default())?.1;
                    unknown.look_at_parts(&models.get(*at).tokenizer, text, &line.place)?;
                }
            }
            let mut found = models.answers(&good, &work).map_err(failure)?.into_iter();
            for line in lines {
                match &line.ready {
                    Ok((at, Ready { input, note })) => {
                        note.iter().for_each(|note| options.note(format_args!("{}: {note}", line.place)));
                        let text = models.pick(line.text.as_deref().unwrap_or_default())?.1;
                        let answer = found.next().expect("an answer for every good line");
                        out.of_adapter(models.0[*at].0.as_deref());
                        write(models.get(*at), &mut out, Some(text), Ok((input, answer)))?;
                    }
                    Err(fault) => {
                        out.of_adapter(None);
                        write(models.get(0), &mut out, line.text.as_deref(), Err(fault))?;
                    }
                }
            }
            out.flush()
        });
        unknown.tell(options);
        done
    }
}

/// Prints what a line gives that cannot be used.
///
/// # Errors
/// Standard output cannot be written.
pub fn write_fault(out: &mut Output, text: Option<&str>, fault: &str, options: &Options) -> Result<(), Failure> {
    if options.json { out.json(&json!({ "text": text, "error": fault })) } else { out.line("") }
}

/// The tokens of a line, a text or `a TAB b`.
///
/// # Errors
/// It is empty, has several tabs, or is too long.
pub fn text_or_pair(model: &TextModel, line: &str, too_long: TooLong) -> anyhow::Result<Ready<EncodedPair>> {
    let (a, b) = match line.split('\t').collect::<Vec<_>>()[..] {
        [text] => (text, None),
        [a, b] => (a, Some(b)),
        ref parts => bail!("there are {} tabs; expected a text, or two with one tab between them", parts.len() - 1),
    };
    if line.trim().is_empty() {
        bail!("the text is empty");
    }
    ready(model, a, b, too_long)
}

/// The tokens of a text or two.
///
/// # Errors
/// They are too many.
pub fn ready(model: &TextModel, a: &str, b: Option<&str>, too_long: TooLong) -> anyhow::Result<Ready<EncodedPair>> {
    let found = model.encode(a, b, too_long).map_err(|error| match error {
        Error::TooLong { .. } => anyhow!("the text {error}: split it, or see --on-too-long"),
        Error::Empty => anyhow!("the text {error}"),
        error => error.into(),
    })?;
    let cut = |dropped: usize| format!("the text is too long by {dropped} tokens: cut to {}", found.ids.len());
    let note = Some(found.dropped).filter(|&dropped| dropped > 0).map(cut);
    Ok(Ready { input: found, note })
}

/// Whose fault an error is.
fn failure(error: Error) -> Failure {
    match error {
        error @ Error::NonFinite => Failure::run(error),
        error => error.into(),
    }
}
