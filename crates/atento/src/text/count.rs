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

/// A word of more characters is cut before it is counted: what has no white space for so long (base64, a line of dashes)
/// is no word, and a trainer's time grows with the length of a word for each of its pairs.
pub(super) const LONGEST_WORD: usize = 1000;
/// Characters of each piece of such a word.
pub(super) const PIECE: usize = 100;

/// Words, in order, with how often each occurs.
pub(super) type Words = BTreeMap<String, u64>;

/// What a text is made of.
pub(super) struct Counted {
    pub words: Words,
    /// How many words were longer than [`LONGEST_WORD`].
    pub cut: u64,
}

/// The words of some lines.
#[derive(Default)]
struct Part {
    words: HashMap<String, u64>,
    cut: u64,
}

impl Part {
    fn count(&mut self, word: &str) {
        match self.words.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.words.insert(word.to_owned(), 1);
            }
        }
    }

    /// Counts a word, in pieces if it is too long.
    fn count_whole(&mut self, word: &str) {
        // A character has a byte at least.
        if word.len() <= LONGEST_WORD || word.chars().nth(LONGEST_WORD).is_none() {
            return self.count(word);
        }
        self.cut += 1;
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(PIECE).map_or(rest.len(), |(end, _)| end);
            self.count(&rest[..end]);
            rest = &rest[end..];
        }
    }
}

/// Counts the words of all lines, after the normaliser and pre-tokenizer that the finished tokenizer
/// will have. For [`Kind::Characters`] each character is a word.
pub(super) fn words<E: From<Error>>(
    lines: impl IntoIterator<Item = Result<String, E>>,
    options: &TrainOptions,
) -> Result<Counted, E> {
    let mut total: HashMap<String, u64> = HashMap::new();
    let mut cut = 0;
    let mut lines = lines.into_iter().fuse();
    let mut blank = true;
    loop {
        let chunk: Vec<String> = lines.by_ref().take(LINES_AT_ONCE).collect::<Result<_, _>>()?;
        if chunk.is_empty() {
            break;
        }
        blank &= chunk.iter().all(|line| line.trim().is_empty());
        let counted: Vec<Part> =
            chunk.par_chunks(LINES_PER_TASK).map(|lines| words_of(lines, options)).collect::<Result<_, Error>>()?;
        for part in counted {
            cut += part.cut;
            for (word, count) in part.words {
                *total.entry(word).or_default() += count;
            }
        }
    }
    match blank || total.is_empty() {
        true => Err(Error::EmptyCorpus.into()),
        false => Ok(Counted { words: total.into_iter().collect(), cut }),
    }
}

fn words_of(lines: &[String], options: &TrainOptions) -> Result<Part, Error> {
    let normalizer = pipeline::normalizer(options)?;
    let pre_tokenizer = pipeline::pre_tokenizer(options.kind);
    let mut counts = Part::default();
    for line in lines {
        let mut normalized = NormalizedString::from(line.as_str());
        if let Some(normalizer) = &normalizer {
            normalizer.normalize(&mut normalized).map_err(Error::engine("normalise a line"))?;
        }
        if normalized.is_empty() {
            continue;
        }
        if options.kind == Kind::Characters {
            normalized.get().chars().for_each(|c| counts.count(c.encode_utf8(&mut [0; 4])));
            continue;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = &pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(Error::engine("split a line into words"))?;
        }
        for (word, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            counts.count_whole(word);
        }
    }
    Ok(counts)
}

/// The characters of a text that get a token.
pub(super) struct Alphabet {
    /// In order.
    pub kept: Vec<char>,
    /// How many others there are, and how often they occur together.
    pub left_out: usize,
    pub occurrences: u64,
    /// All characters of the text, each as often as it occurs.
    pub total: u64,
}

/// The characters to keep: those of `always`, which count towards the limit, and the most frequent ones, ties to the lower
/// code point, until there are `limit_alphabet` or they make up `character_coverage` of the text. None is rarer than
/// `min_frequency`.
pub(super) fn alphabet(words: &Words, min_frequency: u64, always: &[char], options: &TrainOptions) -> Alphabet {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    let total = counts.values().sum();
    let mut covered: u64 = always.iter().filter_map(|c| counts.remove(c)).sum();
    let mut by_count: Vec<(char, u64)> = counts.into_iter().collect();
    by_count.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let room = options.limit_alphabet.unwrap_or(usize::MAX).saturating_sub(always.len());
    let enough = options.character_coverage * total as f64;
    let mut kept = always.to_vec();
    for &(c, count) in by_count.iter().take(room) {
        if count < min_frequency || (options.character_coverage < 1.0 && covered as f64 >= enough) {
            break;
        }
        kept.push(c);
        covered += count;
    }
    kept.sort_unstable();
    kept.dedup();
    let left_out = always.len() + by_count.len() - kept.len();
    Alphabet { kept, left_out, occurrences: total - covered, total }
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
