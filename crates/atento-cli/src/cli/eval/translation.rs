//! How well a model translates a data set.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use atento::data::{Columns, Pair, ParallelSource, header};
use atento::eval::{Bleu, BleuScore, Chrf, ChrfScore};
use atento::pipelines::Pretrained;
use atento::pipelines::translate::Translation;
use atento::score::{NonFinite, Score, score_ids};
use serde_json::json;

use super::pairs::{self, Measurable};
use crate::cli::model::{self, AdapterArgs, WeightsArgs};
use crate::cli::translate::sentences::{Sentence, translate_sentences};
use crate::cli::translate::{SearchArgs, one_line};
use crate::ui::failure::Failure;
use crate::ui::lines::{OnErrorArgs, OnTooLong};
use crate::ui::options::Options;
use crate::ui::out_file::OutFile;
use crate::ui::output::Output;
use crate::ui::table::thousands;
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

    /// The key of the source sentence in JSON objects (a dot descends), or its column in a CSV or TSV file: of TSV the number
    /// from 1, or the name in a header [default: source]
    #[arg(long, value_name = "KEY", requires = "data")]
    source_key: Option<String>,

    /// The same of the target sentence [default: target]
    #[arg(long, value_name = "KEY", requires = "data")]
    target_key: Option<String>,

    #[command(flatten)]
    search: SearchArgs,

    /// Write the translations to this file, a line for every pair
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
                ParallelSource::Csv { path, source_key, target_key } => ParallelSource::Csv {
                    path,
                    source_key: self.source_key.clone().unwrap_or(source_key),
                    target_key: self.target_key.clone().unwrap_or(target_key),
                },
                ParallelSource::Tsv { path, .. } => {
                    let keys = [&self.source_key, &self.target_key].map(Option::as_deref);
                    ParallelSource::Tsv { path, columns: Columns::chosen(keys[0], keys[1], ["source", "target"]) }
                }
                files => files,
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
    left_out: usize,
    tokens: usize,
    /// Mean negative log-likelihood of a target token, in nats; none without a target.
    loss: Option<f64>,
    bleu: BleuScore,
    chrf: ChrfScore,
}

/// Measures a translator.
///
/// # Errors
/// The model, the data or a setting is wrong; the search fails; a file cannot be written; in the end, that there were bad
/// pairs.
pub fn run(
    (model, adapter, weights): (&Path, &AdapterArgs, &WeightsArgs),
    data: Option<&Path>,
    args: &TranslationArgs,
    (on_error, on_too_long): (OnErrorArgs, OnTooLong),
    options: &Options,
) -> Result<(), Failure> {
    let source = args.pairs(data)?;
    // Before the model: a wrong file costs no work.
    let reader = source.open()?;
    if let ParallelSource::Tsv { path, columns } = &source {
        header::note(path, columns.as_ref()).into_iter().for_each(|note| options.note(note));
    }
    let inputs = [data, args.source.as_deref(), args.target.as_deref()];
    let save_to = (args.save_hypotheses.as_deref())
        .map(|path| OutFile::check("--save-hypotheses", path, inputs.into_iter().flatten()))
        .transpose()?;
    let pretrained = model::load(model, adapter, weights, options)?;
    let how = args.search.options(&pretrained)?;
    let (pairs, tally) = pairs::load(&source, reader, &pretrained, on_too_long, on_error, options)?;
    if tally.bad == tally.all {
        return Err(tally.nothing_left(&source, "pairs"));
    }
    let good: Vec<&Measurable> = pairs.iter().flatten().collect();
    let mut unknown = Unknowns::default();
    for (i, pair) in pairs.iter().enumerate() {
        let texts = pair.iter().flat_map(|pair| [&pair.source_text, &pair.target]);
        for text in texts {
            unknown.look(&pretrained.tokenizer, text, || format!("{source}, pair {}", i + 1))?;
        }
    }
    unknown.tell(options);
    let sentences: Vec<&Sentence> = good.iter().map(|pair| &pair.source).collect();
    let best = |list: Vec<Translation>| list.into_iter().next().map_or_else(String::new, |one| one.text);
    let found = translate_sentences(&pretrained, &sentences, &how)?;
    let hypotheses: Vec<String> = found.into_iter().map(best).collect();
    // A disk that is full does not cost the scores.
    let saved = save_to.map_or(Ok(()), |file| save(&file, &pairs, &hypotheses));
    let measured = Measured { left_out: tally.bad, ..measure(&source, &pretrained, &good, &hypotheses)? };
    let mut out = Output::open();
    write(&mut out, &measured, options.json)?;
    out.finish()?;
    saved?;
    tally.finish("pairs")
}

