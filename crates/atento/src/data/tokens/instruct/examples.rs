//! The tokenised examples of a source, and what was left out of it.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::encoder::Encoder;
use super::source::{InstructReader, InstructSource, RawExample};
use super::{InstructBatches, PackOptions};
use crate::data::hash::{add_ids, combine};
use crate::data::report::{counted, in_training_too, joined};
use crate::data::tokens::{Error, OnFault, Window};
use crate::data::{LineReport, OnTruncate};
use crate::hub::ChatTemplate;
use crate::messages;
use crate::text::{Tokenizer, Unknowns};

/// Examples that are tokenised at once, and about how many bytes of text.
const CHUNK_EXAMPLES: usize = 8192;
const CHUNK_BYTES: usize = 1 << 26;

/// How prompts and completions become examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstructOptions {
    /// What the model reads first; `{prompt}` is the prompt, another name in braces a column or key of the source.
    pub prompt_template: String,
    /// What it learns to write; `{completion}` is the completion, and a final `<end>` the end token.
    pub completion_template: String,
    /// The most tokens of a sequence: the model's number of positions.
    pub block_size: usize,
    /// What to do with a longer example. Cutting takes the end of the completion away, its end token with it;
    /// [`OnTruncate::Split`] is refused.
    pub on_truncate: OnTruncate,
    /// Whether the model learns to write the prompt too.
    pub train_on_prompt: bool,
    /// Leaves out every example equal to an earlier one, prompt and completion.
    pub drop_duplicates: bool,
    /// How conversations are written, which need it.
    #[serde(skip)]
    pub chat: Option<ChatTemplate>,
}

impl Default for InstructOptions {
    /// The prompt, a line break, the completion and the end token, in 1,024 tokens; only the completion is learned, and a
    /// longer example is an error.
    fn default() -> Self {
        InstructOptions {
            prompt_template: "{prompt}\n".into(),
            completion_template: "{completion}<end>".into(),
            block_size: 1024,
            on_truncate: OnTruncate::Error,
            train_on_prompt: false,
            drop_duplicates: false,
            chat: None,
        }
    }
}

/// One tokenised example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its number among those of the source, from 0.
    pub id: u64,
    /// The prompt with what the tokenizer puts before a text, the completion, each tokenised by itself, and the end token; or
    /// a conversation, tokenised as one text.
    pub ids: Vec<u32>,
    /// Which of them the model is to write: the completion, or each answer.
    pub answers: Vec<Range<usize>>,
}

impl Example {
    /// Whether token `at` is learned: whether the position before it has it as a target.
    pub(super) fn is_learned(&self, at: usize, train_on_prompt: bool) -> bool {
        at > 0 && (train_on_prompt || self.answers.iter().any(|answer| answer.contains(&at)))
    }

    /// The tokens up to the last answer, and that answer.
    #[must_use]
    pub fn last_answer(&self) -> (&[u32], &[u32]) {
        let last = self.answers.last().cloned().unwrap_or(self.ids.len()..self.ids.len());
        (&self.ids[..last.start], &self.ids[last])
    }

    /// The sequence of the model: all tokens but the last, each with its successor where that is learned.
    pub(super) fn window(&self, train_on_prompt: bool) -> Window {
        let target = |at: usize| Some(self.ids[at]).filter(|_| self.is_learned(at, train_on_prompt));
        let ids = self.ids[..self.ids.len() - 1].to_vec();
        Window { sample: self.id, ids, targets: (1..self.ids.len()).map(target).collect() }
    }

    /// Tokens of the sequence.
    pub(super) fn tokens(&self) -> usize {
        self.ids.len() - 1
    }
}

/// Counts over the examples of a source. Every one is kept or counted in exactly one reason for leaving it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructReport {
    /// Blank lines, and the reasons for which lines cannot be read.
    pub lines: LineReport,
    /// Examples in the files.
    pub examples: u64,
    /// Examples that are used.
    pub kept: u64,
    /// Examples left out because their line or record cannot be read; where such a fault ends the reading, none.
    pub unreadable: u64,
    /// Examples left out because the prompt is empty or white space.
    pub empty_prompt: u64,
    /// Examples left out because only the completion is.
    pub empty_completion: u64,
    /// Examples equal to an earlier one.
    pub duplicates: u64,
    /// How many of the duplicates were left out: all with `drop_duplicates`, else none.
    pub duplicates_dropped: u64,
    /// Held-out examples, each counted once, that are in the training data too: the measures of this set are better than
    /// they should be.
    pub in_training_too: u64,
    /// Examples left out because they are too long and `on_truncate` is "drop".
    pub too_long_dropped: u64,
    /// Examples left out because nothing of them would be learned: the prompt alone is too long.
    pub nothing_learned_dropped: u64,
    /// Examples that are used without the end of their completion.
    pub truncated: u64,
    /// Tokens that were cut off those.
    pub truncated_tokens: u64,
    /// Tokens that are used, end tokens included.
    pub tokens: u64,
    /// How many of them are learned.
    pub learned_tokens: u64,
    /// How many of them are the unknown token.
    pub unknown_tokens: u64,
    /// Tokens of the longest example that is used.
    pub longest: u64,
}

