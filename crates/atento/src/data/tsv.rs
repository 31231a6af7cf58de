//! Pairs from a TSV file: which of its columns hold them. A quote is a character like any other.
//!
//! Every line has as many columns as most of the first lines have: in a line with more or fewer, nothing tells where a
//! sentence went.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Error;
use super::lines::{LineError, LineReader};
use super::parallel::RawPair;
use crate::messages;

/// Lines, and about how many bytes of them, that are looked at for the number of columns.
const LOOKED_AT: usize = 20;
const LOOKED_AT_BYTES: usize = 1 << 20;

/// Columns, and characters of each, that a message shows.
const SHOWN_COLUMNS: usize = 8;
const SHOWN_CHARACTERS: usize = 30;

/// Which columns of a TSV file hold the two sides of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// Their numbers, from 1.
    Numbers(usize, usize),
    /// Their names in the first line, which is a header and holds no pair.
    Names(String, String),
}

impl Columns {
    /// What two keys choose, of which at least one is given: two numbers from 1, else names. A name that is not given is the
    /// one in `usual`.
    pub fn chosen(first: Option<&str>, second: Option<&str>, usual: [&str; 2]) -> Option<Self> {
        let number = |key: Option<&str>| key.and_then(|key| key.parse().ok()).filter(|&number: &usize| number > 0);
        match (first, second) {
            (None, None) => None,
            _ => Some(match (number(first), number(second)) {
                (Some(first), Some(second)) => Self::Numbers(first, second),
                _ => Self::Names(first.unwrap_or(usual[0]).into(), second.unwrap_or(usual[1]).into()),
            }),
        }
    }
}

/// Where the pairs of a file stand.
#[derive(Clone, Copy, Debug)]
struct Places {
    /// The columns of every line.
    columns: usize,
    /// The line whose columns are counted, from 1.
    line: u64,
    /// The two columns, from 0.
    pair: [usize; 2],
}

/// Reads pairs one after another; blank lines are passed over.
#[derive(Debug)]
pub(super) struct TsvReader {
    lines: LineReader,
    chosen: Option<Columns>,
    /// Known once a line was read.
    places: Option<Places>,
    /// Lines that were looked at and not returned yet, with their numbers.
    ahead: VecDeque<(u64, Result<String, LineError>)>,
}

impl TsvReader {
    pub(super) fn new(lines: LineReader, chosen: Option<Columns>) -> Self {
        TsvReader { lines, chosen, places: None, ahead: VecDeque::new() }
    }

    /// Goes on after a line that holds no pair.
    pub(super) fn past_faults(self) -> Self {
        TsvReader { lines: self.lines.past_faults(), ..self }
    }

    /// Blank lines that were passed over.
    pub(super) fn blank_lines(&self) -> u64 {
        self.lines.blank_lines()
    }

    pub(super) fn next(&mut self) -> Result<Option<RawPair>, Error> {
        let places = match self.places {
            Some(places) => places,
            None => match self.begin()? {
                Some(places) => *self.places.insert(places),
                None => return Ok(None),
            },
        };
        let Some((line, text)) = self.ahead.pop_front().or_else(|| self.read()) else { return Ok(None) };
        let text = text?;
        let cells: Vec<&str> = text.split('\t').collect();
        if cells.len() != places.columns {
            let expected = match self.chosen {
                None => "exactly 2 (source TAB target)".to_owned(),
                Some(_) => format!("{}, as line {} has", places.columns, places.line),
            };
            return Err(Error::Columns { path: self.lines.path().into(), line, found: cells.len(), expected });
        }
        let [source, target] = places.pair.map(|column| cells[column]);
        Ok(Some(RawPair { line: line - 1, source: source.into(), target: target.into(), too_long: false }))
    }

    /// The next line that is not blank, and its number.
    fn read(&mut self) -> Option<(u64, Result<String, LineError>)> {
        loop {
            let text = self.lines.next()?;
            // With a tab, it is a pair of which both sides are empty.
            if text.as_ref().is_ok_and(|text| text.trim().is_empty() && !text.contains('\t')) {
                self.lines.pass_blank();
                continue;
            }
            return Some((self.lines.line(), text));
        }
    }

