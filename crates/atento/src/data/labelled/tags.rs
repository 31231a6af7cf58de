//! Tokenised sentences whose words have labels.
//!
//! The label of a word stands at its first token; its other tokens have no target. A sentence that is too long is refused,
//! cut, left out, or split between words.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::{Error, Examples, Goal, LabelSet, Packs, Sentence, Sentences, Text, TextBatch, WordColumns};
use crate::data::hash::{add_ids, combine, hash};
use crate::data::{LineReport, OnTruncate};
use crate::messages::group_thousands;
use crate::text::{EncodedWords, Tokenizer};

/// Sentences that are tokenised at once.
const CHUNK: usize = 8192;

/// A sentence, or a part of one, tokenised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagExample {
    /// The line of its sentence, from 1.
    pub line: u64,
    /// The number of its sentence among those kept.
    pub sentence: usize,
    /// The tokens.
    pub text: Text,
    /// The first token of each word.
    pub rows: Vec<u32>,
    /// The number of each of these words in the sentence.
    pub words: Vec<u32>,
    /// The number of the label of each.
    pub labels: Vec<u32>,
}

/// What a file holds and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TagReport {
    /// Sentences read.
    pub sentences: u64,
    /// Sentences kept.
    pub kept: u64,
    /// Lines that begin a document.
    pub documents: u64,
    /// Lines that hold no word, or no sentence.
    pub lines: LineReport,
    /// Sentences left out since a line of theirs is bad.
    pub spoiled: u64,
    /// Sentences without a word that has a token.
    pub empty: u64,
    /// Sentences that were cut.
    pub cut: u64,
    /// Words that were cut off.
    pub cut_words: u64,
    /// Sentences left out since they are too long.
    pub too_long: u64,
    /// Sentences that were split.
    pub split: u64,
    /// Words longer than a whole text, of which only the beginning is read.
    pub long_words: u64,
    /// Words without a token.
    pub unread_words: u64,
    /// Words with a target.
    pub words: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens of the longest text.
    pub longest: u64,
    /// How often each label occurs.
    pub labels: Vec<(String, u64)>,
}

/// The sentences of a file, tokenised.
#[derive(Clone, Debug)]
pub struct TagSet {
    examples: Examples<TagExample>,
    sentences: Arc<Vec<Sentence>>,
    report: TagReport,
    hash: u64,
}

/// What became of a sentence.
enum Read {
    TooLong,
    /// The parts: their words, and the text with the words of its tokens.
    Parts {
        parts: Vec<Part>,
        cut_words: usize,
        long_words: usize,
        unread_words: usize,
    },
}

struct Part {
    text: Text,
    rows: Vec<u32>,
    words: Vec<u32>,
}

impl TagSet {
    /// Reads and tokenises all sentences of a file, each text at most `max_length` tokens.
    ///
    /// # Errors
    /// A sentence that cannot be used, or a label that is not known; no sentence that can.
    pub fn read(
        file: &Sentences,
        columns: &WordColumns,
        labels: &LabelSet,
        tokenizer: &Tokenizer,
        max_length: usize,
        on_truncate: OnTruncate,
    ) -> Result<Self, Error> {
        let mut set = Building { counts: vec![0; labels.names.len()], ..Building::default() };
        let mut reader = file.open(columns)?;
        loop {
            let sentences: Vec<Sentence> = reader.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            if sentences.is_empty() {
                break;
            }
            let read = |sentence: &Sentence| encode(file, sentence, tokenizer, max_length, on_truncate);
            let read: Vec<_> = sentences.par_iter().map(read).collect();
            for (sentence, read) in sentences.into_iter().zip(read) {
                let number = |(word, tag): (usize, &String)| labels.number(file.path(), sentence.line_of(word), tag);
                let numbers = sentence.tags.iter().enumerate().map(number).collect::<Result<Vec<u32>, Error>>()?;
                set.add(sentence, &numbers, read?);
            }
        }
        let Building { examples, sentences, mut report, counts, hash } = set;
        (report.documents, report.spoiled, report.lines) = (reader.documents, reader.spoiled, reader.report());
        report.kept = sentences.len() as u64;
        report.labels = labels.names.iter().cloned().zip(counts).collect();
        if examples.is_empty() {
            return Err(Error::NothingLeft { path: file.path().into(), report: report.to_string() });
        }
        Ok(Self { examples: Examples::new(examples), sentences: Arc::new(sentences), report, hash })
    }

    /// The texts; a sentence that was split is several.
    #[must_use]
    pub fn examples(&self) -> &Examples<TagExample> {
        &self.examples
    }

    /// The sentences that were kept.
    #[must_use]
    pub fn sentences(&self) -> &[Sentence] {
        &self.sentences
    }

    /// What the set holds.
    #[must_use]
    pub fn report(&self) -> &TagReport {
        &self.report
    }

