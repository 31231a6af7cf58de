//! A tokenizer as the rest of the program sees it: text in, ids, pieces and byte offsets out.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;
use tokenizers::AddedToken;

use super::affixes::Affixes;
use super::guard::{guard, guarded};
use super::roles::{Roles, SpecialIds, TargetStart};
use super::saved::{Sections, TARGET_FILE};
use super::stream::after_common_prefix;
use super::vocabulary::Unknown;
use super::vocabulary_files::marian;
use super::{Error, vocabulary, vocabulary_files};
use crate::encoding;
use crate::models::config::LARGEST_SIZE;

/// One tokenised text. The three lists have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The vocabulary's spelling of each id (`▁Haus`, `Ġhouse`, `##ing`).
    pub tokens: Vec<String>,
    /// Where each token comes from: bytes `start..end` of the original text. Tokens that were added
    /// around the text, such as `</s>`, have `(0, 0)`.
    pub offsets: Vec<(usize, usize)>,
}

/// A tokenizer with its vocabulary. Cheap to share by reference between threads.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) affixes: Affixes,
    /// The token that the model of the file has for what its vocabulary lacks.
    pub(super) unknown: Option<u32>,
    roles: Roles,
    /// Rows of the model's table, where the vocabulary has ids beyond them.
    rows: Option<usize>,
    /// What a file says of truncation and padding: it is kept, and nothing obeys it.
    pub(super) sections: Sections,
    /// Whether the vocabulary has pieces that only another tokenizer finds.
    has_foreign: bool,
    /// The tokenizer of targets, where they have one of their own; its ids mean the same.
    pub(super) of_target: Option<Box<Tokenizer>>,
}

