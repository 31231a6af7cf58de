//! Lines of data that hold no pair: all of them told at once, or left out and counted.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::Error;
use super::lines::LineError;
use super::parallel::{ParallelReader, ParallelSource, RawPair};
use crate::messages;

/// Bad lines that a message names.
const TOLD: usize = 20;

/// What happens to lines that hold no pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadLine {
    /// The data is refused, with all of them.
    #[default]
    Error,
    /// They are left out and counted; of two parallel files, the line beside a bad one too.
    Skip,
}

/// Lines that hold no pair, by the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineReport {
    /// Lines without text, which are passed over where each line is a whole pair.
    pub blank: u64,
    /// Lines left out as they have another number of columns.
    pub other_columns: u64,
    /// Lines left out as they are not UTF-8.
    pub not_utf8: u64,
    /// Lines left out as they hold a NUL byte.
    pub nul_byte: u64,
    /// Lines left out as they are longer than is read.
    pub too_long: u64,
    /// Lines left out as they are no JSON objects.
    pub not_json: u64,
    /// Lines left out as their object has no text at a key.
    pub no_text_at_key: u64,
    /// Lines left out as what stands in them is no example, such as a label that is none of the choices.
    #[serde(default)]
    pub unusable: u64,
}

impl LineReport {
    pub(in crate::data) fn add(&mut self, fault: &Error) {
        match fault {
            Error::Columns { .. } => self.other_columns += 1,
            Error::Key { .. } | Error::Conversation { .. } => self.no_text_at_key += 1,
            Error::Lines(fault) | Error::RecordTooLong(fault) => self.add_line(fault),
            Error::Csv(fault) => fault.count_in(self),
            _ => self.not_json += 1,
        }
    }

    pub(in crate::data) fn add_line(&mut self, fault: &LineError) {
        match fault {
            LineError::InvalidUtf8 { .. } => self.not_utf8 += 1,
            LineError::Binary { .. } => self.nul_byte += 1,
            _ => self.too_long += 1,
        }
    }

    /// The lines that were left out, by reason; none where none were.
    pub(in crate::data) fn told(&self) -> Option<String> {
        let bad = self.bad().into_iter().filter(|(count, _)| *count > 0);
        let bad: Vec<String> = bad.map(|(count, what)| format!("{} {what}", messages::count(count, "line"))).collect();
        (!bad.is_empty()).then(|| bad.join(", "))
    }

    /// Every reason to leave a line out, in words, and how many lines have it.
    pub(in crate::data) fn bad(&self) -> [(u64, &'static str); 7] {
        [
            (self.other_columns, "with another number of columns"),
            (self.not_utf8, "not UTF-8"),
            (self.nul_byte, "with a NUL byte"),
            (self.too_long, "too long to be read"),
            (self.not_json, "not a JSON object"),
            (self.no_text_at_key, "without text at a key"),
            (self.unusable, "that hold no example"),
        ]
    }

    /// All lines that were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.bad().into_iter().map(|(count, _)| count).sum()
    }
}

impl fmt::Display for LineReport {
    /// A line for each reason that occurred.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blank > 0 {
            writeln!(f, "  blank lines, passed over: {}", self.blank)?;
        }
        for (count, what) in self.bad().into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  lines {what}, left out: {count}")?;
        }
        Ok(())
    }
}

/// Bad lines of a file, to be told together.
#[derive(Debug, Default)]
pub(crate) struct BadLines {
    told: Vec<String>,
    count: u64,
}

impl BadLines {
    /// One more.
    pub(crate) fn add(&mut self, fault: &impl Display) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(fault.to_string());
        }
    }

    /// What was read, if it could be.
    pub(in crate::data) fn without<T>(&mut self, found: Result<T, impl Display>) -> Option<T> {
        found.map_err(|fault| self.add(&fault)).ok()
    }

    /// How many there were.
    pub(in crate::data) fn count(&self) -> u64 {
        self.count
    }

    /// The error of them all, if there were any; `place` is the file.
    pub(crate) fn error(self, place: String) -> Option<Error> {
        self.error_of(place, ["line", "lines"])
    }

    /// The same of things that are no lines, called so: one and several.
    pub(in crate::data) fn error_of(self, place: String, things: [&'static str; 2]) -> Option<Error> {
        (self.count > 0).then_some(Error::BadLines { place, told: self.told, count: self.count, things })
    }
}

/// The pairs of a source, past the lines that hold none. After an error it ends.
#[derive(Debug)]
pub(super) struct GoodPairs {
    pairs: ParallelReader,
    place: String,
    on_bad_line: OnBadLine,
    /// Whether a record that is too long to be read is a pair without text, to be counted as too long.
    counts_too_long: bool,
    left_out: LineReport,
    has_failed: bool,
}