    /// Equal for equal sentences in the same order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// A set that is not complete.
#[derive(Default)]
struct Building {
    examples: Vec<TagExample>,
    sentences: Vec<Sentence>,
    report: TagReport,
    counts: Vec<u64>,
    hash: u64,
}

impl Building {
    fn add(&mut self, sentence: Sentence, labels: &[u32], read: Read) {
        let report = &mut self.report;
        report.sentences += 1;
        let Read::Parts { parts, cut_words, long_words, unread_words } = read else {
            report.too_long += 1;
            return;
        };
        report.unread_words += unread_words as u64;
        if parts.is_empty() {
            report.empty += 1;
            return;
        }
        report.cut += u64::from(cut_words > 0);
        report.cut_words += cut_words as u64;
        report.long_words += long_words as u64;
        report.split += u64::from(parts.len() > 1);
        for Part { text, rows, words } in parts {
            let labels: Vec<u32> = words.iter().map(|&word| labels[word as usize]).collect();
            labels.iter().for_each(|&label| self.counts[label as usize] += 1);
            report.words += rows.len() as u64;
            report.tokens += text.ids.len() as u64;
            report.longest = report.longest.max(text.ids.len() as u64);
            let tags = sentence.tags.join("\u{1f}");
            self.hash = combine(self.hash, add_ids(add_ids(hash(tags.as_bytes()), &text.ids), &rows));
            let number = self.sentences.len();
            self.examples.push(TagExample { line: sentence.line, sentence: number, text, rows, words, labels });
        }
        self.sentences.push(sentence);
    }
}

impl Packs for TagExample {
    fn tokens(&self) -> usize {
        self.text.ids.len()
    }

    fn pack(chosen: &[&Self]) -> TextBatch {
        let (mut rows, mut labels, mut first) = (Vec::new(), Vec::new(), 0);
        for example in chosen {
            rows.extend(example.rows.iter().map(|row| first + row));
            labels.extend(&example.labels);
            first += example.text.ids.len() as u32;
        }
        let samples = chosen.iter().map(|example| example.line - 1).collect();
        TextBatch::pack(chosen.iter().map(|example| &example.text), Goal::Tags { rows, labels }, samples)
    }
}

fn encode(
    file: &Sentences,
    sentence: &Sentence,
    tokenizer: &Tokenizer,
    limit: usize,
    on_truncate: OnTruncate,
) -> Result<Read, Error> {
    let count = sentence.words.len();
    let words = tokenizer.encode_words(&sentence.words)?;
    let (lengths, room) = (words.lengths(), tokenizer.room_for_words(limit)?);
    let all: usize = lengths.iter().sum();
    let unread_words = lengths.iter().filter(|length| **length == 0).count();
    let mut room_of_part = usize::MAX;
    if all > room {
        match on_truncate {
            OnTruncate::Drop => return Ok(Read::TooLong),
            OnTruncate::Warn => {}
            OnTruncate::Split => room_of_part = room,
            OnTruncate::Error => {
                let (path, line) = (file.path().into(), sentence.line);
                let tokens = all + limit - room;
                return Err(Error::TooLong { path, line, tokens, limit, others: "\"split\" (between words), " });
            }
        }
    }
    let parts = split(&lengths, room_of_part).into_iter().map(|range| part(tokenizer, &words, range, limit));
    let mut parts = parts.collect::<Result<Vec<Part>, Error>>()?;
    parts.retain(|part| !part.rows.is_empty());
    let read: usize = parts.iter().map(|part| part.words.len()).sum();
    let long_words = lengths.iter().filter(|length| **length > room).count();
    let long_words = if on_truncate == OnTruncate::Split { long_words } else { 0 };
    let cut_words = if parts.is_empty() { 0 } else { count - unread_words - read };
    Ok(Read::Parts { parts, cut_words, long_words, unread_words })
}

/// Stretches of words, as many in each as have room; a word that has none alone is a stretch of its own.
fn split(lengths: &[usize], room: usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (word, &length) in lengths.iter().enumerate() {
        if tokens + length > room && word > start {
            ranges.push(start..word);
            (start, tokens) = (word, 0);
        }
        tokens += length;
    }
    ranges.push(start..lengths.len());
    ranges
}

fn part(tokenizer: &Tokenizer, words: &EncodedWords, range: Range<usize>, limit: usize) -> Result<Part, Error> {
    let found = tokenizer.surround_words(words, range, limit)?;
    let (mut rows, mut numbers): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    for (row, word) in found.word_ids.iter().enumerate() {
        if let Some(word) = *word
            && numbers.last() != Some(&word)
        {
            rows.push(row as u32);
            numbers.push(word);
        }
    }
    Ok(Part { text: Text { ids: found.ids, type_ids: found.type_ids }, rows, words: numbers })
}

impl fmt::Display for TagReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  sentences read: {}", self.sentences)?;
        writeln!(f, "  sentences kept: {}", self.kept)?;
        write!(f, "{}", self.lines)?;
        let told = [
            ("lines that begin a document", self.documents),
            ("sentences with a bad line, left out", self.spoiled),
            ("sentences without a word", self.empty),
            ("sentences too long, left out", self.too_long),
            ("sentences cut", self.cut),
            ("words cut off", self.cut_words),
            ("sentences split", self.split),
            ("words longer than a text, cut", self.long_words),
            ("words without a token", self.unread_words),
        ];
        for (name, count) in told.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(f, "  words: {}", self.words)?;
        writeln!(f, "  tokens: {} (longest text {})", self.tokens, self.longest)?;
        for (label, count) in &self.labels {
            writeln!(f, "  label {label:?}: {count}")?;
        }
        Ok(())
    }
}

