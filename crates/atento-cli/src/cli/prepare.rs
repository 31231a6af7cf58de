//! `atento prepare`: pre-training examples of masked language models, built, measured and shown.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use atento::data::pretrain::{
    CorpusReport, Draw, Drawn, Error, ExampleOptions, Markers, Objective, PretrainConfig, PretrainData, TextOptions,
    Units,
};
use atento::data::tokens::{self, Boundary, TextSource};
use atento::hub::ModelDir;
use atento::hub::special_tokens::load_tokenizer;
use atento::text::Tokenizer;
use atento::train::events::group_thousands;
use atento::train::report::grouped;
use serde_json::json;

mod examples;

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::lines::{OnError, Tally, with_option};
use crate::ui::number::positive;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::signals::remove_on_interrupt;

/// Build the examples that a masked language model is pre-trained on, count what was drawn, and show some
///
/// Texts are tokenised into files, and one epoch of examples is drawn from those. A sentence is a line; documents are apart
/// by blank lines, or are the texts of JSON objects. Without --out the files are removed again.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    /// Files and directories of text (`-`: standard input; gzip is read as it is); .jsonl holds a JSON object on each line
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
    #[arg(long, value_name = "DIR", required = true)]
    tokenizer: PathBuf,

    /// What is learned: masked tokens, and whether a second segment is the next one, or in order
    #[arg(long, value_enum, default_value = "mlm+nsp")]
    objective: ObjectiveName,

    /// The most tokens of an example, special ones counted
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = positive)]
    seq_len: usize,

    /// The share of tokens that are chosen to be predicted
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    mask_prob: f64,

    /// The share of examples that aim at a random length below the longest
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    short_seq_prob: f64,

    /// Choose all tokens of a word or none
    #[arg(long, conflicts_with = "spans")]
    whole_words: bool,

    /// Choose words that follow one another: a geometric number, ten at most
    #[arg(long)]
    spans: bool,

    /// What a document is in plain text
    #[arg(long, value_enum, default_value = "blank-line")]
    documents: DocumentsName,

    /// The key of the text in JSON objects; a dot descends [default: text]
    #[arg(long, value_name = "KEY")]
    text_key: Option<String>,

    /// Leave out every document equal to an earlier one
    #[arg(long)]
    drop_duplicates: bool,

    /// A line of a .jsonl file that cannot be used: skip it or stop there [default: skip]
    ///
    /// skip tells its number, goes on, and exits with 1 in the end. stop writes nothing and exits with 2.
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    on_error: Option<OnError>,

    /// Print this many examples, with what became of each token that was chosen
    #[arg(long, value_name = "N", default_value_t = 0)]
    show: usize,

    /// Keep the files in this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ObjectiveName {
    /// Masked tokens of one segment
    Mlm,
    /// And whether the second of two segments follows the first or is of another document
    #[value(name = "mlm+nsp")]
    MlmNsp,
    /// And whether two segments that follow one another are in order
    #[value(name = "mlm+sop")]
    MlmSop,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DocumentsName {
    /// Lines up to a blank one
    BlankLine,
    /// A whole file
    File,
    /// A line
    Line,
}

impl PrepareArgs {
    fn config(&self, seed: u64) -> PretrainConfig {
        let objective = match self.objective {
            ObjectiveName::Mlm => Objective::Mlm,
            ObjectiveName::MlmNsp => Objective::MlmNsp,
            ObjectiveName::MlmSop => Objective::MlmSop,
        };
        let boundary = match self.documents {
            DocumentsName::BlankLine => Boundary::BlankLine,
            DocumentsName::File => Boundary::File,
            DocumentsName::Line => Boundary::Line,
        };
        let units = match (self.whole_words, self.spans) {
            (true, _) => Units::Words,
            (_, true) => Units::Spans,
            _ => Units::Tokens,
        };
        let source = TextSource { boundary, ..TextSource::new(&self.files) };
        PretrainConfig {
            source: TextSource { text_key: self.text_key.clone().unwrap_or(source.text_key), ..source },
            texts: TextOptions { drop_duplicates: self.drop_duplicates, seed, ..TextOptions::default() },
            examples: ExampleOptions {
                objective,
                seq_len: self.seq_len,
                mask_prob: self.mask_prob,
                short_seq_prob: self.short_seq_prob,
                units,
                draw: Draw::EachEpoch,
                ..ExampleOptions::default()
            },
        }
    }
}

impl PrepareArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.description(&mut self.tokenizer)
    }
}

