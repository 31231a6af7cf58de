//! Pairs of bytes, and the rules that cut text into the words in which pairs are merged.

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::{engine, ids};
use crate::messages;

/// Llama 3: numbers in groups of three digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2 to 3: a digit is a word.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's Tekken: words part where a small letter is followed by a capital.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A rule for words.
#[derive(Clone, Copy)]
enum Words {
    /// GPT-2's.
    Gpt2,
    /// GPT-2's, with every digit a word.
    Digits,
    /// A pattern of words.
    Pattern(&'static str),
}

/// The rules by the names that files have for them.
const RULES: [(&str, Words); 9] = [
    ("default", Words::Gpt2),
    ("gpt-2", Words::Gpt2),
    ("smollm", Words::Digits),
    ("llama-bpe", Words::Pattern(LLAMA3)),
    ("llama3", Words::Pattern(LLAMA3)),
    ("llama-v3", Words::Pattern(LLAMA3)),
    ("qwen2", Words::Pattern(QWEN2)),
    ("deepseek-r1-qwen", Words::Pattern(QWEN2)),
    ("tekken", Words::Pattern(TEKKEN)),
];

/// A tokenizer of these tokens and merges.
pub(super) fn build(tokens: &[&str], merges: &[&str], words: &str) -> Result<Tokenizer, String> {
    let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == words) else {
        let known = messages::list(RULES.iter().map(|(name, _)| *name));
        return Err(format!("key `tokenizer.ggml.pre` is {}, expected one of {known}", messages::text(words)));
    };
    let vocab = ids(tokens)?;
    let pair = |merge: &&str| match merge.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!("the merge {} is not two tokens with a space between them", messages::text(merge))),
    };
    let merges: Merges = merges.iter().map(pair).collect::<Result<_, String>>()?;
    let vocab: Vocab = vocab.into_iter().map(|(token, id)| (token.to_owned(), id)).collect();
    // A word that is a token is that token in these, whatever the merges would make of it.
    let is_whole = matches!(rule, Words::Pattern(LLAMA3 | TEKKEN));
    let model = engine(BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(is_whole).build())?;
    let mut tokenizer = Tokenizer::new(model);
    let normalizer: Option<NormalizerWrapper> = matches!(rule, Words::Pattern(QWEN2)).then(|| NFC.into());
    tokenizer.with_normalizer(normalizer);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(*rule)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

fn pre_tokenizer(rule: Words) -> Result<PreTokenizerWrapper, String> {
    let bytes = |with_words: bool| ByteLevel::new(false, true, with_words).into();
    let first: PreTokenizerWrapper = match rule {
        Words::Gpt2 => return Ok(bytes(true)),
        Words::Digits => return Ok(Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into()),
        Words::Pattern(pattern) => {
            let pattern = SplitPattern::Regex(pattern.into());
            engine(Split::new(pattern, SplitDelimiterBehavior::Isolated, false))?.into()
        }
    };
    Ok(Sequence::new(vec![first, bytes(false)]).into())
}
