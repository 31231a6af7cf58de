//! Tokenised questions with several answers of which one is right; the choices of one question stay together in a batch.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::{ChoiceFile, ChoiceKeys, ChoiceRow, Error, Examples, Goal, Packs, ReadOptions, Text, TextBatch};
use crate::data::hash::{add_ids, combine};
use crate::data::{LineReport, OnTruncate};
use crate::messages::group_thousands;
use crate::pipelines::texts;
use crate::text::{Tokenizer, Truncation};

/// Questions that are tokenised at once.
const CHUNK: usize = 4096;

/// A question, tokenised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceExample {
    /// The line, from 1.
    pub line: u64,
    /// A text for each choice.
    pub texts: Vec<Text>,
    /// The number of the right one.
    pub label: u32,
}

/// What a file holds and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChoiceReport {
    /// Questions read.
    pub questions: u64,
    /// Questions kept.
    pub kept: u64,
    /// Questions of which a choice was cut.
    pub cut: u64,
    /// Tokens cut off.
    pub cut_tokens: u64,
    /// Questions left out since they are too long.
    pub too_long: u64,
    /// The fewest choices of a question.
    pub fewest: u64,
    /// The most choices of a question.
    pub most: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens of the longest choice with its prompt.
    pub longest: u64,
    /// Lines without a question.
    pub lines: LineReport,
}

/// The questions of a file, tokenised.
#[derive(Clone, Debug)]
pub struct ChoiceSet {
    examples: Examples<ChoiceExample>,
    rows: Arc<Vec<ChoiceRow>>,
    report: ChoiceReport,
    hash: u64,
}

/// What became of a question.
enum Read {
    TooLong,
    /// With the tokens cut off.
    Texts(Vec<Text>, usize),
}

impl ChoiceSet {
    /// Reads and tokenises all questions of a file.
    ///
    /// # Errors
    /// A question that cannot be used; no question that can.
    pub fn read(
        file: &ChoiceFile,
        keys: &ChoiceKeys,
        tokenizer: &Tokenizer,
        options: &ReadOptions,
    ) -> Result<Self, Error> {
        let mut report = ChoiceReport { fewest: u64::MAX, ..ChoiceReport::default() };
        let (mut examples, mut kept, mut all) = (Vec::new(), Vec::new(), 0);
        let mut reader = file.open(keys)?;
        loop {
            let rows: Vec<ChoiceRow> = reader.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            if rows.is_empty() {
                break;
            }
            let read: Vec<_> = rows.par_iter().map(|row| encode(file, row, tokenizer, options)).collect();
            for (row, read) in rows.into_iter().zip(read) {
                report.questions += 1;
                let Read::Texts(texts, cut) = read? else {
                    report.too_long += 1;
                    continue;
                };
                report.cut += u64::from(cut > 0);
                report.cut_tokens += cut as u64;
                report.fewest = report.fewest.min(texts.len() as u64);
                report.most = report.most.max(texts.len() as u64);
                for text in &texts {
                    report.tokens += text.ids.len() as u64;
                    report.longest = report.longest.max(text.ids.len() as u64);
                    all = combine(all, add_ids(0, &text.ids));
                }
                all = combine(all, u64::from(row.label));
                examples.push(ChoiceExample { line: row.line, texts, label: row.label });
                kept.push(row);
            }
        }
        report.kept = examples.len() as u64;
        report.lines = reader.report();
        if examples.is_empty() {
            return match report.questions {
                0 => Err(Error::Empty { path: file.path().into() }),
                _ => Err(Error::NothingLeft { path: file.path().into(), report: report.to_string() }),
            };
        }
        Ok(Self { examples: Examples::new(examples), rows: Arc::new(kept), report, hash: all })
    }

    /// The questions, tokenised.
    #[must_use]
    pub fn examples(&self) -> &Examples<ChoiceExample> {
        &self.examples
    }

    /// The questions as they stand in the file.
    #[must_use]
    pub fn rows(&self) -> &[ChoiceRow] {
        &self.rows
    }

