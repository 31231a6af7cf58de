//! Runs over each other on one page: their curves, the settings in which they differ, and what came of them.

use minijinja::{Environment, Value, context};

use super::chart::{Chart, class};
use super::{Error, eval_measure, measures_besides_loss, points, words};
use crate::train::compare::{Comparison, Row};
use crate::train::metrics::Record;

/// Draws the page.
///
/// # Errors
/// The template has a mistake.
pub fn overlay(comparison: &Comparison) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.add_template("style.css", include_str!("style.css"))?;
    environment.add_template("chart.html.j2", include_str!("chart.html.j2"))?;
    environment.add_template("overlay.html.j2", include_str!("overlay.html.j2"))?;
    environment.add_filter("breakable", words::breakable);
    environment.add_filter("breakable_key", words::breakable_key);
    let runs = comparison.runs();
    let named = |(place, name): (usize, &String)| context! { name, class => class(place) };
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let setting = |(key, values): (&str, Vec<Option<&str>>)| {
        context! { name => key, values => values.into_iter().map(owned).collect::<Vec<_>>() }
    };
    let result = |row: Row| context! { name => row.name, values => row.values };
    let page = context! {
        title => runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", "),
        task => runs.first().map(|run| &run.task),
        runs => runs.iter().map(|run| &run.name).enumerate().map(named).collect::<Value>(),
        notes => comparison.notes(),
        charts => charts(comparison).iter().map(Chart::to_value).collect::<Value>(),
        settings => comparison.settings().into_iter().map(setting).collect::<Value>(),
        results => comparison.results().into_iter().map(result).collect::<Value>(),
    };
    Ok(environment.get_template("overlay.html.j2")?.render(page)?)
}

/// The charts for which any run has points, a curve for each run.
fn charts(comparison: &Comparison) -> Vec<Chart> {
    let runs = comparison.runs();
    let chart = |title: &str, unit: &str, value: &dyn Fn(&Record) -> Option<f64>| {
        Chart::new(title, unit, runs.iter().map(|run| (run.name.clone(), points(&run.records, value))).collect())
    };
    let valid = "on the validation data";
    let mut charts = vec![
        chart("Training loss", "without label smoothing", &|record| record.loss),
        chart("Validation loss", "", &|record| record.eval.get("eval_loss").copied()),
    ];
    for name in measures_besides_loss(runs.iter().flat_map(|run| &run.records)) {
        charts.push(
            chart(&words::title(&eval_measure(name)), valid, &|record| record.eval.get(name).copied()).based_at_zero(),
        );
    }
    charts.push(chart("Learning rate", "of each update", &|record| record.lr).based_at_zero());
    charts.retain(|chart| !chart.is_empty());
    charts
}
