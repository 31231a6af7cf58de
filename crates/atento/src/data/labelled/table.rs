//! Rows of files with named columns: TSV, CSV and JSON lines, plain or gzip.
//!
//! Columns are named, or numbered from 1 where a TSV file has no header. Where nothing is named, they are found by the names
//! that published data sets use (`KNOWN`: GLUE's, and `text`, `label`), or by their places in a TSV file of two columns
//! (text, label) or three (first text, second text, label).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Error;
use super::past::Past;
use crate::data::lines::LineReader;
use crate::data::tokens::csv::CsvReader;
use crate::data::{LineReport, OnBadLine, jsonl};

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// Tab-separated columns, without quotes.
    Tsv(PathBuf),
    /// RFC 4180, the names of the columns in the first line.
    Csv(PathBuf),
    /// A JSON object on each line.
    Jsonl(PathBuf),
}

/// How a file is read: what the columns are called, where that is said, and what happens to bad lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// The text, or the first of two.
    pub text: Option<String>,
    /// The second text.
    pub pair: Option<String>,
    /// The label or value.
    pub label: Option<String>,
    /// What happens to lines that hold no row.
    pub on_bad_line: OnBadLine,
}

/// The columns of published data sets: first text, second text, label.
const KNOWN: [(&str, Option<&str>, &str); 11] = [
    ("sentence1", Some("sentence2"), "gold_label"),
    ("sentence1", Some("sentence2"), "label"),
    ("sentence1", Some("sentence2"), "score"),
    ("question1", Some("question2"), "is_duplicate"),
    ("question1", Some("question2"), "label"),
    ("#1 String", Some("#2 String"), "Quality"),
    ("question", Some("sentence"), "label"),
    ("premise", Some("hypothesis"), "label"),
    ("sentence", None, "label"),
    ("text", None, "label"),
    ("text", None, "labels"),
];

/// A row: its texts, and its labels as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line that it begins at, from 1.
    pub line: u64,
    /// The text, or the first of two.
    pub text: String,
    /// The second text.
    pub pair: Option<String>,
    /// The label; several where a JSON object has a list.
    pub labels: Vec<String>,
}

/// The names of the columns of text, second text and label.
type Names = (String, Option<String>, String);

/// Where the wanted columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    /// Numbers of columns, from 0.
    Numbers([Option<usize>; 3]),
    /// Keys of an object.
    Keys([Option<String>; 3]),
}

/// Reads rows one after another.
pub struct TableReader {
    source: Source,
    places: Places,
    path: PathBuf,
    /// Columns of the first line of a TSV file, and its number: every line has as many.
    first: Option<(usize, u64)>,
    /// Names of the columns that were found, for the user.
    pub found: Option<String>,
    past: Past,
}

enum Source {
    Lines(LineReader),
    Csv(CsvReader),
}

impl Table {
    /// The file of that name: CSV if it ends in `.csv`, JSON lines if in `.jsonl`, else TSV; `.gz` may follow.
    #[must_use]
    pub fn named(path: &Path) -> Self {
        let bare =
            if path.extension().is_some_and(|ending| ending == "gz") { path.with_extension("") } else { path.into() };
        match bare.extension().and_then(std::ffi::OsStr::to_str) {
            Some("csv") => Self::Csv(path.into()),
            Some("jsonl") => Self::Jsonl(path.into()),
            _ => Self::Tsv(path.into()),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Tsv(path) | Self::Csv(path) | Self::Jsonl(path) => path,
        }
    }

