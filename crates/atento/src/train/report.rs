//! `report.html`: a run on one page that needs nothing but itself, no network and no script.

mod chart;
mod comparison;
mod overlay;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Environment, Value, context};

use super::events::group_thousands;
use super::metrics::Record;
use chart::Chart;
pub use comparison::{Compared, comparison};
pub use overlay::overlay;
pub use words::grouped;
use words::measure;
pub(super) use words::{decimal, group, measure_of_part, rows, value_of};

/// What a report shows besides the curves of the metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The heading, e.g. `multi30k-en-de`.
    pub title: String,
    /// One sentence below it: what was trained on what.
    pub subtitle: String,
    /// The measures of the finished model, by name: `test_bleu`, `valid_loss`, ….
    pub measures: BTreeMap<String, f64>,
    /// What the loss counts: `nats per target token`.
    pub loss_unit: String,
    /// What the speed counts a second: `source and target tokens`.
    pub tokens: String,
    /// The step of the weights that were exported, which the curves mark.
    pub exported: Option<u64>,
    /// Tables of a name and a value on each line: model, data, timing, ….
    pub tables: Vec<Table>,
    /// What the samples' first two columns are called, such as source and reference.
    pub sample_headings: [String; 2],
    /// Labels, and for each of them how often each was found in its place.
    pub matrix: Option<(Vec<String>, Vec<Vec<u64>>)>,
    /// Outputs of the model to look at.
    pub samples: Vec<Sample>,
    /// The recipe, resolved.
    pub recipe: String,
}

/// A table of a report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// Name and value of each line. A name without a value heads the lines below it; a value without a name is a sentence.
    pub rows: Vec<(String, String)>,
}

/// What the model read, what stands in the data behind it or as its translation, and what the model wrote.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// The sentence.
    pub source: String,
    /// How a person translated it.
    pub reference: String,
    /// How the model did.
    pub hypothesis: String,
}

/// A report that cannot be drawn, which is a mistake in its template.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the report: {0}")]
pub struct Error(#[from] minijinja::Error);

impl Report {
    /// Draws the page with the curves of `records`.
    ///
    /// # Errors
    /// The template has a mistake.
    pub fn to_html(&self, records: &[Record]) -> Result<String, Error> {
        let mut environment = Environment::new();
        // The name's ending makes every value be escaped.
        environment.add_template("style.css", include_str!("report/style.css"))?;
        environment.add_template("chart.html.j2", include_str!("report/chart.html.j2"))?;
        environment.add_filter("breakable", words::breakable);
        environment.add_template("report.html.j2", include_str!("report.html.j2"))?;
        let page = context! {
            title => &self.title,
            subtitle => &self.subtitle,
            highlights => self.measures.iter().map(highlight).collect::<Value>(),
            tables => self.tables.iter().map(table).collect::<Value>(),
            charts => self.charts(records).iter().map(Chart::to_value).collect::<Value>(),
            legend => true,
            evaluations => evaluations(records),
            headings => &self.sample_headings,
            samples => self.samples.iter().map(sample).collect::<Value>(),
            matrix => self.matrix.as_ref().map(matrix),
            recipe => &self.recipe,
        };
        Ok(environment.get_template("report.html.j2")?.render(page)?)
    }

    /// The charts for which the metrics have points.
    fn charts(&self, records: &[Record]) -> Vec<Chart> {
        let points = |value: &dyn Fn(&Record) -> Option<f64>| points(records, value);
        let eval = |name: &str| points(&|record| record.eval.get(name).copied());
        let training = ("training".to_string(), points(&|record| record.loss));
        let mut charts =
            vec![Chart::new("Loss", &self.loss_unit, vec![training, ("validation".to_string(), eval("eval_loss"))])];
        for name in measures_besides_loss(records.iter()) {
            let label = words::title(&eval_measure(name));
            let unit = "on the validation data";
            charts.push(Chart::new(&label, unit, vec![(label.clone(), eval(name))]).based_at_zero());
        }
        let single = |title: &str, unit: &str, points| {
            Chart::new(title, unit, vec![(title.to_string(), points)]).based_at_zero()
        };
        charts.push(single("Learning rate", "of each update", points(&|record| record.lr)));
        charts.push(single("Gradient norm", "before clipping", points(&|record| record.grad_norm)));
        let speed = format!("{} per second", self.tokens.to_lowercase());
        charts.push(single("Speed", &speed, points(&|record| record.tokens_per_second)));
        charts.retain(|chart| !chart.is_empty());
        charts.into_iter().map(|chart| chart.marked_at(self.exported)).collect()
    }
}

fn highlight((name, value): (&String, &f64)) -> Value {
    context! { name => measure_of_part(name), value => value_of(name, *value) }
}

/// The points of a curve: a value of each line of metrics that has it.
fn points(records: &[Record], value: &dyn Fn(&Record) -> Option<f64>) -> Vec<(f64, f64)> {
    records.iter().filter_map(|record| Some((record.step as f64, value(record)?))).collect()
}

/// The names of what was measured on the validation data besides the loss, in the order of the alphabet.
fn measures_besides_loss<'r>(records: impl Iterator<Item = &'r Record>) -> BTreeSet<&'r str> {
    let names = records.flat_map(|record| record.eval.keys().map(String::as_str));
    names.filter(|name| *name != "eval_loss").collect()
}

