//! Pairs of sentences from two files, or from a TSV, CSV or JSONL file, one pair at a time.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bad_lines::{GoodPairs, LineReport, OnBadLine};
use super::lines::{LineReader, MAX_RECORD_BYTES};
use super::tokens::csv::CsvReader;
use super::tsv::{Columns, TsvReader};
use super::{Error, PairOptions, jsonl, tokens};

/// The most pairs that [`load_pairs`] holds.
pub const MAX_LOADED_PAIRS: usize = 1_000_000;

/// Where pairs of sentences come from. Each file is plain or gzip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParallelSource {
    /// Two files; line `i` of one translates line `i` of the other.
    Files {
        /// The file of source sentences.
        source: PathBuf,
        /// The file of target sentences.
        target: PathBuf,
    },
    /// One file of tab-separated columns; blank lines are skipped.
    Tsv {
        /// The file.
        path: PathBuf,
        /// Which columns are source and target; others are ignored. `None` is the first and second of exactly two.
        columns: Option<Columns>,
    },
    /// One file of records (RFC 4180) whose first names the columns; empty lines are skipped.
    Csv {
        /// The file.
        path: PathBuf,
        /// The name of the column of source sentences.
        source_key: String,
        /// The name of the column of target sentences.
        target_key: String,
    },
    /// One file with a JSON object on each line; blank lines are skipped.
    Jsonl {
        /// The file.
        path: PathBuf,
        /// The key of the source sentence; a dot descends (`translation.en`).
        source_key: String,
        /// The key of the target sentence.
        target_key: String,
    },
}

/// One pair as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPair {
    /// Its line, from 0.
    pub line: u64,
    /// The source sentence.
    pub source: String,
    /// The target sentence.
    pub target: String,
    /// Whether it is longer than [`MAX_RECORD_BYTES`], so that its text was not kept.
    pub too_long: bool,
}

impl RawPair {
    fn new(line: u64, source: impl Into<String>, target: impl Into<String>) -> Self {
        RawPair { line, source: source.into(), target: target.into(), too_long: false }
    }
}

impl ParallelSource {
    /// A single file by its name: `.jsonl`, `.ndjson` or `.json` (keys `source` and `target`), `.csv` (columns of those
    /// names), anything else is TSV; a final `.gz` is looked through.
    pub fn from_path(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let (source_key, target_key) = ("source".to_owned(), "target".to_owned());
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jsonl" | "ndjson" | "json") => ParallelSource::Jsonl { path, source_key, target_key },
            Some("csv") => ParallelSource::Csv { path, source_key, target_key },
            _ => ParallelSource::Tsv { path, columns: None },
        }
    }

    /// Opens the files and reads pairs as they are asked for.
    ///
    /// # Errors
    /// A file that is missing, empty or damaged.
    pub fn open(&self) -> Result<ParallelReader, Error> {
        let open = |path: &PathBuf| LineReader::open(path).map(|lines| lines.with_limit(MAX_RECORD_BYTES));
        let input = match self {
            ParallelSource::Files { source, target } => Input::Files(open(source)?, open(target)?),
            ParallelSource::Tsv { path, columns } => Input::Tsv(TsvReader::new(open(path)?, columns.clone())),
            ParallelSource::Csv { path, source_key, target_key } => {
                let csv = CsvReader::open(path).map_err(of_csv)?;
                let column = |key: &str| csv.column(key).map_err(of_csv);
                let columns = [column(source_key)?, column(target_key)?];
                Input::Csv(csv, columns)
            }
            ParallelSource::Jsonl { path, source_key, target_key } => {
                Input::Jsonl(open(path)?, source_key.clone(), target_key.clone())
            }
        };
        Ok(ParallelReader { input, past_faults: false, failed: false })
    }

    /// The sentences that are trained on with these options, source and target in turn: what a joint tokenizer is trained
    /// on. Records that are too long to be read have no part in it, nor have pairs that are held out.
    ///
    /// # Errors
    /// As [`open`](Self::open); the items, those of reading.
    pub fn sentences(
        &self,
        options: &PairOptions,
    ) -> Result<impl Iterator<Item = Result<String, Error>> + use<>, Error> {
        let of_pair = |pair: Result<RawPair, Error>| match pair {
            Ok(pair) => [Some(Ok(pair.source)), Some(Ok(pair.target))],
            Err(error) => [Some(Err(error)), None],
        };
        let (options, on_bad_line) = (options.clone(), options.on_bad_line);
        let is_left_out = move |pair: &RawPair| pair.too_long || options.holds_out(&pair.source);
        let is_read = move |pair: &Result<RawPair, Error>| !pair.as_ref().is_ok_and(&is_left_out);
        Ok(GoodPairs::open(self, on_bad_line, true)?.filter(is_read).flat_map(of_pair).flatten())
    }

    /// The place of a line (from 0) for a message: file and line number from 1.
    pub(super) fn place(&self, line: u64, target_side: bool) -> String {
        let path = match self {
            ParallelSource::Files { target, .. } if target_side => target,
            ParallelSource::Files { source, .. } => source,
            ParallelSource::Tsv { path, .. }
            | ParallelSource::Csv { path, .. }
            | ParallelSource::Jsonl { path, .. } => path,
        };
        format!("{}, line {}", path.display(), line + 1)
    }
}