    /// Opens the file and finds the columns.
    ///
    /// # Errors
    /// A file that cannot be read or is empty; a column that it does not have, with those that it has.
    pub fn open(&self, names: &ColumnNames) -> Result<TableReader, Error> {
        let path = self.path().to_path_buf();
        match self {
            Self::Tsv(path) => TableReader::tsv(path, names),
            Self::Csv(_) => {
                let reader = CsvReader::open(&path)?;
                let header: Vec<String> = reader.header().to_vec();
                let found = by_name(&path, &header, names)?;
                let number = |name: &String| reader.column(name).map(Some);
                let numbers =
                    [Some(&found.0), found.1.as_ref(), Some(&found.2)].map(|name| name.map_or(Ok(None), number));
                let [text, pair, label] = numbers;
                let places = Places::Numbers([text?, pair?, label?]);
                Ok(TableReader::new(Source::Csv(reader), places, path, names).named(&found))
            }
            Self::Jsonl(_) => {
                let object = first_object(&path)?;
                let header: Vec<String> = object.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect();
                let found = by_name(&path, &header, names)?;
                let source = Source::Lines(LineReader::open(&path)?.past_faults());
                let places = Places::Keys([Some(found.0.clone()), found.1.clone(), Some(found.2.clone())]);
                Ok(TableReader::new(source, places, path, names).named(&found))
            }
        }
    }
}

impl TableReader {
    fn new(source: Source, places: Places, path: PathBuf, names: &ColumnNames) -> Self {
        let past = Past::new(path.clone(), names.on_bad_line);
        Self { source, places, path, first: None, found: None, past }
    }

    /// With the names of the columns that were found.
    fn named(self, found: &Names) -> Self {
        Self { found: Some(told(found)), ..self }
    }

    /// The lines read so far that hold no row.
    #[must_use]
    pub fn report(&self) -> LineReport {
        let blank = match &self.source {
            Source::Lines(lines) => lines.blank_lines(),
            Source::Csv(_) => 0,
        };
        LineReport { blank, ..self.past.left_out().clone() }
    }

    fn tsv(path: &Path, names: &ColumnNames) -> Result<Self, Error> {
        let mut lines = LineReader::open(path)?.past_faults();
        let mut fault = None;
        let first = loop {
            match lines.next() {
                Some(Ok(line)) if line.trim().is_empty() => {}
                // It is told, or counted, with those that follow.
                Some(Err(bad)) if bad.is_of_one_line() => fault = fault.or(Some(bad)),
                Some(line) => break line?,
                None => return Err(fault.map_or_else(|| Error::Empty { path: path.into() }, Error::Lines)),
            }
        };
        let header: Vec<String> = first.split('\t').map(|name| name.trim().to_owned()).collect();
        let first = Some((header.len(), lines.line()));
        let open = || LineReader::open(path).map(|lines| Source::Lines(lines.past_faults()));
        let reader = |source, places| Self { first, ..Self::new(source, places, path.into(), names) };
        let wanted = [&names.text, &names.pair, &names.label];
        let number = |name: &String| name.parse::<usize>().ok().filter(|&number| number > 0);
        if wanted.iter().any(|name| name.as_ref().is_some_and(|name| number(name).is_some())) {
            let place = |name: &Option<String>| match name {
                None => Ok(None),
                Some(name) => match number(name).filter(|&number| number <= header.len()) {
                    Some(number) => Ok(Some(number - 1)),
                    None => Err(Error::ColumnNumber { path: path.into(), found: name.clone(), columns: header.len() }),
                },
            };
            let (text, label) = (place(&names.text)?, place(&names.label)?);
            let (Some(_), Some(_)) = (text, label) else { return Err(Error::Unnamed { path: path.into() }) };
            let places = Places::Numbers([text, place(&names.pair)?, label]);
            return Ok(reader(open()?, places));
        }
        let is_named = wanted.iter().any(|name| name.is_some());
        if is_named || known(&header).is_some() {
            let found = by_name(path, &header, names)?;
            let position = |name: &String| header.iter().position(|column| column == name);
            let places = Places::Numbers([position(&found.0), found.1.as_ref().and_then(position), position(&found.2)]);
            // The header is passed.
            return Ok(reader(Source::Lines(lines), places).named(&found));
        }
        let places = match header.len() {
            2 => Places::Numbers([Some(0), None, Some(1)]),
            3 => Places::Numbers([Some(0), Some(1), Some(2)]),
            columns => return Err(Error::Columns { path: path.into(), columns }),
        };
        Ok(reader(open()?, places))
    }

