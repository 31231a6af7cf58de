//! Tokenizers of older GPT-2 checkpoints: vocab.json and merges.txt in place of one tokenizer.json.
//!
//! ```text
//! vocab.json   {"!": 0, …, "<|endoftext|>": 50256}
//! merges.txt   #version: 0.2, then a pair a line, the first to be merged first: "Ġ t"
//! ```
//!
//! What the two do not say is as `GPT2Tokenizer` of transformers has it: pairs of bytes, no space before a text, and
//! `<|endoftext|>` for the special tokens that tokenizer_config.json and special_tokens_map.json leave out. Tokens that
//! the vocabulary lacks follow it: those of `added_tokens_decoder` in tokenizer_config.json, or else of
//! added_tokens.json, by their ids, then the special tokens that are not among them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;

use super::Error;
use crate::{encoding, json};

/// The file that stands for the pair of them.
pub const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

const END_OF_TEXT: &str = "<|endoftext|>";
/// Special tokens in the order in which they get ids, and those that are [`END_OF_TEXT`] unless said otherwise.
const ROLES: [(&str, Option<&str>); 7] = [
    ("bos_token", Some(END_OF_TEXT)),
    ("eos_token", Some(END_OF_TEXT)),
    ("unk_token", Some(END_OF_TEXT)),
    ("sep_token", None),
    ("pad_token", None),
    ("cls_token", None),
    ("mask_token", None),
];
const MORE_SPECIAL: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// The tokenizer of the vocab.json at `path` and the files beside it.
///
/// # Errors
/// A file is missing or malformed, or the files disagree; the message names the file.
pub(super) fn load(path: &Path) -> Result<tokenizers::Tokenizer, Error> {
    let vocab: Vocab = read_json::<HashMap<String, u32>>(path)?.into_iter().collect();
    let ids: HashSet<u32> = vocab.values().copied().collect();
    if ids.len() < vocab.len() {
        return Err(Error::BytePairs { path: path.into(), fault: shared_id(&vocab) });
    }
    let merges = read_merges(&path.with_file_name(MERGES), &vocab)?;
    let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(Error::engine("build its model"))?;
    let settings = Settings::read(path)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(settings.flag("add_prefix_space")?, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    add_tokens(&mut tokenizer, &settings, &ids)?;
    if settings.flag("add_bos_token")? {
        let template = begin_with(&settings, &tokenizer)?;
        tokenizer.with_post_processor(Some(template));
    }
    Ok(tokenizer)
}

fn fault(path: &Path, fault: String) -> Error {
    Error::BytePairs { path: path.into(), fault }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    encoding::read_text(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let value = json::parse(&read(path)?).and_then(serde_json::from_value);
    value.map_err(|error| fault(path, format!("not what it should hold: {error}")))
}

/// The object in a file that may be missing.
fn read_optional(path: &Path) -> Result<Map<String, Value>, Error> {
    if path.exists() { read_json(path) } else { Ok(Map::new()) }
}

/// What is wrong with a vocabulary in which tokens share an id.
fn shared_id(vocab: &Vocab) -> String {
    let mut tokens: Vec<(u32, &String)> = vocab.iter().map(|(token, id)| (*id, token)).collect();
    tokens.sort();
    let pair = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0);
    pair.map_or_else(String::new, |pair| format!("{:?} and {:?} have the same id {}", pair[0].1, pair[1].1, pair[0].0))
}

fn read_merges(path: &Path, vocab: &Vocab) -> Result<Merges, Error> {
    let text = String::from_utf8(read(path)?).map_err(|error| fault(path, format!("not UTF-8: {error}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let refuse = |what: String| fault(path, format!("line {}: {what}", number + 1));
            let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
                return Err(refuse(format!("{line:?} is not two tokens with a space between them")));
            };
            let merged = format!("{left}{right}");
            match [left, right, &merged].into_iter().find(|token| !vocab.contains_key(*token)) {
                Some(token) => Err(refuse(format!("{line:?} needs the token {token:?}, which {VOCAB} does not have"))),
                None => Ok((left.to_owned(), right.to_owned())),
            }
        })
        .collect()
}

/// What tokenizer_config.json and special_tokens_map.json say.
struct Settings {
    config_path: PathBuf,
    config: Map<String, Value>,
    map_path: PathBuf,
    map: Map<String, Value>,
}

impl Settings {
    fn read(vocab: &Path) -> Result<Self, Error> {
        let (config_path, map_path) = (vocab.with_file_name(CONFIG), vocab.with_file_name(SPECIAL_MAP));
        let config = read_optional(&config_path)?;
        // Newer writers say everything in one file, and the reference then reads no other.
        let map = if config.contains_key(LISTED) { Map::new() } else { read_optional(&map_path)? };
        Ok(Self { config_path, config, map_path, map })
    }

    /// The value of a key, and the file it is in.
    fn get(&self, key: &str) -> Option<(&Path, &Value)> {
        let of_map = self.map.get(key).map(|value| (self.map_path.as_path(), value));
        of_map.or_else(|| self.config.get(key).map(|value| (self.config_path.as_path(), value)))
    }

    fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None | Some((_, Value::Null)) => Ok(false),
            Some((path, value)) => typed(path, key, value),
        }
    }

    /// The special token of a role, where there is one.
    fn role(&self, key: &str, usual: Option<&str>) -> Result<Option<AddedToken>, Error> {
        match self.get(key) {
            None => Ok(usual.map(|content| AddedToken::from(content, true))),
            Some((_, Value::Null)) => Ok(None),
            Some((path, value)) => Ok(Some(typed::<Spelled>(path, key, value)?.special())),
        }
    }

    /// Every special token, in the order in which they get ids.
    fn special(&self) -> Result<Vec<AddedToken>, Error> {
        let mut special = Vec::new();
        for (key, usual) in ROLES {
            special.extend(self.role(key, usual)?);
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

/// Adds the tokens beside the pairs; `ids` are the vocabulary's.
fn add_tokens(tokenizer: &mut tokenizers::Tokenizer, settings: &Settings, ids: &HashSet<u32>) -> Result<(), Error> {
    let (path, listed) = settings.listed()?;
    let special = settings.special()?;
    let is_special = |token: &AddedToken| special.iter().any(|special| special.content == token.content);
    let wanted: Vec<u32> = listed.keys().copied().collect();
    let mut tokens: Vec<AddedToken> = listed.into_values().collect();
    tokens.iter_mut().filter(|token| is_special(token)).for_each(|token| token.special = true);
    for token in special {
        if tokens.iter().all(|known| known.content != token.content) {
            tokens.push(token);
        }
    }
    let new: Vec<bool> = tokens.iter().map(|token| tokenizer.token_to_id(&token.content).is_none()).collect();
    tokenizer.add_tokens(&tokens);
    for (i, token) in tokens.iter().enumerate() {
        let Some(id) = tokenizer.token_to_id(&token.content) else { continue };
        let content = &token.content;
        if let Some(wanted) = wanted.get(i).filter(|wanted| **wanted != id) {
            let fault = format!("{content:?} is to have id {wanted}, but it gets id {id}, the next after {VOCAB}'s");
            return Err(Error::BytePairs { path, fault });
        }
        if new[i] && ids.contains(&id) {
            let path = path.with_file_name(VOCAB);
            return Err(fault(&path, format!("its ids have gaps, so {content:?} cannot be added after them")));
        }
    }
    Ok(())
}

/// Puts the token that begins a text before every text.
fn begin_with(settings: &Settings, tokenizer: &tokenizers::Tokenizer) -> Result<TemplateProcessing, Error> {
    let token = settings.role("bos_token", Some(END_OF_TEXT))?.map(|token| token.content);
    let refuse = |detail: String| Error::Engine { action: "build its post-processor", detail };
    let Some((token, id)) = token.and_then(|token| tokenizer.token_to_id(&token).map(|id| (token, id))) else {
        return Err(fault(&settings.config_path, "`add_bos_token` is true, but there is no `bos_token`".into()));
    };
    let template = TemplateProcessing::builder()
        .try_single(vec![token.clone(), "$A".into()])
        .map_err(refuse)?
        .try_pair(vec![token.clone(), "$A".into(), format!("{token}:1"), "$B:1".into()])
        .map_err(refuse)?
        .special_tokens(vec![(token, id)])
        .build();
    template.map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::text::{Kind, Purpose, Tokenizer, TrainOptions};

    const TRICKY: [&str; 9] = [
        "the cats' dogs don't, I'll say we've",
        "  two  spaces,   three and a tail   ",
        "\n\nlines\r\nand\ttabs \n",
        "1234567890 3.14159 1,000,000",
        "👩‍👩‍👧 emoji 🎉🎉 naïve café ½",
        "日本語 العربية нет",
        "a\u{0}b\u{85}c\u{a0}d\u{feff}e",
        "<|endoftext|>the end<pad> <unk></s>",
        "",
    ];

    /// A byte-level tokenizer, and its files in a directory as older writers left them.
    fn split() -> (Tokenizer, tempfile::TempDir) {
        let text = ["the cat and the dogs don't", "naïve café 🎉 12345", "  spaces  and\nlines"].repeat(8);
        let lines = text.iter().map(|line| Ok((*line).to_owned()));
        let options = TrainOptions {
            kind: Kind::ByteLevelBpe,
            purpose: Purpose::Causal,
            vocab_size: 330,
            ..TrainOptions::default()
        };
        let tokenizer = Tokenizer::train::<Error>(lines, &options).unwrap();
        let whole: Value = serde_json::from_slice(&tokenizer.to_json_bytes().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let pair = |merge: &Value| -> String {
            merge.as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let merges: Vec<String> = whole["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
        write(&directory, VOCAB, &whole["model"]["vocab"].to_string());
        write(&directory, MERGES, &format!("#version: 0.2\n{}\n", merges.join("\n")));
        let unk = json!({"content": "<unk>", "lstrip": false});
        let special = json!({"pad_token": "<pad>", "bos_token": null, "unk_token": unk, "eos_token": "</s>"});
        write(&directory, SPECIAL_MAP, &special.to_string());
        (tokenizer, directory)
    }

    fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
        fs::write(directory.path().join(name), text).unwrap();
    }

    fn load(directory: &tempfile::TempDir) -> Result<Tokenizer, Error> {
        Tokenizer::load(directory.path().join(VOCAB))
    }

    #[test]
    fn the_two_files_give_the_ids_of_the_one() {
        let (whole, directory) = split();
        let found = load(&directory).unwrap();
        assert!(found.vocab_size() > 280, "pairs were learned");
        for text in TRICKY {
            let ids = whole.encode_ids(text, true).unwrap();
            assert_eq!(found.encode_ids(text, true).unwrap(), ids, "{text:?}");
            assert_eq!(found.decode(&ids, false).unwrap(), text);
        }
        // Saved again, they are one file.
        let again = Tokenizer::from_json_bytes(&found.to_json_bytes().unwrap()).unwrap();
        TRICKY.iter().for_each(|text| {
            assert_eq!(again.encode(text, true).unwrap(), found.encode(text, true).unwrap(), "{text:?}");
        });
    }

    #[test]
    fn tokens_beside_the_vocabulary_follow_it_as_in_transformers() {
        let (whole, directory) = split();
        let size = whole.vocab_size() as u32;
        let ids = |text: &str| load(&directory).unwrap().encode_ids(text, true).unwrap();
        fs::remove_file(directory.path().join(SPECIAL_MAP)).unwrap();
        assert_eq!(ids("<|endoftext|>"), [size], "the usual token, where no file says otherwise");
        write(&directory, ADDED, &json!({"<|y|>": size + 1, "<|x|>": size}).to_string());
        assert_eq!(ids("<|y|><|x|><|endoftext|>"), [size + 1, size, size + 2]);
        let decoder = json!({size.to_string(): {"content": "<|z|>", "lstrip": true, "special": false}});
        let config = json!({"added_tokens_decoder": decoder, "add_bos_token": true, "add_prefix_space": true});
        write(&directory, CONFIG, &config.to_string());
        assert_eq!(ids("  <|z|>"), [size + 1, size], "the only list, with the spaces before its token");
        assert_eq!(ids("cat")[1..], whole.encode_ids(" cat", true).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        let (_, directory) = split();
        let refuse = |name: &str, text: &str, expected: &str| {
            let before = fs::read(directory.path().join(name)).ok();
            write(&directory, name, text);
            let message = load(&directory).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(expected), "{message}");
            match before {
                Some(before) => fs::write(directory.path().join(name), before).unwrap(),
                None => fs::remove_file(directory.path().join(name)).unwrap(),
            }
        };
        let merges = fs::read_to_string(directory.path().join(MERGES)).unwrap();
        let start: String = merges.lines().take(2).map(|line| format!("{line}\n")).collect();
        refuse(MERGES, &format!("{start}t\n"), "line 3: \"t\" is not two tokens");
        refuse(MERGES, "t h e\n", "line 1: \"t h e\" is not two tokens");
        refuse(MERGES, "t q\n", "line 1: \"t q\" needs the token \"tq\", which vocab.json does not have");
        refuse(VOCAB, "[]", "not what it should hold");
        refuse(VOCAB, "{\"a\": -1}", "not what it should hold");
        refuse(VOCAB, "{\"b\": 0, \"a\": 1, \"c\": 1}", "\"a\" and \"c\" have the same id 1");
        refuse(ADDED, "{\"<|x|>\": 9999}", "\"<|x|>\" is to have id 9999, but it gets id");
        refuse(CONFIG, "{\"add_prefix_space\": 1}", "key `add_prefix_space`");
        refuse(CONFIG, "{\"add_bos_token\": true}", "there is no `bos_token`");
        refuse(SPECIAL_MAP, "{\"pad_token\": 3}", "key `pad_token`");
        fs::remove_file(directory.path().join(MERGES)).unwrap();
        assert!(load(&directory).unwrap_err().to_string().contains("merges.txt: cannot read the tokenizer"));
    }
}
