//! What tokenizer_config.json, special_tokens_map.json and added_tokens.json say beside a vocabulary.
//!
//! Tokens that the vocabulary lacks follow it: those of `added_tokens_decoder` in tokenizer_config.json, or else of
//! added_tokens.json, by their ids, then the special tokens that are not among them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::class::{Class, ROLES};
use super::{fault, read_json};
use crate::text::Error;

pub(super) const CONFIG: &str = "tokenizer_config.json";
const MODEL_CONFIG: &str = "config.json";
const SPECIAL_MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const MORE_SPECIAL: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// The object in a file that may be missing.
fn read_optional(path: &Path) -> Result<Map<String, Value>, Error> {
    if path.exists() { read_json(path) } else { Ok(Map::new()) }
}

/// What the files beside a vocabulary say.
pub(super) struct Settings {
    /// The class that they name, if it is known.
    pub(super) class: Option<Class>,
    pub(super) config_path: PathBuf,
    config: Map<String, Value>,
    map_path: PathBuf,
    map: Map<String, Value>,
}

impl Settings {
    /// Reads the files beside `vocab`.
    pub(super) fn read(vocab: &Path) -> Result<Self, Error> {
        let (config_path, map_path) = (vocab.with_file_name(CONFIG), vocab.with_file_name(SPECIAL_MAP));
        let config = read_optional(&config_path)?;
        let class = Class::of(&config, &read_optional(&vocab.with_file_name(MODEL_CONFIG))?);
        // Newer writers say everything in one file, and the reference then reads no other.
        let map = if config.contains_key(LISTED) { Map::new() } else { read_optional(&map_path)? };
        Ok(Self { class, config_path, config, map_path, map })
    }

    /// The value of a key, and the file it is in.
    fn get(&self, key: &str) -> Option<(&Path, &Value)> {
        let of_map = self.map.get(key).map(|value| (self.map_path.as_path(), value));
        of_map.or_else(|| self.config.get(key).map(|value| (self.config_path.as_path(), value)))
    }

    /// A setting that is true or false; `None` where no file has it.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.value(key)
    }

    /// A setting; `None` where no file has it.
    pub(super) fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.get(key) {
            None | Some((_, Value::Null)) => Ok(None),
            Some((path, value)) => typed(path, key, value).map(Some),
        }
    }

    /// The special token of a role, where there is one.
    fn role(&self, role: &str, usual: impl Fn(&str) -> Option<String>) -> Result<Option<AddedToken>, Error> {
        let key = &format!("{role}_token");
        match self.get(key) {
            None => Ok(usual(role).map(|content| AddedToken::from(content, true))),
            Some((_, Value::Null)) => Ok(None),
            Some((path, value)) => Ok(Some(typed::<Spelled>(path, key, value)?.special())),
        }
    }

    /// The text of the token of a role, which the tokenizer cannot be without.
    pub(super) fn required(&self, role: &str, usual: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
        let missing = || fault(&self.config_path, format!("`{role}_token` is null, and the tokenizer needs one"));
        self.role(role, usual)?.map(|token| token.content).ok_or_else(missing)
    }

    /// Every special token, in the order in which they get ids; `usual` names the token of a role that no file names.
    fn special(&self, usual: impl Fn(&str) -> Option<String>) -> Result<Vec<AddedToken>, Error> {
        let mut special = Vec::new();
        for role in ROLES {
            special.extend(self.role(role, &usual)?);
        }
        for key in MORE_SPECIAL {
            if let Some((path, value)) = self.get(key).filter(|(_, value)| !value.is_null()) {
                special.extend(typed::<Vec<Spelled>>(path, key, value)?.into_iter().map(Spelled::special));
            }
        }
        Ok(special)
    }

    /// Tokens that a file lists with their ids, by their ids, and the file.
    fn listed(&self) -> Result<(PathBuf, BTreeMap<u32, AddedToken>), Error> {
        if let Some(listed) = self.config.get(LISTED) {
            let listed: BTreeMap<u32, Described> = typed(&self.config_path, LISTED, listed)?;
            let tokens = listed.into_iter().map(|(id, token)| (id, token.into())).collect();
            return Ok((self.config_path.clone(), tokens));
        }
        let path = self.config_path.with_file_name(ADDED);
        let listed: HashMap<String, u32> = if path.exists() { read_json(&path)? } else { HashMap::new() };
        Ok((path, listed.into_iter().map(|(content, id)| (id, AddedToken::from(content, false))).collect()))
    }
}

/// The key of tokenizer_config.json that lists added tokens.
const LISTED: &str = "added_tokens_decoder";

/// A special token in a file: its text, or an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Object(Described),
}

#[derive(Deserialize)]
struct Described {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Spelled {
    fn special(self) -> AddedToken {
        match self {
            Spelled::Text(content) => AddedToken::from(content, true),
            Spelled::Object(token) => Described { special: true, ..token }.into(),
        }
    }
}

impl From<Described> for AddedToken {
    fn from(token: Described) -> Self {
        AddedToken::from(token.content, token.special)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .normalized(token.normalized.unwrap_or(!token.special))
    }
}

fn typed<T: DeserializeOwned>(path: &Path, key: &str, value: &Value) -> Result<T, Error> {
    T::deserialize(value).map_err(|error| fault(path, format!("key `{key}`: {error}")))
}

/// What is added beside the tokens that files list.
#[derive(Default)]
pub(super) struct Added {
    /// Tokens that the vocabulary marks itself.
    pub(super) tokens: Vec<AddedToken>,
    /// Whether listed tokens are found in the text before it is normalised, whatever the list says.
    pub(super) raw: bool,
}

/// Adds the tokens beside the vocabulary in `vocab`. `usual` names the token of a role that no file names.
pub(super) fn add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    vocab: &Path,
    settings: &Settings,
    added: Added,
    usual: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let ids: HashSet<u32> = tokenizer.get_vocab(false).into_values().collect();
    let (path, listed) = settings.listed()?;
    let special = settings.special(usual)?;
    let is_special = |token: &AddedToken| special.iter().any(|special| special.content == token.content);
    let wanted: Vec<u32> = listed.keys().copied().collect();
    let mut tokens: Vec<AddedToken> = listed.into_values().collect();
    tokens.iter_mut().filter(|token| is_special(token)).for_each(|token| token.special = true);
    tokens.iter_mut().filter(|_| added.raw).for_each(|token| token.normalized = false);
    for token in special.into_iter().chain(added.tokens) {
        if tokens.iter().all(|known| known.content != token.content) {
            tokens.push(token);
        }
    }
    let new: Vec<bool> = tokens.iter().map(|token| tokenizer.token_to_id(&token.content).is_none()).collect();
    tokenizer.add_tokens(&tokens);
    let name = vocab.file_name().unwrap_or_default().to_string_lossy();
    for (i, token) in tokens.iter().enumerate() {
        let Some(id) = tokenizer.token_to_id(&token.content) else { continue };
        let content = &token.content;
        if let Some(wanted) = wanted.get(i).filter(|wanted| **wanted != id) {
            let how = if new[i] {
                format!("it gets id {id}, the next after {name}'s")
            } else {
                format!("{name} has it as {id}")
            };
            return Err(fault(&path, format!("{content:?} is to have id {wanted}, but {how}")));
        }
        if new[i] && ids.contains(&id) {
            return Err(fault(vocab, format!("its ids have gaps, so {content:?} cannot be added after them")));
        }
    }
    Ok(())
}