    /// Finds the columns in the first lines; `None` if there is no line.
    fn begin(&mut self) -> Result<Option<Places>, Error> {
        let mut bytes = 0;
        while self.ahead.len() < LOOKED_AT && bytes < LOOKED_AT_BYTES {
            let Some((line, text)) = self.read() else { break };
            bytes += text.as_ref().map_or(0, String::len);
            self.ahead.push_back((line, text));
        }
        match self.chosen.clone() {
            Some(Columns::Names(source, target)) => self.of_header(&source, &target),
            Some(Columns::Numbers(source, target)) => self.of_numbers(source, target),
            None => self.of_two(),
        }
    }

    /// The first and second column of two.
    fn of_two(&self) -> Result<Option<Places>, Error> {
        if let Some((line, cells)) = self.usual_line().filter(|(_, cells)| cells.len() > 2) {
            return self.refuse(format!(
                "{} tab-separated columns, expected 2; line {line} has {}: choose two with source_key and target_key (of \
                 prompts, prompt_key and completion_key), by number, as \"1\" and \"2\", or by name where line 1 is a header",
                cells.len(),
                shown(&cells)
            ));
        }
        Ok((!self.ahead.is_empty()).then_some(Places { columns: 2, line: 1, pair: [0, 1] }))
    }

    fn of_numbers(&self, source: usize, target: usize) -> Result<Option<Places>, Error> {
        if source.min(target) == 0 {
            return self.refuse("column 0 is asked for; columns are numbered from 1".to_owned());
        }
        let Some((line, cells)) = self.usual_line() else {
            // No line is text: each has its own fault.
            let columns = source.max(target);
            let places = Places { columns, line: 1, pair: [source - 1, target - 1] };
            return Ok((!self.ahead.is_empty()).then_some(places));
        };
        if let Some(beyond) = [source, target].into_iter().find(|number| *number > cells.len()) {
            let columns = messages::count(cells.len() as u64, "column");
            return self
                .refuse(format!("column {beyond} is asked for, and line {line} has {columns}: {}", shown(&cells)));
        }
        Ok(Some(Places { columns: cells.len(), line, pair: [source - 1, target - 1] }))
    }

    fn of_header(&mut self, source: &str, target: &str) -> Result<Option<Places>, Error> {
        let Some((line, header)) = self.ahead.pop_front() else { return Ok(None) };
        let header = match header {
            Ok(header) => header,
            Err(fault) => return self.refuse(format!("the header cannot be read: {fault}")),
        };
        let names: Vec<&str> = header.split('\t').map(str::trim).collect();
        let mut pair = [0; 2];
        for (place, name) in pair.iter_mut().zip([source, target]) {
            match names.iter().position(|found| *found == name) {
                Some(column) => *place = column,
                None => {
                    let hint = messages::did_you_mean(name, names.iter().copied());
                    return self.refuse(format!(
                        "line {line} has no column named {}{hint}; it has {}: name both columns, or number both from 1",
                        messages::text(name),
                        shown(&names)
                    ));
                }
            }
        }
        Ok(Some(Places { columns: names.len(), line, pair }))
    }

    fn refuse<T>(&self, problem: String) -> Result<T, Error> {
        Err(Error::NoColumns { path: self.lines.path().into(), problem })
    }

    /// The first of the lines looked at that has as many columns as most of them, and its number.
    fn usual_line(&self) -> Option<(u64, Vec<&str>)> {
        let rows = self.ahead.iter().filter_map(|(line, text)| Some((*line, text.as_ref().ok()?)));
        let rows: Vec<(u64, Vec<&str>)> = rows.map(|(line, text)| (line, text.split('\t').collect())).collect();
        let like = |cells: &[&str]| rows.iter().filter(|(_, other)| other.len() == cells.len()).count();
        // Of several, the maximum is the last: the first line comes last.
        rows.iter().rev().max_by_key(|(_, cells)| like(cells)).cloned()
    }
}

