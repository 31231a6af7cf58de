//! chrF (Popović, 2015) and chrF++ (Popović, 2017), equal to sacreBLEU's to the printed digit.
//!
//! For each order of character n-grams (1 to 6, white space removed) and, for chrF++, of word n-grams (1 and 2), with
//! `h` n-grams in the hypotheses, `r` in the references and `m` in both,
//!
//! ```text
//! precision = m / h,  recall = m / r                    averaged over the orders with h > 0 and r > 0: P, R
//! chrFβ     = 100 · (1 + β²) · P · R / (β² · P + R)
//! ```
//!
//! Of several references a segment is compared with the one that gives it the best score. With `eps_smoothing` the mean
//! is instead taken over the F-score of every order, an undefined one counting as 1e-16 (as in `chrF++.py`).

use std::fmt;

use super::ngrams::{NgramTable, WordTable, ngrams_in};
use super::rewrite::{is_python_space, words};
use super::{CorpusMetric, Error, Reference, ReferenceCount, SACREBLEU_VERSION};

/// What a chrF score depends on besides the texts; the defaults are sacreBLEU's (chrF2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChrfOptions {
    /// Longest character n-gram.
    pub char_order: usize,
    /// Longest word n-gram; 2 makes it chrF++.
    pub word_order: usize,
    /// How many times recall weighs as much as precision.
    pub beta: u32,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether white space counts as characters.
    pub whitespace: bool,
    /// Whether undefined orders count as 1e-16 instead of being left out.
    pub eps_smoothing: bool,
}

impl Default for ChrfOptions {
    /// sacreBLEU's chrF2: six orders of characters, none of words.
    fn default() -> Self {
        ChrfOptions { char_order: 6, word_order: 0, beta: 2, lowercase: false, whitespace: false, eps_smoothing: false }
    }
}

/// The chrF metric.
///
/// ```
/// use atento::eval::{Chrf, ChrfOptions};
///
/// let plus_plus = Chrf::new(ChrfOptions { word_order: 2, ..ChrfOptions::default() });
/// let score = plus_plus.corpus(&["Der Hund bellt."], &[["Der Hund bellte."]])?;
/// assert_eq!(score.to_string(), "chrF2++ = 77.23");
/// # Ok::<(), atento::eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chrf {
    options: ChrfOptions,
}

/// A chrF score.
#[derive(Debug, Clone, PartialEq)]
pub struct ChrfScore {
    /// The score, 0 to 100.
    pub score: f64,
    /// `chrF2`, `chrF2++`, …
    pub name: String,
    /// sacreBLEU's signature of this score.
    pub signature: String,
}

impl fmt::Display for ChrfScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:.2}", self.name, self.score)
    }
}

impl Chrf {
    /// A metric with these options.
    ///
    /// # Panics
    /// When both orders are zero: there is nothing to count.
    pub fn new(options: ChrfOptions) -> Self {
        assert!(options.char_order + options.word_order > 0, "chrF: char_order and word_order are both 0");
        Chrf { options }
    }

    /// The score of a corpus; `references` are streams of as many lines as there are `hypotheses`.
    ///
    /// # Errors
    /// As [`CorpusMetric::statistics`].
    pub fn corpus<H, S, R>(&self, hypotheses: &[H], references: &[S]) -> Result<ChrfScore, Error>
    where
        H: AsRef<str>,
        S: AsRef<[R]>,
        R: Reference,
    {
        let statistics = self.statistics(hypotheses, references)?;
        Ok(self.score(&statistics.sums(), statistics.references()))
    }

    /// The score of one sentence.
    ///
    /// # Errors
    /// [`Error::NoReferences`].
    pub fn sentence(&self, hypothesis: &str, references: &[&str]) -> Result<ChrfScore, Error> {
        if references.is_empty() {
            return Err(Error::NoReferences);
        }
        let sums = self.segment_statistics(hypothesis, references);
        Ok(self.score(&sums, ReferenceCount::Fixed(references.len())))
    }

    fn score(&self, sums: &[u64], references: ReferenceCount) -> ChrfScore {
        ChrfScore { score: self.score_of(sums), name: self.name(), signature: self.signature(references) }
    }

    /// The code points counted: all, or all but white space.
    fn characters(&self, segment: &str) -> Vec<u32> {
        segment.chars().filter(|&c| self.options.whitespace || !is_python_space(c)).map(u32::from).collect()
    }
}

impl CorpusMetric for Chrf {
    fn name(&self) -> String {
        let ChrfOptions { beta, word_order, .. } = self.options;
        format!("chrF{beta}{}", "+".repeat(word_order))
    }