impl fmt::Display for ParallelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParallelSource::Files { source, target } => {
                write!(f, "{} + {}", source.display(), target.display())
            }
            ParallelSource::Tsv { path, .. }
            | ParallelSource::Csv { path, .. }
            | ParallelSource::Jsonl { path, .. } => path.display().fmt(f),
        }
    }
}

#[derive(Debug)]
enum Input {
    Files(LineReader, LineReader),
    Tsv(TsvReader),
    /// With the columns of the two sides.
    Csv(CsvReader, [usize; 2]),
    Jsonl(LineReader, String, String),
}

/// An iterator over the pairs of a [`ParallelSource`]. After an error it ends, unless it was told to go
/// [past faults](ParallelReader::past_faults).
#[derive(Debug)]
pub struct ParallelReader {
    input: Input,
    past_faults: bool,
    failed: bool,
}

impl ParallelReader {
    /// Goes on after a line that holds no pair: the fault costs that pair alone.
    #[must_use]
    pub fn past_faults(self) -> Self {
        let input = match self.input {
            Input::Files(source, target) => Input::Files(source.past_faults(), target.past_faults()),
            Input::Tsv(rows) => Input::Tsv(rows.past_faults()),
            // It goes past such faults always.
            Input::Csv(..) => self.input,
            Input::Jsonl(lines, source, target) => Input::Jsonl(lines.past_faults(), source, target),
        };
        ParallelReader { input, past_faults: true, failed: self.failed }
    }
}

impl ParallelReader {
    /// Blank lines that were passed over, where each line is a whole pair.
    pub(super) fn blank_lines(&self) -> u64 {
        match &self.input {
            Input::Files(..) | Input::Csv(..) => 0,
            Input::Tsv(rows) => rows.blank_lines(),
            Input::Jsonl(lines, ..) => lines.blank_lines(),
        }
    }
}

impl Iterator for ParallelReader {
    type Item = Result<RawPair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let pair = match &mut self.input {
            Input::Files(source, target) => next_of_files(source, target),
            Input::Tsv(rows) => rows.next(),
            Input::Csv(records, columns) => next_of_csv(records, *columns),
            Input::Jsonl(lines, source_key, target_key) => jsonl::next(lines, source_key, target_key),
        };
        self.failed = pair.as_ref().is_err_and(|fault| !(self.past_faults && fault.is_of_one_line()));
        pair.transpose()
    }
}

fn next_of_files(source: &mut LineReader, target: &mut LineReader) -> Result<Option<RawPair>, Error> {
    // Both are read, also where one is wrong: line i stays beside line i.
    match (source.next(), target.next()) {
        (Some(a), Some(b)) => {
            let (a, b) = (a?, b?);
            Ok(Some(RawPair::new(source.line() - 1, a, b)))
        }
        (None, None) => Ok(None),
        // One ended: the other is read to its end so that both counts can be named.
        (a, b) => {
            a.into_iter().chain(b).try_for_each(|line| line.map(drop))?;
            for line in source.by_ref().chain(target.by_ref()) {
                line?;
            }
            Err(Error::UnequalLineCounts {
                source_path: source.path().into(),
                source_lines: source.line(),
                target_path: target.path().into(),
                target_lines: target.line(),
            })
        }
    }
}