impl TagReport {
    /// What of the sentences is not learned or not measured as it stands there, in one sentence, if anything is.
    #[must_use]
    pub fn losses(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |count: u64, what: &str| {
            parts.extend((count > 0).then(|| format!("{} {what}", group_thousands(count))));
        };
        part(self.spoiled, "sentences have a bad line and are left out");
        part(self.empty, "sentences have no word");
        part(self.too_long, "sentences are too long and left out");
        part(self.cut, &format!("sentences are cut ({} words)", self.cut_words));
        part(self.long_words, "words are longer than a text and cut");
        part(self.unread_words, "words have no token");
        parts.extend(self.lines.told().map(|lines| format!("{lines} left out")));
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str =
        "the O\ndog B-X\nrunning O\n\nthe O\ncat B-X\nthe O\ndog B-X\nthe O\nhouse O\n\n\u{200b} O\n\nthe O\n";

    fn read(text: &str, max_length: usize, on_truncate: OnTruncate) -> Result<TagSet, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, text).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers/bert/vocab.txt");
        let tokenizer = Tokenizer::load(fixtures).unwrap();
        let labels = LabelSet::of_model(crate::data::labelled::Aim::Label, vec!["O".into(), "B-X".into()]);
        let columns = WordColumns::default();
        TagSet::read(&Sentences::Conll(path), &columns, &labels, &tokenizer, max_length, on_truncate)
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), ""))
    }

    #[test]
    fn a_label_stands_at_the_first_token_of_its_word() {
        let set = read(TEXT, 512, OnTruncate::Error).unwrap();
        let first = &set.examples().all()[0];
        assert_eq!((&first.words, &first.labels), (&vec![0, 1, 2], &vec![0, 1, 0]));
        assert_eq!(first.rows[..2], [1, 2]);
        let report = set.report();
        assert_eq!((report.sentences, report.kept, report.empty, report.unread_words), (4, 3, 1, 1));
        assert_eq!(report.labels, [("O".to_owned(), 7), ("B-X".to_owned(), 3)]);
        assert_eq!(report.losses().unwrap(), "1 sentences have no word, 1 words have no token");
        let batch = TagExample::pack(&set.examples().all().iter().collect::<Vec<_>>());
        let Goal::Tags { rows, labels } = &batch.goal else { panic!("labels of tokens") };
        assert_eq!((labels.len(), batch.samples.clone()), (10, vec![0, 4, 13]));
        assert_eq!(rows[3], first.text.ids.len() as u32 + 1);
    }

    #[test]
    fn a_long_sentence_is_cut_left_out_refused_or_split_between_words() {
        let cut = read(TEXT, 6, OnTruncate::Warn).unwrap();
        assert!(cut.report().cut >= 1 && cut.report().cut_words >= 2);
        assert!(cut.examples().all().iter().all(|example| example.text.ids.len() <= 6));
        let dropped = read(TEXT, 6, OnTruncate::Drop).unwrap_or_else(|message| panic!("{message}"));
        assert_eq!(dropped.report().too_long, cut.report().cut);
        let message = read(TEXT, 6, OnTruncate::Error).unwrap_err();
        assert!(message.starts_with("/a.txt, line ") && message.contains("\"split\" (between words), "), "{message}");
        for max_length in [3, 4, 6, 12] {
            let split = read(TEXT, max_length, OnTruncate::Split).unwrap();
            let mut words = vec![Vec::new(); 3];
            for example in split.examples().all() {
                assert!(example.text.ids.len() <= max_length);
                words[example.sentence].extend(example.words.clone());
            }
            assert_eq!(words, [vec![0, 1, 2], vec![0, 1, 2, 3, 4, 5], vec![0]]);
            assert_eq!(split.report().cut, 0);
            // "dog" has three tokens.
            assert!(split.report().long_words > 0 || max_length > 4);
        }
        assert_eq!(split(&[2, 1, 5, 0, 3], 3), [0..2, 2..3, 3..5]);
    }

    #[test]
    fn an_unknown_label_is_named_with_its_line() {
        let message = read("the O\n\ndog B-x\n", 9, OnTruncate::Warn).unwrap_err();
        assert!(message.starts_with("/a.txt, line 3: the label \"B-x\" is none of"), "{message}");
    }
}