    fn signature(&self, references: ReferenceCount) -> String {
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        let options = &self.options;
        format!(
            "nrefs:{references}|case:{}|eff:{}|nc:{}|nw:{}|space:{}|version:{SACREBLEU_VERSION}",
            if options.lowercase { "lc" } else { "mixed" },
            yes_or_no(!options.eps_smoothing),
            options.char_order,
            options.word_order,
            yes_or_no(options.whitespace),
        )
    }

    /// `[hypothesis n-grams, reference n-grams, matches]` for each character order, then for each word order.
    fn segment_statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<u64> {
        let fold = |text: &str| match self.options.lowercase {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let hypothesis = fold(hypothesis);
        let references: Vec<_> = references.iter().map(|text| fold(text)).collect();
        let mut word_table = WordTable::default();
        let mut characters = Comparison::new(self.characters(&hypothesis), self.options.char_order);
        let hypothesis_words = word_table.number(split_punctuation(&hypothesis));
        let mut word_ngrams = Comparison::new(hypothesis_words, self.options.word_order);
        let mut best = (-1.0, Vec::new());
        for reference in &references {
            let mut row = characters.with(&self.characters(reference));
            row.extend(word_ngrams.with(&word_table.number(split_punctuation(reference))));
            let score = self.score_of(&row);
            if score > best.0 {
                best = (score, row);
            }
        }
        best.1
    }

    fn score_of(&self, sums: &[u64]) -> f64 {
        const EPSILON: f64 = 1e-16;
        let factor = f64::from(self.options.beta).powi(2);
        let share = |part: u64, whole: u64| match whole {
            0 => EPSILON,
            _ => part as f64 / whole as f64,
        };
        let f_score = |precision: f64, recall: f64| match factor * precision + recall {
            0.0 => None,
            sum => Some((1.0 + factor) * precision * recall / sum),
        };
        let (mut precisions, mut recalls, mut orders, mut f_scores) = (0.0, 0.0, 0, 0.0);
        for order in sums.chunks_exact(3) {
            let (precision, recall) = (share(order[2], order[0]), share(order[2], order[1]));
            f_scores += f_score(precision, recall).unwrap_or(EPSILON);
            if order[0] > 0 && order[1] > 0 {
                precisions += precision;
                recalls += recall;
                orders += 1;
            }
        }
        if self.options.eps_smoothing {
            return 100.0 * f_scores / (sums.len() / 3) as f64;
        }
        let orders = f64::from(orders.max(1));
        100.0 * f_score(precisions / orders, recalls / orders).unwrap_or(0.0)
    }
}

/// The n-grams of one hypothesis, to be compared with those of its references.
struct Comparison {
    table: NgramTable,
    hypothesis: Vec<u32>,
    counts: Vec<u32>,
    max_order: usize,
}

impl Comparison {
    fn new(hypothesis: Vec<u32>, max_order: usize) -> Self {
        let mut table = NgramTable::new();
        let counts = table.count(&hypothesis, max_order);
        Comparison { table, hypothesis, counts, max_order }
    }

    /// `[hypothesis n-grams, reference n-grams, matches]` for each order. An order that the reference is too short for
    /// counts no hypothesis n-grams either, so that it does not count as a miss.
    fn with(&mut self, reference: &[u32]) -> Vec<u64> {
        let counts = self.table.count(reference, self.max_order);
        let matches = self.table.matches(&self.counts, &counts, self.max_order);
        let triple = |(index, &matched): (usize, &u64)| {
            let in_reference = ngrams_in(reference.len(), index + 1);
            let in_hypothesis = match in_reference {
                0 => 0,
                _ => ngrams_in(self.hypothesis.len(), index + 1),
            };
            [in_hypothesis, in_reference, matched]
        };
        matches.iter().enumerate().flat_map(triple).collect()
    }
}

/// The words with one ASCII punctuation mark split from the end or, failing that, from the start: `(hi)` gives `(hi`, `)`.
fn split_punctuation(segment: &str) -> impl Iterator<Item = &str> {
    words(segment).flat_map(|word| {
        let bytes = word.as_bytes();
        // ASCII marks are one byte, so these cuts fall between characters.
        let cut = if bytes.len() == 1 {
            0
        } else if bytes[bytes.len() - 1].is_ascii_punctuation() {
            bytes.len() - 1
        } else if bytes[0].is_ascii_punctuation() {
            1
        } else {
            0
        };
        let (head, tail) = word.split_at(cut);
        [head, tail].into_iter().filter(|part| !part.is_empty())
    })
}