impl InstructReport {
    /// Why lines cannot be read, in parentheses.
    fn reasons(&self) -> String {
        self.lines.told().map_or(String::new(), |lines| format!(" ({lines})"))
    }

    /// What was left out, cut or not known, in one line; `None` where nothing was. The tokens are those of `tokenizer`.
    pub fn losses(&self, tokenizer: &Tokenizer) -> Option<String> {
        let lost = messages::group_thousands(self.truncated_tokens);
        let no_room = "with a prompt that leaves no room for the completion left out";
        let lines = [
            counted(self.unreadable, &format!("that cannot be read left out{}", self.reasons())),
            counted(self.empty_prompt, "with an empty prompt left out"),
            counted(self.empty_completion, "with an empty completion or no answer left out"),
            (self.duplicates_dropped, format!("{} left out", messages::count(self.duplicates_dropped, "duplicate"))),
            counted(self.too_long_dropped, "too long left out"),
            counted(self.nothing_learned_dropped, no_room),
            counted(self.truncated, &format!("without the end of their completion, {lost} tokens lost")),
            (self.unknown_tokens, tokenizer.unknown_in_words(self.unknown_tokens)),
            (self.in_training_too, in_training_too(self.in_training_too)),
        ];
        joined(self.examples, "example", lines)
    }
}

impl fmt::Display for InstructReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "examples: {} read, {} used, {} left out", self.examples, self.kept, self.examples - self.kept)?;
        let fate = if self.duplicates_dropped > 0 { "left out" } else { "kept" };
        let lines = [
            (self.lines.blank, "without text: passed over".to_owned()),
            (self.unreadable, format!("that cannot be read{}: left out", self.reasons())),
            (self.empty_prompt, "with an empty prompt: left out".to_owned()),
            (self.empty_completion, "with an empty completion or no answer: left out".to_owned()),
            (self.duplicates, format!("duplicates: {fate}")),
            (self.too_long_dropped, "too long: left out".to_owned()),
            (self.nothing_learned_dropped, "with a prompt that leaves no room for the completion: left out".to_owned()),
            (self.truncated, format!("without the end of their completion, {} tokens lost", self.truncated_tokens)),
            (self.in_training_too, "in the training data too: kept".to_owned()),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        let InstructReport { tokens, learned_tokens, longest, unknown_tokens, .. } = self;
        write!(f, "tokens: {tokens} ({learned_tokens} learned, longest example {longest}), {unknown_tokens} unknown")
    }
}

/// A stretch of an example's text, and whether the model learns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskedPiece {
    /// The text as the tokens give it back, special tokens spelled out.
    pub text: String,
    /// Whether its tokens have a place in the loss.
    pub learned: bool,
}

/// A tokenised set of examples, held in memory; clones share it.
#[derive(Clone, Debug)]
pub struct InstructSet {
    examples: Arc<Vec<Example>>,
    /// Hashes of their prompts and completions.
    texts: Arc<HashSet<u64>>,
    tokenizer: Arc<Tokenizer>,
    options: InstructOptions,
    report: InstructReport,
    unknown: Unknowns,
}

impl InstructSet {
    /// Reads and tokenises all examples of a source.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::NoEndToken`]; files that cannot be read, with file and line; with
    /// [`OnTruncate::Error`] an example that is too long; [`Error::NothingLeft`].
    pub fn open(source: &InstructSource, tokenizer: Arc<Tokenizer>, options: InstructOptions) -> Result<Self, Error> {
        Self::open_past(source, tokenizer, options, &mut Err)
    }

