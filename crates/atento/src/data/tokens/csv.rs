//! CSV as RFC 4180 describes it: fields between commas; a field in double quotes may hold commas, line ends
//! and, doubled, quotes. Lines end with `\n` or `\r\n`; empty lines are skipped.

use std::path::Path;

use super::Error;
use crate::data::lines::{LineError, MAX_RECORD_BYTES};
use crate::data::raw::RawText;
use crate::messages;

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line it begins at, from 1.
    pub line: u64,
    /// Its fields, without their quotes.
    pub fields: Vec<String>,
}

/// Reads the records of a CSV file, plain or gzip, after its header. After an error it ends, unless the fault is
/// that of a record whose end was found: it is longer than [`MAX_RECORD_BYTES`], or has too many or too few fields.
pub struct CsvReader {
    text: RawText,
    block: String,
    /// Position of the next character in the block.
    at: usize,
    line: u64,
    header: Vec<String>,
    /// The longest record, in bytes.
    limit: usize,
    failed: bool,
}

/// Where in a field a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    Closed,
}

impl CsvReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// A file that cannot be read or holds no header; [`Error::Csv`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let text = RawText::open(path.as_ref())?;
        let (block, header, limit) = (String::new(), Vec::new(), MAX_RECORD_BYTES);
        let mut reader = CsvReader { text, block, at: 0, line: 1, header, limit, failed: false };
        match reader.record()? {
            Some(record) => reader.header = record.fields,
            None => return Err(reader.malformed(1, "the file is empty, expected a header with names of columns")),
        }
        Ok(reader)
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The position of a column.
    ///
    /// # Errors
    /// [`Error::Column`], with the columns there are; [`Error::Csv`] where two have the name.
    pub fn column(&self, name: &str) -> Result<usize, Error> {
        if self.header.iter().filter(|column| *column == name).count() > 1 {
            return Err(
                self.malformed(1, format!("the header has more than one column named {}", messages::text(name)))
            );
        }
        self.header.iter().position(|column| column == name).ok_or_else(|| Error::Column {
            path: self.text.path().into(),
            column: name.into(),
            hint: messages::did_you_mean(name, self.header.iter().map(String::as_str)),
            found: messages::list(self.header.iter().map(String::as_str)),
        })
    }

    fn malformed(&self, line: u64, problem: impl Into<String>) -> Error {
        Error::Csv { path: self.text.path().into(), line, problem: problem.into() }
    }

    /// The next character, which is not passed.
    fn peek(&mut self) -> Result<Option<char>, Error> {
        if self.at == self.block.len() {
            match self.text.next_block()? {
                Some(block) => (self.block, self.at) = (block, 0),
                None => return Ok(None),
            }
        }
        Ok(self.block[self.at..].chars().next())
    }

    fn next_char(&mut self) -> Result<Option<char>, Error> {
        let next = self.peek()?;
        self.at += next.map_or(0, char::len_utf8);
        self.line += u64::from(next == Some('\n'));
        Ok(next)
    }

    /// The next record that is not an empty line; `None` at the end of the file.
    fn record(&mut self) -> Result<Option<Record>, Error> {
        let (mut line, mut fields, mut field) = (self.line, Vec::new(), String::new());
        let (mut state, mut bytes) = (State::Start, 0);
        loop {
            let next = self.next_char()?;
            bytes += next.map_or(0, char::len_utf8);
            if bytes > self.limit {
                // Its text is not kept, only its end is looked for.
                (field, fields) = (String::new(), vec![String::new()]);
            }
            let return_of_line_end = next == Some('\r') && state != State::Quoted && self.peek()? == Some('\n');
            match (state, next) {
                (State::Quoted, None) => {
                    return Err(self.malformed(line, "a quote in the record that begins here is never closed"));
                }
                (State::Quoted, Some('"')) => state = State::Closed,
                (State::Quoted, Some(other)) => field.push(other),
                (State::Closed, Some('"')) => {
                    field.push('"');
                    state = State::Quoted;
                }
                (_, Some(_)) if return_of_line_end => {}
                (State::Start, None | Some('\n')) if fields.is_empty() => match next {
                    None => return Ok(None),
                    Some(_) => (line, bytes) = (self.line, 0),
                },
                (_, None | Some('\n')) if bytes > self.limit => {
                    let (path, limit) = (self.text.path().into(), self.limit);
                    return Err(LineError::LineTooLong { path, line, limit }.into());
                }
                (_, None | Some('\n')) => {
                    fields.push(field);
                    return Ok(Some(Record { line, fields }));
                }
                (_, Some(',')) => {
                    fields.push(std::mem::take(&mut field));
                    state = State::Start;
                }
                (State::Start, Some('"')) => state = State::Quoted,
                (State::Closed, Some(other)) => {
                    let problem = format!("{other:?} after a closing quote; quotes inside a field are doubled (\"\")");
                    return Err(self.malformed(self.line, problem));
                }
                (State::Plain, Some('"')) => {
                    let problem = "a quote inside a field that does not begin with one; put the field in quotes and \
                        double those inside";
                    return Err(self.malformed(self.line, problem));
                }
                (State::Start | State::Plain, Some(other)) => {
                    field.push(other);
                    state = State::Plain;
                }
            }
        }
    }

    fn checked_record(&mut self) -> Result<Option<Record>, Error> {
        let Some(record) = self.record()? else { return Ok(None) };
        let (found, expected) = (record.fields.len(), self.header.len());
        match found == expected {
            true => Ok(Some(record)),
            false => Err(Error::Fields { path: self.text.path().into(), line: record.line, found, expected }),
        }
    }
}