/// The spelling of the name of a measure in the metrics: `eval_bleu` is BLEU.
pub(super) fn eval_measure(name: &str) -> String {
    measure(name.strip_prefix("eval_").unwrap_or(name))
}

fn pair((name, value): &(String, String)) -> Value {
    context! { name, value }
}

fn table(table: &Table) -> Value {
    context! { title => &table.title, rows => table.rows.iter().map(pair).collect::<Value>() }
}

/// A confusion matrix of few labels: a row a label.
fn matrix((labels, rows): &(Vec<String>, Vec<Vec<u64>>)) -> Value {
    const MOST_LABELS: usize = 30;
    if labels.len() > MOST_LABELS {
        return context! { labels => Vec::<String>::new(), rows => Vec::<Value>::new(), count => labels.len() };
    }
    let row = |(label, counts): (&String, &Vec<u64>)| {
        let all: u64 = counts.iter().sum();
        let cell =
            |count: &u64| context! { count => group_thousands(*count), share => *count as f64 / all.max(1) as f64 };
        context! { label, cells => counts.iter().map(cell).collect::<Value>() }
    };
    let rows: Value = labels.iter().zip(rows).map(row).collect();
    context! { labels, rows, count => labels.len() }
}

fn sample(sample: &Sample) -> Value {
    context! { source => &sample.source, reference => &sample.reference, hypothesis => &sample.hypothesis }
}

/// The evaluations as a table: its headings and its lines.
fn evaluations(records: &[Record]) -> Value {
    let evaluated: Vec<_> = records.iter().filter(|record| !record.eval.is_empty()).collect();
    let mut names: Vec<_> = evaluated.iter().flat_map(|record| record.eval.keys()).collect();
    names.sort();
    names.dedup();
    let cell = |record: &Record, name: &str| {
        record.eval.get(name).map_or_else(|| "–".to_string(), |value| value_of(name, *value))
    };
    let row = |record: &&Record| {
        let numbers = [group_thousands(record.step), decimal(record.epoch, 2)];
        numbers.into_iter().chain(names.iter().map(|name| cell(record, name))).map(Value::from).collect::<Value>()
    };
    let headings =
        ["step".to_string(), "epoch".to_string()].into_iter().chain(names.iter().map(|name| eval_measure(name)));
    context! {
        headings => headings.map(Value::from).collect::<Value>(),
        rows => evaluated.iter().map(row).collect::<Value>(),
    }
}

#[cfg(test)]
mod tests;
