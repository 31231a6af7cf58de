//! `atento embed MODEL`: states as vectors of texts or of their tokens.

mod files;

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use atento::families::Head;
use atento::hub::sentence::{self, SentenceSettings};
use atento::models::Precision;
use atento::pipelines::TextModel;
use atento::pipelines::texts::TooLong;
use atento::pipelines::texts::embed::{Combine, EmbedOptions, Embedded, Pooling};
use atento::text::{EncodedPair, Truncation};
use serde_json::{Value, json};

use self::files::{Format, Vectors};
use super::{ModelAndTexts, Models, Ready, TooLongArgs, ready};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Turn texts into vectors
///
/// Any model's states can be asked for. What is left out is as a sentence-transformers directory has it: pooling,
/// normalisation, the longest text (longer ones are cut), the prompt; of other models, the mean of the last layer.
///
/// Every line gives {"text", "input_ids", "embedding"}. "embedding" is one vector; with --pooling none a vector a token; with
/// several --layer a list of those in the order given, unless --combine makes one of them. A line that cannot be used gives
/// {"text", "error"}. With --format npy or safetensors the vectors go into the file that --out names, one row a line
/// ("embeddings"; with --pooling none, safetensors with a tensor for each line's number from 0), and a line that cannot be
/// used is a row of NaN.
#[derive(Debug, clap::Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    /// A layer, repeatable: 0 is the embeddings, 1 the first block, -1 the last one [default: -1]
    #[arg(long = "layer", value_name = "L", allow_negative_numbers = true)]
    layers: Vec<i64>,

    /// What a vector is made of: cls (the first token), mean, max, last (the last token), none (a vector a token) [default: the model's, or mean]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pooling: Option<PoolingArg>,

    /// What is made of several layers: each (a vector of each), sum, concat
    #[arg(long, value_name = "HOW", default_value = "each", hide_possible_values = true)]
    combine: CombineArg,

    /// Scale vectors to length 1
    #[arg(long)]
    normalize: bool,

    /// A text to set before each text
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    prompt: Option<String>,

    /// A prompt of a sentence-transformers directory to set before each text, by its name
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,

    /// How vectors are written: jsonl, npy or safetensors
    #[arg(long, value_name = "FORMAT", default_value = "jsonl", hide_possible_values = true)]
    format: Format,

    /// The file for npy or safetensors
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    too_long: TooLongArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PoolingArg {
    Cls,
    Mean,
    Max,
    Last,
    None,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CombineArg {
    Each,
    Sum,
    Concat,
}

impl EmbedArgs {
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
/// The model, a line or a setting is wrong; the output cannot be written.
pub fn run(args: &EmbedArgs, options: &Options) -> Result<(), Failure> {
    let dir = args.input.adapters.only()?.open(&args.input.model)?;
    if dir.head() == Head::Translation {
        let path = args.input.model.display();
        return Err(anyhow!("{path}: this model translates; its states cannot be asked for").into());
    }
    let precision = if dir.is_int8()? { Precision::Int8 } else { Precision::F32 };
    let model = TextModel::states(&dir, precision)?;
    model.notes.iter().for_each(|note| options.note(note));
    let settings = sentence::read(dir.path())?;
    let how = args.how(settings.as_ref());
    let prompt = args.prompt(settings.as_ref())?;
    let mut file = args.file(&how)?;
    let models = Models::one(model);
    let prepare = |model: &TextModel, line: &str| {
        anyhow::ensure!(!line.trim().is_empty(), "the text is empty");
        // As sentence-transformers does, which strips white space.
        let text = if settings.is_some() { line.trim() } else { line };
        let text = format!("{prompt}{text}");
        let is_lower = settings.as_ref().is_some_and(|settings| settings.lowercase);
        let text = if is_lower { text.to_lowercase() } else { text };
        encode(model, &text, settings.as_ref(), args.too_long.what())
    };
    let work = |model: &TextModel, texts: &[&EncodedPair]| model.embed(texts, &how);
    let done = args.input.each_or(&models, options, prepare, work, |_, out, text, found| match (&mut file, found) {
        (Some(file), found) => {
            file.push(found.ok().map(|(_, vectors)| vectors));
            Ok(())
        }
        (None, Ok((tokens, found))) => {
            out.json(&json!({ "text": text, "input_ids": tokens.ids, "embedding": embedding(&found, &how) }))
        }
        (None, Err(fault)) => out.json(&json!({ "text": text, "error": fault })),
    });
    if let (Some(file), Ok(()) | Err(Failure::Run(_))) = (&file, &done) {
        file.write()?;
    }
    done
}

impl EmbedArgs {
    fn how(&self, settings: Option<&SentenceSettings>) -> EmbedOptions {
        let own = settings.map_or(Pooling::Mean, |settings| settings.pooling);
        EmbedOptions {
            layers: if self.layers.is_empty() { vec![-1] } else { self.layers.clone() },
            pooling: match self.pooling {
                None => own,
                Some(PoolingArg::Cls) => Pooling::Cls,
                Some(PoolingArg::Mean) => Pooling::Mean,
                Some(PoolingArg::Max) => Pooling::Max,
                Some(PoolingArg::Last) => Pooling::Last,
                Some(PoolingArg::None) => Pooling::None,
            },
            combine: match self.combine {
                CombineArg::Each => Combine::Each,
                CombineArg::Sum => Combine::Sum,
                CombineArg::Concat => Combine::Concat,
            },
            normalize: self.normalize
                || (self.pooling.is_none() && settings.is_some_and(|settings| settings.normalize)),
        }
    }

    fn prompt(&self, settings: Option<&SentenceSettings>) -> anyhow::Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        let prompts = settings.map(|settings| &settings.prompts);
        match &self.prompt_name {
            None => Ok(settings.and_then(|settings| settings.default_prompt.clone()).unwrap_or_default()),
            Some(name) => prompts.and_then(|prompts| prompts.get(name)).cloned().ok_or_else(|| {
                let known: Vec<&str> =
                    prompts.into_iter().flat_map(|prompts| prompts.keys()).map(String::as_str).collect();
                let known = if known.is_empty() { "no prompts".into() } else { known.join(", ") };
                anyhow!("--prompt-name is {name:?}, but {} has {known}", self.input.model.display())
            }),
        }
    }

    /// The file that vectors go into, if they do.
    fn file(&self, how: &EmbedOptions) -> anyhow::Result<Option<Vectors>> {
        match (&self.out, self.format) {
            (None, Format::Jsonl) => Ok(None),
            (None, format) => bail!("--format {} needs --out FILE", format.word()),
            (Some(_), Format::Jsonl) => {
                bail!("--out is for --format npy or safetensors; JSON lines go to standard output")
            }
            (Some(path), format) => Vectors::check(path, format, how.pooling != Pooling::None).map(Some),
        }
    }
}

/// The tokens of a text, cut where the directory says how long texts are.
fn encode(
    model: &TextModel,
    text: &str,
    settings: Option<&SentenceSettings>,
    too_long: TooLong,
) -> anyhow::Result<Ready<EncodedPair>> {
    let Some(limit) = settings.and_then(|settings| settings.max_length) else {
        return ready(model, text, None, too_long);
    };
    let limit = model.longest().map_or(limit, |longest| longest.min(limit));
    let input = model.tokenizer.encode_pair(text, None, Some(limit), Truncation::LongestFirst)?;
    let note = (input.dropped > 0)
        .then(|| format!("{} tokens beyond the {limit} that the model's settings allow are cut off", input.dropped));
    Ok(Ready { input, note })
}

/// The vectors of a text as JSON.
fn embedding(found: &Embedded, how: &EmbedOptions) -> Value {
    let layer = |values: &Vec<f32>| match how.pooling {
        Pooling::None => values.chunks(found.width).map(|row| json!(row)).collect(),
        _ => json!(values),
    };
    match &found.layers[..] {
        [one] => layer(one),
        several => several.iter().map(layer).collect(),
    }
}
