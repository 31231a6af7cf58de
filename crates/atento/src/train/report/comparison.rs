//! Runs side by side on one page: for each measure a picture, a row a setting, and a table of what the runs took.

use std::collections::BTreeMap;

use minijinja::{Environment, Value, context};

use super::Error;
use super::chart::{Axis, number, short};
use crate::eval::spread::Spread;

/// The runs that differ in their seed alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What they have of their own, such as `lora.rank=4`.
    pub setting: String,
    /// Their measures.
    pub metrics: BTreeMap<String, Spread>,
    /// What they took: a text for each heading of the table.
    pub cost: Vec<String>,
}

/// The drawing's width, the room on its left for settings, and the height of a row, in its own units.
const WIDTH: f64 = 560.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 8.0;
const BELOW: f64 = 26.0;
const ROW: f64 = 28.0;
/// About how wide a letter is.
const LETTER: f64 = 6.6;

/// Draws the page; `head` are the headings of the table of costs, that of the settings first.
///
/// # Errors
/// The template has a mistake.
pub fn comparison(title: &str, subtitle: &str, head: &[&str], runs: &[Compared]) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.add_template("style.css", include_str!("style.css"))?;
    environment.add_template("comparison.html.j2", include_str!("comparison.html.j2"))?;
    let mut names: Vec<&String> = runs.iter().flat_map(|run| run.metrics.keys()).collect();
    // What nothing was chosen on comes first.
    names.sort_by_key(|name| (!name.starts_with("test_"), name.as_str()));
    names.dedup();
    let row = |run: &Compared| std::iter::once(&run.setting).chain(&run.cost).cloned().collect::<Vec<_>>();
    let page = context! {
        title, subtitle,
        charts => names.iter().map(|name| chart(name, runs)).collect::<Value>(),
        cost => context! { head => head.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>(), rows => runs.iter().map(row).collect::<Vec<_>>() },
    };
    Ok(environment.get_template("comparison.html.j2")?.render(page)?)
}

/// A measure: a row for each setting that has it.
fn chart(name: &str, runs: &[Compared]) -> Value {
    let found: Vec<(&str, &Spread)> =
        runs.iter().filter_map(|run| Some((run.setting.as_str(), run.metrics.get(name)?))).collect();
    let letters = found.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0);
    let left = (letters as f64 * LETTER + 20.0).min(WIDTH / 2.0);
    let axis = Axis::over(found.iter().flat_map(|(_, spread)| [spread.min, spread.max]), false, 5);
    let across = |value: f64| left + axis.share(value) * (WIDTH - left - RIGHT);
    let bottom = TOP + ROW * found.len() as f64;
    let tick = |&value: &f64| context! { at => number(across(value)), label => axis.label(value) };
    let row = |(at, (setting, spread)): (usize, &(&str, &Spread))| {
        let Spread { median, min, max, count, .. } = **spread;
        context! {
            name => *setting,
            y => number(TOP + ROW * (at as f64 + 0.5)),
            low => number(across(min)), high => number(across(max)), median => number(across(median)),
            about => format!("{setting}: {} (of {count}: {} to {})", short(median), short(min), short(max)),
        }
    };
    context! {
        title => name.replace('_', " "),
        width => WIDTH, height => bottom + BELOW, left, top => TOP, bottom,
        ticks => axis.ticks.iter().map(tick).collect::<Value>(),
        rows => found.iter().enumerate().map(row).collect::<Value>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_a_picture_with_a_row_for_each_setting_that_has_it() {
        let run = |setting: &str, metrics: &[(&str, &[f64])]| Compared {
            setting: setting.to_owned(),
            metrics: metrics.iter().map(|(name, values)| ((*name).to_owned(), Spread::of(values).unwrap())).collect(),
            cost: vec!["12".to_owned()],
        };
        let runs = [
            run("lora.rank=1", &[("valid_loss", &[0.5, 0.7]), ("test_accuracy", &[0.81, 0.8, 0.84])]),
            run("lora.rank=<64>", &[("test_accuracy", &[0.9])]),
        ];
        let page = comparison("sst2", "two ranks", &["", "trained"], &runs).unwrap();
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("class=\"median\"").count(), 3);
        assert!(page.find("test accuracy").unwrap() < page.find("valid loss").unwrap());
        assert!(page.contains("lora.rank=1: 0.8100 (of 3: 0.8000 to 0.8400)"), "{page}");
        assert!(page.contains("<th>trained</th>") && page.contains("<td>12</td>"));
        assert!(page.contains("rank=&lt;64&gt;") && !page.contains("<64>"));
        assert!(!page.contains("http://") && !page.contains("<script"));
    }
}
