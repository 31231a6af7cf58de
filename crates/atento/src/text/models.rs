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
use super::count::{Alphabet, Words, alphabet, restrict};
use super::guard::guarded;
use super::pipeline::{CONTINUATION, SPACE};
use super::train::{Kind, TrainOptions};

/// Trains the model of `options.kind`, and says which characters it has; `special` tokens get the first ids.
pub(super) fn train(
    words: Words,
    special: &[String],
    options: &TrainOptions,
) -> Result<(ModelWrapper, Alphabet), Error> {
    let (min_frequency, always) = match options.kind {
        // Every word begins with it.
        Kind::Bpe | Kind::Unigram => (1, vec![SPACE]),
        Kind::WordPiece => (1, vec![]),
        Kind::ByteLevelBpe => (1, ByteLevel::alphabet().into_iter().collect()),
        // Lines arrive without their ends, but text that is modelled by character has them.
        Kind::Characters => (options.min_frequency, vec!['\n']),
    };
    let alphabet = alphabet(&words, min_frequency, &always, options);
    let words = restrict(words, &alphabet.kept);
    let model = train_on(words, special, &alphabet.kept, options)?;
    Ok((model, alphabet))
}

fn train_on(
    words: Words,
    special: &[String],
    characters: &[char],
    options: &TrainOptions,
) -> Result<ModelWrapper, Error> {
    let bytes = byte_tokens(options);
    let room = Room { special: special.len(), bytes: bytes.len(), alphabet: characters.len() };
    let mut first: Vec<String> = special.iter().chain(&bytes).cloned().collect();
    match options.kind {
        Kind::Unigram => {
            // The trainer wants one more.
            room.require(options, 1)?;
            unigram(words, special, &bytes, options)
        }
        Kind::Bpe | Kind::ByteLevelBpe | Kind::Characters => {
            first.extend(characters.iter().map(char::to_string));
            room.require(options, 0)?;
            let words = if options.kind == Kind::Characters { Words::new() } else { words };
            byte_pairs(words, &first, None, options).map(ModelWrapper::from)
        }
        Kind::WordPiece => {
            let continuations: std::collections::BTreeSet<char> =
                words.keys().flat_map(|w| w.chars().skip(1)).collect();
            first.extend(characters.iter().map(char::to_string));
            first.extend(continuations.iter().map(|c| format!("{CONTINUATION}{c}")));
            Room { alphabet: characters.len() + continuations.len(), ..room }.require(options, 0)?;
            let pairs = byte_pairs(words, &first, Some(CONTINUATION), options)?;
            let vocab: Vocab = pairs.get_vocab().into_iter().collect();
            let model = WordPiece::builder().vocab(vocab).unk_token(options.purpose.unk().into()).build();
            model.map(ModelWrapper::from).map_err(Error::engine("build its model"))
        }
    }
}

fn byte_tokens(options: &TrainOptions) -> Vec<String> {
    if options.falls_back_to_bytes() { (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect() } else { vec![] }
}

/// What every vocabulary of a kind has to hold.
struct Room {
    special: usize,
    bytes: usize,
    /// Tokens of single characters.
    alphabet: usize,
}

impl Room {
    /// Refuses a vocabulary without room for these and `more` tokens.
    fn require(&self, options: &TrainOptions, more: usize) -> Result<(), Error> {
        let Room { special, bytes, alphabet } = *self;
        let (vocab_size, needed) = (options.vocab_size, special + bytes + alphabet + more);
        if vocab_size >= needed {
            return Ok(());
        }
        let advice = self.advice(options, needed, more);
        Err(Error::VocabularyTooSmall { vocab_size, needed, special, bytes, alphabet, advice })
    }

    /// The settings that help, with the values from which on they do.
    fn advice(&self, options: &TrainOptions, needed: usize, more: usize) -> String {
        let mut advice = vec!["raise vocab_size".to_owned()];
        if options.kind == Kind::ByteLevelBpe {
            return advice.remove(0);
        }
        // WordPiece has two tokens of a character: at the beginning of a word and behind it.
        let forms = if options.kind == Kind::WordPiece { 2 } else { 1 };
        let left = options.vocab_size.saturating_sub(self.special + self.bytes + more) / forms;
        if left > 1 {
            let rarer = if self.bytes > 0 { "their bytes" } else { options.purpose.unk() };
            advice.push(format!(
                "keep fewer characters with limit_alphabet (at most {left}) or a lower character_coverage (such as \
                 0.9995): the rarer ones become {rarer}"
            ));
        }
        if options.kind == Kind::Characters {
            advice.push("raise min_frequency, so that rare characters are left out".to_owned());
        }
        if self.bytes > 0 && (left <= 1 || options.vocab_size >= needed - self.bytes) {
            advice.push(format!("set byte_fallback to false, which frees {} entries", self.bytes));
        }
        advice.join(", or ")
    }
}

fn added(tokens: &[String]) -> Vec<AddedToken> {
    tokens.iter().map(|token| AddedToken::from(token.as_str(), true)).collect()
}

/// Byte-pair encoding whose first ids are exactly `first`.
fn byte_pairs(words: Words, first: &[String], prefix: Option<&str>, options: &TrainOptions) -> Result<BPE, Error> {
    let builder = BPE::builder().fuse_unk(true).unk_token(options.purpose.unk().into());
    let mut model =
        builder.byte_fallback(options.falls_back_to_bytes()).build().map_err(Error::engine("build its model"))?;
    // No merge is learned that no word has; the trainer makes room for as many tokens as it is asked for.
    let most = words.keys().map(String::len).fold(first.len(), usize::saturating_add);
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(options.vocab_size.min(most))
        .min_frequency(options.min_frequency)
        .special_tokens(added(first));
    if let Some(prefix) = prefix {
        trainer = trainer.continuing_subword_prefix(prefix.into());
    }
    let counts = words.into_iter().map(|(word, count)| (word.into(), count)).collect();
    guarded("train its model", || trainer.build().do_train(&counts, &mut model))?;
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
    one_thread.install(|| guarded("train its model", || trainer.do_train(sentences, &mut model)))?;
    let mut pieces: Vec<(String, f64)> = model.iter().skip(special.len()).cloned().collect();
    put_in_order(&mut pieces);
    let unk = special.iter().position(|token| token == options.purpose.unk());
    let first = special.iter().map(|token| (token.clone(), 0.0));
    let bytes = bytes.iter().map(|token| (token.clone(), BYTE_SCORE));
    let vocab = first.chain(bytes).chain(pieces).collect();
    Unigram::from(vocab, unk, options.falls_back_to_bytes()).map(ModelWrapper::from).map_err(failed)
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
