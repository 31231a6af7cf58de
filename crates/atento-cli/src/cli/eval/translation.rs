//! How well a model translates a data set.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use atento::data::{ParallelSource, load_pairs};
use atento::eval::{Bleu, BleuScore, Chrf, ChrfScore};
use atento::pretrained::Pretrained;
use atento::score::{Score, score_pairs};
use atento::translate::Translation;
use serde_json::json;

use crate::cli::model;
use crate::cli::score;
use crate::cli::translate::{SearchArgs, one_line, translate_lines};
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// What only a translator can be asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for translators")]
pub struct TranslationArgs {
    /// Source sentences, one a line
    #[arg(long, value_name = "FILE", requires = "target")]
    source: Option<PathBuf>,

    /// Target sentences, as many lines
    #[arg(long, value_name = "FILE", requires = "source")]
    target: Option<PathBuf>,

    /// The key of the source sentence in JSON objects; a dot descends [default: source]
    #[arg(long, value_name = "KEY", requires = "data")]
    source_key: Option<String>,

    /// The key of the target sentence in JSON objects; a dot descends [default: target]
    #[arg(long, value_name = "KEY", requires = "data")]
    target_key: Option<String>,

    #[command(flatten)]
    search: SearchArgs,

    /// Write the translations to this file, one a line
    #[arg(long, value_name = "FILE")]
    save_hypotheses: Option<PathBuf>,
}

impl TranslationArgs {
    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { source, target, source_key, target_key, search, save_hypotheses } = self;
        let options = [
            ("--source", source.is_some()),
            ("--target", target.is_some()),
            ("--source-key", source_key.is_some()),
            ("--target-key", target_key.is_some()),
            ("--save-hypotheses", save_hypotheses.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name).or(search.given())
    }

    /// Where the pairs are.
    fn pairs(&self, data: Option<&Path>) -> anyhow::Result<ParallelSource> {
        match (data, &self.source, &self.target) {
            (Some(path), ..) => Ok(match ParallelSource::from_path(path) {
                ParallelSource::Jsonl { path, source_key, target_key } => ParallelSource::Jsonl {
                    path,
                    source_key: self.source_key.clone().unwrap_or(source_key),
                    target_key: self.target_key.clone().unwrap_or(target_key),
                },
                tsv => tsv,
            }),
            (None, Some(source), Some(target)) => {
                Ok(ParallelSource::Files { source: source.clone(), target: target.clone() })
            }
            _ => bail!("name the pairs with --data, or with --source and --target"),
        }
    }
}

/// What was measured.
struct Measured {
    sentences: usize,
    tokens: usize,
    /// Mean negative log-likelihood of a target token, in nats.
    loss: f64,
    bleu: BleuScore,
    chrf: ChrfScore,
}

/// Measures a translator.
///
/// # Errors
/// The model, the data or a setting is wrong; the search fails; a file cannot be written.
pub fn run(model: &Path, data: Option<&Path>, args: &TranslationArgs, options: &Options) -> Result<(), Failure> {
    let source = args.pairs(data)?;
    let pairs = load_pairs(&source)?;
    let pretrained = model::load(model, options)?;
    // Opened before the work, so that a wrong path costs none.
    let save_to = (args.save_hypotheses.as_deref())
        .map(|path| create_beside(path, [data, args.source.as_deref(), args.target.as_deref()]))
        .transpose()?;
    let place = |index: usize| format!("{source}, pair {}", index + 1);
    let start_id = model::start_id(&pretrained);
    let scores = score_pairs(&pretrained.model, &pretrained.tokenizer, &pairs, start_id)
        .map_err(|error| score::failure(error, place))?;
    let hypotheses = hypotheses(&pretrained, args, &pairs, place)?;
    let mut unknown = Unknowns::default();
    for (i, (source, target)) in pairs.iter().enumerate() {
        [source, target].into_iter().try_for_each(|text| unknown.look(&pretrained.tokenizer, text, || place(i)))?;
    }
    unknown.tell(options);
    if let Some(file) = save_to {
        save(file, &hypotheses).context("cannot write the hypotheses").map_err(Failure::Run)?;
    }
    let measured = measure(&pairs, &scores, &hypotheses)?;
    let mut out = Output::open();
    write(&mut out, &measured, options.json)?;
    out.finish()
}

fn hypotheses(
    pretrained: &Pretrained,
    args: &TranslationArgs,
    pairs: &[(String, String)],
    place: impl Fn(usize) -> String,
) -> Result<Vec<String>, Failure> {
    let sources: Vec<&str> = pairs.iter().map(|(source, _)| source.as_str()).collect();
    let lists = translate_lines(pretrained, &sources, &args.search.options(pretrained)?, place)?;
    let best = |list: Vec<Translation>| list.into_iter().next().map_or_else(String::new, |one| one.text);
    Ok(lists.into_iter().map(best).collect())
}

/// Opens the file for the translations, which must not be one that is read.
fn create_beside(path: &Path, inputs: [Option<&Path>; 3]) -> anyhow::Result<File> {
    let place = |path: &Path| path.canonicalize().ok();
    if let Some(input) =
        inputs.into_iter().flatten().find(|input| place(input).is_some() && place(input) == place(path))
    {
        anyhow::bail!("--save-hypotheses would overwrite {}, which is read: name another file", input.display());
    }
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn save(file: File, hypotheses: &[String]) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    hypotheses.iter().try_for_each(|text| writeln!(file, "{}", one_line(text)))?;
    file.flush()
}

fn measure(pairs: &[(String, String)], scores: &[Score], hypotheses: &[String]) -> Result<Measured, Failure> {
    let references: Vec<&str> = pairs.iter().map(|(_, target)| target.as_str()).collect();
    let tokens: usize = scores.iter().map(|score| score.ids.len()).sum();
    let log_probability: f64 = scores.iter().map(Score::sum_logprob).sum();
    Ok(Measured {
        sentences: pairs.len(),
        tokens,
        loss: -log_probability / tokens as f64,
        bleu: Bleu::default().corpus(hypotheses, &[references.as_slice()])?,
        chrf: Chrf::default().corpus(hypotheses, &[references.as_slice()])?,
    })
}

fn write(out: &mut Output, measured: &Measured, json: bool) -> Result<(), Failure> {
    let Measured { sentences, tokens, loss, bleu, chrf } = measured;
    let perplexity = loss.exp();
    if json {
        return out.json(&json!({
            "loss": loss,
            "perplexity": perplexity,
            "bleu": bleu.score,
            "chrf": chrf.score,
            "signature": bleu.signature,
            "chrf_signature": chrf.signature,
            "sentences": sentences,
            "tokens": tokens,
        }));
    }
    out.line(format_args!("sentences   {sentences} ({tokens} target tokens)"))?;
    out.line(format_args!("loss        {loss:.4}"))?;
    out.line(format_args!("perplexity  {perplexity:.4}"))?;
    out.line(format_args!("BLEU        {:.2} {}", bleu.score, bleu.verbose()))?;
    out.line(format_args!("            {}", bleu.signature))?;
    out.line(format_args!("chrF        {:.2}", chrf.score))?;
    out.line(format_args!("            {}", chrf.signature))
}