    /// The same, but for the faults of single examples: `on_fault` is told of each and decides whether the reading ends
    /// with it.
    ///
    /// # Errors
    /// As [`open`](Self::open), where `on_fault` returns the fault.
    pub fn open_past(
        source: &InstructSource,
        tokenizer: Arc<Tokenizer>,
        options: InstructOptions,
        on_fault: OnFault<'_>,
    ) -> Result<Self, Error> {
        let encoder = Encoder::new(source, &tokenizer, &options)?;
        let (mut examples, mut seen, mut report) = (Vec::new(), HashSet::new(), InstructReport::default());
        let mut unknown = Unknowns::default();
        let place = |line: u64| format!("{source}, line {line}");
        let mut reader = source.open(encoder.prompt.fields(), options.on_truncate != OnTruncate::Error)?;
        loop {
            let chunk = next_chunk(&mut reader, &mut |fault| {
                report.examples += 1;
                report.unreadable += 1;
                fault.count_in(&mut report.lines);
                on_fault(fault)
            })?;
            if chunk.is_empty() {
                break;
            }
            let encoded: Vec<_> = chunk.par_iter().map(|raw| encoder.encode(raw)).collect();
            for (raw, encoded) in chunk.iter().zip(encoded) {
                let id = report.examples;
                report.examples += 1;
                if !encoder.is_wanted(raw, &mut seen, &mut report) {
                    continue;
                }
                let fitted = encoded
                    .map_err(|fault| fault.at(place(raw.line)))
                    .map(|(ids, answers)| Example { id, ids, answers })
                    .and_then(|example| encoder.fit(example, &mut report, || place(raw.line)));
                match fitted {
                    Ok(Some(example)) => {
                        unknown.add(&encoder.unknown_parts(raw, &example.ids), || place(raw.line));
                        examples.push(example);
                    }
                    Ok(None) => {}
                    Err(fault) => {
                        report.unreadable += 1;
                        on_fault(fault)?;
                    }
                }
            }
        }
        report.lines.blank = reader.blank_lines();
        match report.kept {
            0 => Err(Error::NothingLeft { place: source.to_string(), report: report.to_string() }),
            _ => {
                let (examples, texts) = (Arc::new(examples), Arc::new(seen));
                Ok(InstructSet { examples, texts, tokenizer, options, report, unknown })
            }
        }
    }

    /// What of the examples the tokenizer does not know.
    pub fn unknown(&self) -> &Unknowns {
        &self.unknown
    }

    /// Counts the examples of this set, which is held out, that are in the training data too.
    #[must_use]
    pub fn compared_with(mut self, training: &InstructSet) -> Self {
        self.report.in_training_too = self.texts.intersection(&training.texts).count() as u64;
        self
    }

    /// What was read, used and left out.
    pub fn report(&self) -> &InstructReport {
        &self.report
    }

    /// A hash of all examples that are used, in their order.
    pub fn hash(&self) -> u64 {
        let add = |hash, example: &Example| {
            let answers = example.answers.iter().flat_map(|answer| [answer.start as u64, answer.end as u64]);
            add_ids(answers.fold(hash, combine), &example.ids)
        };
        self.examples.iter().fold(0, add)
    }

    /// All examples that are used, in the order of the source.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Positions of at most `count` examples from all over the set, for looking at them.
    pub fn spread(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (all, count) = (self.examples.len(), count.min(self.examples.len()));
        (0..count).map(move |i| i * all / count)
    }

    /// Packed batches from the beginning; [`InstructBatches::seek`] goes elsewhere.
    ///
    /// # Errors
    /// [`Error::Option`] if the budget cannot hold the longest example.
    pub fn batches(&self, options: PackOptions) -> Result<InstructBatches, Error> {
        InstructBatches::new(self.examples.clone(), self.options.train_on_prompt, options)
    }

    /// The text of an example in pieces, for showing what is learned: the pieces concatenate to the text that its
    /// tokens give back.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] from the tokenizer's decoder.
    ///
    /// # Panics
    /// If there is no example `index`.
    pub fn show_masks(&self, index: usize) -> Result<Vec<MaskedPiece>, Error> {
        let example = &self.examples[index];
        let mut pieces: Vec<MaskedPiece> = Vec::new();
        for (at, text) in self.tokenizer.decode_pieces(&example.ids, false)?.into_iter().enumerate() {
            let learned = example.is_learned(at, self.options.train_on_prompt);
            match pieces.last_mut() {
                Some(piece) if piece.learned == learned => piece.text += &text,
                _ => pieces.push(MaskedPiece { text, learned }),
            }
        }
        Ok(pieces)
    }
}

/// The next examples; none at the end.
fn next_chunk(reader: &mut InstructReader, on_fault: OnFault<'_>) -> Result<Vec<RawExample>, Error> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while chunk.len() < CHUNK_EXAMPLES && bytes < CHUNK_BYTES {
        let raw = match reader.next() {
            None => break,
            Some(Ok(raw)) => raw,
            Some(Err(fault)) if fault.is_of_one_line() => {
                on_fault(fault)?;
                continue;
            }
            Some(Err(fault)) => return Err(fault),
        };
        bytes += raw.text.texts().into_iter().map(str::len).sum::<usize>();
        chunk.push(raw);
    }
    Ok(chunk)
}
