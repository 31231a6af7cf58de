//! Questions with answers in a context: files of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018).

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::Error;
use crate::data::lines::{self, LineError};
use crate::data::{BadLines, OnBadLine};
use crate::{json, messages};

/// A question about a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the file calls it.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text that the answer stands in.
    pub context: Arc<str>,
    /// Its answers; none where the context has no answer.
    pub answers: Vec<GoldAnswer>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldAnswer {
    /// The answer.
    pub text: String,
    /// Its first character in the context, counted in characters (not bytes).
    pub start: usize,
}

impl Question {
    /// Whether an answer stands where the file says.
    #[must_use]
    pub fn has_in_place(&self, answer: &GoldAnswer) -> bool {
        let found = self.context.char_indices().nth(answer.start);
        found.is_some_and(|(at, _)| self.context[at..].starts_with(&answer.text)) && !answer.text.is_empty()
    }
}

/// Where something is in a file.
struct Place<'p> {
    path: &'p Path,
    place: String,
}

/// The questions of a file, plain or gzip, and how many entries are left out: questions, or paragraphs or articles that have
/// none.
///
/// # Errors
/// The file cannot be read, or is not of this form; the message names the place, or all places of bad entries.
pub fn read(path: &Path, on_bad_line: OnBadLine) -> Result<(Vec<Question>, u64), Error> {
    let root = Place { path, place: "the file".into() };
    let (name, file) = lines::open(path)?;
    let (mut input, gzip) = lines::unpack(&name, file)?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|source| LineError::Read { path: name.clone(), line: 0, gzip, source })?;
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    if text.is_empty() {
        return Err(LineError::Empty { path: name }.into());
    }
    let file = json::parse(text).map_err(|error| root.fault(format!("it is not JSON: {error}")))?;
    let (mut questions, mut bad) = (Vec::new(), BadLines::default());
    for (article, at) in root.list(&file, "data")? {
        for (paragraph, at) in bad.without(at.list(article, "paragraphs")).into_iter().flatten() {
            let parts = at.text(paragraph, "context").and_then(|context| Ok((context, at.list(paragraph, "qas")?)));
            let Some((context, asked)) = bad.without(parts) else { continue };
            let context: Arc<str> = context.into();
            let read = asked.iter().map(|(question, at)| read_question(question, at, &context));
            questions.extend(read.filter_map(|question| bad.without(question)));
        }
    }
    let left_out = bad.count();
    match bad.error_of(path.display().to_string(), ["entry", "entries"]) {
        Some(fault) if on_bad_line == OnBadLine::Error => Err(fault.into()),
        _ if questions.is_empty() => Err(root.fault("there is no question in it")),
        _ => Ok((questions, left_out)),
    }
}

fn read_question(question: &Value, at: &Place<'_>, context: &Arc<str>) -> Result<Question, Error> {
    let is_impossible = match question.get("is_impossible") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| at.missing(question, "is_impossible", "true or false"))?,
    };
    let mut answers = Vec::new();
    if !is_impossible && question.get("answers").is_some() {
        for (answer, at) in at.list(question, "answers")? {
            let start = answer.get("answer_start").and_then(Value::as_u64);
            let start = start.ok_or_else(|| at.missing(answer, "answer_start", "a whole number"))?;
            answers.push(GoldAnswer { text: at.text(answer, "text")?, start: start as usize });
        }
    }
    let (id, text) = (at.text(question, "id")?, at.text(question, "question")?);
    Ok(Question { id, question: text, context: Arc::clone(context), answers })
}

impl<'p> Place<'p> {
    fn fault(&self, fault: impl Into<String>) -> Error {
        Error::Squad { path: self.path.into(), place: self.place.clone(), fault: fault.into() }
    }

    fn missing(&self, object: &Value, key: &str, expected: &str) -> Error {
        let keys = object.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
        self.fault(match object.get(key) {
            None => format!("there is no \"{key}\"{}, expected {expected}", messages::did_you_mean(key, keys)),
            Some(found) => format!("\"{key}\" is {}, expected {expected}", messages::cut(&found.to_string())),
        })
    }

