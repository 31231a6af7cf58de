//! `atento bleu HYP REF…`: BLEU and chrF as sacreBLEU computes them.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use atento::data::read_text;
use atento::eval::{
    Bleu, BleuOptions, BleuScore, Bootstrap, Chrf, ChrfOptions, ChrfScore, CorpusMetric, Interval, PairedComparison,
    Reference, Smoothing, Tokenizer,
};
use serde_json::{Map, Value, json};

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;

/// Score translations with BLEU and chrF, identical to sacreBLEU
///
/// A byte-order mark at the beginning of a file is left out, as by every verb; sacreBLEU counts it as a character of the
/// first line.
#[derive(Debug, clap::Args)]
pub struct BleuArgs {
    /// The text to score, one segment a line (`-`: standard input; gzip is read as it is)
    #[arg(value_name = "HYP")]
    hypotheses: PathBuf,

    /// The references, line for line
    #[arg(value_name = "REF", required = true)]
    references: Vec<PathBuf>,

    /// BLEU's tokenizer: 13a, none, intl or char
    #[arg(long, default_value_t, value_name = "NAME")]
    tokenize: Tokenizer,

    /// BLEU's smoothing of zero precisions: exp, floor, add-k or none
    #[arg(long, default_value = "exp", value_name = "NAME")]
    smooth_method: Smoothing,

    /// Ignore case, in all metrics
    #[arg(long)]
    lowercase: bool,

    /// The metrics, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bleu,chrf")]
    metrics: Vec<Metric>,

    /// Score every line by itself (BLEU over the n-gram orders the line is long enough for)
    #[arg(long)]
    sentence_level: bool,

