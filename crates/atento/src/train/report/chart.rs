//! The geometry of a line chart; the template turns it into SVG.

use minijinja::{Value, context};

use super::words::group;

/// Curves over the steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    title: String,
    unit: String,
    series: Vec<Series>,
    zero: bool,
    /// The step of the exported weights.
    mark: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    /// Its place among the curves that there could be, which decides its colour in every chart of a page.
    place: usize,
    points: Vec<(f64, f64)>,
}

/// The drawing's size and the margins for labels, in its own units.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;
/// About how wide a digit is at most, on a small screen.
const DIGIT: f64 = 9.0;
/// The height of the line that names the marked step.
const MARK: f64 = 16.0;

/// Points drawn of one curve; more could not be told apart.
const MOST_POINTS: usize = 400;
/// Colours of curves; further ones have the same colours and are dashed.
const COLOURS: usize = 8;

impl Chart {
    /// A chart of named curves. Points that are not finite are left out, and curves without points.
    pub fn new(title: &str, unit: &str, series: Vec<(String, Vec<(f64, f64)>)>) -> Self {
        // A page of many curves stays as large as one of few.
        let most = MOST_POINTS.min(4 * MOST_POINTS / series.len().max(1)).max(MOST_POINTS / 8);
        let series = series.into_iter().enumerate();
        let series = series.map(|(place, (name, points))| Series { name, place, points: thin(points, most) });
        let series = series.filter(|series| !series.points.is_empty()).collect();
        Self { title: title.to_string(), unit: unit.to_string(), series, zero: false, mark: None }
    }

    /// The same with a vertical axis that begins at zero.
    pub fn based_at_zero(self) -> Self {
        Self { zero: true, ..self }
    }

    /// The same with a line at the step of the exported weights, if that is between the ends.
    pub fn marked_at(self, step: Option<u64>) -> Self {
        let steps = || self.values(|point| point.0);
        let (first, last) = (steps().fold(f64::INFINITY, f64::min), steps().fold(f64::NEG_INFINITY, f64::max));
        let mark = step.map(|step| step as f64).filter(|step| (first..=last).contains(step));
        Self { mark, ..self }
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// What the template draws.
    pub fn to_value(&self) -> Value {
        let x = Axis::over(self.values(|point| point.0), false, 6);
        let y = Axis::over(self.values(|point| point.1), self.zero, 5);
        let digits = y.ticks.iter().map(|&value| y.label(value).chars().count()).max().unwrap_or(0);
        let left = 14.0 + DIGIT * digits as f64;
        let top = if self.mark.is_some() { TOP + MARK } else { TOP };
        let across = |value: f64| left + x.share(value) * (WIDTH - left - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - top - BOTTOM);
        let tick = |axis: &Axis, place: &dyn Fn(f64) -> f64| {
            let tick = |&value: &f64| context! { at => number(place(value)), label => axis.label(value) };
            axis.ticks.iter().map(tick).collect::<Value>()
        };
        let draw = |series: &Series| {
            let place = |&(step, value): &(f64, f64)| {
                context! {
                    x => number(across(step)), y => number(down(value)),
                    about => format!("step {}: {}", group(&step.to_string()), short(value)),
                }
            };
            let line: Vec<_> = series
                .points
                .iter()
                .map(|&(step, value)| format!("{},{}", number(across(step)), number(down(value))))
                .collect();
            context! {
                name => &series.name, class => class(series.place), line => line.join(" "),
                points => series.points.iter().map(place).collect::<Value>(),
            }
        };
        let mark = |step: f64| {
            let is_left = x.share(step) < 0.5;
            context! {
                at => number(across(step)), label => format!("exported: step {}", group(&step.to_string())),
                anchor => if is_left { "start" } else { "end" },
            }
        };
        context! {
            title => &self.title, unit => &self.unit,
            width => WIDTH, height => HEIGHT, left, right => WIDTH - RIGHT, top, bottom => HEIGHT - BOTTOM,
            mark => self.mark.map(mark),
            x_ticks => tick(&x, &across), y_ticks => tick(&y, &down),
            series => self.series.iter().map(draw).collect::<Value>(),
        }
    }

    fn values(&self, part: impl Fn(&(f64, f64)) -> f64) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|series| &series.points).map(part)
    }
}

/// The classes of a curve that style.css gives a colour and, beyond the last colour, dashes.
pub(super) fn class(place: usize) -> String {
    let colour = format!("s{}", 1 + place % COLOURS);
    if place < COLOURS { colour } else { format!("{colour} dashed") }
}

/// Of each run of neighbours keeps the lowest and the highest, so that peaks stay, and the very last: `most` points, about.
fn thin(mut points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    points.retain(|(step, value)| step.is_finite() && value.is_finite());
    if points.len() <= most {
        return points;
    }
    let last = points.last().copied();
    let run = points.len().div_ceil(most / 2);
    let extremes = |run: &[(f64, f64)]| {
        let low = run.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = run.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut pair: Vec<_> = low.into_iter().chain(high).collect();
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        pair
    };
    let mut thinned: Vec<_> = points.chunks(run).flat_map(extremes).chain(last).collect();
    thinned.dedup();
    thinned
}

