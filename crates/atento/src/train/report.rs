//! `report.html`: a run on one page that needs nothing but itself, no network and no script.

mod chart;
mod comparison;

use minijinja::{Environment, Value, context};

use super::metrics::Record;
use chart::Chart;
pub use comparison::{Compared, comparison};

/// What a report shows besides the curves of the metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The heading, e.g. `multi30k-en-de`.
    pub title: String,
    /// One sentence below it: what was trained on what.
    pub subtitle: String,
    /// The few numbers that matter most, each with its label, e.g. `BLEU` and `41.2`.
    pub highlights: Vec<(String, String)>,
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
    /// Name and value of each line.
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
        environment.add_template("report.html.j2", include_str!("report.html.j2"))?;
        let page = context! {
            title => &self.title,
            subtitle => &self.subtitle,
            highlights => self.highlights.iter().map(pair).collect::<Value>(),
            tables => self.tables.iter().map(table).collect::<Value>(),
            charts => charts(records).iter().map(Chart::to_value).collect::<Value>(),
            evaluations => evaluations(records),
            headings => &self.sample_headings,
            samples => self.samples.iter().map(sample).collect::<Value>(),
            matrix => self.matrix.as_ref().map(matrix),
            recipe => &self.recipe,
        };
        Ok(environment.get_template("report.html.j2")?.render(page)?)
    }
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
        let cell = |count: &u64| context! { count => *count, share => *count as f64 / all.max(1) as f64 };
        context! { label, cells => counts.iter().map(cell).collect::<Value>() }
    };
    let rows: Value = labels.iter().zip(rows).map(row).collect();
    context! { labels, rows, count => labels.len() }
}

fn sample(sample: &Sample) -> Value {
    context! { source => &sample.source, reference => &sample.reference, hypothesis => &sample.hypothesis }
}

/// The charts for which the metrics have points.
fn charts(records: &[Record]) -> Vec<Chart> {
    let points = |value: &dyn Fn(&Record) -> Option<f64>| {
        let point = |record: &Record| Some((record.step as f64, value(record)?));
        records.iter().filter_map(point).collect::<Vec<_>>()
    };
    let eval = |name: &str| points(&|record| record.eval.get(name).copied());
    let mut charts = vec![Chart::new(
        "Loss",
        "nats per target token",
        vec![("training".to_string(), points(&|record| record.loss)), ("validation".to_string(), eval("eval_loss"))],
    )];
    let mut names: Vec<_> =
        records.iter().flat_map(|record| record.eval.keys()).filter(|name| *name != "eval_loss").collect();
    names.sort();
    names.dedup();
    for name in names {
        let label = measure(name);
        charts.push(Chart::new(&label, "on the validation data", vec![(label.clone(), eval(name))]).based_at_zero());
    }
    let single =
        |title: &str, unit: &str, points| Chart::new(title, unit, vec![(title.to_string(), points)]).based_at_zero();
    charts.push(single("Learning rate", "of each update", points(&|record| record.lr)));
    charts.push(single("Gradient norm", "before clipping", points(&|record| record.grad_norm)));
    charts.push(single("Speed", "source and target tokens per second", points(&|record| record.tokens_per_second)));
    charts.retain(|chart| !chart.is_empty());
    charts
}

/// The spelling of a measure's name: `eval_bleu` is BLEU.
fn measure(name: &str) -> String {
    match name.strip_prefix("eval_").unwrap_or(name) {
        "bleu" => "BLEU".to_string(),
        "f1" => "F1".to_string(),
        "mcc" => "Matthews correlation".to_string(),
        "chrf" => "chrF".to_string(),
        other => other.replace('_', " "),
    }
}

/// The evaluations as a table: its headings and its lines.
fn evaluations(records: &[Record]) -> Value {
    let evaluated: Vec<_> = records.iter().filter(|record| !record.eval.is_empty()).collect();
    let mut names: Vec<_> = evaluated.iter().flat_map(|record| record.eval.keys()).collect();
    names.sort();
    names.dedup();
    let cell = |record: &Record, name: &str| match record.eval.get(name) {
        Some(value) if name == "eval_loss" => format!("{value:.4}"),
        Some(value) => format!("{value:.2}"),
        None => "–".to_string(),
    };
    let row = |record: &&Record| {
        let numbers = [record.step.to_string(), format!("{:.2}", record.epoch)];
        numbers.into_iter().chain(names.iter().map(|name| cell(record, name))).map(Value::from).collect::<Value>()
    };
    let headings = ["step".to_string(), "epoch".to_string()].into_iter().chain(names.iter().map(|name| measure(name)));
    context! {
        headings => headings.map(Value::from).collect::<Value>(),
        rows => evaluated.iter().map(row).collect::<Value>(),
    }
}

#[cfg(test)]
mod tests;
