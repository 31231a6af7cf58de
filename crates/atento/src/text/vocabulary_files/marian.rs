//! source.spm, target.spm and vocab.json: the tokenizer of a Marian model (OPUS-MT).
//!
//! Pieces of a source are found by source.spm, those of a target by target.spm; vocab.json has the ids of both. So there
//! are two tokenizers with the same ids. A Unigram model knows its pieces by their places in one list, where the pieces of
//! the other side stand too: they are written behind [`MARK`], which no text has, so that no text gives them.
//!
//! As in `transformers`, a run of characters that the model has no piece for is looked up in vocab.json as a whole
//! ([`foreign`]). A piece that vocab.json does not have is not used, and its text is cut into smaller ones, where
//! `transformers` gives the unknown token. Language codes such as `>>deu<<` are single tokens.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Sequence as Normalizers;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::{AddedToken, DecoderWrapper, Tokenizer};

use super::byte_pairs::{VOCAB, shared_id};
use super::class::Class;
use super::sentence_piece::{self, Model, PieceKind};
use super::settings::Settings;
use super::{fault, read_json};
use crate::models::config::LARGEST_SIZE;
use crate::text::vocabulary::Unknown;
use crate::text::{Error, pipeline};

/// Stands before a piece that the model of the other side has: a code point that is no character.
const MARK: char = '\u{fdd0}';
/// What a text has in place of [`MARK`].
const REPLACEMENT: &str = "\u{fffd}";
const TARGET: &str = "target.spm";
const TARGET_VOCAB: &str = "target_vocab.json";
const ROLES: [&str; 3] = ["eos", "unk", "pad"];

/// A tokenizer and the token of what it lacks.
type Read = (Tokenizer, Unknown);

/// The tokenizers of sources and of targets.
pub(super) fn load(path: &Path, settings: &Settings) -> Result<(Read, Read), Error> {
    if settings.flag("separate_vocabs")?.unwrap_or(false) || path.with_file_name(TARGET_VOCAB).exists() {
        let reason =
            "its source and its target have vocabularies of their own (separate_vocabs), expected one vocab.json";
        return Err(fault(&settings.config_path, reason.into()));
    }
    let vocab_path = path.with_file_name(VOCAB);
    let vocab: HashMap<String, u32> = read_json(&vocab_path)?;
    let by_id = by_id(&vocab).map_err(|reason| fault(&vocab_path, reason))?;
    let roles = ROLES.map(|role| settings.required(role, |role| Class::Marian.usual(role).map(str::to_owned)));
    let [eos, unk, pad] = roles;
    let special = [eos?, unk?, pad?];
    if let Some(token) = special.iter().find(|token| !vocab.contains_key(*token)) {
        return Err(fault(&vocab_path, format!("it does not have the token {token:?}")));
    }
    let side = |path: &Path| side(path, &vocab, &by_id, &special);
    Ok((side(path)?, side(&path.with_file_name(TARGET))?))
}

/// The tokens in the order of their ids; `None` for an id that none has.
fn by_id(vocab: &HashMap<String, u32>) -> Result<Vec<Option<&str>>, String> {
    let Some((token, largest)) = vocab.iter().max_by_key(|(_, id)| **id) else { return Err("it is empty".into()) };
    if *largest as usize >= LARGEST_SIZE {
        return Err(format!("the token {token:?} has the id {largest}, expected an id below {LARGEST_SIZE}"));
    }
    let mut tokens = vec![None; *largest as usize + 1];
    for (token, id) in vocab {
        if tokens[*id as usize].replace(token.as_str()).is_some() {
            return Err(shared_id(vocab));
        }
    }
    Ok(tokens)
}

fn side(
    path: &Path,
    vocab: &HashMap<String, u32>,
    by_id: &[Option<&str>],
    special: &[String; 3],
) -> Result<Read, Error> {
    let model = sentence_piece::read(path)?;
    let unk = vocab[&special[1]];
    let vocab = scored(&model, by_id, special);
    let unigram = Unigram::from(vocab, Some(unk as usize), false).map_err(Error::engine("build its model"))?;
    let mut tokenizer = Tokenizer::new(unigram);
    let no_mark = sentence_piece::replace(ReplacePattern::String(MARK.into()), REPLACEMENT)?;
    let steps = sentence_piece::normalizer(path, &model, true)?;
    tokenizer.with_normalizer(Some(Normalizers::new([no_mark].into_iter().chain(steps).collect())));
    tokenizer.with_pre_tokenizer(sentence_piece::pre_tokenizer(&model, true)?);
    let mut steps: Vec<DecoderWrapper> = vec![sentence_piece::replace_decoder(&MARK.to_string(), "")?];
    steps.extend(sentence_piece::decoder(false, true)?);
    tokenizer.with_decoder(Some(tokenizers::decoders::sequence::Sequence::new(steps)));
    let codes = by_id.iter().flatten().filter(|token| token.starts_with(">>") && token.ends_with("<<"));
    let codes = codes.map(|code| AddedToken::from(*code, false).normalized(false));
    let special_tokens = special.iter().map(|token| AddedToken::from(token.as_str(), true));
    tokenizer.add_tokens(&special_tokens.chain(codes).collect::<Vec<_>>());
    let eos = special[0].as_str();
    let template = pipeline::template(&tokenizer, &["$A", eos], &["$A", "$B", eos])?;
    tokenizer.with_post_processor(Some(template));
    Ok((tokenizer, Unknown::Id(unk)))
}

/// The list of a Unigram model: pieces that this side's model has, with their scores, and others that no text gives.
fn scored(model: &Model, by_id: &[Option<&str>], special: &[String]) -> Vec<(String, f64)> {
    let is_found = |kind| matches!(kind, PieceKind::Normal | PieceKind::UserDefined);
    let found = model.pieces.iter().filter(|piece| is_found(piece.kind));
    let scores: HashMap<&str, f64> = found.map(|piece| (piece.text.as_str(), piece.score)).collect();
    // What an unknown character costs follows from the smallest score.
    let smallest = scores.values().copied().fold(0.0, f64::min);
    let is_code = |token: &str| token.starts_with(">>") && token.ends_with("<<");
    let entry = |(id, token): (usize, &Option<&str>)| match token {
        Some(token) if special.iter().any(|special| special == token) || is_code(token) => ((*token).into(), smallest),
        Some(token) => match scores.get(token) {
            Some(score) => ((*token).into(), *score),
            None => (format!("{MARK}{token}"), smallest),
        },
        None => (format!("{MARK}{MARK}{id}"), smallest),
    };
    by_id.iter().enumerate().map(entry).collect()
}

/// Whether a tokenizer has pieces behind [`MARK`].
pub(in crate::text) fn has_foreign(tokenizer: &Tokenizer) -> bool {
    let tokenizers::ModelWrapper::Unigram(_) = tokenizer.get_model() else { return false };
    let Ok(decoder) = serde_json::to_value(tokenizer.get_decoder()) else { return false };
    let first = decoder.pointer("/decoders/0/pattern/String").and_then(Value::as_str);
    first == Some(MARK.encode_utf8(&mut [0; 4]))
}

/// A piece of the other side as the list spells it.
pub(in crate::text) fn foreign(piece: &str) -> String {
    format!("{MARK}{piece}")
}

/// A piece as people spell it.
pub(in crate::text) fn spelled(piece: String) -> String {
    piece.strip_prefix(MARK).map(str::to_owned).unwrap_or(piece)
}
