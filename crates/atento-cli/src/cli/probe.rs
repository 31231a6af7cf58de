//! `atento probe MODEL`: which layer of a model knows most of what labels say.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::data::OnTruncate;
use atento::data::labelled::{Aim, ColumnNames, LabelSet, LabelledSet, ReadOptions, Table};
use atento::families::Head;
use atento::hub::sentence;
use atento::models::Precision;
use atento::pipelines::TextModel;
use atento::pipelines::texts::embed::Pooling;
use atento::train::probe::{LayerScore, layers};
use serde_json::json;

use super::model::AdapterArgs;
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align};

/// Find which layer of a frozen model knows most of what labels say
///
/// The states of each layer are pooled to one vector a text. On those of the training data a linear output is solved
/// (multinomial logistic regression; ridge regression of values), regularised as fits the validation data best, and measured.
/// Layer 0 is the embeddings, 1 the first block. With --json a line a layer: {"layer", "measure", "valid", "test",
/// "inverse_regularisation"}. To keep such an output with the model, train with `train.method = "features"`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Labelled texts to solve outputs on: TSV, CSV if it ends in .csv, JSON objects if it ends in .jsonl; gzip is read as it is
    #[arg(long, value_name = "FILE")]
    train: PathBuf,

    /// Labelled texts to choose the regularisation on
    #[arg(long, value_name = "FILE")]
    valid: PathBuf,

    /// Labelled texts that nothing is chosen on
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,

    /// What a text's vector is made of: cls (the first token), mean, max, last (the last token) [default: the model's, or mean]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pooling: Option<PoolingArg>,

    /// Labels are values
    #[arg(long, conflicts_with = "multi_label")]
    values: bool,

    /// A text has any number of labels, set apart by commas
    #[arg(long)]
    multi_label: bool,

    /// The column of texts [default: found by the names of published data sets]
    #[arg(long, value_name = "NAME")]
    text_key: Option<String>,

    /// The column of second texts
    #[arg(long, value_name = "NAME")]
    pair_key: Option<String>,

    /// The column of labels
    #[arg(long, value_name = "NAME")]
    label_key: Option<String>,

    /// The most tokens of a text; longer ones are cut and counted [default: the model's positions]
    #[arg(long, value_name = "N", value_parser = crate::ui::number::positive)]
    max_length: Option<usize>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PoolingArg {
    Cls,
    Mean,
    Max,
    Last,
}

impl ProbeArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        self.adapter.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or the data are wrong; the output cannot be written.
pub fn run(args: &ProbeArgs, options: &Options) -> Result<(), Failure> {
    let dir = args.adapter.open(&args.model)?;
    if dir.head() == Head::Translation {
        let path = args.model.display();
        return Err(anyhow!("{path}: this model translates; its states cannot be asked for").into());
    }
    let precision = if dir.is_int8()? { Precision::Int8 } else { Precision::F32 };
    let model = TextModel::states(&dir, precision)?;
    model.notes.iter().for_each(|note| options.note(note));
    let own = sentence::read(dir.path())?.map_or(Pooling::Mean, |settings| settings.pooling);
    let pooling = match args.pooling {
        None => own,
        Some(PoolingArg::Cls) => Pooling::Cls,
        Some(PoolingArg::Mean) => Pooling::Mean,
        Some(PoolingArg::Max) => Pooling::Max,
        Some(PoolingArg::Last) => Pooling::Last,
    };
    let aim = match (args.values, args.multi_label) {
        (true, _) => Aim::Value,
        (_, true) => Aim::ManyLabels,
        _ => Aim::Label,
    };
    let columns = ColumnNames {
        text: args.text_key.clone(),
        pair: args.pair_key.clone(),
        label: args.label_key.clone(),
        ..ColumnNames::default()
    };
    let labels = LabelSet::find(aim, &Table::named(&args.train), &columns)?;
    let read = |path: &Path| -> Result<LabelledSet, Failure> {
        let longest = model.longest().unwrap_or(usize::MAX);
        let how = ReadOptions {
            max_length: args.max_length.unwrap_or(longest).min(longest),
            on_truncate: OnTruncate::Warn,
            drop_duplicates: false,
            token_types: model.model.trunk.token_types(),
        };
        let set = LabelledSet::read(&Table::named(path), &columns, &labels, &model.tokenizer, &how)?;
        set.report().losses().into_iter().for_each(|losses| options.note(format_args!("{}: {losses}", path.display())));
        Ok(set)
    };
    let (train, valid) = (read(&args.train)?, read(&args.valid)?);
    let test = args.test.as_deref().map(read).transpose()?;
    let found = layers(&model, (&train, &valid, test.as_ref()), labels.names.len(), pooling)
        .map_err(|error| anyhow!("{}: {error}", args.train.display()))?;
    print(&found, measure(aim), options)
}

fn measure(aim: Aim) -> &'static str {
    match aim {
        Aim::Label => "accuracy",
        Aim::ManyLabels => "micro F1",
        Aim::Value => "Pearson",
    }
}

fn print(found: &[LayerScore], measure: &str, options: &Options) -> Result<(), Failure> {
    let mut out = Output::open();
    if options.json {
        for LayerScore { layer, valid, test, strengths } in found {
            let object = json!({
                "layer": layer, "measure": measure, "valid": valid, "test": test, "inverse_regularisation": strengths,
            });
            out.json(&object)?;
        }
        return out.finish();
    }
    let has_test = found.iter().any(|score| score.test.is_some());
    let best = found.iter().map(|score| score.valid).fold(f64::NEG_INFINITY, f64::max);
    let heading = ["layer".into(), format!("{measure}, valid"), format!("{measure}, test")];
    let mut rows = vec![heading[..if has_test { 3 } else { 2 }].to_vec()];
    for score in found {
        let name = if score.layer == 0 { "0 (embeddings)".to_owned() } else { score.layer.to_string() };
        let mark = if score.valid == best { " *" } else { "" };
        let numbers = [Some(score.valid), score.test].into_iter().flatten().map(|value| format!("{value:.4}"));
        let mut row: Vec<String> = [name].into_iter().chain(numbers).collect();
        row.push(mark.to_owned());
        rows.push(row);
    }
    rows[0].push(String::new());
    let mut align = vec![Align::Left];
    align.extend(vec![Align::Right; if has_test { 2 } else { 1 }]);
    align.push(Align::Left);
    table::lines(&align, &rows).into_iter().try_for_each(|line| out.line(line.trim_end()))?;
    out.finish()
}
