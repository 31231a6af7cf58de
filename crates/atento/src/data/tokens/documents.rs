//! The documents of text files, in pieces of bounded size.
//!
//! A document longer than a piece is cut. Where a piece ends depends on the document's text alone: after a
//! line that is followed by another without white space around the line end, if there is such a place in the
//! second half of the piece; else after the last line end; else at white space; else between two characters.
//! GPT-2's way of cutting text into words never joins what the first kind of place (or a single space)
//! separates, so such pieces have the tokens of the whole document.

use super::Error;
use super::source::{Boundary, TextFile, TextSource};
use crate::data::jsonl;
use crate::data::lines::{LineError, LineReader};
use crate::data::raw::RawText;

/// Longest piece of a document that is tokenised as one, in bytes.
pub(in crate::data) const PIECE_BYTES: usize = 1 << 18;

/// Longest line of a file in which documents are lines, blocks of lines or JSON objects: it has to be held in memory.
const LINE_BYTES: usize = 1 << 28;

/// A document, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::data) struct Piece {
    pub(in crate::data) text: String,
    /// Position of its file among those of the source.
    pub(in crate::data) file: usize,
    /// The line at which its document begins, from 1.
    pub(in crate::data) line: u64,
    /// Whether the document ends here.
    pub(in crate::data) last: bool,
}

/// Reads the pieces of all documents of a source, in order.
pub(in crate::data) struct Documents {
    files: Vec<TextFile>,
    hidden: u64,
    boundary: Boundary,
    text_key: String,
    piece_bytes: usize,
    separators: bool,
    /// Files opened so far.
    opened: usize,
    input: Option<Input>,
    /// What is read of the document; `text[given..]` is not given out yet.
    text: String,
    given: usize,
    line: u64,
    ended: bool,
}

enum Input {
    /// `None` after the end of the file.
    Whole(Option<RawText>),
    /// And whether a paragraph has begun.
    Paragraphs(LineReader, bool),
    Lines(LineReader),
    Jsonl(LineReader),
}

/// Some more of a document.
struct Part {
    text: String,
    ends: bool,
}

impl Documents {
    /// `separators` puts what separates documents in their files (line ends; the blank line; nothing between
    /// files) behind each: needed where no end token will.
    pub(in crate::data) fn open(source: &TextSource, piece_bytes: usize, separators: bool) -> Result<Self, Error> {
        let (files, hidden) = source.files()?;
        let (boundary, text_key) = (source.boundary, source.text_key.clone());
        let (input, text) = (None, String::new());
        let (opened, given, line, ended) = (0, 0, 1, false);
        Ok(Documents {
            files,
            hidden,
            boundary,
            text_key,
            piece_bytes,
            separators,
            opened,
            input,
            text,
            given,
            line,
            ended,
        })
    }

    /// Number of files.
    pub(in crate::data) fn files(&self) -> usize {
        self.files.len()
    }

    /// Hidden files and directories that were passed over.
    pub(in crate::data) fn hidden(&self) -> u64 {
        self.hidden
    }

    /// Whether the documents of the file being read are lines, each by itself.
    pub(in crate::data) fn is_by_lines(&self) -> bool {
        matches!(self.input, Some(Input::Lines(_) | Input::Jsonl(_)))
    }

    /// File and line of a piece's document, for messages.
    pub(in crate::data) fn place(&self, piece: &Piece) -> String {
        format!("{}, document at line {}", self.files[piece.file].path.display(), piece.line)
    }

