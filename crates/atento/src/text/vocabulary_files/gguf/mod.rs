//! Tokenizers of GGUF files, which hold the tokens with their types and either scores or merges. The rest follows from two
//! names: that of the model and, for pairs of bytes, that of the rule that cuts text into words.
//!
//! ```text
//! gpt2     pairs of bytes in the order of their merges
//! llama    SentencePiece's BPE: the best piece first, bytes for what the vocabulary lacks
//! ```

mod byte_pairs;
mod sentence_piece;

use std::collections::HashMap;
use std::fmt;

use tokenizers::AddedToken;

use crate::messages;
use crate::text::guard::guard;
use crate::text::pipeline;

/// A token that is a special one, by the number of its type.
const CONTROL: i64 = 3;
/// A token that text always gives whole.
const USER_DEFINED: i64 = 4;

/// What a GGUF file says of its tokenizer.
pub(crate) struct Vocabulary<'f> {
    pub(crate) tokens: Vec<&'f str>,
    /// The number of each token's type.
    pub(crate) types: Vec<i64>,
    pub(crate) model: Model<'f>,
    /// Ids of tokens that have a role.
    pub(crate) special: Vec<u32>,
    /// The token that is put before every text.
    pub(crate) bos: Option<&'f str>,
    /// The token that is put after every text.
    pub(crate) eos: Option<&'f str>,
}

/// How a tokenizer cuts text.
pub(crate) enum Model<'f> {
    /// `gpt2`.
    BytePairs {
        /// Two tokens with a space between them.
        merges: Vec<&'f str>,
        /// The name of the rule for words.
        words: &'f str,
    },
    /// `llama`.
    SentencePiece {
        scores: Vec<f64>,
        unk: u32,
        /// Whether a text is read with a space before it.
        space_prefix: bool,
    },
}

impl Vocabulary<'_> {
    /// The bytes of the tokenizer.json.
    ///
    /// # Errors
    /// In words: the rule for words is not known, or the parts contradict each other.
    pub(crate) fn to_json_bytes(&self) -> Result<Vec<u8>, String> {
        let contradict = |panic| Err(format!("its tokens contradict each other: {panic}"));
        guard(|| self.build()).unwrap_or_else(contradict)
    }

    fn build(&self) -> Result<Vec<u8>, String> {
        let mut tokenizer = match &self.model {
            Model::BytePairs { merges, words } => byte_pairs::build(&self.tokens, merges, words)?,
            Model::SentencePiece { scores, unk, space_prefix } => {
                sentence_piece::build(self, scores, *unk, *space_prefix)?
            }
        };
        tokenizer.add_tokens(&self.added());
        let around = engine(pipeline::around(&tokenizer, self.bos, self.eos))?;
        tokenizer.with_post_processor(around);
        engine(tokenizer.to_string(true)).map(String::into_bytes)
    }

    /// The tokens that are found in a text before it is cut.
    fn added(&self) -> Vec<AddedToken> {
        let is_special = |(id, kind): (u32, i64)| kind == CONTROL || self.special.contains(&id);
        let tokens = self.tokens.iter().zip(&self.types).zip(0..);
        let added = tokens
            .filter(|((token, kind), id)| !token.is_empty() && (**kind == USER_DEFINED || is_special((*id, **kind))));
        added.map(|((token, kind), id)| AddedToken::from(*token, is_special((id, *kind))).normalized(false)).collect()
    }
}

/// What the `tokenizers` crate says, in words.
fn engine<T, E: fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// The tokens by their ids.
///
/// # Errors
/// In words: two are the same.
fn ids<'t>(tokens: &[&'t str]) -> Result<HashMap<&'t str, u32>, String> {
    let mut ids = HashMap::new();
    for (token, id) in tokens.iter().zip(0..) {
        if let Some(first) = ids.insert(*token, id) {
            return Err(format!("the tokens {first} and {id} are both {}", messages::text(token)));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
