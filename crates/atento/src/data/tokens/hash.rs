//! What tells tokenizers apart.

use super::Error;
use crate::data::hash::hash;
use crate::text::Tokenizer;

/// 16 hexadecimal digits, the hash of the `tokenizer.json` that the tokenizer
/// writes. Equal for a file and for the tokenizer loaded from it and saved again.
///
/// # Errors
/// [`Error::Tokenizer`] if it cannot be serialised.
pub fn tokenizer_hash(tokenizer: &Tokenizer) -> Result<String, Error> {
    Ok(format!("{:016x}", hash(&tokenizer.identity()?)))
}
