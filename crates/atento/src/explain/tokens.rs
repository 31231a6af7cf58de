//! Names of tokens.

use crate::text::{self, Tokenizer};

/// Tokens as the vocabulary spells them and as people read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The vocabulary's spelling, such as `Ġcat`, `▁cat` or `##s`.
    pub spelled: Vec<String>,
    /// The text, with `·` for a space: `·cat`.
    pub shown: Vec<String>,
    /// What they are together, special tokens left out.
    pub text: String,
}

impl Tokens {
    /// The names of ids.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn of(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Self, text::Error> {
        let mut found = Self { text: tokenizer.decode(ids, true)?, ..Self::default() };
        for &id in ids {
            // A model can have more rows than its tokenizer has tokens.
            let spelled = tokenizer.id_to_token(id).unwrap_or_else(|| format!("#{id}"));
            found.shown.push(visible(&read(tokenizer, id, &spelled)?));
            found.spelled.push(spelled);
        }
        Ok(found)
    }
}

/// The text of a token by itself; its spelling, where it has none: half a character, say.
fn read(tokenizer: &Tokenizer, id: u32, spelled: &str) -> Result<String, text::Error> {
    const WORD_START: char = '▁';
    if spelled.contains(WORD_START) {
        // Decoders leave the first space of a text out.
        return Ok(spelled.replace(WORD_START, " "));
    }
    let decoded = tokenizer.decode(&[id], false)?;
    let is_text = !decoded.is_empty() && !decoded.contains(char::REPLACEMENT_CHARACTER);
    Ok(if is_text { decoded } else { spelled.to_owned() })
}

/// White space that can be seen.
fn visible(text: &str) -> String {
    let seen = |c: char| match c {
        ' ' => '·',
        '\n' => '↵',
        '\t' => '⇥',
        c if c.is_control() => '␣',
        c => c,
    };
    text.chars().map(seen).collect()
}
