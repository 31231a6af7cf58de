//! Sentences whose words have labels: CoNLL's columns, and JSON lines.
//!
//! A line of a CoNLL file is a word; its columns are set apart by a tab, or by spaces where the line has no tab. A blank line
//! ends a sentence. A line that begins with `-DOCSTART-` begins a document: it is no word, and is counted. The word is the
//! first column and the label the last one, unless they are numbered (Tjong Kim Sang & De Meulder 2003). A bad line costs its
//! whole sentence, which would lack a word.
//!
//! A JSON object has a list of words (`tokens`) and a list of labels, names or numbers (`tags`, `ner_tags` or `labels`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Error;
use super::past::Past;
use crate::data::lines::LineReader;
use crate::data::{LineReport, OnBadLine, jsonl};
use crate::messages;

/// How a line begins that begins a document.
const DOCUMENT: &str = "-DOCSTART-";
/// The keys of labels in JSON objects.
const TAGS: [&str; 3] = ["tags", "ner_tags", "labels"];

/// A file of sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentences {
    /// CoNLL: a word a line.
    Conll(PathBuf),
    /// A JSON object on each line.
    Jsonl(PathBuf),
}

/// The columns of words and labels, where that is said: numbers from 1 of a CoNLL file, else keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordColumns {
    /// The words.
    pub words: Option<String>,
    /// The labels.
    pub tags: Option<String>,
    /// What happens to lines that hold no word, or no sentence.
    pub on_bad_line: OnBadLine,
}

/// The words of a sentence and their labels, as many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The line of its first word, from 1.
    pub line: u64,
    /// Lines from one word to the next: 1, or 0 where all stand in one.
    pub line_step: u64,
    /// The words.
    pub words: Vec<String>,
    /// The label of each as it stands there.
    pub tags: Vec<String>,
}

/// Reads sentences one after another.
#[derive(Debug)]
pub struct SentenceReader {
    lines: LineReader,
    path: PathBuf,
    places: Places,
    /// Lines that began a document.
    pub documents: u64,
    /// Sentences that a bad line has spoiled.
    pub spoiled: u64,
    /// Whether a line of the sentence that is read was bad.
    is_spoiled: bool,
    past: Past,
}

#[derive(Debug)]
enum Places {
    /// Numbers of the columns, from 0; the last column where there is none.
    Columns {
        word: usize,
        tag: Option<usize>,
        /// Columns of the first word, and its line.
        first: Option<(usize, u64)>,
    },
    Keys {
        words: String,
        tags: Option<String>,
    },
}

impl Sentence {
    /// The line of a word.
    #[must_use]
    pub fn line_of(&self, word: usize) -> u64 {
        self.line + self.line_step * word as u64
    }
}

impl Sentences {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Conll(path) | Self::Jsonl(path) => path,
        }
    }

    /// Opens the file.
    ///
    /// # Errors
    /// A file that cannot be read or is empty; a column of a CoNLL file that is no number.
    pub fn open(&self, columns: &WordColumns) -> Result<SentenceReader, Error> {
        let path = self.path().to_path_buf();
        let places = match self {
            Self::Jsonl(_) => {
                let words = columns.words.clone().unwrap_or_else(|| "tokens".to_owned());
                Places::Keys { words, tags: columns.tags.clone() }
            }
            Self::Conll(_) => {
                let number = |key: &'static str, column: &Option<String>| {
                    let Some(found) = column else { return Ok(None) };
                    let number = found.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                    let refuse = || Error::Unnumbered { path: path.clone(), key, found: found.clone() };
                    number.map(Some).ok_or_else(refuse)
                };
                let word = number("text_key", &columns.words)?.unwrap_or(0);
                Places::Columns { word, tag: number("label_key", &columns.tags)?, first: None }
            }
        };
        let (lines, past) = (LineReader::open(&path)?.past_faults(), Past::new(path.clone(), columns.on_bad_line));
        Ok(SentenceReader { lines, path, places, documents: 0, spoiled: 0, is_spoiled: false, past })
    }
}

impl SentenceReader {
    /// The lines read so far that hold no word, or no sentence.
    #[must_use]
    pub fn report(&self) -> LineReport {
        self.past.left_out().clone()
    }

    fn next_sentence(&mut self) -> Result<Option<Sentence>, Error> {
        match self.places {
            Places::Columns { .. } => self.next_of_columns(),
            Places::Keys { .. } => self.next_of_keys(),
        }
    }

    fn next_of_columns(&mut self) -> Result<Option<Sentence>, Error> {
        let mut found = Sentence { line: 0, line_step: 1, words: Vec::new(), tags: Vec::new() };
        while let Some(text) = self.lines.next() {
            let line = self.lines.line();
            let text = text.map_err(|fault| self.spoil(fault.into()))?;
            let is_document = text.starts_with(DOCUMENT);
            self.documents += u64::from(is_document);
            if is_document || text.bytes().all(|byte| matches!(byte, b' ' | b'\t')) {
                if std::mem::take(&mut self.is_spoiled) || found.words.is_empty() {
                    (found.words, found.tags) = (Vec::new(), Vec::new());
                    continue;
                }
                return Ok(Some(found));
            }
            let (word, tag) = self.word_of(&text, line).map_err(|fault| self.spoil(fault))?;
            if found.words.is_empty() {
                found.line = line;
            }
            found.words.push(word);
            found.tags.push(tag);
        }
        let is_whole = !std::mem::take(&mut self.is_spoiled) && !found.words.is_empty();
        Ok(is_whole.then_some(found))
    }

