//! What became of the text: nothing is left out without being counted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::report::{counted, joined};
use crate::messages;
use crate::text::Tokenizer;

/// Counts of one split: `train.bin` or `val.bin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Documents. One that is cut is counted on both sides.
    pub documents: u64,
    /// Bytes of text, as UTF-8.
    pub bytes: u64,
    /// Characters of text.
    pub characters: u64,
    /// Tokens, end tokens included.
    pub tokens: u64,
    /// How many of them are the unknown token: characters that the vocabulary lacks.
    pub unknown_tokens: u64,
    /// How many of them are the end token because the text spells it out, not because a document ends.
    pub end_tokens_in_text: u64,
}

impl SplitCounts {
    /// Bytes of text for each token; 0 without tokens.
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes as f64 / self.tokens.max(1) as f64
    }

    pub(super) fn add(&mut self, other: &SplitCounts) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.characters += other.characters;
        self.tokens += other.tokens;
        self.unknown_tokens += other.unknown_tokens;
        self.end_tokens_in_text += other.end_tokens_in_text;
    }
}

/// How the text was divided into training and validation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitUsed {
    /// Not at all: everything is for training.
    #[default]
    None,
    /// The validation text came from files of its own.
    Files,
    /// By document: each by its hash and the seed.
    Documents,
    /// By document, and the last part of one is for validation, since whole documents cannot give the share. (Of equal
    /// documents, the last part of each.)
    Cut {
        /// File and line of the document.
        document: String,
        /// How many bytes of it are for validation.
        bytes: u64,
    },
    /// The text from this character on is for validation.
    Tail {
        /// Position of the character, from 0, among those of all documents that are not empty.
        first_character: u64,
        /// Whether that was chosen because there is only one document.
        only_document: bool,
    },
}

/// Counts over one preparation. Every document read is in a split, or counted as empty or as dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareReport {
    /// Files read.
    pub files: u64,
    /// Files and directories passed over because their names begin with a dot.
    pub hidden: u64,
    /// Documents in the files.
    pub documents: u64,
    /// Documents left out because they are empty or white space.
    pub empty: u64,
    /// Documents equal to an earlier one.
    pub duplicates: u64,
    /// How many of the duplicates were left out: all with `drop_duplicates`, else none.
    pub duplicates_dropped: u64,
    /// How many of the duplicates equal a document of the other split: the validation loss is lower than it
    /// should be by them, unless they were dropped.
    pub in_both_splits: u64,
    /// How validation text was chosen.
    pub split: SplitUsed,
    /// What is in `train.bin`.
    pub train: SplitCounts,
    /// What is in `val.bin`; without tokens there is no such file.
    pub val: SplitCounts,
}

impl PrepareReport {
    /// What was left out, or not known, in one line; `None` where nothing was. The tokens are those of `tokenizer`.
    pub fn losses(&self, tokenizer: &Tokenizer) -> Option<String> {
        let unknown = self.train.unknown_tokens + self.val.unknown_tokens;
        let lines = [
            counted(self.hidden, "hidden files or directories passed over"),
            counted(self.empty, "empty ones left out"),
            (self.duplicates_dropped, format!("{} left out", messages::count(self.duplicates_dropped, "duplicate"))),
            (unknown, tokenizer.unknown_in_words(unknown)),
        ];
        joined(self.documents, "document", lines)
    }

    /// What the measures on the validation text depend on, a sentence each: where a document was cut, that there is no
    /// such text, that it is trained on.
    pub fn notes(&self) -> Vec<String> {
        let cut = match &self.split {
            SplitUsed::Cut { document, bytes } => Some(format!(
                "validation: the last {bytes} bytes of {document}, since whole documents cannot give data.valid_fraction \
                 of the text"
            )),
            SplitUsed::Tail { first_character, only_document: true } if self.val.tokens > 0 => {
                Some(format!("validation: the text from character {first_character} on, since there is one document"))
            }
            _ => None,
        };
        let none = (self.val.tokens == 0 && self.split != SplitUsed::None).then(|| match self.split {
            SplitUsed::Files => "no validation: the validation files hold no text".to_owned(),
            _ => "no validation: the text is too short to be divided by data.valid_fraction".to_owned(),
        });
        let both = (self.in_both_splits > self.duplicates_dropped).then(|| {
            let (count, is) =
                (messages::count(self.in_both_splits, "document"), if self.in_both_splits == 1 { "is" } else { "are" });
            format!("{count} of the training text {is} in the validation text too: its loss is lower than on new text")
        });
        [cut, none, both].into_iter().flatten().collect()
    }
}

impl fmt::Display for PrepareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "documents: {} in {}", self.documents, messages::count(self.files, "file"))?;
        let fate = if self.duplicates_dropped > 0 { "left out" } else { "kept" };
        let lines = [
            (self.hidden, "hidden files or directories: passed over".to_owned()),
            (self.empty, "empty: left out".to_owned()),
            (self.duplicates, format!("duplicates: {fate}")),
            (self.in_both_splits, format!("of them equal to a document of the other split: {fate}")),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        let split = match &self.split {
            SplitUsed::None => "none".to_owned(),
            SplitUsed::Files => "validation files".to_owned(),
            SplitUsed::Documents => "by document".to_owned(),
            SplitUsed::Cut { document, bytes } => format!("by document, and the last {bytes} bytes of {document}"),
            SplitUsed::Tail { first_character, only_document } => {
                let why = if *only_document { " (there is only one document)" } else { "" };
                format!("tail, from character {first_character} on{why}")
            }
        };
        write!(f, "split: {split}")?;
        for (name, counts) in [("train", &self.train), ("val", &self.val)] {
            if counts.tokens == 0 {
                write!(f, "\n{name}: no text")?;
                if name == "val" && self.split == SplitUsed::Documents {
                    write!(f, " (the text is too short for valid_fraction)")?;
                }
                continue;
            }
            let SplitCounts { documents, bytes, characters, tokens, unknown_tokens, end_tokens_in_text } = counts;
            let documents = messages::count(*documents, "document");
            write!(f, "\n{name}: {tokens} tokens of {documents}, {bytes} bytes, {characters} characters")?;
            write!(f, ", {:.3} bytes per token, {unknown_tokens} unknown", counts.bytes_per_token())?;
            if *end_tokens_in_text > 0 {
                write!(f, ", {end_tokens_in_text} end tokens spelled out in the text")?;
            }
        }
        Ok(())
    }
}