/// An axis that ends at round numbers.
pub(super) struct Axis {
    /// The values that are marked.
    pub ticks: Vec<f64>,
    step: f64,
    min: f64,
    max: f64,
}

impl Axis {
    /// An axis with about `count` ticks that holds all `values`.
    pub fn over(values: impl Iterator<Item = f64>, zero: bool, count: usize) -> Self {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if high - low <= low.abs().max(high.abs()) * 1e-9 {
            // A single value gets an axis around it.
            let around = if high == 0.0 { 1.0 } else { high.abs() / 2.0 };
            (low, high) = (if zero && low >= 0.0 { 0.0 } else { low - around }, high + around);
        }
        let step = round_step((high - low) / count as f64);
        let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks: Vec<_> = (first..=last).map(|tick| tick as f64 * step).collect();
        Self { ticks, step, min: first as f64 * step, max: last as f64 * step }
    }

    /// Where a value lies between the ends, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }

    /// A marked value as a text.
    pub fn label(&self, value: f64) -> String {
        let greatest = self.max.abs().max(self.min.abs());
        if value.abs() < self.step / 2.0 {
            return "0".to_string();
        }
        if greatest < 0.01 {
            return exponent(value);
        }
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        group(trim(&format!("{value:.*}", decimals + 1)))
    }
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A number with as many digits as it needs, at most three, and a power of ten: `1e-4`, `2.5e-4`.
fn exponent(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{power}", trim(digits))
}

/// A coordinate, to a tenth of a unit.
pub(super) fn number(value: f64) -> String {
    trim(&format!("{value:.1}")).to_string()
}

/// A value in about four digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        size if size < 0.01 => format!("{:.2e}", value),
        size if size < 100.0 => format!("{value:.4}"),
        _ => group(&format!("{value:.0}")),
    }
}

fn trim(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], zero: bool) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), zero, 5);
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(labels(&[1.3, 8.9], false), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&[0.0, 41.3], true), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(&[1e-5, 4.1e-4], true), ["0", "1e-4", "2e-4", "3e-4", "4e-4", "5e-4"]);
        assert_eq!(labels(&[0.0, 31_412.0], true), ["0", "10,000", "20,000", "30,000", "40,000"]);
        assert_eq!(labels(&[1.01, 1.06], false), ["1.01", "1.02", "1.03", "1.04", "1.05", "1.06"]);
        assert_eq!(labels(&[0.0, 0.0012], true), ["0", "2.5e-4", "5e-4", "7.5e-4", "1e-3", "1.25e-3"]);
    }

    #[test]
    fn a_single_value_has_an_axis() {
        for (value, zero) in [(2.0, false), (0.0, false), (0.0, true), (-3.0, true), (5e-4, true)] {
            let axis = Axis::over([value].into_iter(), zero, 5);
            assert!(axis.min < axis.max && (0.0..=1.0).contains(&axis.share(value)), "{value}");
            assert!((3..12).contains(&axis.ticks.len()), "{value}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn thinning_keeps_peaks_and_the_end() {
        let mut points: Vec<_> = (0..10_000).map(|step| (step as f64, (step as f64 / 1000.0).sin())).collect();
        points[5_001].1 = 99.0;
        points[20].1 = f64::NAN;
        let thinned = thin(points.clone(), MOST_POINTS);
        assert!(thinned.len() <= MOST_POINTS + 1 && thinned.contains(&(5_001.0, 99.0)));
        assert_eq!(thinned.last(), points.last());
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_step_is_marked_where_there_are_curves() {
        let chart = || Chart::new("Loss", "", vec![("a".into(), vec![(1000.0, 2.0), (3000.0, 1.0)])]);
        let mark = |step| chart().marked_at(step).to_value().get_attr("mark").unwrap();
        assert_eq!(mark(Some(2000)).get_attr("label").unwrap().as_str(), Some("exported: step 2,000"));
        assert_eq!(mark(Some(3000)).get_attr("anchor").unwrap().as_str(), Some("end"));
        assert!(mark(Some(0)).is_none() && mark(Some(4000)).is_none() && mark(None).is_none());
    }

    #[test]
    fn curves_keep_their_colour_where_others_have_no_points() {
        let chart = Chart::new("Loss", "", vec![("a".into(), vec![]), ("b".into(), vec![(1.0, 2.0)])]);
        assert_eq!((chart.series[0].place, class(chart.series[0].place)), (1, "s2".to_string()));
        assert_eq!([class(7), class(8)], ["s8", "s1 dashed"]);
    }

    #[test]
    fn curves_without_points_are_left_out() {
        let chart = Chart::new("Loss", "", vec![("a".into(), vec![(1.0, f64::NAN)]), ("b".into(), vec![])]);
        assert!(chart.is_empty());
    }
}