impl GoodPairs {
    pub(super) fn open(source: &ParallelSource, on_bad_line: OnBadLine, counts_too_long: bool) -> Result<Self, Error> {
        let pairs = source.open()?.past_faults();
        let (place, left_out) = (source.to_string(), LineReport::default());
        Ok(GoodPairs { pairs, place, on_bad_line, counts_too_long, left_out, has_failed: false })
    }

    /// The lines read so far that hold no pair.
    pub(super) fn report(&self) -> LineReport {
        LineReport { blank: self.pairs.blank_lines(), ..self.left_out.clone() }
    }

    fn next_pair(&mut self) -> Option<Result<RawPair, Error>> {
        Some(match self.pairs.next()? {
            Err(Error::Lines(LineError::LineTooLong { line, .. })) if self.counts_too_long => {
                Ok(RawPair { line: line - 1, source: String::new(), target: String::new(), too_long: true })
            }
            Err(Error::Lines(fault @ LineError::LineTooLong { .. })) => Err(Error::RecordTooLong(fault)),
            pair => pair,
        })
    }

    /// The error of a bad line and all that follow.
    fn all_bad(&mut self, first: Error) -> Error {
        let mut bad = BadLines::default();
        bad.add(&first);
        while let Some(pair) = self.next_pair() {
            match pair {
                Ok(_) => {}
                Err(fault) if fault.is_of_one_line() => bad.add(&fault),
                Err(fault) => return fault,
            }
        }
        bad.error(self.place.clone()).unwrap_or(first)
    }
}

impl Iterator for GoodPairs {
    type Item = Result<RawPair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_failed {
            match self.next_pair()? {
                Err(fault) if fault.is_of_one_line() && self.on_bad_line == OnBadLine::Skip => {
                    self.left_out.add(&fault)
                }
                Err(fault) => {
                    self.has_failed = true;
                    return Some(Err(if fault.is_of_one_line() { self.all_bad(fault) } else { fault }));
                }
                pair => return Some(pair),
            }
        }
        None
    }
}

