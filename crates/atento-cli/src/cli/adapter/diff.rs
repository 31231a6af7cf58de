//! `atento adapter diff`: what an adapter changes of its model.

use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::peft::{Adapter, AdapterConfig, Change, Probed, changes};
use atento::pipelines::{LanguageModel, Loaded, Net, Pretrained, TextModel};
use serde_json::json;

use super::PairArgs;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align};

/// Singular values that a line shows.
const SHOWN: usize = 8;

/// Show what an adapter changes: how far each matrix moves, in how many directions, and how far the outputs
///
/// A line a parameter: the norm of the difference, its share of the parameter's own, over how many directions it spreads, and
/// the singular values of what is added. With --json a line a parameter: {"name", "rank", "norm", "relative", "effective_rank",
/// "singular_values"}, then {"largest_difference", "largest_logit"} of the outputs.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    pub pair: PairArgs,
}

/// Runs the verb.
///
/// # Errors
/// The model or the adapter is wrong; standard output cannot be written.
pub fn run(args: &DiffArgs, options: &Options) -> Result<(), Failure> {
    let dir = args.pair.open()?;
    dir.require_exact()?;
    match dir.head() {
        Head::Translation => {
            let base = Pretrained::load(&args.pair.model)?;
            show(&dir, &Pretrained::from_dir(&dir, Precision::F32)?, Some(base.outputs()), options)
        }
        Head::Language => {
            let base = LanguageModel::load(&args.pair.model)?;
            show(&dir, &LanguageModel::from_dir(&dir, Precision::F32)?, Some(base.outputs()), options)
        }
        head => {
            let own = ModelDir::open(&args.pair.model)?;
            // A base without the adapter's output has nothing to compare it with.
            let base = (own.head() == head).then(|| TextModel::from_dir(&own, Precision::F32)).transpose()?;
            show(&dir, &TextModel::from_dir(&dir, Precision::F32)?, base.map(|base| base.outputs()), options)
        }
    }
}

fn show<M: Net>(dir: &ModelDir, model: &Loaded<M>, base: Option<Vec<f32>>, options: &Options) -> Result<(), Failure>
where
    Loaded<M>: Probed,
{
    let found = changes(&*model.model.config(), model.model.params(), &dir.weights()?)?;
    let outputs = base.filter(|base| base.len() == model.outputs().len()).map(|base| {
        let after = model.outputs();
        let difference = base.iter().zip(&after).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
        (difference, base.iter().fold(0f32, |most, x| most.max(x.abs())))
    });
    let adapter = Adapter::open(dir.adapter().expect("a model that was opened with one"))?;
    let beside = match adapter.config {
        AdapterConfig::Virtual(_) => Some("its virtual tokens stand before every text"),
        AdapterConfig::Houlsby(_) => Some("its layers stand behind those of the model"),
        _ => None,
    };
    if let Some(beside) = beside {
        options.note(format_args!("{beside}: they change no matrix and are not in the table"));
    }
    let mut out = Output::open();
    if options.json {
        for change in &found {
            out.json(&json!({
                "name": change.name, "rank": change.rank, "norm": change.norm, "relative": change.relative,
                "effective_rank": change.effective_rank(), "singular_values": change.spectrum,
            }))?;
        }
        if let Some((difference, largest)) = outputs {
            out.json(&json!({ "largest_difference": difference, "largest_logit": largest }))?;
        }
        return out.finish();
    }
    let head = ["parameter", "norm", "of its own", "directions", "singular values"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(found.iter().map(row)).collect();
    let columns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Left];
    table::lines(&columns, &rows).into_iter().try_for_each(|line| out.line(line))?;
    if let Some((difference, largest)) = outputs {
        out.line("")?;
        out.line(format_args!("logits change by up to {difference:.3}; the base's largest is {largest:.2}"))?;
    }
    out.finish()
}

fn row(change: &Change) -> Vec<String> {
    let mut values: Vec<String> = change.spectrum.iter().take(SHOWN).map(|value| format!("{value:.3}")).collect();
    values.extend((change.spectrum.len() > SHOWN).then(|| "…".to_owned()));
    let directions = match (change.effective_rank(), change.rank) {
        (Some(found), Some(rank)) => format!("{found:.1} of {rank}"),
        _ => String::new(),
    };
    vec![
        change.name.clone(),
        format!("{:.3}", change.norm),
        change.relative.map_or("new".into(), |share| format!("{:.2}%", 100.0 * share)),
        directions,
        values.join(" "),
    ]
}
