//! Questions with windows of their contexts, and the answers as tokens.
//!
//! A context that is too long beside its question is read in windows that overlap. In a window that holds the whole answer
//! the targets are the tokens of its first and its last character; in another window, and where there is no answer, both
//! are the first token (Devlin et al. 2019, §4.2 and §4.3). The windows and targets are those of `run_qa` in
//! `transformers`, but for two rare cases in which that points behind the context or at an answer that ends before it
//! begins: an answer whose first token is the last of a window, and an answer of one character that is several tokens.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::squad::{GoldAnswer, Question};
use super::{Error, Examples, Goal, Packs, Text, TextBatch};
use crate::data::OnBadLine;
use crate::data::hash::{add_ids, combine, hash};
use crate::messages::group_thousands;
use crate::pipelines::texts;
use crate::text::{self, EncodedPair, Tokenizer};

/// Questions that are tokenised at once.
const CHUNK: usize = 2048;

/// A question with one window of its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanExample {
    /// The number of the question in its file.
    pub number: u64,
    /// The tokens.
    pub text: Text,
    /// The first and the last token of the answer; the first token of the text twice where there is none.
    pub span: [u32; 2],
}

/// How questions are read.
#[derive(Clone, Debug)]
pub struct WindowOptions {
    /// The most tokens of a question with a window.
    pub max_length: usize,
    /// Tokens that a window has in common with the one before.
    pub stride: usize,
    /// Types of tokens that the model has; `None` where it does not tell them apart.
    pub token_types: Option<usize>,
    /// Whether questions are trained on: one whose answer does not stand at its place is left out. Otherwise the windows
    /// are kept, in which answers are looked for.
    pub is_training: bool,
    /// What happens to entries of a file that hold no question.
    pub on_bad_line: OnBadLine,
}

/// What a file holds and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpanReport {
    /// Questions read.
    pub questions: u64,
    /// Questions kept.
    pub kept: u64,
    /// Questions kept that have no answer.
    pub unanswerable: u64,
    /// Questions whose answer does not stand where the file says.
    pub misplaced: u64,
    /// Whether those were left out.
    pub misplaced_dropped: bool,
    /// Entries that hold no question and were left out.
    pub bad: u64,
    /// Questions that leave no room for a window.
    pub too_long: u64,
    /// Questions whose context has no token.
    pub empty: u64,
    /// Windows.
    pub windows: u64,
    /// Windows with an answer.
    pub answered: u64,
    /// Questions with an answer that no window holds whole.
    pub cut: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens of the longest window, its question counted.
    pub longest: u64,
}

/// The questions of a file, tokenised.
#[derive(Clone, Debug)]
pub struct SpanSet {
    examples: Examples<SpanExample>,
    /// The questions, each with how many windows it has.
    questions: Arc<Vec<(Question, usize)>>,
    /// All windows; none where they are trained on.
    windows: Arc<Vec<EncodedPair>>,
    report: SpanReport,
    hash: u64,
}

/// What became of a question.
enum Read {
    Misplaced,
    TooLong,
    Empty,
    Windows(Vec<EncodedPair>),
}

