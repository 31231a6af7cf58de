//! The vocabulary of a `tokenizer.json`, read for what the `tokenizers` crate does not tell: tokens that share an id,
//! and the token of what the vocabulary lacks.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The parts of a file that are looked at. A file of another form is for the `tokenizers` crate to refuse.
#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize, Default)]
struct Model {
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<u32>,
    #[serde(default)]
    vocab: Entries,
}

/// Tokens with their ids, as they stand there: also those that a map would lose.
#[derive(Default)]
struct Entries(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }

    /// A unigram model's pieces with their scores: their places are their ids.
    fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some((piece, _)) = pieces.next_element::<(String, IgnoredAny)>()? {
            entries.push((piece, entries.len() as u32));
        }
        Ok(Entries(entries))
    }
}

/// What the file says of the token for what its vocabulary lacks; its id is looked up by the text.
pub(super) enum Unknown {
    Token(String),
    Id(u32),
    None,
}

/// Reads the bytes of a `tokenizer.json`.
///
/// # Errors
/// Two tokens that have one id, or a token that has two, in words.
pub(super) fn read(bytes: &[u8]) -> Result<Unknown, String> {
    let file: File = serde_json::from_slice(bytes).unwrap_or_default();
    check(&file.model.vocab.0, file.added_tokens.iter().map(|added| (added.content.as_str(), added.id)))?;
    Ok(match (file.model.unk_token, file.model.unk_id) {
        (Some(token), _) => Unknown::Token(token),
        (None, Some(id)) => Unknown::Id(id),
        (None, None) => Unknown::None,
    })
}

fn check<'a>(vocab: &'a [(String, u32)], added: impl Iterator<Item = (&'a str, u32)>) -> Result<(), String> {
    let (mut tokens, mut ids) = (HashMap::new(), HashMap::new());
    for (token, id) in vocab {
        if let Some(other) = ids.insert(token.as_str(), *id).filter(|other| other != id) {
            return Err(format!("the token {token:?} has two ids, {other} and {id}: one of the entries is wrong"));
        }
    }
    for (token, id) in vocab.iter().map(|(token, id)| (token.as_str(), *id)).chain(added) {
        if let Some(other) = tokens.insert(id, token).filter(|other| *other != token) {
            return Err(format!("two tokens have the id {id}, {other:?} and {token:?}: each needs an id of its own"));
        }
    }
    Ok(())
}