    /// The next piece; `None` after the last file. A document without text is one empty piece. After the fault of a
    /// document of its own line the next one follows.
    pub(in crate::data) fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            let waiting = &self.text[self.given..];
            if waiting.len() > self.piece_bytes {
                let end = cut(waiting, self.piece_bytes);
                let text = waiting[..end].to_owned();
                self.given += end;
                return Ok(Some(self.piece(text, false)));
            }
            if std::mem::take(&mut self.ended) {
                let text = waiting.to_owned();
                self.text.clear();
                self.given = 0;
                return Ok(Some(self.piece(text, true)));
            }
            if self.input.is_none() {
                if self.opened == self.files.len() {
                    return Ok(None);
                }
                self.input = self.open_next()?;
                continue;
            }
            self.text.drain(..self.given);
            self.given = 0;
            match self.next_part()? {
                Some(Part { text, ends }) => {
                    self.text.push_str(&text);
                    self.ended = ends;
                }
                None => self.input = None,
            }
        }
    }

    fn piece(&self, text: String, last: bool) -> Piece {
        Piece { text, file: self.opened - 1, line: self.line, last }
    }

    /// Opens the next file; `None` where documents are lines and it has none.
    fn open_next(&mut self) -> Result<Option<Input>, Error> {
        let TextFile { path, jsonl } = &self.files[self.opened];
        self.opened += 1;
        self.line = 1;
        let lines = |path| match LineReader::open(path) {
            Err(LineError::Empty { .. }) => Ok(None),
            other => other.map(|lines| Some(lines.with_limit(LINE_BYTES).past_faults())),
        };
        Ok(match (jsonl, self.boundary) {
            (true, _) => lines(path)?.map(Input::Jsonl),
            (false, Boundary::File) => Some(Input::Whole(Some(RawText::open(path)?))),
            (false, Boundary::BlankLine) => lines(path)?.map(|lines| Input::Paragraphs(lines, false)),
            (false, Boundary::Line) => lines(path)?.map(Input::Lines),
        })
    }

    fn next_part(&mut self) -> Result<Option<Part>, Error> {
        let separator = |text: &'static str| if self.separators { text } else { "" };
        match self.input.as_mut() {
            None | Some(Input::Whole(None)) => Ok(None),
            Some(Input::Whole(raw)) => {
                let block = raw.as_mut().map(RawText::next_block).transpose()?.flatten();
                let ends = block.is_none();
                if ends {
                    *raw = None;
                }
                Ok(Some(Part { text: block.unwrap_or_default(), ends }))
            }
            Some(Input::Lines(lines)) => {
                let Some(text) = lines.next().transpose()? else { return Ok(None) };
                self.line = lines.line();
                Ok(Some(Part { text: text + separator("\n"), ends: true }))
            }
            Some(Input::Jsonl(lines)) => {
                let Some(text) = jsonl::next_text(lines, &self.text_key)? else { return Ok(None) };
                self.line = lines.line();
                Ok(Some(Part { text: text + separator("\n"), ends: true }))
            }
            Some(Input::Paragraphs(lines, begun)) => loop {
                let line = lines.next().transpose()?;
                let file_ends = line.is_none();
                match line.filter(|line| !line.trim().is_empty()) {
                    Some(line) if *begun => return Ok(Some(Part { text: format!("\n{line}"), ends: false })),
                    Some(text) => {
                        *begun = true;
                        self.line = lines.line();
                        return Ok(Some(Part { text, ends: false }));
                    }
                    None if std::mem::take(begun) => {
                        return Ok(Some(Part { text: separator("\n\n").into(), ends: true }));
                    }
                    None if file_ends => return Ok(None),
                    None => {}
                }
            },
        }
    }
}