    fn next_row(&mut self) -> Result<Option<Row>, Error> {
        match (&mut self.source, &self.places) {
            (Source::Csv(reader), Places::Numbers(numbers)) => {
                let Some(record) = reader.next().transpose()? else { return Ok(None) };
                row_of(&self.path, record.line, &record.fields, *numbers).map(Some)
            }
            (Source::Lines(lines), Places::Numbers(numbers)) => loop {
                let Some(text) = lines.next().transpose()? else { return Ok(None) };
                if text.trim().is_empty() {
                    lines.pass_blank();
                    continue;
                }
                let fields: Vec<String> = text.split('\t').map(str::to_owned).collect();
                let line = lines.line();
                return match self.first.filter(|(columns, _)| *columns != fields.len()) {
                    None => row_of(&self.path, line, &fields, *numbers).map(Some),
                    Some((expected, first)) => {
                        Err(Error::Ragged { path: self.path.clone(), line, found: fields.len(), expected, first })
                    }
                };
            },
            (Source::Lines(lines), Places::Keys(keys)) => {
                let Some(object) = jsonl::next_object(lines)? else { return Ok(None) };
                let line = lines.line();
                let cell =
                    |key: &Option<String>| key.as_ref().map(|key| cell(&self.path, line, &object, key)).transpose();
                let [text, pair, label] = keys;
                let one = |key: &Option<String>, cells: Option<Vec<String>>| match cells.as_deref() {
                    None | Some([]) => Ok(None),
                    Some([one]) => Ok(Some(one.clone())),
                    Some(several) => Err(Error::Cell {
                        path: self.path.clone(),
                        line,
                        key: key.clone().unwrap_or_default(),
                        found: format!("a list of {} texts", several.len()),
                    }),
                };
                let (text, pair) = (one(text, cell(text)?)?.unwrap_or_default(), one(pair, cell(pair)?)?);
                Ok(Some(Row { line, text, pair, labels: cell(label)?.unwrap_or_default() }))
            }
            (Source::Csv(_), Places::Keys(_)) => unreachable!("columns of CSV are numbered"),
        }
    }
}

impl Iterator for TableReader {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut past = std::mem::take(&mut self.past);
        let row = past.next(|| self.next_row());
        self.past = past;
        row
    }
}

/// The first object of a file. The bad lines before it are told, or counted, with those that follow.
fn first_object(path: &Path) -> Result<Value, Error> {
    let mut lines = LineReader::open(path)?.past_faults();
    let mut fault = None;
    loop {
        match jsonl::next_object(&mut lines) {
            Err(bad) if bad.is_of_one_line() => fault = fault.or(Some(bad)),
            object => {
                let none = || fault.map_or_else(|| Error::Empty { path: path.into() }, Error::Data);
                return object?.ok_or_else(none);
            }
        }
    }
}

fn row_of(path: &Path, line: u64, fields: &[String], [text, pair, label]: [Option<usize>; 3]) -> Result<Row, Error> {
    let most = [text, pair, label].into_iter().flatten().max().unwrap_or(0);
    if fields.len() <= most {
        return Err(Error::Short { path: path.into(), line, found: fields.len(), needed: most + 1 });
    }
    let field = |at: usize| fields[at].clone();
    let labels = label.map(field).into_iter().collect();
    Ok(Row { line, text: text.map(field).unwrap_or_default(), pair: pair.map(field), labels })
}

/// What stands at a key: a text, a number or a truth value as it is written, or a list of such.
fn cell(path: &Path, line: u64, object: &Value, key: &str) -> Result<Vec<String>, Error> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let found = object.get(key);
    let cells = match found {
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Option<Vec<String>>>(),
        Some(value) => plain(value).map(|text| vec![text]),
        None => None,
    };
    cells.ok_or_else(|| {
        let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
        Error::Cell { path: path.into(), line, key: key.into(), found: crate::messages::cut(&found).into_owned() }
    })
}

