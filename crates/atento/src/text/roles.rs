//! Which token has which role: the padding, the end of a text, the token that a target begins with.

use serde::{Deserialize, Serialize};

/// The ids of the special tokens; `None` for a role that no token has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpecialIds {
    /// Fills up sequences.
    pub pad: Option<u32>,
    /// Ends a text; where several tokens end one, the one that is taught.
    pub eos: Option<u32>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<u32>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Stands for the whole of a text.
    pub cls: Option<u32>,
    /// Stands between two texts.
    pub sep: Option<u32>,
    /// Stands for a token that is to be guessed.
    pub mask: Option<u32>,
}

impl SpecialIds {
    /// The roles by the usual names of their tokens: those of the tokenizers that are trained here, and a guess for a
    /// tokenizer whose files declare no role.
    pub(super) fn by_usual_names(tokenizer: &tokenizers::Tokenizer) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| tokenizer.token_to_id(name));
        SpecialIds {
            pad: first(&["<pad>", "[PAD]", "<|pad|>"]),
            eos: first(&["</s>", "<eos>", "[EOS]", "<|endoftext|>"]),
            unk: first(&["<unk>", "[UNK]"]),
            bos: first(&["<s>", "<bos>", "[BOS]", "<|startoftext|>"]),
            cls: first(&["[CLS]", "<cls>"]),
            sep: first(&["[SEP]", "<sep>"]),
            mask: first(&["[MASK]", "<mask>"]),
        }
    }

    /// Every role by the name that files give it, with its token.
    pub fn named(&self) -> [(&'static str, Option<u32>); 7] {
        let SpecialIds { pad, eos, unk, bos, cls, sep, mask } = *self;
        [("pad", pad), ("eos", eos), ("unk", unk), ("bos", bos), ("cls", cls), ("sep", sep), ("mask", mask)]
    }
}

/// What the target of a pair begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetStart {
    /// What the tokenizer puts before any text.
    #[default]
    AsSource,
    /// This token, which a search is forced to begin with.
    Forced(u32),
    /// What the tokenizer puts around a text, with the token of the target's language for that of the source's.
    Language {
        /// The token of the source's language.
        source: u32,
        /// The token of the target's language.
        target: u32,
    },
    /// The tokenizer marks texts with this token of the source's language, and nothing says which the target's is.
    Undeclared(u32),
}

/// All that the files of a model declare of its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// The special tokens.
    pub special: SpecialIds,
    /// What a target begins with.
    #[serde(default)]
    pub target_start: TargetStart,
}