    /// The fault of a line, whose sentence is left out where the line is.
    fn spoil(&mut self, fault: Error) -> Error {
        self.spoiled += u64::from(!std::mem::replace(&mut self.is_spoiled, true));
        fault
    }

    fn word_of(&mut self, text: &str, line: u64) -> Result<(String, String), Error> {
        let path = || self.path.clone();
        // Spaces of other kinds than this one are words of some corpora.
        let fields: Vec<&str> = match text.contains('\t') {
            true => text.split('\t').collect(),
            false => text.split(' ').filter(|field| !field.is_empty()).collect(),
        };
        let columns = fields.len();
        let Places::Columns { word, tag, first } = &mut self.places else { unreachable!("a file of columns") };
        let tag = tag.unwrap_or(columns - 1);
        match first {
            None if columns < 2 => {
                return Err(Error::Short { path: path(), line, found: columns, needed: 2 });
            }
            None => {
                if let Some(beyond) = [*word, tag].into_iter().find(|&column| column >= columns) {
                    return Err(Error::ColumnNumber { path: path(), found: (beyond + 1).to_string(), columns });
                }
                *first = Some((columns, line));
            }
            Some((expected, first)) if *expected != columns => {
                let (expected, first) = (*expected, *first);
                return Err(Error::Ragged { path: path(), line, found: columns, expected, first });
            }
            Some(_) => {}
        }
        let field = |column: usize, what: &'static str| match fields[column].trim_matches(' ') {
            "" => Err(Error::Blank { path: path(), line, what }),
            text => Ok(text.to_owned()),
        };
        Ok((field(*word, "word")?, field(tag, "label")?))
    }

    fn next_of_keys(&mut self) -> Result<Option<Sentence>, Error> {
        let Some(object) = jsonl::next_object(&mut self.lines)? else { return Ok(None) };
        let line = self.lines.line();
        let Places::Keys { words, tags } = &self.places else { unreachable!("a file of objects") };
        let usual = || TAGS.into_iter().find(|key| object.get(key).is_some()).unwrap_or(TAGS[0]);
        let tags = tags.as_deref().unwrap_or_else(usual);
        let (words, tags) = (list(&self.path, line, &object, words)?, list(&self.path, line, &object, tags)?);
        match words.len() == tags.len() {
            true => Ok(Some(Sentence { line, line_step: 0, words, tags })),
            false => {
                let (path, words, tags) = (self.path.clone(), words.len(), tags.len());
                Err(Error::Uneven { path, line, words, tags })
            }
        }
    }
}

impl Iterator for SentenceReader {
    type Item = Result<Sentence, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut past = std::mem::take(&mut self.past);
        let sentence = past.next(|| self.next_sentence());
        self.past = past;
        sentence
    }
}

