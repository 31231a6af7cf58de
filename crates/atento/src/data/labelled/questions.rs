//! Questions with several answers of which one is right, as of SWAG and RACE (Zellers et al. 2018; Lai et al. 2017).
//!
//! ```text
//! JSON lines   {"prompt": "…", "choices": ["…", "…"], "label": 1}     label: a number from 0, a letter, or the choice itself
//!              {"context": "…", "question": "…", "choices": […], "label": "B"}
//! TSV          prompt ⇥ choice ⇥ choice … ⇥ label
//! ```
//!
//! Where every label of a file is the text of a choice, labels are texts. Else what can be a number or a letter is one: choices
//! may themselves be numbers.
//!
//! A choice is read as a pair: the prompt, and the choice; or the context, and the question with the choice behind it.
//! Questions may have different numbers of choices.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Error;
use super::past::Past;
use super::sentences::list;
use crate::data::lines::LineReader;
use crate::data::{LineReport, OnBadLine, jsonl};
use crate::messages;

/// A file of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceFile {
    /// A JSON object on each line.
    Jsonl(PathBuf),
    /// Prompt, choices and label in columns.
    Tsv(PathBuf),
}

/// The keys of JSON objects, where they are said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChoiceKeys {
    /// The prompt; "prompt", or "context" with "question".
    pub prompt: Option<String>,
    /// The right choice; "label".
    pub label: Option<String>,
    /// What happens to lines that hold no question.
    pub on_bad_line: OnBadLine,
}

/// A question with its choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceRow {
    /// The line, from 1.
    pub line: u64,
    /// What all choices follow.
    pub prompt: String,
    /// What stands before each choice.
    pub question: Option<String>,
    /// The choices.
    pub choices: Vec<String>,
    /// The number of the right one, from 0.
    pub label: u32,
}

/// Reads questions one after another.
#[derive(Debug)]
pub struct ChoiceReader {
    lines: LineReader,
    /// None of a TSV file.
    keys: Option<ChoiceKeys>,
    called: Called,
    past: Past,
}

/// What a label says of the right choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// Its text.
    Text,
    /// Its number from 0 or its letter from A; its text where it is neither.
    Number,
}

impl ChoiceFile {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Jsonl(path) | Self::Tsv(path) => path,
        }
    }

    /// Opens the file, which is read once to see what its labels say.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(&self, keys: &ChoiceKeys) -> Result<ChoiceReader, Error> {
        let open = |called| -> Result<ChoiceReader, Error> {
            let past = Past::new(self.path().into(), keys.on_bad_line);
            let keys = matches!(self, Self::Jsonl(_)).then(|| keys.clone());
            Ok(ChoiceReader { lines: LineReader::open(self.path())?.past_faults(), keys, called, past })
        };
        // A line that is bad either way says nothing of labels.
        let (mut text, mut number) = (open(Called::Text)?, open(Called::Number)?);
        let mut has_texts = false;
        let is_by_text = text.all_rows().zip(number.all_rows()).all(|(text, number)| {
            has_texts |= text.is_ok();
            text.is_ok() || number.is_err()
        });
        open(if is_by_text && has_texts { Called::Text } else { Called::Number })
    }
}

impl ChoiceReader {
    /// The lines read so far that hold no question.
    #[must_use]
    pub fn report(&self) -> LineReport {
        LineReport { blank: self.lines.blank_lines(), ..self.past.left_out().clone() }
    }

    /// All lines, bad ones too.
    fn all_rows(&mut self) -> impl Iterator<Item = Result<ChoiceRow, Error>> {
        std::iter::from_fn(|| self.next_row().transpose())
    }

    fn next_row(&mut self) -> Result<Option<ChoiceRow>, Error> {
        match &self.keys {
            Some(keys) => {
                let keys = keys.clone();
                let Some(object) = jsonl::next_object(&mut self.lines)? else { return Ok(None) };
                self.of_object(&object, &keys).map(Some)
            }
            None => loop {
                let Some(text) = self.lines.next().transpose()? else { return Ok(None) };
                if !text.trim().is_empty() {
                    return self.of_columns(&text).map(Some);
                }
                self.lines.pass_blank();
            },
        }
    }

