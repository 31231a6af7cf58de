//! Trains the model inside a tokenizer, so that the same words always give the same model.
//!
//! Where the trainers of the `tokenizers` crate leave something to the order of a hash map:
//! - byte-pair merges are ordered by (count, ids), so they depend on nothing but the ids of the
//!   characters. All of those, `##x` forms included, are handed over as if they were special tokens,
//!   in order, before the trainer would number them itself.
//! - the unigram trainer sums in floating point over its sentences and splits them by threads: it
//!   gets them sorted, and one thread. It then scores the characters that lost their own piece in the
//!   order of a hash set; those scores are dealt out again in the order of the characters.

use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper};

use super::Error;
use super::count::{Words, alphabet, restrict};
use super::pipeline::CONTINUATION;
use super::train::{Kind, TrainOptions};

/// Trains the model of `options.kind`; `special` tokens get the first ids.
pub(super) fn train(words: Words, special: &[String], options: &TrainOptions) -> Result<ModelWrapper, Error> {
    let (min_frequency, always) = match options.kind {
        Kind::Bpe | Kind::Unigram | Kind::WordPiece => (1, vec![]),
        Kind::ByteLevelBpe => (1, ByteLevel::alphabet().into_iter().collect()),
        // Lines arrive without their ends, but text that is modelled by character has them.
        Kind::Characters => (options.min_frequency, vec!['\n']),
    };
    let characters = alphabet(&words, min_frequency, options.limit_alphabet, &always);
    let words = restrict(words, &characters);
    let bytes = byte_tokens(options);
    let mut first: Vec<String> = special.iter().chain(&bytes).cloned().collect();
    match options.kind {
        Kind::Unigram => {
            require_room(options, special.len(), bytes.len(), characters.len(), 1)?;
            unigram(words, special, &bytes, options)
        }
        Kind::Bpe | Kind::ByteLevelBpe | Kind::Characters => {
            first.extend(characters.iter().map(char::to_string));
            require_room(options, special.len(), bytes.len(), characters.len(), 0)?;
            let words = if options.kind == Kind::Characters { Words::new() } else { words };
            byte_pairs(words, &first, None, options).map(ModelWrapper::from)
        }
        Kind::WordPiece => {
            let continuations: std::collections::BTreeSet<char> =
                words.keys().flat_map(|w| w.chars().skip(1)).collect();
            first.extend(characters.iter().map(char::to_string));
            first.extend(continuations.iter().map(|c| format!("{CONTINUATION}{c}")));
            require_room(options, special.len(), 0, characters.len() + continuations.len(), 0)?;
            let pairs = byte_pairs(words, &first, Some(CONTINUATION), options)?;
            let vocab: Vocab = pairs.get_vocab().into_iter().collect();
            let model = WordPiece::builder().vocab(vocab).unk_token(options.purpose.unk().into()).build();
            model.map(ModelWrapper::from).map_err(Error::engine("build its model"))
        }
    }
}

fn byte_tokens(options: &TrainOptions) -> Vec<String> {
    match options.kind {
        Kind::Bpe | Kind::Unigram | Kind::Characters if options.byte_fallback => {
            (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect()
        }
        _ => vec![],
    }
}

fn require_room(
    options: &TrainOptions,
    special: usize,
    bytes: usize,
    alphabet: usize,
    spare: usize,
) -> Result<(), Error> {
    let (vocab_size, needed) = (options.vocab_size, special + bytes + alphabet + spare);
    match vocab_size < needed {
        true => Err(Error::VocabularyTooSmall { vocab_size, needed, special, bytes, alphabet }),
        false => Ok(()),
    }
}

fn added(tokens: &[String]) -> Vec<AddedToken> {
    tokens.iter().map(|token| AddedToken::from(token.as_str(), true)).collect()
}

/// Byte-pair encoding whose first ids are exactly `first`.
fn byte_pairs(words: Words, first: &[String], prefix: Option<&str>, options: &TrainOptions) -> Result<BPE, Error> {
    let builder = BPE::builder().fuse_unk(true).unk_token(options.purpose.unk().into());
    let fall_back = options.byte_fallback && matches!(options.kind, Kind::Bpe | Kind::Characters);
    let mut model = builder.byte_fallback(fall_back).build().map_err(Error::engine("build its model"))?;
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(options.vocab_size)
        .min_frequency(options.min_frequency)
        .special_tokens(added(first));
    if let Some(prefix) = prefix {
        trainer = trainer.continuing_subword_prefix(prefix.into());
    }
    let counts = words.into_iter().map(|(word, count)| (word.into(), count)).collect();
    trainer.build().do_train(&counts, &mut model).map_err(Error::engine("train its model"))?;
    Ok(model)
}

/// The score of a byte token: far below any path through known characters.
const BYTE_SCORE: f64 = -100.0;

fn unigram(words: Words, special: &[String], bytes: &[String], options: &TrainOptions) -> Result<ModelWrapper, Error> {
    let failed = Error::engine("train its model");
    let refuse = |detail: String| Error::Engine { action: "train its model", detail };
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size((options.vocab_size - bytes.len()) as u32)
        .special_tokens(added(special))
        .unk_token(Some(options.purpose.unk().into()))
        .build()
        .map_err(|e| refuse(e.to_string()))?;
    let sentences: Vec<(String, u32)> =
        words.into_iter().map(|(word, count)| (word, u32::try_from(count).unwrap_or(u32::MAX))).collect();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| refuse(e.to_string()))?;
    let mut model = Unigram::default();
    one_thread.install(|| trainer.do_train(sentences, &mut model)).map_err(&failed)?;
    let mut pieces: Vec<(String, f64)> = model.iter().skip(special.len()).cloned().collect();
    put_in_order(&mut pieces);
    let unk = special.iter().position(|token| token == options.purpose.unk());
    let first = special.iter().map(|token| (token.clone(), 0.0));
    let bytes = bytes.iter().map(|token| (token.clone(), BYTE_SCORE));
    let vocab = first.chain(bytes).chain(pieces).collect();
    Unigram::from(vocab, unk, options.byte_fallback).map(ModelWrapper::from).map_err(failed)
}

/// Undoes the hash set's order: the trainer gave each character that had no piece of its own the
/// lowest score plus a small multiple of 0.0001, in that order. The same scores go to the same
/// characters in the order of the characters, then all pieces are sorted by (score, piece).
fn put_in_order(pieces: &mut [(String, f64)]) {
    const STEP: f64 = 0.0001;
    let lowest = pieces.iter().map(|piece| piece.1).fold(f64::INFINITY, f64::min);
    let by_character = |piece: &&mut (String, f64)| piece.0.chars().count() == 1;
    let mut dealt: Vec<&mut (String, f64)> = Vec::new();
    let mut singles: Vec<&mut (String, f64)> = pieces.iter_mut().filter(by_character).collect();
    singles.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut expected = 0.0;
    for piece in singles {
        if piece.1 == lowest + expected {
            expected += STEP;
            dealt.push(piece);
        } else if piece.1 == lowest {
            dealt.push(piece);
        }
    }
    let scores: Vec<f64> = dealt.iter().map(|piece| piece.1).collect();
    dealt.sort_by(|a, b| a.0.cmp(&b.0));
    for (piece, score) in dealt.into_iter().zip(scores) {
        piece.1 = score;
    }
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}