    /// What the set holds.
    #[must_use]
    pub fn report(&self) -> &ChoiceReport {
        &self.report
    }

    /// Equal for equal questions in the same order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl Packs for ChoiceExample {
    fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.ids.len()).sum()
    }

    fn pack(chosen: &[&Self]) -> TextBatch {
        let counts = chosen.iter().map(|example| example.texts.len() as u32).collect();
        let goal = Goal::Choices { counts, chosen: chosen.iter().map(|example| example.label).collect() };
        let samples = chosen.iter().map(|example| example.line - 1).collect();
        TextBatch::pack(chosen.iter().flat_map(|example| &example.texts), goal, samples)
    }
}

fn encode(file: &ChoiceFile, row: &ChoiceRow, tokenizer: &Tokenizer, options: &ReadOptions) -> Result<Read, Error> {
    let limit = options.max_length;
    let (mut texts, mut dropped) = (Vec::new(), 0);
    for choice in row.continuations() {
        let encode = |limit| tokenizer.encode_pair(&row.prompt, Some(&choice), limit, Truncation::LongestFirst);
        let mut found = encode(None)?;
        let tokens = found.ids.len();
        if tokens > limit {
            match options.on_truncate {
                OnTruncate::Drop => return Ok(Read::TooLong),
                OnTruncate::Warn => found = encode(Some(limit))?,
                OnTruncate::Error | OnTruncate::Split => {
                    let (path, line) = (file.path().into(), row.line);
                    return Err(Error::TooLong { path, line, tokens, limit, others: "" });
                }
            }
        }
        let unusable = |fault: texts::Error| Error::Unusable { path: file.path().into(), line: row.line, fault };
        let highest = found.type_ids.iter().max().copied().ok_or_else(|| unusable(texts::Error::Empty))?;
        if let Some(types) = options.token_types.filter(|types| highest as usize >= *types) {
            return Err(unusable(texts::Error::NoType { found: highest, types }));
        }
        dropped += found.dropped;
        texts.push(Text { ids: found.ids, type_ids: found.type_ids });
    }
    Ok(Read::Texts(texts, dropped))
}

impl fmt::Display for ChoiceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  questions read: {}", self.questions)?;
        writeln!(f, "  questions kept: {}", self.kept)?;
        write!(f, "{}", self.lines)?;
        let left_out = [
            ("questions too long, left out", self.too_long),
            ("questions cut", self.cut),
            ("tokens cut off", self.cut_tokens),
        ];
        for (name, count) in left_out.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {name}: {count}")?;
        }
        if self.kept > 0 {
            writeln!(f, "  choices of a question: {} to {}", self.fewest, self.most)?;
        }
        writeln!(f, "  tokens: {} (longest choice {})", self.tokens, self.longest)
    }
}

impl ChoiceReport {
    /// What of the questions is not learned or not measured as it stands there, in one sentence, if anything is.
    #[must_use]
    pub fn losses(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |count: u64, what: &str| {
            parts.extend((count > 0).then(|| format!("{} {what}", group_thousands(count))));
        };
        part(self.too_long, "questions are too long and left out");
        part(self.cut, &format!("questions are cut ({} tokens)", self.cut_tokens));
        parts.extend(self.lines.told().map(|lines| format!("{lines} left out")));
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_of_a_question_stay_together_in_a_batch() {
        let text = |length: usize| Text { ids: vec![7; length], type_ids: vec![0; length] };
        let example = |line, lengths: &[usize], label| ChoiceExample {
            line,
            texts: lengths.iter().map(|length| text(*length)).collect(),
            label,
        };
        let all = [example(1, &[2, 3], 1), example(4, &[1, 1, 4], 0)];
        assert_eq!(all[1].tokens(), 6);
        let batch = ChoiceExample::pack(&all.iter().collect::<Vec<_>>());
        assert_eq!((batch.cu_seqlens, batch.samples), (vec![0, 2, 5, 6, 7, 11], vec![0, 3]));
        assert_eq!(batch.goal, Goal::Choices { counts: vec![2, 3], chosen: vec![1, 0] });
    }
}