    fn of_object(&self, object: &Value, keys: &ChoiceKeys) -> Result<ChoiceRow, Error> {
        let (path, line) = (self.lines.path(), self.lines.line());
        let text = |key: &str| {
            let found = object.get(key);
            found.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
                let names = object.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
                let fault = match found {
                    None => format!("nothing at key \"{key}\"{}, expected a text", messages::did_you_mean(key, names)),
                    Some(found) => format!("{} at key \"{key}\", expected a text", messages::cut(&found.to_string())),
                };
                self.fault(fault)
            })
        };
        let (prompt, question) = match &keys.prompt {
            Some(key) => (text(key)?, None),
            None if object.get("prompt").is_none() && object.get("context").is_some() => {
                (text("context")?, Some(text("question")?))
            }
            None => (text("prompt")?, None),
        };
        let choices = list(path, line, object, "choices")?;
        let key = keys.label.as_deref().unwrap_or("label");
        let label = match object.get(key) {
            Some(Value::String(label)) => self.label(label, &choices)?,
            Some(Value::Number(number)) => self.numbered(number.as_u64(), &number.to_string(), &choices)?,
            found => {
                let found = found.map_or("nothing".to_owned(), Value::to_string);
                let found = messages::cut(&found);
                return Err(self.fault(format!(
                    "{found} at key \"{key}\", expected the number of the right choice from 0, its letter or its text"
                )));
            }
        };
        self.row(prompt, question, choices, label)
    }

    fn of_columns(&self, text: &str) -> Result<ChoiceRow, Error> {
        let mut fields: Vec<String> = text.split('\t').map(str::to_owned).collect();
        if fields.len() < 4 {
            let (path, line, found) = (self.lines.path().into(), self.lines.line(), fields.len());
            return Err(Error::Short { path, line, found, needed: 4 });
        }
        let label = fields.pop().unwrap_or_default();
        let choices = fields.split_off(1);
        let label = self.label(&label, &choices)?;
        self.row(fields.pop().unwrap_or_default(), None, choices, label)
    }

    fn row(
        &self,
        prompt: String,
        question: Option<String>,
        choices: Vec<String>,
        label: u32,
    ) -> Result<ChoiceRow, Error> {
        match choices.iter().position(|choice| choice.trim().is_empty()) {
            Some(empty) => Err(self.fault(format!("choice {} is empty", empty + 1))),
            None if choices.len() < 2 => Err(self.fault(format!("{} choices, expected at least 2", choices.len()))),
            None => Ok(ChoiceRow { line: self.lines.line(), prompt, question, choices, label }),
        }
    }

    /// The number of the choice that is called so.
    fn label(&self, label: &str, choices: &[String]) -> Result<u32, Error> {
        let label = label.trim();
        let by_text = || choices.iter().position(|choice| choice.trim() == label).map(|number| number as u64);
        let letter = match label.as_bytes() {
            [letter] if letter.is_ascii_alphabetic() => Some(u64::from(letter.to_ascii_uppercase() - b'A')),
            _ => None,
        };
        let by_number = || letter.or_else(|| label.parse().ok()).filter(|&number| number < choices.len() as u64);
        let number = match self.called {
            Called::Text => by_text(),
            Called::Number => by_number().or_else(by_text),
        };
        self.numbered(number, label, choices)
    }

    fn numbered(&self, number: Option<u64>, label: &str, choices: &[String]) -> Result<u32, Error> {
        number.filter(|number| *number < choices.len() as u64).map(|number| number as u32).ok_or_else(|| {
            let last = choices.len().saturating_sub(1);
            let letter = char::from(b'A' + last.min(25) as u8);
            self.fault(format!(
                "the label {} is none of the choices: expected a number from 0 to {last}, a letter from A to {letter}, or the \
                 text of a choice",
                messages::text(label)
            ))
        })
    }

    fn fault(&self, fault: impl Into<String>) -> Error {
        Error::Question { path: self.lines.path().into(), line: self.lines.line(), fault: fault.into() }
    }
}

impl Iterator for ChoiceReader {
    type Item = Result<ChoiceRow, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut past = std::mem::take(&mut self.past);
        let row = past.next(|| self.next_row());
        self.past = past;
        row
    }
}