fn next_of_csv(records: &mut CsvReader, columns: [usize; 2]) -> Result<Option<RawPair>, Error> {
    let Some(mut record) = records.next().transpose().map_err(of_csv)? else { return Ok(None) };
    let [source, target] = columns.map(|column| std::mem::take(&mut record.fields[column]));
    Ok(Some(RawPair::new(record.line - 1, source, target)))
}

/// The fault of a CSV file, or of its text.
fn of_csv(fault: tokens::Error) -> Error {
    match fault {
        tokens::Error::Lines(fault) => Error::Lines(fault),
        fault => Error::Csv(Box::new(fault)),
    }
}

/// All pairs of a validation or test set, in order and unchanged, those with an empty side too, and the lines that hold
/// none: scores are computed line by line.
///
/// # Errors
/// Those of reading; [`Error::TooManyPairs`] beyond [`MAX_LOADED_PAIRS`].
pub fn load_pairs(
    source: &ParallelSource,
    on_bad_line: OnBadLine,
) -> Result<(Vec<(String, String)>, LineReport), Error> {
    let mut pairs = Vec::new();
    let mut reader = GoodPairs::open(source, on_bad_line, false)?;
    for pair in &mut reader {
        if pairs.len() == MAX_LOADED_PAIRS {
            return Err(Error::TooManyPairs { place: source.to_string(), limit: MAX_LOADED_PAIRS });
        }
        let pair = pair?;
        pairs.push((pair.source, pair.target));
    }
    Ok((pairs, reader.report()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn pairs(source: &ParallelSource) -> Result<Vec<(u64, String, String)>, Error> {
        source.open()?.map(|pair| pair.map(|p| (p.line, p.source, p.target))).collect()
    }

    fn of(expected: &[(u64, &str, &str)]) -> Vec<(u64, String, String)> {
        expected.iter().map(|&(line, a, b)| (line, a.into(), b.into())).collect()
    }

    #[test]
    fn two_files_are_read_side_by_side() {
        let dir = TempDir::new().unwrap();
        let source = write(&dir, "a", "one\ntwo\n");
        let target = write(&dir, "b", "eins\r\nzwei");
        let files = ParallelSource::Files { source, target };
        assert_eq!(pairs(&files).unwrap(), of(&[(0, "one", "eins"), (1, "two", "zwei")]));
        assert_eq!(load_pairs(&files, OnBadLine::Error).unwrap().0[1], ("two".into(), "zwei".into()));
    }

    #[test]
    fn unequal_line_counts_are_an_error_that_names_both() {
        let dir = TempDir::new().unwrap();
        let (short, long) = (write(&dir, "short", "1\n2\n"), write(&dir, "long", "1\n2\n3\n4\n5\n"));
        for (source, target, counts) in [(&short, &long, [2, 5]), (&long, &short, [5, 2])] {
            let files = ParallelSource::Files { source: source.clone(), target: target.clone() };
            let error = pairs(&files).unwrap_err();
            assert!(
                matches!(&error, Error::UnequalLineCounts { source_lines, target_lines, .. } if [*source_lines, *target_lines] == counts)
            );
            let message = error.to_string();
            assert!(message.contains("short has 2 lines") || message.contains("short has 2:"), "{message}");
        }
    }

    #[test]
    fn a_tsv_line_needs_exactly_two_columns_unless_columns_are_named() {
        let dir = TempDir::new().unwrap();
        let good = ParallelSource::from_path(write(&dir, "good.tsv", "one\teins\ntwo\tzwei\n"));
        assert_eq!(pairs(&good).unwrap(), of(&[(0, "one", "eins"), (1, "two", "zwei")]));
        let bad = ParallelSource::from_path(write(&dir, "bad.tsv", "one\teins\ntwo zwei\n"));
        let message = pairs(&bad).unwrap_err().to_string();
        assert!(message.contains("bad.tsv, line 2: 1 tab-separated columns, expected exactly 2"), "{message}");
        let path = write(&dir, "wide.tsv", "7\tone\teins\tCC-BY\n");
        let all = ParallelSource::from_path(path.clone());
        assert!(pairs(&all).unwrap_err().to_string().contains("4 tab-separated columns"));
        let named = ParallelSource::Tsv { path: path.clone(), columns: Some(Columns::Numbers(2, 3)) };
        assert_eq!(pairs(&named).unwrap(), of(&[(0, "one", "eins")]));
        let beyond = ParallelSource::Tsv { path, columns: Some(Columns::Numbers(2, 5)) };
        assert!(pairs(&beyond).unwrap_err().to_string().contains("column 5 is asked for"));
    }

    #[test]
    fn columns_of_csv_are_named_in_its_first_record() {
        let dir = TempDir::new().unwrap();
        let text = "id,de,en\n1,\"Geh, sagte er.\",Go.\n\n2,\"Hallo\n\"\"Du\"\"!\",Hi.\n3,zu wenig\n4,Ja.,Yes.\n";
        let path = write(&dir, "a.csv", text);
        let of_columns = |source: &str, target: &str| ParallelSource::Csv {
            path: path.clone(),
            source_key: source.into(),
            target_key: target.into(),
        };
        let message = pairs(&of_columns("en", "de")).unwrap_err().to_string();
        assert!(message.contains("a.csv, line 6: 2 fields, the header has 3"), "{message}");
        let (good, report) = load_pairs(&of_columns("en", "de"), OnBadLine::Skip).unwrap();
        let expected = [("Go.", "Geh, sagte er."), ("Hi.", "Hallo\n\"Du\"!"), ("Yes.", "Ja.")];
        assert_eq!(good, expected.map(|(en, de)| (en.to_owned(), de.to_owned())));
        assert_eq!(report, LineReport { other_columns: 1, ..LineReport::default() });
        let message = of_columns("en", "dee").open().unwrap_err().to_string();
        assert!(message.contains("\"dee\"") && message.contains("did you mean \"de\""), "{message}");
        let named = ParallelSource::from_path("b.CSV.gz");
        assert!(matches!(named, ParallelSource::Csv { source_key, .. } if source_key == "source"));
    }

    #[test]
    fn jsonl_keys_may_be_dotted_and_blank_lines_are_skipped() {
        let dir = TempDir::new().unwrap();
        let text = "{\"source\":\"one\",\"target\":\"eins\\n\"}\n\n{\"target\":\"zwei\",\"source\":\"two\"}\n";
        let plain = ParallelSource::from_path(write(&dir, "a.jsonl", text));
        assert_eq!(pairs(&plain).unwrap(), of(&[(0, "one", "eins\n"), (2, "two", "zwei")]));
        let path = write(&dir, "b.jsonl", "{\"translation\":{\"en\":\"one\",\"de\":\"eins\"},\"a.b\":\"x\"}\n");
        let keyed =
            |a: &str, b: &str| ParallelSource::Jsonl { path: path.clone(), source_key: a.into(), target_key: b.into() };
        assert_eq!(pairs(&keyed("translation.en", "translation.de")).unwrap(), of(&[(0, "one", "eins")]));
        assert_eq!(pairs(&keyed("a.b", "translation.de")).unwrap(), of(&[(0, "x", "eins")]));
        let message = pairs(&keyed("translation.en", "translation.dee")).unwrap_err().to_string();
        assert!(
            message.ends_with("line 1: no value at key \"translation.dee\" (did you mean \"translation.de\"?)"),
            "{message}"
        );
        let message = pairs(&keyed("translation", "a.b")).unwrap_err().to_string();
        assert!(message.contains("an object instead of a string"), "{message}");
    }

    #[test]
    fn past_faults_line_i_stays_beside_line_i() {
        let dir = TempDir::new().unwrap();
        let source = dir.path().join("a");
        std::fs::write(&source, b"one\nf\xfcr\nthree\n").unwrap();
        let target = write(&dir, "b", "eins\nzwei\ndrei\n");
        let read = |source: &ParallelSource| -> Vec<Option<(u64, String)>> {
            let pairs = source.open().unwrap().past_faults();
            pairs.map(|pair| pair.ok().map(|pair| (pair.line, pair.target))).collect()
        };
        let files = ParallelSource::Files { source, target };
        assert_eq!(read(&files), [Some((0, "eins".into())), None, Some((2, "drei".into()))]);
        let text = "{oops\n{\"source\":\"a\"}\n\n{\"source\":\"a\",\"target\":\"b\"}\n[]\n";
        let jsonl = ParallelSource::from_path(write(&dir, "c.jsonl", text));
        assert_eq!(read(&jsonl), [None, None, Some((3, "b".into())), None]);
        let tsv = ParallelSource::from_path(write(&dir, "d.tsv", "a\na\tb\na\tb\tc\n"));
        assert_eq!(read(&tsv), [None, Some((1, "b".into())), None]);
    }

    #[test]
    fn a_line_that_is_no_json_object_is_named() {
        let dir = TempDir::new().unwrap();
        for (text, found) in [("{\"source\":\"a\",\"target\":\"b\"}\n{oops\n", "line 2"), ("[1]\n", "found an array")] {
            let message = pairs(&ParallelSource::from_path(write(&dir, "c.jsonl", text))).unwrap_err().to_string();
            assert!(message.contains(found), "{message}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_drops_no_value_in_silence() {
        let dir = TempDir::new().unwrap();
        let good = "{\"source\":\"a\",\"target\":\"b\"}\n";
        let message = |line: &str| {
            let source = ParallelSource::from_path(write(&dir, "d.jsonl", &format!("{good}{line}\n")));
            pairs(&source).unwrap_err().to_string()
        };
        let twice = message("{\"source\":\"a\",\"target\":\"b\",\"source\":\"c\"}");
        assert!(twice.contains("d.jsonl, line 2: not a JSON object: the key \"source\" stands twice"), "{twice}");
        let inner = message("{\"source\":\"a\",\"target\":\"b\",\"meta\":{\"id\":1,\"id\":2}}");
        assert!(inner.contains("the key \"id\" stands twice in one object at column"), "{inner}");
        let half = message("{\"source\":\"\\ud800\",\"target\":\"b\"}");
        assert!(half.contains("line 2: not a JSON object: ") && half.contains("surrogate"), "{half}");
    }

    #[test]
    fn a_missing_key_is_told_with_the_keys_there_are() {
        let dir = TempDir::new().unwrap();
        let source = ParallelSource::from_path(write(&dir, "d.jsonl", "{\"prompt\":\"a\",\"answer\":\"b\"}\n"));
        let message = pairs(&source).unwrap_err().to_string();
        assert!(message.ends_with("no value at key \"source\"; its keys with text are prompt, answer"), "{message}");
    }

    #[test]
    fn a_record_that_is_too_long_to_be_read_is_left_out_or_told_with_what_to_do() {
        let dir = TempDir::new().unwrap();
        let long = "x".repeat(MAX_RECORD_BYTES);
        let source = ParallelSource::from_path(write(&dir, "long.tsv", &format!("a\tb\n{long}\tc\nd\te\n")));
        let left_out: Vec<RawPair> =
            GoodPairs::open(&source, OnBadLine::Error, true).unwrap().collect::<Result<_, _>>().unwrap();
        let found: Vec<_> = left_out.iter().map(|pair| (pair.line, pair.source.as_str(), pair.too_long)).collect();
        assert_eq!(found, [(0, "a", false), (1, "", true), (2, "d", false)]);
        assert_eq!(
            source.sentences(&PairOptions::default()).unwrap().collect::<Result<Vec<_>, _>>().unwrap(),
            ["a", "b", "d", "e"]
        );
        let mut strict = GoodPairs::open(&source, OnBadLine::Error, false).unwrap();
        assert!(strict.next().unwrap().is_ok());
        let message = strict.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("long.tsv, line 2: longer than 67108864 bytes"), "{message}");
        assert!(message.contains("set data.on_truncate = \"drop\" to leave it out"), "{message}");
        assert!(strict.next().is_none());
    }

    #[test]
    fn the_kind_of_a_single_file_follows_from_its_name() {
        assert!(matches!(ParallelSource::from_path("x/a.JSONL.gz"), ParallelSource::Jsonl { .. }));
        assert!(matches!(ParallelSource::from_path("x/a.tsv.gz"), ParallelSource::Tsv { columns: None, .. }));
    }
}
