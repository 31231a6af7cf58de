//! What the rounds say together: medians with their range, and the ratio round by round.

use std::fmt::Write;

use crate::rounds::{self, Contest, Round};

/// Median, least and greatest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let n = numbers.len();
        let (&least, &greatest) = (numbers.first()?, numbers.last()?);
        Some(Self { median: (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0, least, greatest })
    }

    fn text(self) -> String {
        format!("{} ({}–{})", short(self.median), short(self.least), short(self.greatest))
    }
}

/// Three significant digits or all whole ones.
fn short(x: f64) -> String {
    let whole_digits = if x.abs() < 1.0 { 0 } else { x.abs().log10() as usize + 1 };
    format!("{x:.*}", 3_usize.saturating_sub(whole_digits))
}

/// The table of a comparison.
pub fn render(contest: &Contest<'_>, rounds: &[Round]) -> String {
    let load = Spread::of(rounds.iter().map(|r| r.load).collect()).map_or_else(String::new, Spread::text);
    let mut out = format!("\n{}\n", contest.title);
    let (n, threads, processor) = (rounds.len(), rounds::threads(), rounds::processor());
    let _ = writeln!(out, "{processor}, {threads} threads, {n} rounds in turn, load average {load}");
    let _ = writeln!(out, "{:<22}{:<26}{:<26}{:<22}by round", "", "atento", "peer", "ratio");
    for key in contest.measures {
        let all = |side: fn(&Round) -> &serde_json::Value| -> Vec<f64> {
            rounds.iter().filter_map(|round| side(round)[*key].as_f64()).collect()
        };
        let (ours, peer) = (all(|r| &r.ours), all(|r| &r.peer));
        let ratios: Vec<f64> = ours.iter().zip(&peer).map(|(a, b)| a / b).collect();
        let by_round: Vec<String> = ratios.iter().map(|r| format!("{r:.2}")).collect();
        let cell = |numbers: Vec<f64>| Spread::of(numbers).map_or_else(|| "–".to_owned(), Spread::text);
        let (ours, peer, ratio) = (cell(ours), cell(peer), cell(ratios));
        let _ = writeln!(out, "{key:<22}{ours:<26}{peer:<26}{ratio:<22}{}", by_round.join(" "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 30.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, greatest: 30.0 });
        assert_eq!(Spread::of(vec![5.0]).unwrap().median, 5.0);
        assert!(Spread::of(vec![]).is_none());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.1234, 1.234, 12.34, 123.4, 12345.6].map(short), ["0.123", "1.23", "12.3", "123", "12346"]);
    }
}