    /// Test whether this second output differs from HYP, the baseline, by more than chance (paired bootstrap, drawn by --seed) [default seed: 12345]
    #[arg(long, value_name = "OTHER_HYP", conflicts_with = "sentence_level")]
    paired: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Metric {
    Bleu,
    Chrf,
    #[value(name = "chrf++")]
    ChrfPlusPlus,
}

/// A score ready to be shown: as text, and as fields of the JSON object.
struct Shown {
    name: String,
    signature: String,
    /// The score and, for BLEU, what follows it.
    text: String,
    fields: Vec<(&'static str, Value)>,
}

/// The lines of all files, equally many in each.
struct Texts {
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
    /// The second output of `--paired`.
    other: Option<Vec<String>>,
}

/// Runs the verb.
///
/// # Errors
/// A file that cannot be read, is empty or is not UTF-8; files with unequal numbers of lines.
pub fn run(args: &BleuArgs, options: &Options) -> Result<(), Failure> {
    let texts = Texts::read(args)?;
    let mut lines = Vec::new();
    if args.sentence_level {
        write_sentences(&mut lines, args, &texts, options)?;
    } else {
        write_corpus(&mut lines, args, &texts, options)?;
    }
    let mut out = Output::open();
    out.bytes(&lines)?;
    out.finish()
}

fn write_sentences(out: &mut impl Write, args: &BleuArgs, texts: &Texts, options: &Options) -> Result<()> {
    for (line, hypothesis) in texts.hypotheses.iter().enumerate() {
        let streams = texts.references.iter();
        let references: Vec<_> = streams.map(|stream| [stream[line].as_str()]).collect();
        let shown = score(args, &[hypothesis], &references)?;
        if options.json {
            writeln!(out, "{}", Value::Object(json_object(shown)))?;
            continue;
        }
        if line == 0 {
            // The signatures hold for every line; standard output carries scores only.
            shown.iter().for_each(|score| options.note(format_args!("{}|{}", score.name, score.signature)));
        }
        let scores = shown.iter().map(|score| format!("{} = {}", score.name, score.text));
        writeln!(out, "{}", scores.collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

fn write_corpus(out: &mut impl Write, args: &BleuArgs, texts: &Texts, options: &Options) -> Result<()> {
    let json = options.json;
    let bootstrap = Bootstrap { seed: options.seed.unwrap_or(Bootstrap::default().seed), ..Bootstrap::default() };
    let shown = score(args, &texts.hypotheses, &texts.references)?;
    if !json {
        for score in &shown {
            writeln!(out, "{}|{} = {}", score.name, score.signature, score.text)?;
        }
    }
    let mut object = json_object(shown);
    if let (Some(path), Some(other)) = (&args.paired, &texts.other) {
        let mut paired = Map::new();
        for &metric in &args.metrics {
            let (signature, result) = compare(args, metric, texts, other, bootstrap)?;
            if !json {
                writeln!(out, "\n{}|{signature}", metric.name(args))?;
                write_comparison(out, [&args.hypotheses, path], &result)?;
            }
            paired.insert(metric.key().to_owned(), comparison_json(&signature, &result));
        }
        object.insert("paired".to_owned(), Value::Object(paired));
    }
    if json {
        writeln!(out, "{}", Value::Object(object))?;
    }
    Ok(())
}

impl Metric {
    /// The field of the JSON object that holds the score.
    fn key(self) -> &'static str {
        match self {
            Metric::Bleu => "bleu",
            Metric::Chrf => "chrf",
            Metric::ChrfPlusPlus => "chrf++",
        }
    }

    /// The name that sacreBLEU prints.
    fn name(self, args: &BleuArgs) -> String {
        match self {
            Metric::Bleu => bleu(args).name(),
            _ => chrf(args, self).name(),
        }
    }
}

fn bleu(args: &BleuArgs) -> Bleu {
    Bleu::new(BleuOptions {
        tokenizer: args.tokenize,
        lowercase: args.lowercase,
        smoothing: args.smooth_method,
        effective_order: args.sentence_level,
    })
}

fn chrf(args: &BleuArgs, metric: Metric) -> Chrf {
    Chrf::new(ChrfOptions {
        word_order: if metric == Metric::ChrfPlusPlus { 2 } else { 0 },
        lowercase: args.lowercase,
        ..ChrfOptions::default()
    })
}

/// Every metric asked for, on these lines.
fn score<H, S, R>(args: &BleuArgs, hypotheses: &[H], references: &[S]) -> Result<Vec<Shown>>
where
    H: AsRef<str>,
    S: AsRef<[R]>,
    R: Reference,
{
    let show = |&metric: &Metric| match metric {
        Metric::Bleu => Ok(show_bleu(bleu(args).corpus(hypotheses, references)?)),
        _ => {
            let score = chrf(args, metric).corpus(hypotheses, references)?;
            Ok(show_chrf(metric, score))
        }
    };
    args.metrics.iter().map(show).collect()
}

fn show_bleu(score: BleuScore) -> Shown {
    Shown {
        text: format!("{:.2} {}", score.score, score.verbose()),
        fields: vec![
            ("bleu", json!(score.score)),
            ("signature", json!(score.signature)),
            ("precisions", json!(score.precisions)),
            ("bp", json!(score.bp)),
            ("ratio", json!(score.ratio())),
            ("hyp_len", json!(score.sys_len)),
            ("ref_len", json!(score.ref_len)),
        ],
        name: "BLEU".to_owned(),
        signature: score.signature,
    }
}

fn show_chrf(metric: Metric, score: ChrfScore) -> Shown {
    let signature_key = match metric {
        Metric::ChrfPlusPlus => "chrf++_signature",
        _ => "chrf_signature",
    };
    Shown {
        text: format!("{:.2}", score.score),
        fields: vec![(metric.key(), json!(score.score)), (signature_key, json!(score.signature))],
        name: score.name,
        signature: score.signature,
    }
}

fn json_object(shown: Vec<Shown>) -> Map<String, Value> {
    let fields = shown.into_iter().flat_map(|score| score.fields);
    fields.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The paired bootstrap of HYP and the other output under one metric, after its signature.
fn compare(
    args: &BleuArgs,
    metric: Metric,
    texts: &Texts,
    other: &[String],
    bootstrap: Bootstrap,
) -> Result<(String, PairedComparison)> {
    match metric {
        Metric::Bleu => compare_under(&bleu(args), texts, other, bootstrap),
        _ => compare_under(&chrf(args, metric), texts, other, bootstrap),
    }
}

fn compare_under(
    metric: &impl CorpusMetric,
    texts: &Texts,
    other: &[String],
    bootstrap: Bootstrap,
) -> Result<(String, PairedComparison)> {
    let baseline = metric.statistics(&texts.hypotheses, &texts.references)?;
    let system = metric.statistics(other, &texts.references)?;
    let result = bootstrap.paired(metric, &baseline, &system)?;
    let signature = metric.signature(baseline.references());
    Ok((bootstrap.signature(&signature), result))
}

fn write_comparison(out: &mut impl Write, [baseline, system]: [&Path; 2], result: &PairedComparison) -> Result<()> {
    let names = [format!("baseline {}", baseline.display()), format!("system {}", system.display())];
    let width = names[0].chars().count().max(names[1].chars().count());
    let show =
        |score: f64, Interval { mean, half_width }: Interval| format!("{score:6.2} (μ = {mean:.2} ± {half_width:.2})");
    let baseline = show(result.baseline_score, result.baseline_interval);
    let system = show(result.system_score, result.system_interval);
    writeln!(out, "  {:width$} {baseline}", names[0])?;
    writeln!(out, "  {:width$} {system} p = {:.4}", names[1], result.p_value)?;
    Ok(())
}

fn comparison_json(signature: &str, result: &PairedComparison) -> Value {
    json!({
        "baseline": result.baseline_score,
        "baseline_mean": result.baseline_interval.mean,
        "baseline_ci": result.baseline_interval.half_width,
        "score": result.system_score,
        "mean": result.system_interval.mean,
        "ci": result.system_interval.half_width,
        "p_value": result.p_value,
        "signature": signature,
    })
}

impl Texts {
    fn read(args: &BleuArgs) -> Result<Self> {
        let hypotheses = read_lines(&args.hypotheses)?;
        let parallel = |path: &PathBuf| read_parallel(path, &args.hypotheses, hypotheses.len());
        Ok(Texts {
            references: args.references.iter().map(parallel).collect::<Result<_>>()?,
            other: args.paired.as_ref().map(parallel).transpose()?,
            hypotheses,
        })
    }
}

/// The lines of a file that must have as many as HYP.
fn read_parallel(path: &Path, hypotheses: &Path, expected: usize) -> Result<Vec<String>> {
    let lines = read_lines(path)?;
    if lines.len() != expected {
        bail!(
            "{} has {} lines but {} has {expected}: line n of every file must be the same sentence",
            path.display(),
            lines.len(),
            hypotheses.display()
        );
    }
    Ok(lines)
}

/// The lines of a file, ended by line feeds alone as in sacreBLEU.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    let text = read_text(path)?;
    if text.is_empty() {
        bail!("{} is empty", path.display());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.split('\n').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: BleuArgs,
    }

    /// Parses `arguments` after writing the files, each a name and its content, and prefixing their folder to `@`.
    fn arguments(folder: &TempDir, files: &[(&str, &[u8])], arguments: &str) -> BleuArgs {
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let prefix = format!("{}/", folder.path().display());
        let words = arguments.split(' ').map(|word| word.replace('@', &prefix));
        Command::parse_from(std::iter::once("bleu".to_owned()).chain(words)).args
    }

    fn error(files: &[(&str, &[u8])]) -> String {
        let folder = TempDir::new().unwrap();
        let args = arguments(&folder, files, "@hyp @ref");
        let message = format!("{:#}", Texts::read(&args).err().unwrap());
        message.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn json_has_the_fields_promised_and_the_comparison() {
        let folder = TempDir::new().unwrap();
        let lines = b"The dog bit the man.\nIt was not unexpected.\n";
        let files: [(&str, &[u8]); 2] = [("hyp", lines), ("ref", lines)];
        let args = arguments(&folder, &files, "@hyp @ref --paired @ref");
        let mut out = Vec::new();
        let options = Options { json: true, threads: None, seed: None, quiet: true };
        write_corpus(&mut out, &args, &Texts::read(&args).unwrap(), &options).unwrap();
        let object: Value = serde_json::from_slice(&out).unwrap();
        assert!((object["bleu"].as_f64().unwrap() - 100.0).abs() < 1e-9);
        assert!((object["chrf"].as_f64().unwrap() - 100.0).abs() < 1e-9);
        assert_eq!(object["bp"], 1.0);
        assert_eq!(object["precisions"], json!([100.0, 100.0, 100.0, 100.0]));
        assert_eq!(object["signature"], "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
        assert!(object["paired"]["chrf"]["p_value"].is_number());
    }

    #[test]
    fn sentences_are_one_line_each_with_the_metrics_between_tabs() {
        let folder = TempDir::new().unwrap();
        let files: [(&str, &[u8]); 2] = [("hyp", b"a\n\n"), ("ref", b"a\nb")];
        let args = arguments(&folder, &files, "@hyp @ref --sentence-level");
        let mut out = Vec::new();
        let options = Options { json: false, threads: None, seed: None, quiet: true };
        write_sentences(&mut out, &args, &Texts::read(&args).unwrap(), &options).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "BLEU = 100.00 100.0/0.0/0.0/0.0 (BP = 1.000 ratio = 1.000 hyp_len = 1 ref_len = 1)\tchrF2 = 100.00\n\
             BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 0.000 ratio = 0.000 hyp_len = 0 ref_len = 1)\tchrF2 = 0.00\n"
        );
    }

    #[test]
    fn unequal_files_are_refused_with_both_counts() {
        assert_eq!(
            error(&[("hyp", b"a\nb\n"), ("ref", b"a\nb\nc")]),
            "ref has 3 lines but hyp has 2: line n of every file must be the same sentence"
        );
    }

    #[test]
    fn missing_empty_and_binary_files_are_refused_by_name() {
        assert!(error(&[("hyp", b"a")]).starts_with("ref: cannot open: "));
        assert_eq!(error(&[("hyp", b""), ("ref", b"a")]), "hyp is empty");
        assert_eq!(
            error(&[("hyp", b"a"), ("ref", b"a\nb\xff\n")]),
            "ref, line 2: not valid UTF-8 at byte 1 of the line (0xff); convert the file, for example with iconv -f latin1 -t utf8"
        );
        assert!(error(&[("hyp", b"a"), ("ref", b"\xff\xfea\0")]).starts_with("ref: this is UTF-16 text"));
    }
}