/// Runs the verb.
///
/// # Errors
/// A text, the tokenizer or a setting is wrong; the files or standard output cannot be written; lines could not be read.
pub fn run(args: &PrepareArgs, options: &Options) -> Result<(), Failure> {
    let (tokenizer, notes) = load(&args.tokenizer)?;
    notes.iter().for_each(|note| options.note(note));
    let markers = Markers::of(&tokenizer)?;
    let seed = options.seed.unwrap_or(0);
    let config = args.config(seed);
    let scratch = if args.out.is_none() { Some(Scratch::new()?) } else { None };
    let place = args.out.clone().or(scratch.as_ref().map(|scratch| scratch.0.join("data"))).unwrap_or_default();
    let mut tally = Tally::default();
    let text_key = &config.source.text_key;
    let option = |key: &str| (key == text_key).then_some("--text-key");
    let mut on_fault = tally.skipping(args.on_error, option);
    let data = PretrainData::prepare(&config, &tokenizer, markers.clone(), &place, &mut on_fault, &mut |_| {});
    drop(on_fault);
    let data = data.map_err(|error| match error {
        Error::Tokens(fault) if fault.is_of_one_line() => anyhow!(with_option(&fault, option)).into(),
        error => failure(error),
    })?;
    let drawn = data.drawn(seed, 0).map_err(failure)?;
    let mut out = Output::open();
    let shown = examples::some(&data, &tokenizer, &markers, seed, args.show)?;
    match options.json {
        true => out.json(&json!({
            "report": data.report(),
            "drawn": drawn,
            "percent": percents(&drawn),
            "hash": format!("{:016x}", data.hash().map_err(failure)?),
            "examples": shown.iter().map(examples::Shown::json).collect::<Vec<_>>(),
        }))?,
        false => {
            shown.iter().flat_map(examples::Shown::lines).try_for_each(|line| out.line(line))?;
            out.line(grouped(&data.report().to_string()))?;
            out.line(grouped(&drawn.to_string()))?;
            args.out.iter().try_for_each(|dir| out.line(format_args!("files: {}", dir.display())))?;
        }
    }
    out.finish()?;
    tell(data.report(), options);
    match tally.bad {
        0 => Ok(()),
        bad => Err(Failure::Run(anyhow!("{bad} lines could not be used; {}", tally.told()))),
    }
}

/// What a person should know of the texts.
fn tell(report: &CorpusReport, options: &Options) {
    if report.duplicates > report.duplicates_dropped {
        options.note(format_args!(
            "{} of {} documents equal an earlier one: a second segment may be drawn from an equal document; \
             --drop-duplicates leaves such documents out",
            group_thousands(report.duplicates),
            group_thousands(report.documents)
        ));
    }
    if report.cut_by_ends > 0 {
        options.note(format_args!(
            "{} of {} documents have one line, which was cut after each . ! ? to find sentences; texts with a sentence on \
             each line need no such rule",
            group_thousands(report.cut_by_ends),
            group_thousands(report.documents_kept)
        ));
    }
}

fn percents(drawn: &Drawn) -> serde_json::Value {
    let [masked, random, kept] = drawn.fate_percents();
    json!({
        "chosen": drawn.chosen_percent(),
        "masked": masked,
        "random": random,
        "kept": kept,
        "short": drawn.short_percent(),
        "true_pairs": (drawn.pairs > 0).then(|| drawn.positive_percent()),
    })
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Tokens(tokens::Error::Io { doing: "write" | "flush" | "read", .. }) => Failure::run(error),
        _ => error.into(),
    }
}

/// The tokenizer in a file, or that of a model or run directory, with what is to be told of its special tokens.
fn load(path: &Path) -> Result<(Tokenizer, Vec<String>), Failure> {
    let direct = path.join("tokenizer.json");
    let file = match (path.is_dir(), direct.is_file()) {
        (false, _) => path.to_owned(),
        (true, true) => direct,
        (true, false) => ModelDir::open(path)
            .map_err(|error| anyhow!(error).context("no tokenizer.json there, nor a model"))?
            .tokenizer_path()?,
    };
    Ok(load_tokenizer(&file)?)
}

/// A directory that is removed again.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("atento-prepare-{}", std::process::id()));
        let made = fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()));
        made.map_err(Failure::Run)?;
        remove_on_interrupt(&path).context("cannot listen for Ctrl-C").map_err(Failure::Run)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system clears the directory that it lies in.
        let _ = fs::remove_dir_all(&self.0);
    }
}
