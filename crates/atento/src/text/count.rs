//! Counts the words of a text: the part of training that reads the data.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::train::{Kind, TrainOptions};
use super::{Error, pipeline};

/// Lines read before they are counted in parallel; bounds the text held in memory.
const LINES_AT_ONCE: usize = 16_384;
/// Lines of one parallel task.
const LINES_PER_TASK: usize = 512;

/// Words, in order, with how often each occurs.
pub(super) type Words = BTreeMap<String, u64>;

/// Counts the words of all lines, after the normaliser and pre-tokenizer that the finished tokenizer
/// will have. For [`Kind::Characters`] each character is a word.
pub(super) fn words<E: From<Error>>(
    lines: impl IntoIterator<Item = Result<String, E>>,
    options: &TrainOptions,
) -> Result<Words, E> {
    let mut total: HashMap<String, u64> = HashMap::new();
    let mut lines = lines.into_iter().fuse();
    let mut blank = true;
    loop {
        let chunk: Vec<String> = lines.by_ref().take(LINES_AT_ONCE).collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            break;
        }
        blank &= chunk.iter().all(|line| line.trim().is_empty());
        let counted: Vec<HashMap<String, u64>> =
            chunk.par_chunks(LINES_PER_TASK).map(|lines| words_of(lines, options)).collect::<Result<_, Error>>()?;
        for (word, count) in counted.into_iter().flatten() {
            *total.entry(word).or_default() += count;
        }
    }
    match blank || total.is_empty() {
        true => Err(Error::EmptyCorpus.into()),
        false => Ok(total.into_iter().collect()),
    }
}

fn words_of(lines: &[String], options: &TrainOptions) -> Result<HashMap<String, u64>, Error> {
    let normalizer = pipeline::normalizer(options)?;
    let pre_tokenizer = pipeline::pre_tokenizer(options.kind);
    let mut counts = HashMap::new();
    let mut count = |word: &str| match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(word.to_owned(), 1);
        }
    };
    for line in lines {
        let mut normalized = NormalizedString::from(line.as_str());
        if let Some(normalizer) = &normalizer {
            normalizer.normalize(&mut normalized).map_err(Error::engine("normalise a line"))?;
        }
        if normalized.is_empty() {
            continue;
        }
        if options.kind == Kind::Characters {
            normalized.get().chars().for_each(|c| count(c.encode_utf8(&mut [0; 4])));
            continue;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = &pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(Error::engine("split a line into words"))?;
        }
        for (word, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            count(word);
        }
    }
    Ok(counts)
}

/// The characters to keep, in order: all, or the `limit` most frequent, ties to the lower code point;
/// those of `always` come first and count towards the limit.
pub(super) fn alphabet(words: &Words, min_frequency: u64, limit: Option<usize>, always: &[char]) -> Vec<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    counts.retain(|_, count| *count >= min_frequency);
    counts.extend(always.iter().map(|&c| (c, u64::MAX)));
    let mut kept: Vec<(char, u64)> = counts.into_iter().collect();
    kept.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    kept.truncate(limit.unwrap_or(usize::MAX).max(always.len()));
    let mut kept: Vec<char> = kept.into_iter().map(|(c, _)| c).collect();
    kept.sort_unstable();
    kept
}

/// The words cut at every character outside the (sorted) alphabet, so that no pair is counted across one.
pub(super) fn restrict(words: Words, alphabet: &[char]) -> Words {
    let known = |c: char| alphabet.binary_search(&c).is_ok();
    if words.keys().all(|word| word.chars().all(known)) {
        return words;
    }
    let mut restricted = Words::new();
    for (word, count) in words {
        for part in word.split(|c| !known(c)).filter(|part| !part.is_empty()) {
            *restricted.entry(part.to_owned()).or_default() += count;
        }
    }
    restricted
}