/// Columns with their numbers, each cut to its beginning.
fn shown(cells: &[&str]) -> String {
    let cell = |(at, cell): (usize, &&str)| {
        let start: String = cell.chars().take(SHOWN_CHARACTERS).collect();
        let more = if start.len() < cell.len() { "…" } else { "" };
        format!("{} {:?}", at + 1, start + more)
    };
    let more = if cells.len() > SHOWN_COLUMNS { ", …" } else { "" };
    cells.iter().enumerate().take(SHOWN_COLUMNS).map(cell).collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::data::ParallelSource;

    fn pairs(text: &str, first: Option<&str>, second: Option<&str>) -> Result<Vec<(u64, String, String)>, String> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("pairs.tsv");
        std::fs::write(&path, text).unwrap();
        let source = ParallelSource::Tsv { path, columns: Columns::chosen(first, second, ["source", "target"]) };
        let message = |error: Error| error.to_string().replace(&format!("{}/", dir.path().display()), "");
        let reader = source.open().map_err(message)?;
        reader.map(|pair| pair.map(|pair| (pair.line, pair.source, pair.target)).map_err(message)).collect()
    }

    fn of(expected: &[(u64, &str, &str)]) -> Vec<(u64, String, String)> {
        expected.iter().map(|&(line, a, b)| (line, a.into(), b.into())).collect()
    }

    const ANKI: &str = "Go.\tGeh.\tCC-BY 2.0 (France) Attribution: tatoeba.org #1\nHi.\t\"Hallo!\"\tCC-BY\n";
    const TATOEBA: &str = "77\tHi.\t1276\tHallo!\n\n78\tGo.\t1277\tGeh.\n";

    #[test]
    fn columns_are_chosen_by_numbers_or_by_the_names_of_a_header() {
        let anki = of(&[(0, "Go.", "Geh."), (1, "Hi.", "\"Hallo!\"")]);
        assert_eq!(pairs(ANKI, Some("1"), Some("2")).unwrap(), anki);
        let tatoeba = of(&[(0, "Hallo!", "Hi."), (2, "Geh.", "Go.")]);
        assert_eq!(pairs(TATOEBA, Some("4"), Some("2")).unwrap(), tatoeba);
        let named = format!("\nen\t de \tlicense\n{ANKI}");
        let expected = of(&[(2, "Geh.", "Go."), (3, "\"Hallo!\"", "Hi.")]);
        assert_eq!(pairs(&named, Some("de"), Some("en")).unwrap(), expected);
        assert_eq!(pairs("de\tsource\na\tb\n", None, Some("de")).unwrap(), of(&[(1, "b", "a")]));
        assert_eq!(pairs("de\tsource\n", None, Some("de")).unwrap(), []);
    }

    #[test]
    fn columns_that_nobody_chose_are_told_with_what_they_hold() {
        let message = pairs(ANKI, None, None).unwrap_err();
        let cells = r#"line 1 has 1 "Go.", 2 "Geh.", 3 "CC-BY 2.0 (France) Attribution…": choose two"#;
        assert!(
            message.starts_with("pairs.tsv: 3 tab-separated columns, expected 2") && message.contains(cells),
            "{message}"
        );
        assert!(message.contains("source_key and target_key") && message.contains(r#"as "1" and "2""#), "{message}");
        // Of a file of pairs, one line with a tab too many is one bad line.
        let message = pairs("a\tb\tc\na\tb\na\tb\n", None, None).unwrap_err();
        assert_eq!(message, "pairs.tsv, line 1: 3 tab-separated columns, expected exactly 2 (source TAB target)");
    }

    #[test]
    fn a_choice_that_the_file_does_not_have_is_refused() {
        let message = pairs(ANKI, Some("1"), Some("4")).unwrap_err();
        assert!(
            message.starts_with("pairs.tsv: column 4 is asked for, and line 1 has 3 columns: 1 \"Go.\""),
            "{message}"
        );
        let message = pairs(ANKI, Some("0"), Some("2")).unwrap_err();
        assert!(message.contains("no column named \"0\"") && message.ends_with("number both from 1"), "{message}");
        let message = pairs(ANKI, Some("1"), None).unwrap_err();
        assert!(message.starts_with("pairs.tsv: line 1 has no column named \"1\"; it has 1 \"Go.\""), "{message}");
        assert!(message.ends_with("name both columns, or number both from 1"), "{message}");
        let message = pairs("english\tgerman\na\tb\n", Some("english"), Some("germn")).unwrap_err();
        assert!(message.contains("no column named \"germn\" (did you mean \"german\"?)"), "{message}");
        let message = pairs("en\tde\tby\nHi.\tHallo!\n", Some("en"), Some("de")).unwrap_err();
        assert_eq!(message, "pairs.tsv, line 2: 2 tab-separated columns, expected 3, as line 1 has");
    }
}