/// The list of texts or whole numbers at a key.
pub(super) fn list(path: &Path, line: u64, object: &Value, key: &str) -> Result<Vec<String>, Error> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    };
    let found = object.get(key);
    let items = found.and_then(Value::as_array).and_then(|items| items.iter().map(plain).collect::<Option<Vec<_>>>());
    items.ok_or_else(|| {
        let keys = object.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
        let (hint, found) = match found {
            None => (messages::did_you_mean(key, keys), "nothing".to_owned()),
            Some(value) => (String::new(), messages::cut(&value.to_string()).into_owned()),
        };
        Error::NoList { path: path.into(), line, key: key.into(), found, hint }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, tags: Option<&str>) -> Result<(Vec<Sentence>, u64), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = if name.ends_with("jsonl") { Sentences::Jsonl(path) } else { Sentences::Conll(path) };
        let message = |error: Error| error.to_string().replace(&dir.path().display().to_string(), "");
        let columns = WordColumns { tags: tags.map(str::to_owned), ..WordColumns::default() };
        let mut reader = file.open(&columns).map_err(message)?;
        let sentences = reader.by_ref().collect::<Result<_, _>>().map_err(message)?;
        Ok((sentences, reader.documents))
    }

    fn sentence(line: u64, line_step: u64, words: &[(&str, &str)]) -> Sentence {
        let (words, tags) = words.iter().map(|(word, tag)| (word.to_string(), tag.to_string())).unzip();
        Sentence { line, line_step, words, tags }
    }

    #[test]
    fn words_are_lines_and_blank_lines_and_documents_end_sentences() {
        let text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects  VBZ B-VP O\n \nPeter NNP B-NP B-PER\n-DOCSTART- -X- -X- O\n\
                    end NN B-NP O";
        let (found, documents) = read("a.txt", text, None).unwrap();
        let expected = [
            sentence(3, 1, &[("EU", "B-ORG"), ("rejects", "O")]),
            sentence(6, 1, &[("Peter", "B-PER")]),
            sentence(8, 1, &[("end", "O")]),
        ];
        assert_eq!((found, documents), (expected.to_vec(), 2));
        let (found, _) = read("a.txt", text, Some("2")).unwrap();
        assert_eq!(found[0].tags, ["NNP", "VBZ"]);
        // A word may be a space of another kind, or hold spaces between tabs; line ends may be those of Windows.
        let (found, _) = read("b.txt", "\u{a0} O\r\nx\u{2003}y O\r\n\r\nz B\r\n\r\n\r\n", None).unwrap();
        assert_eq!(found, [sentence(1, 1, &[("\u{a0}", "O"), ("x\u{2003}y", "O")]), sentence(4, 1, &[("z", "B")])]);
        let (found, _) = read("c.txt", "New York\tB-LOC\n", None).unwrap();
        assert_eq!(found, [sentence(1, 1, &[("New York", "B-LOC")])]);
    }

    #[test]
    fn bad_lines_are_told_together_or_cost_their_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conll");
        std::fs::write(&path, b"EU B-ORG\nrejects\nit O\nf\xfcr O\n\nPeter B-PER\n\nx\n\nyes O\n\na b O").unwrap();
        let open = |on_bad_line| {
            let columns = WordColumns { on_bad_line, ..WordColumns::default() };
            Sentences::Conll(path.clone()).open(&columns).unwrap()
        };
        let message = open(OnBadLine::Error).find_map(Result::err).unwrap().to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert!(lines[0].contains("a.conll: 4 bad lines; "), "{message}");
        assert_eq!(lines[1], "  line 2: 1 columns, expected 2, as line 1 has");
        assert!(lines[2].starts_with("  line 4: not valid UTF-8"), "{message}");
        assert_eq!(lines[3..].iter().map(|line| &line[..9]).collect::<Vec<_>>(), ["  line 8:", "  line 12"]);
        let mut reader = open(OnBadLine::Skip);
        let found: Vec<Sentence> = reader.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [sentence(6, 1, &[("Peter", "B-PER")]), sentence(10, 1, &[("yes", "O")])]);
        let expected = LineReport { other_columns: 3, not_utf8: 1, ..LineReport::default() };
        assert_eq!((reader.report(), reader.spoiled), (expected, 3));
    }

    #[test]
    fn objects_have_lists_of_names_or_numbers() {
        let text = "{\"tokens\":[\"a\",\"b\"],\"ner_tags\":[0,3]}\n\n{\"tokens\":[],\"ner_tags\":[]}\n";
        let (found, _) = read("a.jsonl", text, None).unwrap();
        assert_eq!(found, [sentence(1, 0, &[("a", "0"), ("b", "3")]), sentence(3, 0, &[])]);
        assert_eq!(found[0].line_of(1), 1);
        let (found, _) = read("a.jsonl", "{\"tokens\":[\"a\"],\"tags\":[\"X\"],\"pos\":[\"Y\"]}", Some("pos")).unwrap();
        assert_eq!(found[0].tags, ["Y"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        for (name, text, tags, expected) in [
            ("a.txt", "", None, "/a.txt: the file is empty"),
            ("a.txt", "EU\n", None, "/a.txt, line 1: 1 columns, expected at least 2"),
            ("a.txt", "EU O\n\nPeter\n", None, "/a.txt, line 3: 1 columns, expected 2, as line 1 has"),
            ("a.txt", "EU\tO\nPeter\t\n", None, "/a.txt, line 2: the label is empty"),
            ("a.txt", "EU\tO\n\tO\n", None, "/a.txt, line 2: the word is empty"),
            ("a.txt", "EU O\n", Some("3"), "/a.txt: column 3 is asked for, and the first line has 2 columns"),
            ("a.txt", "EU O\n", Some("ner"), "/a.txt: label_key is \"ner\", expected the number of a column, from 1"),
            (
                "a.jsonl",
                "{\"tokens\":[\"a\"],\"tags\":[]}",
                None,
                "/a.jsonl, line 1: 1 words and 0 labels, expected as many",
            ),
            (
                "a.jsonl",
                "{\"token\":[\"a\"],\"tags\":[\"O\"]}",
                None,
                "/a.jsonl, line 1: nothing at key \"tokens\" (did you",
            ),
            ("a.jsonl", "{\"tokens\":\"a\"}", None, "/a.jsonl, line 1: \"a\" at key \"tokens\", expected a list"),
            (
                "a.jsonl",
                "{\"tokens\":[\"a\"],\"tags\":[1.5]}",
                None,
                "/a.jsonl, line 1: [1.5] at key \"tags\", expected a list",
            ),
        ] {
            let message = read(name, text, tags).unwrap_err();
            assert!(message.starts_with(expected), "{message}\n{expected}");
        }
    }
}