/// Writes a line for every pair, an empty one for a bad pair.
fn save(file: &OutFile, pairs: &[Option<Measurable>], hypotheses: &[String]) -> Result<(), Failure> {
    let mut hypotheses = hypotheses.iter();
    file.write(|out| {
        pairs.iter().try_for_each(|pair| {
            let text = pair.as_ref().and_then(|_| hypotheses.next()).map(|text| one_line(text));
            writeln!(out, "{}", text.unwrap_or_default())
        })
    })
}

fn measure(
    source: &ParallelSource,
    pretrained: &Pretrained,
    pairs: &[&Measurable],
    hypotheses: &[String],
) -> Result<Measured, Failure> {
    let scored: Vec<(u64, &Pair)> = pairs.iter().filter_map(|pair| Some((pair.line, pair.scored.as_ref()?))).collect();
    let tokens: Vec<Pair> = scored.iter().map(|(_, pair)| (*pair).clone()).collect();
    let scores = score_ids(&*pretrained.model, &tokens, model::start_id(pretrained));
    if let Some(((line, _), _)) = scored.iter().zip(&scores).find(|(_, score)| !score.sum_logprob().is_finite()) {
        return Err(Failure::Run(anyhow!("{source}, line {line}: {NonFinite}")));
    }
    let references: Vec<&str> = pairs.iter().map(|pair| pair.target.as_str()).collect();
    let tokens: usize = scores.iter().map(|score| score.ids.len()).sum();
    let log_probability: f64 = scores.iter().map(Score::sum_logprob).sum();
    Ok(Measured {
        sentences: pairs.len(),
        left_out: 0,
        tokens,
        loss: (tokens > 0).then(|| -log_probability / tokens as f64),
        bleu: Bleu::default().corpus(hypotheses, &[references.as_slice()])?,
        chrf: Chrf::default().corpus(hypotheses, &[references.as_slice()])?,
    })
}

fn write(out: &mut Output, measured: &Measured, json: bool) -> Result<(), Failure> {
    let Measured { sentences, left_out, tokens, loss, bleu, chrf } = measured;
    let perplexity = loss.map(f64::exp);
    if json {
        return out.json(&json!({
            "loss": loss,
            "perplexity": perplexity,
            "bleu": bleu.score,
            "chrf": chrf.score,
            "signature": bleu.signature,
            "chrf_signature": chrf.signature,
            "sentences": sentences,
            "left_out": left_out,
            "tokens": tokens,
        }));
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let bad = if *left_out > 0 { format!(", {} bad pairs left out", thousands(*left_out)) } else { String::new() };
    let [sentences, tokens] = [*sentences, *tokens].map(thousands);
    out.line(format_args!("sentences   {sentences} ({tokens} target tokens){bad}"))?;
    out.line(format_args!("loss        {}", number(*loss)))?;
    out.line(format_args!("perplexity  {}", number(perplexity)))?;
    out.line(format_args!("BLEU        {:.2} {}", bleu.score, bleu.verbose()))?;
    out.line(format_args!("            {}", bleu.signature))?;
    out.line(format_args!("chrF        {:.2}", chrf.score))?;
    out.line(format_args!("            {}", chrf.signature))
}