/// What a message says of bad lines: the faults, and what leaves them out.
pub(super) fn message(place: &str, told: &[String], count: u64, [thing, things]: [&str; 2]) -> String {
    if let [only] = told {
        return format!("{only}; a recipe with data.on_bad_line = \"skip\" leaves the {thing} out");
    }
    let mut text = format!("{place}: {count} bad {things}; a recipe with data.on_bad_line = \"skip\" leaves them out:");
    for fault in told {
        let in_place = fault.strip_prefix(place).and_then(|rest| rest.strip_prefix(", ").or(rest.strip_prefix(": ")));
        text += &format!("\n  {}", in_place.unwrap_or(fault));
    }
    match count - told.len() as u64 {
        0 => text,
        more => text + &format!("\n  and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::data::Columns;

    /// A mark of the encoding, a header, line ends of both kinds, quotes, blank lines, equal pairs, empty sides, a third
    /// column, and no end of the last line.
    const MESSY: &[u8] = b"\xef\xbb\xbfen\tde\tby\r\n\
        Go.\tGeh.\tCC-BY\r\n\
        \r\n\
        \"Go,\" he said.\t\"Geh!\", sagte er.\tCC-BY\n\
        Go.\tGeh.\tCC-BY\n\
        \x20 \n\
        \tNichts.\tCC-BY\r\n\
        Nothing.\t\tCC-BY\n\
        Hi.\tHallo!\n\
        f\xfcr\tx\tCC-BY\n\
        a\0b\tx\tCC-BY\n\
        Hi.\tHallo!\tCC-BY\tmore\n\
        Hi.\tHallo!\tCC-BY";

    fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    type Lines = Vec<(u64, String, String)>;

    fn read(source: &ParallelSource, how: OnBadLine) -> Result<(Lines, LineReport), String> {
        let mut reader = GoodPairs::open(source, how, true).map_err(|error| error.to_string())?;
        let pairs = reader.by_ref().map(|pair| pair.map(|pair| (pair.line + 1, pair.source, pair.target)));
        let pairs = pairs.collect::<Result<_, _>>().map_err(|error: Error| error.to_string())?;
        Ok((pairs, reader.report()))
    }

    fn of(expected: &[(u64, &str, &str)]) -> Lines {
        expected.iter().map(|&(line, a, b)| (line, a.into(), b.into())).collect()
    }

    #[test]
    fn a_messy_file_gives_exactly_its_pairs_and_counts_the_rest() {
        let dir = TempDir::new().unwrap();
        let columns = Some(Columns::Names("en".into(), "de".into()));
        let source = ParallelSource::Tsv { path: write(&dir, "messy.tsv", MESSY), columns };
        let (pairs, report) = read(&source, OnBadLine::Skip).unwrap();
        let expected = of(&[
            (2, "Go.", "Geh."),
            (4, "\"Go,\" he said.", "\"Geh!\", sagte er."),
            (5, "Go.", "Geh."),
            (7, "", "Nichts."),
            (8, "Nothing.", ""),
            (13, "Hi.", "Hallo!"),
        ]);
        assert_eq!(pairs, expected);
        let expected = LineReport { blank: 2, other_columns: 2, not_utf8: 1, nul_byte: 1, ..LineReport::default() };
        assert_eq!(report, expected);
        let message = read(&source, OnBadLine::Error).unwrap_err();
        let lines: Vec<&str> = message.lines().collect();
        assert!(
            lines[0].ends_with("messy.tsv: 4 bad lines; a recipe with data.on_bad_line = \"skip\" leaves them out:")
        );
        assert_eq!(lines[1], "  line 9: 2 tab-separated columns, expected 3, as line 1 has");
        assert!(
            lines[2].starts_with("  line 10: not valid UTF-8") && lines[3].starts_with("  line 11: contains a NUL")
        );
        assert_eq!((lines[4], lines.len()), ("  line 12: 4 tab-separated columns, expected 3, as line 1 has", 5));
    }

    #[test]
    fn of_many_bad_lines_twenty_are_named_and_the_others_counted() {
        let dir = TempDir::new().unwrap();
        let text = "a\tb\nno tab\n".repeat(25);
        let source = ParallelSource::from_path(write(&dir, "pairs.tsv", text.as_bytes()));
        let message = read(&source, OnBadLine::Error).unwrap_err();
        let lines: Vec<&str> = message.lines().collect();
        assert!(lines[0].contains("pairs.tsv: 25 bad lines"), "{message}");
        assert_eq!((lines.len(), lines[21]), (22, "  and 5 more"));
        assert!(lines[20].starts_with("  line 40: 1 tab-separated columns"), "{message}");
        let (pairs, report) = read(&source, OnBadLine::Skip).unwrap();
        assert_eq!((pairs.len(), report.other_columns), (25, 25));
    }

    #[test]
    fn one_bad_line_is_told_in_one_line_with_what_leaves_it_out() {
        let dir = TempDir::new().unwrap();
        let text = "{\"source\":\"a\",\"target\":\"b\"}\n\n{oops\n";
        let source = ParallelSource::from_path(write(&dir, "pairs.jsonl", text.as_bytes()));
        let message = read(&source, OnBadLine::Error).unwrap_err();
        assert!(message.contains("pairs.jsonl, line 3: not a JSON object"), "{message}");
        assert!(
            message.ends_with("; a recipe with data.on_bad_line = \"skip\" leaves the line out")
                && !message.contains('\n')
        );
        let text = format!("{text}{{\"source\":\"a\"}}\n");
        write(&dir, "pairs.jsonl", text.as_bytes());
        let report = read(&source, OnBadLine::Skip).unwrap().1;
        let expected = LineReport { blank: 1, not_json: 1, no_text_at_key: 1, ..LineReport::default() };
        assert_eq!(report, expected);
    }

    #[test]
    fn in_two_files_a_bad_line_costs_the_line_beside_it_and_a_blank_one_keeps_its_place() {
        let dir = TempDir::new().unwrap();
        let source = write(&dir, "en", b"one\n\nf\xfcr\nfour\n");
        let target = write(&dir, "de", b"eins\nzwei\ndrei\nv\0ier\n");
        let files = ParallelSource::Files { source: source.clone(), target };
        let (pairs, report) = read(&files, OnBadLine::Skip).unwrap();
        assert_eq!(pairs, of(&[(1, "one", "eins"), (2, "", "zwei")]));
        assert_eq!(report, LineReport { not_utf8: 1, nul_byte: 1, ..LineReport::default() });
        let message = read(&files, OnBadLine::Error).unwrap_err();
        assert!(message.contains("en, line 3: not valid") && message.contains("de, line 4: contains"), "{message}");
        let uneven = ParallelSource::Files { source, target: write(&dir, "short", b"eins\n") };
        assert!(read(&uneven, OnBadLine::Skip).unwrap_err().contains("short has 1"));
    }

    #[test]
    fn a_damaged_file_stays_an_error() {
        use std::io::Write;

        let dir = TempDir::new().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all("a\tb\nno tab\n".repeat(5000).as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let source = ParallelSource::from_path(write(&dir, "cut.tsv.gz", &packed[..packed.len() - 9]));
        for how in [OnBadLine::Skip, OnBadLine::Error] {
            let message = read(&source, how).unwrap_err();
            assert!(message.contains("(the gzip file is cut short)"), "{message}");
        }
    }
}