/// Refuses ids beyond the rows of any model's table: lists as long as the largest id are made later.
fn check_largest(inner: &tokenizers::Tokenizer) -> Result<(), String> {
    match inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id) {
        Some((token, id)) if id as usize >= LARGEST_SIZE => {
            Err(format!("the token {token:?} has the id {id}, expected an id below {LARGEST_SIZE}"))
        }
        _ => Ok(()),
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, or the vocabulary of a tokenizer that has none with the files beside it:
    /// [`vocabulary_files`] lists them.
    ///
    /// Truncation and padding stored in the file are kept, and ignored: lengths are decided, and what is cut is
    /// counted, where batches are made. Beside a `tokenizer.json` may be that of targets ([`TARGET_FILE`]).
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::NotATokenizer`] if its content is
    /// anything else; both name the file. [`Error::Vocabulary`] for another vocabulary and the files beside it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if vocabulary_files::is_one(path) {
            let read = vocabulary_files::load(path)?;
            let of = |(inner, unknown): (tokenizers::Tokenizer, Unknown)| {
                check_largest(&inner).map_err(|fault| Error::Vocabulary { path: path.into(), fault })?;
                Self::of(inner, &unknown, Sections::default())
            };
            let of_target = read.of_target.map(of).transpose()?.map(Box::new);
            return Ok(Tokenizer { of_target, ..of(read.tokenizer)? });
        }
        let read = |path: &Path| {
            let bytes = encoding::read_text(path).map_err(|source| Error::Read { path: path.into(), source })?;
            Self::parse(&bytes, &path.display().to_string())
        };
        let tokenizer = read(path)?;
        let target = path.with_file_name(TARGET_FILE);
        let has_target = tokenizer.has_foreign && target != path && target.exists();
        let of_target = if has_target { Some(Box::new(read(&target)?)) } else { None };
        Ok(Tokenizer { of_target, ..tokenizer })
    }

    /// The tokenizer described by the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::NotATokenizer`].
    pub fn from_json_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(bytes, "memory")
    }

    fn parse(bytes: &[u8], origin: &str) -> Result<Self, Error> {
        let refuse = |detail: String| Error::NotATokenizer { origin: origin.into(), detail };
        if bytes.is_empty() {
            return Err(refuse("it is empty".into()));
        }
        // The crate panics where the text of a part ends too early.
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            return Err(refuse(format!("not JSON: {error}")));
        }
        let unknown = vocabulary::read(bytes).map_err(refuse)?;
        let read = || -> tokenizers::Result<_> {
            let mut inner = tokenizers::Tokenizer::from_bytes(bytes)?;
            let sections =
                Sections { truncation: inner.get_truncation().cloned(), padding: inner.get_padding().cloned() };
            inner.with_padding(None);
            inner.with_truncation(None)?;
            Ok((inner, sections))
        };
        let (inner, sections) = match guard(read) {
            Ok(read) => read.map_err(|error| refuse(error.to_string()))?,
            Err(panic) => return Err(refuse(format!("its parts contradict each other: {panic}"))),
        };
        check_largest(&inner).map_err(refuse)?;
        Self::of(inner, &unknown, sections)
    }

    fn of(inner: tokenizers::Tokenizer, unknown: &Unknown, sections: Sections) -> Result<Self, Error> {
        let unknown = match unknown {
            Unknown::Token(token) => inner.token_to_id(token),
            Unknown::Id(id) => Some(*id),
            Unknown::None => None,
        };
        let named = SpecialIds::by_usual_names(&inner);
        let special = SpecialIds { unk: unknown.or(named.unk), ..named };
        let roles = Roles { special, target_start: TargetStart::AsSource };
        let (affixes, has_foreign) = (Affixes::of(inner.get_post_processor())?, marian::has_foreign(&inner));
        Ok(Tokenizer { affixes, unknown, inner, roles, rows: None, sections, has_foreign, of_target: None })
    }

    /// The same tokenizer for a model whose table has so many rows: a text with a token that has none is refused.
    #[must_use]
    pub fn for_table(self, rows: usize) -> Self {
        let too_many = (self.vocab_size() > rows).then_some(rows);
        let of_target = self.of_target.map(|target| Box::new(target.for_table(rows)));
        Tokenizer { rows: too_many, of_target, ..self }
    }

    pub(super) fn check_rows(&self, ids: &[u32]) -> Result<(), Error> {
        let Some(rows) = self.rows else { return Ok(()) };
        match ids.iter().find(|&&id| id as usize >= rows) {
            Some(&id) => Err(Error::NoRow { token: self.id_to_token(id).unwrap_or_default(), id, rows }),
            None => Ok(()),
        }
    }

    /// The content of the `tokenizer_config.json` with which `transformers.AutoTokenizer` opens the
    /// directory. `model_max_length` is in tokens.
    pub fn config_json(&self, model_max_length: usize) -> serde_json::Value {
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "model_max_length": model_max_length,
        });
        for (role, id) in self.special().named() {
            if let Some(token) = id.and_then(|id| self.id_to_token(id)) {
                config[format!("{role}_token")] = token.into();
            }
        }
        config
    }

    /// Tokenises a text; `add_special` adds what the post-processor has, such as the final `</s>`.
    ///
    /// # Errors
    /// [`Error::Engine`], for instance a character outside a vocabulary that has no unknown token; [`Error::NoRow`].
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Encoding, Error> {
        let encoding = guarded("encode a text", || self.inner.encode(text, add_special))?;
        let ids = self.ids_of(&encoding);
        self.check_rows(&ids)?;
        Ok(Encoding { ids, tokens: encoding.get_tokens().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// [`encode`](Self::encode) of every text, in parallel; the results are in the order of the texts.
    ///
    /// # Errors
    /// As `encode`.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S], add_special: bool) -> Result<Vec<Encoding>, Error> {
        texts.par_iter().map(|text| self.encode(text.as_ref(), add_special)).collect()
    }

    /// Only the ids of a text: what training needs, without the cost of tracking offsets.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        if self.has_foreign {
            return Ok(self.encode(text, add_special)?.ids);
        }
        let encoding = guarded("encode a text", || self.inner.encode_fast(text, add_special))?;
        self.check_rows(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of an encoding. What this tokenizer has no piece for may be a piece of the other one.
    pub(super) fn ids_of(&self, encoding: &tokenizers::Encoding) -> Vec<u32> {
        let known = |id: u32, token: &str| match self.unknown {
            Some(unknown) if self.has_foreign && id == unknown => {
                self.inner.token_to_id(&marian::foreign(token)).unwrap_or(id)
            }
            _ => id,
        };
        encoding.get_ids().iter().zip(encoding.get_tokens()).map(|(&id, token)| known(id, token)).collect()
    }

    /// The text of a sequence of ids. Ids outside the vocabulary contribute nothing, as in Hugging
    /// Face's libraries: models may have more rows than their tokenizer has tokens.
    ///
    /// # Errors
    /// [`Error::Engine`] from the tokenizer's decoder.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        guarded("decode ids", || self.inner.decode(ids, skip_special))
    }

    /// What each id adds to the decoded text, for showing tokens to people and for streaming:
    /// the pieces concatenate to [`decode`](Self::decode) of the whole. A character spread over several
    /// byte tokens appears with its last one. (A decoder that rewrites text already produced, as
    /// WordPiece's clean-up of spaces does, may leave a space that `decode` removes.)
    ///
    /// # Errors
    /// As `decode`.
    pub fn decode_pieces(&self, ids: &[u32], skip_special: bool) -> Result<Vec<String>, Error> {
        let mut pieces = vec![String::new(); ids.len()];
        // `context` is the start of the last ids that produced text; decoding from there gives the
        // next ids the neighbour they need (a space is only written between words).
        let (mut context, mut unwritten, mut before) = (0, 0, String::new());
        for at in 0..ids.len() {
            let text = self.decode(&ids[context..=at], skip_special)?;
            let incomplete = text.ends_with(char::REPLACEMENT_CHARACTER) && at + 1 < ids.len();
            if text.len() <= before.len() || incomplete {
                continue;
            }
            pieces[at] = after_common_prefix(&before, &text).to_owned();
            (context, unwritten) = (unwritten, at + 1);
            before = self.decode(&ids[context..=at], skip_special)?;
        }
        Ok(pieces)
    }

    /// The smallest embedding table this tokenizer can be used with: one row for every id up to the largest.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The first id that no token has though a larger one is in use.
    pub fn first_gap(&self) -> Option<u32> {
        let ids: BTreeSet<u32> = self.inner.get_vocab(true).into_values().collect();
        ids.iter().zip(0..).find(|(id, expected)| **id != *expected).map(|(_, expected)| expected)
    }

    /// The id of a token of the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        let foreign = || self.inner.token_to_id(&marian::foreign(token)).filter(|_| self.has_foreign);
        self.inner.token_to_id(token).or_else(foreign)
    }

    /// The vocabulary's spelling of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id).map(marian::spelled)
    }

    /// Whether an id is that of a token which was added to the vocabulary, as special ones are.
    pub fn is_added(&self, id: u32) -> bool {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// The ids of its special tokens.
    pub fn special(&self) -> SpecialIds {
        self.roles.special
    }

    /// All roles of its tokens.
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// The same tokenizer, its tokens with the roles that a model declares.
    #[must_use]
    pub fn with_roles(self, roles: Roles) -> Self {
        let of_target = self.of_target.map(|target| Box::new(target.with_roles(roles)));
        Tokenizer { roles, of_target, ..self }
    }

    /// The same tokenizer with that of the targets of another.
    #[must_use]
    pub(crate) fn with_target_of(self, other: &Tokenizer) -> Self {
        Tokenizer { of_target: other.of_target.clone(), ..self }
    }

    /// The token that stands for a character or a word that the vocabulary lacks, where there is one.
    pub fn unknown_id(&self) -> Option<u32> {
        self.unknown
    }

    /// Adds tokens to the vocabulary: each is one token wherever a text has it. Those that are there keep their ids, new ones
    /// follow the largest.
    pub(crate) fn add_tokens(&mut self, tokens: &[String]) {
        let tokens: Vec<AddedToken> =
            tokens.iter().map(|token| AddedToken::from(token, false).normalized(false)).collect();
        for tokenizer in [Some(&mut self.inner), self.of_target.as_mut().map(|target| &mut target.inner)] {
            tokenizer.map(|tokenizer| tokenizer.add_tokens(&tokens));
        }
    }

    /// The text of a token that its model declares as special is one token, and no text.
    pub(crate) fn make_special(&mut self, token: &str) {
        if let Some(target) = &mut self.of_target {
            target.make_special(token);
        }
        let is_special = |added: &AddedToken| added.content == token && added.special;
        if self.inner.get_added_tokens_decoder().values().any(is_special) {
            return;
        }
        self.inner.add_special_tokens(&[AddedToken::from(token, true)]);
    }
}