/// Where a text longer than `limit` bytes is cut: see the head of this file.
fn cut(text: &str, limit: usize) -> usize {
    let limit = text.floor_char_boundary(limit);
    let head = &text[..limit];
    let between_words = |at: &usize| {
        *at > 1 && !head[..at - 1].ends_with(char::is_whitespace) && !text[*at..].starts_with(char::is_whitespace)
    };
    let mut line_ends = head.rmatch_indices('\n').map(|(at, _)| at + 1);
    let last = line_ends.next();
    let clean = last.into_iter().chain(line_ends).take_while(|&at| at > limit / 2).find(between_words);
    clean.or(last).or_else(|| head.rfind(char::is_whitespace).filter(|&at| at > 0)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// Text, line and whether it is the last, of each piece.
    fn pieces(source: &TextSource, piece_bytes: usize, separators: bool) -> Vec<(String, u64, bool)> {
        let mut documents = Documents::open(source, piece_bytes, separators).unwrap();
        let next = || documents.next_piece().unwrap().map(|piece| (piece.text, piece.line, piece.last));
        std::iter::from_fn(next).collect()
    }

    fn source(dir: &TempDir, name: &str, text: &str, boundary: Boundary) -> TextSource {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        TextSource { boundary, ..TextSource::new([path]) }
    }

    fn whole(dir: &TempDir, name: &str, text: &str, boundary: Boundary, separators: bool) -> Vec<(String, u64)> {
        let all = pieces(&source(dir, name, text, boundary), PIECE_BYTES, separators);
        assert!(all.iter().all(|piece| piece.2));
        all.into_iter().map(|(text, line, _)| (text, line)).collect()
    }

    fn of(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|&(text, line)| (text.into(), line)).collect()
    }

    #[test]
    fn a_document_is_a_file_a_paragraph_a_line_or_an_object() {
        let dir = TempDir::new().unwrap();
        let text = "\n a\r\nb\n \n\nc";
        assert_eq!(whole(&dir, "a.txt", text, Boundary::File, true), of(&[(text, 1)]));
        assert_eq!(whole(&dir, "a.txt", "", Boundary::File, false), of(&[("", 1)]));
        assert_eq!(whole(&dir, "a.txt", text, Boundary::BlankLine, false), of(&[(" a\nb", 2), ("c", 6)]));
        assert_eq!(whole(&dir, "a.txt", text, Boundary::BlankLine, true), of(&[(" a\nb\n\n", 2), ("c\n\n", 6)]));
        let lines = [("", 1), (" a", 2), ("b", 3), (" ", 4), ("", 5), ("c", 6)];
        assert_eq!(whole(&dir, "a.txt", text, Boundary::Line, false), of(&lines));
        assert_eq!(whole(&dir, "a.txt", "a\nb", Boundary::Line, true), of(&[("a\n", 1), ("b\n", 2)]));
        assert_eq!(whole(&dir, "a.txt", "", Boundary::Line, true), of(&[]));
        let json = "{\"text\": \"a\\nb\"}\n\n{\"text\": \"\"}\n";
        assert_eq!(whole(&dir, "a.jsonl", json, Boundary::Line, false), of(&[("a\nb", 1), ("", 3)]));
        let keyed = TextSource { text_key: "txt".into(), ..source(&dir, "a.jsonl", json, Boundary::File) };
        let error = Documents::open(&keyed, PIECE_BYTES, false).unwrap().next_piece().unwrap_err().to_string();
        assert!(error.ends_with("a.jsonl, line 1: no value at key \"txt\" (did you mean \"text\"?)"), "{error}");
    }

    #[test]
    fn a_long_document_is_cut_where_its_words_are_apart() {
        assert_eq!(cut("ab\ncd\nef\ngh", 9), 9);
        assert_eq!(cut("ab\ncd\nef\n\ngh", 9), 6);
        assert_eq!(cut("ab\ncd\n\nfg\n\ngh", 11), 11);
        assert_eq!(cut("ab cd\nefghijklmn", 14), 6);
        assert_eq!(cut("ab cd efghi", 9), 5);
        assert_eq!(cut("abcdefghij", 9), 9);
        assert_eq!(cut("üüüüü", 5), 4);
        assert_eq!(cut(" üüüüü", 6), 5);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_the_same_however_it_arrives(
            text in "([a-zü]{1,9}[ \n]{1,2}){0,80}", piece_bytes in 8usize..60,
        ) {
            let dir = TempDir::new().unwrap();
            let plain = pieces(&source(&dir, "a.txt", &text, Boundary::File), piece_bytes, false);
            let joined: String = plain.iter().map(|(text, ..)| text.as_str()).collect();
            prop_assert_eq!(&joined, &text);
            prop_assert!(plain.iter().all(|(text, ..)| text.len() <= piece_bytes));
            prop_assert!(plain.len() == 1 || plain.iter().all(|(text, ..)| !text.is_empty()));
            let json = serde_json::json!({ "text": text }).to_string();
            prop_assert_eq!(pieces(&source(&dir, "a.json", &json, Boundary::File), piece_bytes, false), plain);
        }
    }
}