    fn text(&self, object: &Value, key: &str) -> Result<String, Error> {
        let found = object.get(key).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| self.missing(object, key, "a text"))
    }

    /// The items of a list, each with its place.
    fn list<'v>(&self, object: &'v Value, key: &str) -> Result<Vec<(&'v Value, Place<'p>)>, Error> {
        let items = object.get(key).and_then(Value::as_array);
        let items = items.ok_or_else(|| self.missing(object, key, "a list"))?;
        let before = if self.place == "the file" { String::new() } else { format!("{}.", self.place) };
        let placed = |(number, item): (usize, &'v Value)| {
            (item, Place { path: self.path, place: format!("{before}{key}[{number}]") })
        };
        Ok(items.iter().enumerate().map(placed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Question>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        let found = read(&path, OnBadLine::Error).map(|(questions, _)| questions);
        found.map_err(|error| error.to_string().replace(&dir.path().display().to_string(), ""))
    }

    fn file(questions: &str) -> String {
        format!(
            "{{\"version\":\"v2.0\",\"data\":[{{\"paragraphs\":[{{\"context\":\"Ä b 🎉 c\",\"qas\":[{questions}]}}]}}]}}"
        )
    }

    #[test]
    fn questions_of_both_versions_are_read() {
        let text = file(
            "{\"id\":\"1\",\"question\":\"q\",\"answers\":[{\"text\":\"c\",\"answer_start\":6}]},\
             {\"id\":\"2\",\"question\":\"r\",\"is_impossible\":true,\"answers\":[],\"plausible_answers\":[]},\
             {\"id\":\"3\",\"question\":\"s\"}",
        );
        let found = of(&text).unwrap();
        assert_eq!(
            found.iter().map(|q| (q.id.as_str(), q.answers.len())).collect::<Vec<_>>(),
            [("1", 1), ("2", 0), ("3", 0)]
        );
        assert!(found[0].has_in_place(&found[0].answers[0]));
        for (text, start) in [("c", 5), ("c", 60), ("", 0), ("c d", 6)] {
            assert!(!found[0].has_in_place(&GoldAnswer { text: text.into(), start }), "{text}");
        }
    }

    #[test]
    fn bad_entries_are_told_together_or_left_out() {
        let text = file("{\"id\":\"1\",\"question\":\"q\"},{\"id\":\"2\"},7");
        let text = text.replacen("\"data\":[", "\"data\":[{\"title\":\"t\"},", 1);
        let message = of(&text).unwrap_err();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines[0], "/a.json: 3 bad entries; a recipe with data.on_bad_line = \"skip\" leaves them out:");
        assert!(lines[1].starts_with("  data[0]: there is no \"paragraphs\""), "{message}");
        assert!(lines[2].starts_with("  data[1].paragraphs[0].qas[1]: there is no \"question\""), "{message}");
        assert!(lines[3].starts_with("  data[1].paragraphs[0].qas[2]: "), "{message}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        let (questions, left_out) = read(&path, OnBadLine::Skip).unwrap();
        assert_eq!((questions.len(), left_out), (1, 3));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let at = "/a.json: data[0].paragraphs[0].qas[0]";
        for (text, expected) in [
            (String::new(), "/a.json: the file is empty".to_owned()),
            ("[1".into(), "/a.json: the file: it is not JSON".into()),
            (
                "{\"date\":[]}".into(),
                "/a.json: the file: there is no \"data\" (did you mean \"date\"?), expected a list".into(),
            ),
            ("{\"data\":[]}".into(), "/a.json: the file: there is no question in it".into()),
            (file("{\"id\":1,\"question\":\"q\"}"), format!("{at}: \"id\" is 1, expected a text")),
            (
                file("{\"id\":\"1\",\"question\":\"q\",\"answers\":[{\"text\":\"c\",\"answer_start\":-6}]}"),
                format!("{at}.answers[0]: \"answer_start\" is -6, expected a whole number"),
            ),
            (
                file("{\"id\":\"1\",\"question\":\"q\",\"is_impossible\":\"true\"}"),
                format!("{at}: \"is_impossible\" is \"true\", expected true or false"),
            ),
        ] {
            let message = of(&text).unwrap_err();
            assert!(message.starts_with(&expected), "{message}\n{expected}");
        }
    }
}