impl SpanSet {
    /// Tokenises questions; `path` stands for their file in messages.
    ///
    /// # Errors
    /// The tokenizer; types of tokens that the model does not have; no question that can be used.
    pub fn read(path: &std::path::Path, tokenizer: &Tokenizer, options: &WindowOptions) -> Result<Self, Error> {
        let (all_questions, bad) = super::squad::read(path, options.on_bad_line)?;
        let mut report = SpanReport { bad, misplaced_dropped: options.is_training, ..SpanReport::default() };
        let (mut examples, mut kept, mut kept_windows, mut all) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut number = 0;
        let mut rest = all_questions.into_iter();
        loop {
            let questions: Vec<Question> = rest.by_ref().take(CHUNK).collect();
            if questions.is_empty() {
                break;
            }
            let read: Vec<_> = questions.par_iter().map(|question| encode(question, tokenizer, options)).collect();
            for (question, read) in questions.into_iter().zip(read) {
                (number, report.questions) = (number + 1, report.questions + 1);
                let is_misplaced = question.answers.first().is_some_and(|answer| !question.has_in_place(answer));
                report.misplaced += u64::from(is_misplaced);
                let windows = match read? {
                    Read::Misplaced => continue,
                    Read::TooLong => {
                        report.too_long += 1;
                        continue;
                    }
                    Read::Empty => {
                        report.empty += 1;
                        continue;
                    }
                    Read::Windows(windows) => windows,
                };
                report.unanswerable += u64::from(question.answers.is_empty());
                let mut answered = 0;
                for window in &windows {
                    check_types(path, number, window, options)?;
                    let answer = question.answers.first().filter(|_| !is_misplaced);
                    let span = answer.map_or([0, 0], |answer| span(window, answer));
                    answered += u64::from(span != [0, 0]);
                    report.tokens += window.ids.len() as u64;
                    report.longest = report.longest.max(window.ids.len() as u64);
                    all = combine(all, add_ids(add_ids(0, &window.ids), &span));
                    let text = Text { ids: window.ids.clone(), type_ids: window.type_ids.clone() };
                    examples.push(SpanExample { number: number - 1, text, span });
                }
                question.answers.iter().for_each(|answer| all = combine(all, hash(answer.text.as_bytes())));
                report.answered += answered;
                report.cut += u64::from(answered == 0 && !question.answers.is_empty() && !is_misplaced);
                kept.push((question, windows.len()));
                if !options.is_training {
                    kept_windows.extend(windows);
                }
            }
        }
        (report.kept, report.windows) = (kept.len() as u64, examples.len() as u64);
        if examples.is_empty() {
            return Err(Error::NothingLeft { path: path.into(), report: report.to_string() });
        }
        let (questions, windows) = (Arc::new(kept), Arc::new(kept_windows));
        Ok(Self { examples: Examples::new(examples), questions, windows, report, hash: all })
    }

    /// The windows, with their targets.
    #[must_use]
    pub fn examples(&self) -> &Examples<SpanExample> {
        &self.examples
    }

    /// The questions, each with its windows, where they are not trained on.
    pub fn questions(&self) -> impl Iterator<Item = (&Question, &[EncodedPair])> {
        let mut rest = &self.windows[..];
        self.questions.iter().map_while(move |(question, count)| {
            let (own, more) = rest.split_at_checked(*count)?;
            rest = more;
            Some((question, own))
        })
    }

    /// What the set holds.
    #[must_use]
    pub fn report(&self) -> &SpanReport {
        &self.report
    }

    /// Equal for equal questions in the same order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl Packs for SpanExample {
    fn tokens(&self) -> usize {
        self.text.ids.len()
    }

    fn pack(chosen: &[&Self]) -> TextBatch {
        let spans = chosen.iter().map(|example| example.span).collect();
        let samples = chosen.iter().map(|example| example.number).collect();
        TextBatch::pack(chosen.iter().map(|example| &example.text), Goal::Spans(spans), samples)
    }
}

fn encode(question: &Question, tokenizer: &Tokenizer, options: &WindowOptions) -> Result<Read, Error> {
    if options.is_training && question.answers.first().is_some_and(|answer| !question.has_in_place(answer)) {
        return Ok(Read::Misplaced);
    }
    let (text, context) = (question.question.trim_start(), &question.context);
    match tokenizer.encode_windows(text, context, options.max_length, options.stride) {
        Ok(windows) if !windows[0].sequence_ids.contains(&Some(1)) => Ok(Read::Empty),
        Ok(windows) => Ok(Read::Windows(windows)),
        Err(text::Error::Limit { .. }) => Ok(Read::TooLong),
        Err(error) => Err(error.into()),
    }
}