impl std::fmt::Debug for CsvReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvReader").field("path", &self.text.path()).field("line", &self.line).finish_non_exhaustive()
    }
}

impl Iterator for CsvReader {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = self.checked_record().map_err(|fault| match fault {
            // Nobody knows where the record ends.
            Error::Lines(fault @ (LineError::InvalidUtf8 { .. } | LineError::Binary { .. })) => Error::EndsCsv(fault),
            fault => fault,
        });
        let is_past =
            |fault: &Error| matches!(fault, Error::Fields { .. } | Error::Lines(LineError::LineTooLong { .. }));
        self.failed = record.as_ref().is_err_and(|fault| !is_past(fault));
        record.transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn records(text: &str) -> Result<Vec<(u64, Vec<String>)>, Error> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        let reader = CsvReader::open(path)?;
        reader.map(|record| record.map(|record| (record.line, record.fields))).collect()
    }

    #[test]
    fn quoted_fields_hold_commas_line_ends_and_quotes() {
        let text = "\u{feff}mr,ref\r\n\"a, b\",\"say \"\"hi\"\"\r\nthere\"\r\n\n\"\",ü\rx\n1,";
        let found = records(text).unwrap();
        let expected = [(2, ["a, b", "say \"hi\"\r\nthere"]), (5, ["", "ü\rx"]), (6, ["1", ""])];
        assert_eq!(found, expected.map(|(line, fields)| (line, fields.map(String::from).to_vec())));
    }

    #[test]
    fn a_record_that_is_too_long_is_told_and_passed_over() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.csv");
        let long = "x, \n".repeat(50);
        std::fs::write(&path, format!("a,b\n1,2\n\"{long}\",2\n{},3\n4,5\n", "y".repeat(101))).unwrap();
        let mut reader = CsvReader::open(path).unwrap();
        reader.limit = 100;
        let found: Vec<_> = reader.map(|record| record.map_err(|error| error.to_string())).collect();
        let fields = |at: usize| found[at].as_ref().unwrap().fields.join(" ");
        assert_eq!((found.len(), fields(0).as_str(), fields(3).as_str()), (4, "1 2", "4 5"));
        for (at, line) in [(1, 3), (2, 54)] {
            let message = found[at].as_ref().unwrap_err();
            assert!(message.contains(&format!("a.csv, line {line}: longer than 100 bytes")), "{message}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_end_the_reading_and_are_not_passed_over() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.csv");
        let good = b"1,2\n".repeat(20_000);
        std::fs::write(&path, [b"a,b\n", &good[..], b"f\xfcr,2\n", &good].concat()).unwrap();
        let fault = CsvReader::open(&path).unwrap().find_map(Result::err).unwrap();
        assert!(fault.to_string().contains("a.csv, line 20002: not valid UTF-8") && !fault.is_of_one_line(), "{fault}");
    }

    #[test]
    fn malformed_records_are_named_by_their_line() {
        for (text, problem) in [
            ("", "line 1: the file is empty"),
            ("a,b\n1,2\n3\n", "line 3: 1 fields, the header has 2"),
            ("a,b\n1,\"2\n3,4\n", "line 2: a quote in the record that begins here is never closed"),
            ("a,b\n1,2\n\"1\"x,2\n", "line 3: 'x' after a closing quote"),
            ("a,b\n1\"2,3\n", "line 2: a quote inside a field"),
        ] {
            let message = records(text).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
        let endless = format!("a,b\n1,\"{}", "x\n".repeat(1000));
        assert!(records(&endless).unwrap_err().to_string().contains("line 2: a quote in the record"));
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "mr,ref,x,x\n").unwrap();
        let reader = CsvReader::open(path).unwrap();
        assert_eq!(reader.column("ref").unwrap(), 1);
        let message = reader.column("text").unwrap_err().to_string();
        assert!(message.ends_with("no column \"text\" in the header; its columns are mr, ref, x, x"), "{message}");
        let message = reader.column("Refs").unwrap_err().to_string();
        assert!(message.contains("in the header (did you mean \"ref\"?); its columns"), "{message}");
        let message = reader.column("x").unwrap_err().to_string();
        assert!(message.contains("line 1: the header has more than one column named \"x\""), "{message}");
    }

    proptest! {
        #[test]
        fn fields_come_back(rows in proptest::collection::vec(proptest::collection::vec("[a-c\",\r\nü]{0,6}", 3), 0..20)) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",") + "\n";
            let text: String = rows.iter().map(line).collect();
            let found = records(&format!("x,y,z\r\n{text}")).unwrap();
            prop_assert_eq!(found.into_iter().map(|(_, fields)| fields).collect::<Vec<_>>(), rows);
        }
    }
}
