//! What was read and left out, and what was drawn.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::messages;

/// Counts of a preparation. Every document read is kept, or counted as empty, as dropped or as of the other fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusReport {
    /// Files read.
    pub files: u64,
    /// Files and directories passed over because their names begin with a dot.
    pub hidden: u64,
    /// Documents in the files.
    pub documents: u64,
    /// Documents that are used.
    pub documents_kept: u64,
    /// How many of those differ from each other.
    pub distinct_documents: u64,
    /// Documents left out because no token is in them.
    pub empty: u64,
    /// Documents equal to an earlier one.
    pub duplicates: u64,
    /// How many of the duplicates were left out: all with `drop_duplicates`, else none.
    pub duplicates_dropped: u64,
    /// Documents left out because they are of the other fold.
    pub other_fold: u64,
    /// Lines of JSONL left out because they could not be read.
    pub bad_lines: u64,
    /// Documents of one line.
    pub one_line_documents: u64,
    /// How many of those were cut into sentences after `.`, `!` and `?`.
    pub cut_by_ends: u64,
    /// Sentences of the documents that are used.
    pub sentences: u64,
    /// Stretches of documents from which examples are drawn.
    pub units: u64,
    /// Bytes of text that is used, as UTF-8.
    pub bytes: u64,
    /// Characters of text that is used.
    pub characters: u64,
    /// Tokens of it.
    pub tokens: u64,
    /// How many of those are the unknown token: what the vocabulary lacks.
    pub unknown_tokens: u64,
    /// How many of those are special, the unknown ones among them: they are never masked.
    pub special_in_text: u64,
}

impl fmt::Display for CorpusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, kept) = (messages::count(self.files, "file"), self.documents_kept);
        writeln!(f, "documents: {} in {files}, {kept} used", self.documents)?;
        let fate = if self.duplicates_dropped > 0 { "left out" } else { "kept" };
        let lines = [
            (self.hidden, "hidden files or directories: passed over".to_owned()),
            (self.bad_lines, "lines that could not be read: left out".to_owned()),
            (self.empty, "empty: left out".to_owned()),
            (self.other_fold, "of the other fold: left out".to_owned()),
            (self.duplicates, format!("duplicates: {fate}")),
            (self.cut_by_ends, "of one line: cut into sentences after . ! ?".to_owned()),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        writeln!(f, "sentences: {}", self.sentences)?;
        let CorpusReport { tokens, bytes, characters, unknown_tokens, .. } = self;
        write!(f, "tokens: {tokens} of {bytes} bytes, {characters} characters, {unknown_tokens} unknown")?;
        let spelled_out = self.special_in_text.saturating_sub(self.unknown_tokens);
        if spelled_out > 0 {
            write!(f, ", {spelled_out} special ones spelled out in the text")?;
        }
        Ok(())
    }
}

/// What was drawn in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// Examples.
    pub examples: u64,
    /// Those that aimed at a random length below the longest.
    pub short: u64,
    /// Those with two segments.
    pub pairs: u64,
    /// Pairs whose second segment follows the first, or that are in order.
    pub positive: u64,
    /// Tokens of all examples, special ones counted.
    pub tokens: u64,
    /// Tokens that are not special: those that could be chosen.
    pub maskable: u64,
    /// Tokens that were chosen to be predicted.
    pub chosen: u64,
    /// How many of the chosen the mask token replaces.
    pub hidden: u64,
    /// How many of the chosen a random word replaces.
    pub random: u64,
    /// How many of the chosen stay as they are.
    pub kept: u64,
    /// Tokens cut off from pairs that were too long.
    pub truncated_tokens: u64,
    /// Tokens of which no example could be made: single ones at the ends of documents.
    pub left_out_tokens: u64,
}

impl Add for Drawn {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Drawn {
            examples: self.examples + other.examples,
            short: self.short + other.short,
            pairs: self.pairs + other.pairs,
            positive: self.positive + other.positive,
            tokens: self.tokens + other.tokens,
            maskable: self.maskable + other.maskable,
            chosen: self.chosen + other.chosen,
            hidden: self.hidden + other.hidden,
            random: self.random + other.random,
            kept: self.kept + other.kept,
            truncated_tokens: self.truncated_tokens + other.truncated_tokens,
            left_out_tokens: self.left_out_tokens + other.left_out_tokens,
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl Drawn {
    /// Percentage of the tokens that are not special that were chosen.
    pub fn chosen_percent(&self) -> f64 {
        percent(self.chosen, self.maskable)
    }

    /// Percentages of the chosen tokens: the mask token, a random word, as they were.
    pub fn fate_percents(&self) -> [f64; 3] {
        [self.hidden, self.random, self.kept].map(|part| percent(part, self.chosen))
    }

    /// Percentage of the pairs that follow one another, or are in order.
    pub fn positive_percent(&self) -> f64 {
        percent(self.positive, self.pairs)
    }

    /// Percentage of the examples that aimed at a random length.
    pub fn short_percent(&self) -> f64 {
        percent(self.short, self.examples)
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.tokens as f64 / self.examples.max(1) as f64;
        let (examples, short) = (self.examples, self.short_percent());
        writeln!(f, "examples: {examples}, {mean:.1} tokens each, {short:.2}% short")?;
        if self.pairs > 0 {
            writeln!(f, "pairs: {:.2}% true", self.positive_percent())?;
        }
        let [hidden, random, kept] = self.fate_percents();
        write!(f, "chosen: {:.2}% of the tokens that are not special; of these ", self.chosen_percent())?;
        write!(f, "{hidden:.2}% masked, {random:.2}% a random word, {kept:.2}% kept")?;
        for (count, what) in [(self.truncated_tokens, "cut off to fit"), (self.left_out_tokens, "in no example")] {
            if count > 0 {
                write!(f, "\n  {} {what}", messages::count(count, "token"))?;
            }
        }
        Ok(())
    }
}
