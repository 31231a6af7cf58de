//! How reports spell names and numbers, and the rows that they make of lines for the log.

use minijinja::{HtmlEscape, Value};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::super::events::group_thousands;
use super::super::recipe::Metric;

/// The spelling of a measure, such as `BLEU` of `bleu`.
pub(super) fn measure(name: &str) -> String {
    let word: StrDeserializer<'_, Error> = name.into_deserializer();
    Metric::deserialize(word).map_or_else(|_| name.replace('_', " "), |metric| metric.title().to_owned())
}

/// The spelling of a measure with the data that it is of: `Test BLEU` of `test_bleu`.
pub(in crate::train) fn measure_of_part(name: &str) -> String {
    let parts = [("test_", "Test"), ("valid_", "Validation"), ("eval_", "Validation")];
    let found = parts.into_iter().find_map(|(prefix, part)| Some((part, name.strip_prefix(prefix)?)));
    found.map_or_else(|| measure(name), |(part, name)| format!("{part} {}", measure(name)))
}

/// The value of a measure: a score of 100 at most and a perplexity to two places, a loss or a share to four.
pub(in crate::train) fn value_of(name: &str, value: f64) -> String {
    let is_coarse = ["bleu", "chrf", "perplexity"].iter().any(|ending| name.ends_with(ending));
    decimal(value, if is_coarse { 2 } else { 4 })
}

/// A number with `places` decimals and its thousands set apart.
pub(in crate::train) fn decimal(value: f64, places: usize) -> String {
    group(&format!("{value:.places$}"))
}

/// A number in digits with its thousands set apart: `-31,412.5` of `-31412.5`.
pub(in crate::train) fn group(number: &str) -> String {
    let (sign, rest) = number.split_at(usize::from(number.starts_with('-')));
    let (whole, places) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    match whole.parse() {
        Ok(whole) => format!("{sign}{}{places}", group_thousands(whole)),
        Err(_) => number.to_owned(),
    }
}

/// A text in which the thousands of its whole numbers are set apart: `29,000 read, 12 left out`.
pub(super) fn group_in(text: &str) -> String {
    let word = |word: &str| {
        let number = word.trim_matches(|c| "(),;".contains(c));
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { word.replacen(number, &group(number), 1) } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Lines such as `pairs: 7000 read, 12 left out` with the thousands of their numbers set apart. The name of a label stays as
/// it is.
#[must_use]
pub fn grouped(lines: &str) -> String {
    let line = |line: &str| {
        let (name, rest) = line.split_at(label_end(line).unwrap_or(0));
        format!("{name}{}", group_in(rest))
    };
    lines.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Where the label ends of a line such as `label "a: b": 7`. It is quoted, and may have anything in it.
fn label_end(line: &str) -> Option<usize> {
    line.trim_start().strip_prefix("label \"").and_then(|_| line.find("\": ")).map(|quote| quote + 1)
}

/// The rows of lines such as `pairs: 7 read, 5 used`: name and value. A line that ends with a colon heads those below it and has
/// no value; a sentence has no name.
pub(in crate::train) fn rows(lines: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        if let Some(heading) = line.strip_suffix(':') {
            return (heading.to_owned(), String::new());
        }
        match (label_end(line), line.find(": ")) {
            (Some(end), _) => (line[..end].to_owned(), group_in(&line[end + 2..])),
            (_, Some(end)) => (group_in(&line[..end]), group_in(&line[end + 2..])),
            _ => (String::new(), group_in(line)),
        }
    };
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(row).collect()
}

/// HTML of a text that a browser may break behind each bar, as in the signature of a BLEU score, and not only at spaces.
pub(super) fn breakable(text: &str) -> Value {
    Value::from_safe_string(HtmlEscape(text).to_string().replace('|', "|<wbr>"))
}

/// HTML of a dotted key that a browser may break behind each dot and underscore.
pub(super) fn breakable_key(key: &str) -> Value {
    Value::from_safe_string(HtmlEscape(key).to_string().replace('.', ".<wbr>").replace('_', "_<wbr>"))
}

/// A text as a title: its first letter is a capital.
pub(super) fn title(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_spelled_as_people_do() {
        assert_eq!([measure("bleu"), measure("f1_macro"), measure("word_loss")], ["BLEU", "macro F1", "word loss"]);
        assert_eq!(measure_of_part("test_mcc"), "Test Matthews correlation");
        assert_eq!(measure_of_part("valid_loss"), "Validation loss");
        assert_eq!([value_of("test_bleu", 41.237), value_of("test_loss", 0.11)], ["41.24", "0.1100"]);
        assert_eq!(value_of("valid_perplexity", 31_412.345), "31,412.35");
    }

    #[test]
    fn thousands_are_set_apart_within_a_text() {
        assert_eq!(group_in("29000 read (of 1234567), 12 left out"), "29,000 read (of 1,234,567), 12 left out");
        assert_eq!(group_in("part-2017.txt, \"2017\" and 12.3456"), "part-2017.txt, \"2017\" and 12.3456");
        assert_eq!([group("-31412.25"), group("999"), group("1e-4")], ["-31,412.25", "999", "1e-4"]);
    }

    #[test]
    fn thousands_are_set_apart_in_lines_and_not_in_labels() {
        let lines = "pairs: 29000 read\n  label \"from 2017 on\": 12000";
        assert_eq!(grouped(lines), "pairs: 29,000 read\n  label \"from 2017 on\": 12,000");
    }

    #[test]
    fn a_signature_breaks_at_its_bars() {
        assert_eq!(breakable("nrefs:1|tok:<13a>").to_string(), "nrefs:1|<wbr>tok:&lt;13a&gt;");
        assert_eq!(breakable_key("train.max_steps").to_string(), "train.<wbr>max_<wbr>steps");
        assert_eq!([title("macro F1"), title("")], ["Macro F1", ""]);
    }

    #[test]
    fn lines_become_rows_headings_and_sentences() {
        let found = rows(
            "data.train:\n  rows read: 12000\n  label \"a: b\": 7\n\n  1200 duplicates: left out\n2 cut, 30 lost\n",
        );
        let expected = [
            ("data.train", ""),
            ("rows read", "12,000"),
            ("label \"a: b\"", "7"),
            ("1,200 duplicates", "left out"),
            ("", "2 cut, 30 lost"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