/// The names of the columns: those that are said, and the known ones beside them.
fn by_name(path: &Path, header: &[String], names: &ColumnNames) -> Result<Names, Error> {
    let there = |name: &String| match header.contains(name) {
        true => Ok(name.clone()),
        false => {
            let hint = crate::messages::did_you_mean(name, header.iter().map(String::as_str));
            Err(Error::NoColumn { path: path.into(), column: name.clone(), hint, found: header.join(", ") })
        }
    };
    let said = |name: &Option<String>| name.as_ref().map(&there).transpose();
    let (text, pair, label) = (said(&names.text)?, said(&names.pair)?, said(&names.label)?);
    let usual = known(header);
    let missing = |what: &'static str| Error::NotFound { path: path.into(), what, found: header.join(", ") };
    // A second text that nobody names belongs to a first one that nobody names.
    let pair = pair.or_else(|| if text.is_none() { usual.as_ref().and_then(|usual| usual.1.clone()) } else { None });
    let alone =
        |wanted: &[&str]| wanted.iter().find(|name| header.iter().any(|it| it == *name)).map(ToString::to_string);
    let text = text.or_else(|| usual.as_ref().map(|usual| usual.0.clone())).or_else(|| alone(&["text", "sentence"]));
    let label = label.or_else(|| usual.map(|usual| usual.2)).or_else(|| alone(&["label", "labels", "score"]));
    Ok((text.ok_or_else(|| missing("text"))?, pair, label.ok_or_else(|| missing("label"))?))
}

/// The columns of a published data set, if all of them are there.
fn known(header: &[String]) -> Option<Names> {
    let named = |name: &str| header.iter().find(|column| column.eq_ignore_ascii_case(name)).cloned();
    KNOWN.iter().find_map(|(text, pair, label)| {
        let pair = match pair {
            Some(pair) => Some(named(pair)?),
            None => None,
        };
        Some((named(text)?, pair, named(label)?))
    })
}