fn check_types(
    path: &std::path::Path,
    number: u64,
    window: &EncodedPair,
    options: &WindowOptions,
) -> Result<(), Error> {
    match (options.token_types, window.type_ids.iter().max()) {
        (Some(types), Some(&found)) if found as usize >= types => {
            let fault = texts::Error::NoType { found, types };
            Err(Error::Squad { path: path.into(), place: format!("question {number}"), fault: fault.to_string() })
        }
        _ => Ok(()),
    }
}

/// The first and the last token of an answer; the first token of the window twice where it does not hold the answer whole.
fn span(window: &EncodedPair, answer: &GoldAnswer) -> [u32; 2] {
    let (from, to) = (answer.start, answer.start + answer.text.chars().count());
    let of_context = |at: &usize| window.sequence_ids[*at] == Some(1);
    let context: Vec<usize> = (0..window.ids.len()).filter(of_context).collect();
    let offset = |at: usize| window.offsets[at];
    let (Some(&first), Some(&last)) = (context.first(), context.last()) else { return [0, 0] };
    if offset(first).0 > from || offset(last).1 < to {
        return [0, 0];
    }
    let start = (first..=last).take_while(|&at| offset(at).0 <= from).last().unwrap_or(first);
    let end = (first..=last).rev().take_while(|&at| offset(at).1 >= to).last().unwrap_or(last);
    // Where several tokens are one character, the last of them is found first.
    [start.min(end) as u32, start.max(end) as u32]
}

impl fmt::Display for SpanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  questions read: {}", self.questions)?;
        writeln!(f, "  questions kept: {}", self.kept)?;
        let misplaced = match self.misplaced_dropped {
            true => "questions whose answer does not stand at its place, left out",
            false => "questions whose answer does not stand at its place, kept",
        };
        let told = [
            ("entries that hold no question, left out", self.bad),
            ("questions without an answer", self.unanswerable),
            (misplaced, self.misplaced),
            ("questions that leave no room for a window, left out", self.too_long),
            ("questions without a context, left out", self.empty),
            ("questions whose answer no window holds", self.cut),
        ];
        for (name, count) in told.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(f, "  windows: {} ({} with an answer)", self.windows, self.answered)?;
        writeln!(f, "  tokens: {} (longest window {})", self.tokens, self.longest)
    }
}

impl SpanReport {
    /// What of the questions is not learned or not measured as it stands there, in one sentence, if anything is.
    #[must_use]
    pub fn losses(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |count: u64, what: &str| {
            parts.extend((count > 0).then(|| format!("{} {what}", group_thousands(count))));
        };
        let left_out = if self.misplaced_dropped { " and are left out" } else { "" };
        part(self.bad, "entries hold no question and are left out");
        part(self.misplaced, &format!("questions have an answer that does not stand at its place{left_out}"));
        part(self.too_long, "questions leave no room for a window and are left out");
        part(self.empty, "questions have no context and are left out");
        part(self.cut, "questions have an answer that no window holds");
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
    }

    fn tokenizer(kind: &str) -> Tokenizer {
        let dir = fixtures().join("tokenizers").join(kind);
        let files = ["vocab.txt", "vocab.json", "sentencepiece.bpe.model"].map(|name| dir.join(name));
        Tokenizer::load(files.iter().find(|path| path.exists()).unwrap()).unwrap()
    }

