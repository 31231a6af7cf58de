//! The tokenizer of a file: the keys `tokenizer.*`, and what tokenizer.json and tokenizer_config.json are to say of them.

use serde_json::{Map, Value as Json, json};

use super::{Gguf, Value};
use crate::hub::Error;
use crate::hub::tokenizer_config::TokenizerConfig;
use crate::text::SpecialIds;
use crate::text::vocabulary_files::gguf::{self, Model};

const MODEL: &str = "tokenizer.ggml.model";
const WORDS: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";
/// Tokens that end what a model says, beside the one that ends a text.
const MORE_ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// The `tokenizer.ggml.model` of SentencePiece.
const SENTENCE_PIECE: &str = "llama";
/// The one of pairs of bytes.
const BYTE_PAIRS: &str = "gpt2";
/// Rules for words whose tokenizers begin a text with a token, where no key says it.
const WITH_BOS: [&str; 4] = ["llama-bpe", "llama3", "llama-v3", "tekken"];

/// The special tokens that a file names. Those that it leaves open are as llama.cpp has them for the kind of tokenizer.
///
/// # Errors
/// An id that no token has.
pub fn special_ids(file: &Gguf) -> Result<SpecialIds, Error> {
    let tokens = match file.value(TOKENS) {
        Some(Value::List(list)) => list.len(),
        _ => 0,
    };
    let is_pieces = file.text(MODEL)? == Some(SENTENCE_PIECE);
    let id = |role: &str, usual: u32| -> Result<Option<u32>, Error> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        match file.id(&key)? {
            Some(id) if id as usize >= tokens => Err(file.wrong(&key, format!("the id of one of {tokens} tokens"))),
            id => Ok(id.or((is_pieces && (usual as usize) < tokens).then_some(usual))),
        }
    };
    let (unk, bos, eos) = (id("unknown", 0)?, id("bos", 1)?, id("eos", 2)?);
    Ok(SpecialIds { unk, bos, eos, pad: id("padding", u32::MAX)?, ..SpecialIds::default() })
}

/// A tokenizer as the files of a directory have it.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The bytes of tokenizer.json.
    pub(super) tokenizer_json: Vec<u8>,
    /// The tokens that end what a model says.
    pub(super) eos_ids: Vec<u32>,
    /// What the user should know, one sentence each.
    pub(super) notes: Vec<String>,
    /// The special tokens, by their text: padding, end, beginning, unknown.
    special: [Option<String>; 4],
    add_bos: bool,
    add_eos: bool,
    chat_template: Option<String>,
}

impl Vocabulary {
    /// Reads the tokenizer of a model whose table has so many rows.
    ///
    /// # Errors
    /// A key is missing or has a value that cannot be; the kind of tokenizer or its rule for words is not known here; there
    /// are more tokens than rows.
    pub(super) fn read(file: &Gguf, rows: usize) -> Result<Self, Error> {
        let kind = file.required(MODEL, file.text(MODEL)?)?;
        if ![SENTENCE_PIECE, BYTE_PAIRS].contains(&kind) {
            return Err(file.wrong(MODEL, format!("{BYTE_PAIRS:?} or {SENTENCE_PIECE:?}")));
        }
        let tokens = file.required(TOKENS, file.list(TOKENS, "a list of texts", Value::text)?)?;
        if tokens.len() > rows {
            return Err(file.wrong(TOKENS, format!("at most {rows}, the rows of the embedding table")));
        }
        let ids = special_ids(file)?;
        let (named, mut notes) = (file.text(WORDS)?, Vec::new());
        let words = named.unwrap_or("gpt-2");
        if named.is_none() && kind == BYTE_PAIRS {
            let path = file.path().display();
            notes.push(format!("{path}: no `{WORDS}` says how text is cut into words: they are cut as GPT-2's"));
        }
        let add_bos = file.flag(ADD_BOS)?.unwrap_or(kind == SENTENCE_PIECE || WITH_BOS.contains(&words));
        let add_eos = file.flag(ADD_EOS)?.unwrap_or(false);
        let token = |id: Option<u32>| id.and_then(|id| tokens.get(id as usize).copied());
        let vocabulary = gguf::Vocabulary {
            types: types(file, tokens.len())?,
            model: model(file, kind, words, ids)?,
            special: [ids.unk, ids.bos, ids.eos, ids.pad].into_iter().flatten().collect(),
            bos: token(ids.bos).filter(|_| add_bos),
            eos: token(ids.eos).filter(|_| add_eos),
            tokens: tokens.clone(),
        };
        let refuse = |fault| Error::Gguf { path: file.path().to_path_buf(), fault };
        let tokenizer_json = vocabulary.to_json_bytes().map_err(refuse)?;
        let mut eos_ids: Vec<u32> = ids.eos.into_iter().collect();
        for key in MORE_ENDS {
            eos_ids.extend(file.id(key)?.filter(|id| (*id as usize) < tokens.len() && !eos_ids.contains(id)));
        }
        let special = [ids.pad, ids.eos, ids.bos, ids.unk].map(|id| token(id).map(str::to_owned));
        let chat_template = file.text(CHAT_TEMPLATE)?.map(str::to_owned);
        let (add_bos, add_eos) = (add_bos && ids.bos.is_some(), add_eos && ids.eos.is_some());
        Ok(Self { tokenizer_json, eos_ids, notes, special, add_bos, add_eos, chat_template })
    }

    /// The object that tokenizer_config.json is to hold.
    pub(super) fn tokenizer_config(&self, model_max_length: usize) -> Map<String, Json> {
        let [pad_token, eos_token, bos_token, unk_token] = self.special.clone();
        let config = TokenizerConfig {
            model_max_length,
            pad_token,
            eos_token,
            bos_token,
            unk_token,
            cls_token: None,
            sep_token: None,
            mask_token: None,
            has_token_types: false,
        };
        let mut object = config.to_json();
        object.insert("add_bos_token".into(), json!(self.add_bos));
        object.insert("add_eos_token".into(), json!(self.add_eos));
        if let Some(template) = &self.chat_template {
            object.insert("chat_template".into(), json!(template));
        }
        object
    }
}

/// The numbers of the tokens' types; where there are none, all tokens are normal.
fn types(file: &Gguf, tokens: usize) -> Result<Vec<i64>, Error> {
    let number = |value: Value<'_>| value.real().map(|number| number as i64);
    let types = file.list(TYPES, "a list of whole numbers", number)?.unwrap_or_else(|| vec![1; tokens]);
    if types.len() != tokens {
        return Err(file.wrong(TYPES, format!("a list of {tokens}, one for each token")));
    }
    Ok(types)
}

fn model<'f>(file: &'f Gguf, kind: &str, words: &'f str, ids: SpecialIds) -> Result<Model<'f>, Error> {
    if kind == BYTE_PAIRS {
        let merges = file.required(MERGES, file.list(MERGES, "a list of texts", Value::text)?)?;
        return Ok(Model::BytePairs { merges, words });
    }
    let scores = file.required(SCORES, file.list(SCORES, "a list of numbers", Value::real)?)?;
    let space_prefix = file.flag(SPACE_PREFIX)?.unwrap_or(true);
    Ok(Model::SentencePiece { scores, unk: ids.unk.unwrap_or(0), space_prefix })
}