fn told((text, pair, label): &Names) -> String {
    match pair {
        None => format!("text in {text:?}, label in {label:?}"),
        Some(pair) => format!("texts in {text:?} and {pair:?}, label in {label:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str, names: &ColumnNames) -> Result<Vec<(String, Option<String>, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let table = match name.rsplit('.').next() {
            Some("csv") => Table::Csv(path),
            Some("jsonl") => Table::Jsonl(path),
            _ => Table::Tsv(path),
        };
        let message = |error: Error| error.to_string().replace(&dir.path().display().to_string(), "");
        let reader = table.open(names).map_err(message)?;
        reader.map(|row| row.map(|row| (row.text, row.pair, row.labels.join("|"))).map_err(message)).collect()
    }

    fn named(text: &str, pair: Option<&str>, label: &str) -> ColumnNames {
        let (text, pair, label) = (Some(text.into()), pair.map(str::to_owned), Some(label.into()));
        ColumnNames { text, pair, label, ..ColumnNames::default() }
    }

    fn row(text: &str, pair: Option<&str>, label: &str) -> (String, Option<String>, String) {
        (text.into(), pair.map(str::to_owned), label.into())
    }

    #[test]
    fn columns_are_found_by_their_places_their_names_or_the_names_of_known_data() {
        let any = ColumnNames::default();
        assert_eq!(
            rows("a.tsv", "good \"film\t1\n\nbad\t0\n", &any).unwrap(),
            [row("good \"film", None, "1"), row("bad", None, "0")]
        );
        assert_eq!(rows("a.tsv", "a\tb\tyes\n", &any).unwrap(), [row("a", Some("b"), "yes")]);
        assert_eq!(rows("sst.tsv", "sentence\tlabel\nx\t1\n", &any).unwrap(), [row("x", None, "1")]);
        assert_eq!(rows("sst.tsv", "Label\tText\n1\tx\n", &any).unwrap(), [row("x", None, "1")]);
        let qnli = "index\tquestion\tsentence\tlabel\n0\tq\ts\tentailment\n";
        assert_eq!(rows("qnli.tsv", qnli, &any).unwrap(), [row("q", Some("s"), "entailment")]);
        let mrpc = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\ta\tb\n";
        assert_eq!(rows("mrpc.tsv", mrpc, &any).unwrap(), [row("a", Some("b"), "1")]);
        let cola = "gj04\t1\t\tOur friends.\n";
        assert_eq!(rows("cola.tsv", cola, &named("4", None, "2")).unwrap(), [row("Our friends.", None, "1")]);
        let csv = "id,stars,review\n1,5,\"good, really\"\n";
        assert_eq!(rows("r.csv", csv, &named("review", None, "stars")).unwrap(), [row("good, really", None, "5")]);
        let jsonl = "{\"text\":\"x\",\"label\":3}\n{\"text\":\"y\",\"label\":[\"a\",\"b\"]}\n";
        assert_eq!(rows("j.jsonl", jsonl, &any).unwrap(), [row("x", None, "3"), row("y", None, "a|b")]);
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let any = ColumnNames::default();
        let message = rows("a.csv", "review,stars\nx,1\n", &any).unwrap_err();
        assert_eq!(message, "/a.csv: no column for the text is named; the file has review, stars: set text_key");
        let message = rows("a.csv", "text,stars\nx,1\n", &any).unwrap_err();
        assert_eq!(message, "/a.csv: no column for the label is named; the file has text, stars: set label_key");
        let message = rows("a.csv", "text,label\nx,1\n", &named("txt", None, "label")).unwrap_err();
        assert!(message.starts_with("/a.csv: there is no column \"txt\" (did you mean \"text\"?)"), "{message}");
        let message = rows("a.tsv", "a\tb\n", &named("1", None, "5")).unwrap_err();
        assert_eq!(message, "/a.tsv: column 5 is asked for, and the first line has 2 columns");
        let message = rows("a.tsv", "a\tb\tc\td\n", &any).unwrap_err();
        assert!(message.contains("4 columns, and nothing says which are text and label"), "{message}");
        let message = rows("a.tsv", "a\t1\nb\n", &any).unwrap_err();
        assert!(message.starts_with("/a.tsv, line 2: 1 columns, expected 2, as line 1 has; "), "{message}");
        // A tab inside a text would make a label of its second half.
        let message = rows("a.tsv", "sentence\tlabel\na\t1\nb\tc\t0\n", &any).unwrap_err();
        assert!(message.starts_with("/a.tsv, line 3: 3 columns, expected 2, as line 1 has; "), "{message}");
        assert_eq!(rows("a.tsv", "\n", &any).unwrap_err(), "/a.tsv: there is no row in it");
        let message = rows("a.jsonl", "{\"text\":\"x\",\"label\":1}\n{\"text\":\"x\"}\n", &any).unwrap_err();
        let expected = "/a.jsonl, line 2: nothing at key \"label\", expected a text or a number; ";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn bad_lines_are_told_all_at_once_or_left_out_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Table::named(&path)
        };
        let skip = ColumnNames { on_bad_line: OnBadLine::Skip, ..ColumnNames::default() };
        let bad = LineReport { other_columns: 1, ..LineReport::default() };
        for (table, bad_lines, report) in [
            (
                file("a.tsv", b"text\tlabel\n\na\t1\nb\nf\xfcr\t1\nc\t0\n"),
                &["line 4: 1 columns", "line 5: not valid UTF-8"][..],
                LineReport { blank: 1, not_utf8: 1, ..bad.clone() },
            ),
            (file("a.csv", b"text,label\na,1\nb,1,2\nc,0\n"), &["line 3: 3 fields"], bad),
            (
                file(
                    "a.jsonl",
                    b"{oops\n{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\"}\n{\"text\":\"c\",\"label\":0}\n",
                ),
                &["line 1: not a JSON object", "line 3: nothing at key \"label\""],
                LineReport { not_json: 1, no_text_at_key: 1, ..LineReport::default() },
            ),
        ] {
            let mut reader = table.open(&skip).unwrap();
            let found: Vec<String> = reader.by_ref().map(|row| row.unwrap().text).collect();
            assert_eq!((found, reader.report()), (vec!["a".to_owned(), "c".to_owned()], report));
            let strict = table.open(&ColumnNames::default()).and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
            let message = strict.unwrap_err().to_string();
            assert!(bad_lines.iter().all(|line| message.contains(line)), "{message}");
        }
    }
}