impl ChoiceRow {
    /// The second text of each pair.
    pub fn continuations(&self) -> impl Iterator<Item = String> {
        self.choices.iter().map(|choice| match &self.question {
            Some(question) => format!("{question} {choice}"),
            None => choice.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, keys: &ChoiceKeys) -> Result<Vec<ChoiceRow>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = if name.ends_with("jsonl") { ChoiceFile::Jsonl(path) } else { ChoiceFile::Tsv(path) };
        let message = |error: Error| error.to_string().replace(&dir.path().display().to_string(), "");
        file.open(keys).map_err(message)?.map(|row| row.map_err(message)).collect()
    }

    #[test]
    fn the_right_choice_is_a_number_a_letter_or_a_text() {
        let labels = ["2", "\"2\"", "\"c\"", "\"C\"", "\" z \""];
        for label in labels {
            let text = format!("{{\"prompt\":\"p\",\"choices\":[\"x\",\"y\",\"z\"],\"label\":{label}}}\r\n\r\n");
            let found = read("a.jsonl", &text, &ChoiceKeys::default()).unwrap();
            assert_eq!((found.len(), found[0].label, found[0].prompt.as_str()), (1, 2, "p"), "{label}");
        }
        let found = read("a.tsv", "p\tB\tA\tB\n\nq\tx\ty\tz\t0", &ChoiceKeys::default()).unwrap();
        assert_eq!(found.iter().map(|row| (row.line, row.label)).collect::<Vec<_>>(), [(1, 1), (3, 0)]);
        assert_eq!(found.iter().map(|row| row.choices.len()).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn texts_as_labels_mean_the_same_in_all_rows() {
        let labels = |text: &str| -> Result<Vec<u32>, String> {
            Ok(read("a.tsv", text, &ChoiceKeys::default())?.iter().map(|row| row.label).collect())
        };
        // Sums whose answers are numbers, by the answers and by their places.
        assert_eq!(labels("1+1\t2\t1\t2\n1+2\t1\t3\t3\n").unwrap(), [0, 1]);
        assert_eq!(labels("1+1\t2\t1\t0\n1+2\t1\t3\t1\n").unwrap(), [0, 1]);
        assert_eq!(labels("p\tx\ty\tx\nq\tx\ty\t1\n").unwrap(), [0, 1]);
        let message = labels("p\tx\ty\tx\nq\tx\ty\t2\n").unwrap_err();
        assert!(
            message.starts_with("/a.tsv, line 2: the label \"2\" is none of the choices: expected a number from 0")
        );
    }

    #[test]
    fn bad_lines_are_told_together_or_left_out() {
        let bad = "p\tx\n";
        let text = format!("1+1\t2\t1\t2\n{bad}\n1+2\t1\t3\t7\n1+3\t4\t1\t4\n");
        let message = read("a.tsv", &text, &ChoiceKeys::default()).unwrap_err();
        let lines: Vec<&str> = message.lines().collect();
        assert!(lines[0].starts_with("/a.tsv: 2 bad lines; "), "{message}");
        assert!(lines[1].starts_with("  line 2: 2 columns, expected at least 4"), "{message}");
        assert!(lines[2].starts_with("  line 4: the label \"7\" is none of the choices"), "{message}");
        // Labels that are texts stay texts beside a line that is bad either way.
        let keys = ChoiceKeys { on_bad_line: OnBadLine::Skip, ..ChoiceKeys::default() };
        let found = read("a.tsv", &text, &keys).unwrap();
        assert_eq!(found.iter().map(|row| (row.line, row.label)).collect::<Vec<_>>(), [(1, 0), (5, 0)]);
    }

    #[test]
    fn a_question_stands_before_each_choice() {
        let text = "{\"context\":\"c\",\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"right\":0}";
        let keys = ChoiceKeys { label: Some("right".into()), ..ChoiceKeys::default() };
        let row = read("a.jsonl", text, &keys).unwrap().remove(0);
        assert_eq!(
            (row.prompt.as_str(), row.continuations().collect::<Vec<_>>()),
            ("c", vec!["q x".into(), "q y".into()])
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        for (name, text, expected) in [
            ("a.jsonl", "", "/a.jsonl: the file is empty"),
            (
                "a.jsonl",
                "{\"promt\":\"p\"}",
                "/a.jsonl, line 1: nothing at key \"prompt\" (did you mean \"promt\"?), expected",
            ),
            ("a.jsonl", "\n{\"prompt\":1}", "/a.jsonl, line 2: 1 at key \"prompt\", expected a text"),
            (
                "a.jsonl",
                "{\"prompt\":\"p\",\"choices\":\"x\"}",
                "/a.jsonl, line 1: \"x\" at key \"choices\", expected a list",
            ),
            (
                "a.jsonl",
                "{\"prompt\":\"p\",\"choices\":[\"x\",\"y\"]}",
                "/a.jsonl, line 1: nothing at key \"label\", expected the number of the right choice",
            ),
            (
                "a.jsonl",
                "{\"prompt\":\"p\",\"choices\":[\"x\",\"y\"],\"label\":2}",
                "/a.jsonl, line 1: the label \"2\" is none of the choices: expected a number from 0 to 1, a letter from A to B",
            ),
            (
                "a.jsonl",
                "{\"prompt\":\"p\",\"choices\":[\"x\"],\"label\":0}",
                "/a.jsonl, line 1: 1 choices, expected at least 2",
            ),
            ("a.tsv", "p\tx\t0\n", "/a.tsv, line 1: 3 columns, expected at least 4"),
            ("a.tsv", "p\tx\t\t0\n", "/a.tsv, line 1: choice 2 is empty"),
        ] {
            let message = read(name, text, &ChoiceKeys::default()).unwrap_err();
            assert!(message.starts_with(expected), "{message}\n{expected}");
        }
    }
}