    #[test]
    fn windows_and_targets_are_those_of_the_reference() {
        let expected = std::fs::read(fixtures().join("spans/expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let (question, context) = (expected["question"].as_str().unwrap(), expected["context"].as_str().unwrap());
        let (mut answered, mut unanswered) = (0, 0);
        for (kind, cases) in expected["kinds"].as_object().unwrap() {
            for case in cases.as_array().unwrap() {
                let number = |key: &str| case[key].as_u64().unwrap() as usize;
                let answer = GoldAnswer { text: case["answer"].as_str().unwrap().into(), start: number("start") };
                let (max_length, stride) = (number("max_length"), number("stride"));
                let windows = tokenizer(kind).encode_windows(question, context, max_length, stride).unwrap();
                let found =
                    windows.iter().map(|window| serde_json::json!({"ids": window.ids, "span": span(window, &answer)}));
                assert_eq!(found.collect::<serde_json::Value>(), case["windows"], "{kind}: {answer:?}");
                let is_answered = |window: &&EncodedPair| span(window, &answer) != [0, 0];
                answered += windows.iter().filter(is_answered).count();
                unanswered += windows.iter().filter(|window| !is_answered(window)).count();
            }
        }
        assert!(answered > 30 && unanswered > 30, "{answered} {unanswered}");
    }

    #[test]
    fn the_last_token_of_a_window_and_a_character_of_several_tokens_can_be_answers() {
        let roberta = tokenizer("roberta");
        let context = "the dog 🎉";
        let window = &roberta.encode_windows("where", context, 100, 0).unwrap()[0];
        let [start, end] = span(window, &GoldAnswer { text: "🎉".into(), start: 8 }).map(|at| at as usize);
        let is_of_it = |at: usize| window.sequence_ids[at] == Some(1) && window.offsets[at] == (8, 9);
        assert!(start < end && (start..=end).all(is_of_it) && !is_of_it(start - 1) && !is_of_it(end + 1));
        let bert = tokenizer("bert");
        let window = &bert.encode_windows("where", "dog the", 100, 0).unwrap()[0];
        let [start, end] = span(window, &GoldAnswer { text: "the".into(), start: 4 });
        assert_eq!((start, window.offsets[start as usize]), (end, (4, 7)));
    }

    #[test]
    fn questions_that_cannot_be_learned_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let context = "the dog was running under the house";
        let long = "the ".repeat(30);
        let text = serde_json::json!({"data": [{"paragraphs": [
            {"context": context, "qas": [
                {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 4}]},
                {"id": "2", "question": "who", "answers": [{"text": "cat", "answer_start": 4}]},
                {"id": "3", "question": "who", "is_impossible": true, "answers": []},
                {"id": "4", "question": long, "answers": [{"text": "dog", "answer_start": 4}]},
                {"id": "5", "question": "who", "answers": [{"text": context, "answer_start": 0}]},
            ]},
            {"context": " ", "qas": [{"id": "6", "question": "who", "answers": []}]},
        ]}]});
        std::fs::write(&path, text.to_string()).unwrap();
        let read = |is_training| {
            let options = WindowOptions {
                max_length: 16,
                stride: 3,
                token_types: Some(2),
                is_training,
                on_bad_line: OnBadLine::Error,
            };
            SpanSet::read(&path, &tokenizer("bert"), &options).unwrap()
        };
        let (train, valid) = (read(true), read(false));
        let of = |set: &SpanSet| {
            let r = set.report();
            [r.questions, r.kept, r.unanswerable, r.misplaced, r.too_long, r.empty, r.cut]
        };
        assert_eq!((of(&train), of(&valid)), ([6, 3, 1, 1, 1, 1, 1], [6, 4, 1, 1, 1, 1, 1]));
        assert_eq!(train.questions().count(), 0);
        let counts: Vec<_> =
            valid.questions().map(|(question, windows)| (question.id.clone(), windows.len())).collect();
        assert_eq!(counts.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "5"]);
        assert_eq!(counts.iter().map(|(_, count)| *count as u64).sum::<u64>(), valid.report().windows);
        assert_eq!(
            train.report().losses().unwrap(),
            "1 questions have an answer that does not stand at its place and are left out, 1 questions leave no room for a \
             window and are left out, 1 questions have no context and are left out, 1 questions have an answer that no window \
             holds"
        );
        let one_type = WindowOptions {
            max_length: 16,
            stride: 3,
            token_types: Some(1),
            is_training: true,
            on_bad_line: OnBadLine::Error,
        };
        assert!(
            SpanSet::read(&path, &tokenizer("bert"), &one_type)
                .unwrap_err()
                .to_string()
                .contains("question 1: the tokenizer")
        );
    }
}
