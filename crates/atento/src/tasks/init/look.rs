//! Looks at files: their form, their rows, their columns.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Error;
use super::columns::Column;
use crate::data::header;
use crate::data::lines::{LineReader, beginning};
use crate::data::tokens::csv::CsvReader;
use crate::messages;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Tsv,
    Csv,
    Jsonl,
    Conll,
    Squad,
    /// Plain lines.
    Lines,
    /// A folder of text.
    Folder,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub path: PathBuf,
    pub form: Form,
    /// Rows with something in them, the header not counted.
    pub rows: usize,
    /// Lines with nothing in them.
    pub blank: usize,
    /// Rows with another number of columns than the first.
    pub uneven: usize,
    /// Whether the first row names the columns.
    pub has_header: bool,
    pub columns: Vec<Column>,
    /// Bytes of its texts.
    pub bytes: usize,
}

/// Lines by which the form of a file is known that does not say it in its name.
const SAMPLE: usize = 200;
/// Words that no name of a column has.
const NO_NAME: usize = 5;
/// Bytes by which the form of a file named `.json` is known.
const JSON_BYTES: u64 = 1 << 16;

impl File {
    /// Reads a file or a folder.
    ///
    /// # Errors
    /// It cannot be read, or is not text.
    pub fn look(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::new(path, Form::Folder));
        }
        let form = form(path)?;
        let mut file = Self::new(path, form);
        match form {
            Form::Csv => file.read_csv()?,
            Form::Jsonl => file.read_jsonl()?,
            Form::Squad => {}
            _ => file.read_lines()?,
        }
        Ok(file)
    }

    fn new(path: &Path, form: Form) -> Self {
        let path = path.to_path_buf();
        Self { path, form, rows: 0, blank: 0, uneven: 0, has_header: false, columns: Vec::new(), bytes: 0 }
    }

    /// The number of the column of that name.
    pub fn named(&self, names: &[&str]) -> Option<usize> {
        let is = |column: &Column, name: &str| column.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        names.iter().find_map(|name| self.columns.iter().position(|column| is(column, name)))
    }

    fn read_lines(&mut self) -> Result<(), Error> {
        for line in LineReader::open(&self.path)? {
            let line = line?;
            if line.trim().is_empty() {
                self.blank += 1;
                continue;
            }
            let cells: Vec<&str> = if self.form == Form::Tsv { line.split('\t').collect() } else { vec![&line] };
            if self.columns.is_empty() {
                self.columns = vec![Column::default(); cells.len()];
                if let Some(names) = (self.form == Form::Tsv).then(|| header::names(&line)).flatten() {
                    self.has_header = true;
                    self.columns.iter_mut().zip(names).for_each(|(column, name)| column.name = Some(name));
                    continue;
                }
            }
            self.add_row(&cells);
        }
        Ok(())
    }

    fn read_csv(&mut self) -> Result<(), Error> {
        let reader = CsvReader::open(&self.path)?;
        self.check_names(reader.header())?;
        self.has_header = true;
        self.columns = reader.header().iter().map(|name| Column::of_name(name)).collect();
        for record in reader {
            match record {
                Ok(record) => self.add_row(&record.fields),
                Err(fault) if fault.is_of_bad_line() => {
                    self.rows += 1;
                    self.uneven += 1;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    /// Refuses a first line that names no columns: what a run would read as names is then a row of its own.
    fn check_names(&self, names: &[String]) -> Result<(), Error> {
        let problem = if names.iter().any(|name| name.contains(';')) {
            "the first line has semicolons, but fields are set apart by commas: save it with commas or with tabs, as .tsv"
                .to_owned()
        } else if let Some(name) = names.iter().find(|name| name.split_whitespace().count() >= NO_NAME) {
            let name = messages::quoted(name);
            format!("the first line names the columns, and {name} is no name: put a line with names above it")
        } else if let Some(name) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            format!("two columns are named {}", messages::quoted(name.1))
        } else {
            return Ok(());
        };
        Err(Error::Row { path: self.path.clone(), line: 1, problem })
    }

    fn read_jsonl(&mut self) -> Result<(), Error> {
        let mut reader = LineReader::open(&self.path)?;
        while let Some(line) = reader.next().transpose()? {
            if line.trim().is_empty() {
                self.blank += 1;
                continue;
            }
            let refuse = |problem: String| Error::Row { path: self.path.clone(), line: reader.line(), problem };
            let object: Value = serde_json::from_str(&line).map_err(|error| refuse(error.to_string()))?;
            let object = object.as_object().ok_or_else(|| refuse("expected a JSON object".into()))?;
            self.rows += 1;
            self.bytes += line.len();
            for (key, value) in object {
                let at = self.named(&[key]).unwrap_or_else(|| {
                    self.columns.push(Column::of_name(key));
                    self.columns.len() - 1
                });
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.columns[at].add(&text);
            }
        }
        Ok(())
    }

    fn add_row<T: AsRef<str>>(&mut self, cells: &[T]) {
        self.rows += 1;
        if cells.len() != self.columns.len() {
            self.uneven += 1;
            return;
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += cell.as_ref().len();
            column.add(cell.as_ref());
        }
    }
}

/// The form of a file named `.json`: SQuAD's, or JSON lines that are called so.
fn form_of_json(path: &Path) -> Result<Form, Error> {
    let text = beginning(path, JSON_BYTES)?;
    let text = text.trim_start();
    let name = path.display();
    if text.starts_with('[') {
        return Err(Error::Unfit(format!(
            "{name} is one JSON array, and data are read line by line: write each of its objects on a line of its own, into a \
             file that ends in .jsonl (with jq: `jq -c '.[]' {name} > data.jsonl`)"
        )));
    }
    let first = text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
    match first {
        Some(Value::Object(object)) if !object.get("data").is_some_and(Value::is_array) => Ok(Form::Jsonl),
        Some(Value::Object(_)) => Ok(Form::Squad),
        // One object over many lines, or longer than was read.
        None if text.starts_with('{') && ["\"data\"", "\"paragraphs\""].iter().any(|key| text.contains(key)) => {
            Ok(Form::Squad)
        }
        _ => Err(Error::Unfit(format!(
            "{name} is neither of SQuAD's form, {{\"data\": […]}}, nor does each of its lines hold a JSON object: objects of \
             other forms are written one a line, into a file that ends in .jsonl"
        ))),
    }
}

/// The form of a file by its name, else by its first lines.
fn form(path: &Path) -> Result<Form, Error> {
    let bare = if path.extension().is_some_and(|end| end == "gz") { path.with_extension("") } else { path.into() };
    let ending = bare.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default().to_lowercase();
    match ending.as_str() {
        "tsv" | "tab" => return Ok(Form::Tsv),
        "csv" => return Ok(Form::Csv),
        "jsonl" | "ndjson" => return Ok(Form::Jsonl),
        "conll" | "iob" | "bio" => return Ok(Form::Conll),
        "json" => return form_of_json(path),
        _ => {}
    }
    let mut lines = Vec::new();
    for line in LineReader::open(path)?.take(SAMPLE) {
        lines.push(line?);
    }
    let filled = || lines.iter().filter(|line| !line.trim().is_empty());
    let most = |count: usize| count > 0 && 10 * count >= 9 * filled().count();
    let tabs = filled().next().map_or(0, |line| line.matches('\t').count());
    if tabs > 0 && most(filled().filter(|line| line.matches('\t').count() == tabs).count()) {
        return Ok(Form::Tsv);
    }
    match most(filled().filter(|line| line.starts_with('{')).count()) {
        true => Ok(Form::Jsonl),
        false => Ok(Form::Lines),
    }
}
