//! What came of runs, as the rows of a table with a column for each run.

use std::collections::BTreeSet;
use std::time::Duration;

use super::run::{Results, Run, State};
use crate::memory::size_in_words;
use crate::train::events::{format_duration, group_thousands};
use crate::train::report::{decimal, eval_measure, measure_of_part, value_of};

/// A row: what it is, and a value for each run that has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the values are.
    pub name: String,
    /// The values, as they are read.
    pub values: Vec<Option<String>>,
}

/// The rows of the table; measures come first.
pub(super) fn rows(runs: &[Run]) -> Vec<Row> {
    let row = |name: &str, value: &dyn Fn(&Run) -> Option<String>| Row {
        name: name.to_owned(),
        values: runs.iter().map(value).collect(),
    };
    let of = |run: &Run, value: &dyn Fn(&Results) -> Option<String>| run.results.as_ref().and_then(value);
    let mut rows = vec![row("State", &|run| Some(state(run)))];
    for name in final_measures(runs) {
        let found = |results: &Results| Some(value_of(&name, results.metrics.get(&name).copied().flatten()?));
        rows.push(row(&measure_of_part(&name), &|run| of(run, &found)));
    }
    // A run that has not ended has no measures of its model, and what it has compares with the same of the others.
    if runs.iter().any(|run| run.results.as_ref().is_none_or(|results| results.metrics.is_empty())) {
        let evaluated = |run: &Run| run.evaluation().map(|record| group_thousands(record.step));
        rows.push(row("Last evaluation: step", &evaluated));
        for name in
            runs.iter().filter_map(Run::evaluation).flat_map(|record| record.eval.keys()).collect::<BTreeSet<_>>()
        {
            let found = |run: &Run| Some(value_of(name, *run.evaluation()?.eval.get(name)?));
            rows.push(row(&format!("Last evaluation: {}", eval_measure(name)), &found));
        }
    }
    let last = |run: &Run| run.records.last().map(|record| decimal(record.epoch, 2));
    rows.push(row("Updates", &|run| Some(group_thousands(run.steps()))));
    rows.push(row("Epochs", &|run| of(run, &|results| Some(decimal(results.epochs, 2))).or_else(|| last(run))));
    rows.push(row("Exported step", &|run| of(run, &|results| Some(group_thousands(results.model_step)))));
    let time = |results: &Results| Some(format_duration(Duration::try_from_secs_f64(results.seconds).ok()?));
    rows.push(row("Time", &|run| of(run, &time)));
    // A run that was resumed at its end has trained nothing since.
    let speed = |results: &Results| (results.tokens_per_second >= 1.0).then(|| decimal(results.tokens_per_second, 0));
    rows.push(row("Tokens per second", &|run| of(run, &speed)));
    rows.push(row("Trained parameters", &|run| of(run, &|results| Some(group_thousands(results.trainable)))));
    rows.push(row("Weights", &|run| run.model_bytes.map(size_in_words)));
    rows.push(row("Peak memory", &|run| of(run, &|results| results.peak_memory.map(size_in_words))));
    let signature = row("BLEU signature", &|run| of(run, &|results| results.signature.clone()));
    // Scores of the same signature compare, and nothing need be said.
    rows.extend(signature.values.iter().any(|value| *value != signature.values[0]).then_some(signature));
    rows.retain(|row| row.values.iter().any(Option::is_some));
    rows
}

/// The names of the measures of finished models: those of test data, on which nothing was chosen, first.
fn final_measures(runs: &[Run]) -> Vec<String> {
    let measured = runs.iter().filter_map(|run| run.results.as_ref()).flat_map(|results| &results.metrics);
    let names: BTreeSet<&String> = measured.filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    names.sort_by_key(|name| !name.starts_with("test_"));
    names
}

fn state(run: &Run) -> String {
    match run.state() {
        State::Finished => "finished",
        State::StoppedEarly => "stopped early",
        State::Stopped => "stopped by hand",
        State::Unfinished => "unfinished",
    }
    .to_owned()
}
