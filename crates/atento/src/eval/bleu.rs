//! BLEU (Papineni et al., 2002), equal to sacreBLEU's to the printed digit.
//!
//! With `c_n` of the `t_n` n-grams of the hypotheses found in the references (clipped to the largest count in any one
//! reference of the segment), hypothesis length `h` and closest reference length `r`, both summed over segments,
//!
//! ```text
//! p_n  = 100 · c_n / t_n                       (smoothed where c_n = 0, see Smoothing)
//! BP   = 1 if h ≥ r, else exp(1 − r / h)
//! BLEU = BP · exp(¼ Σ_{n=1..4} ln p_n)
//! ```
//!
//! Counts are exact integers and the formula runs in `f64` in sacreBLEU's order of operations. A corpus without one
//! matching unigram has score and precisions 0 whatever the smoothing.

use std::fmt;
use std::str::FromStr;

use super::ngrams::{NgramTable, WordTable, merge_maxima, ngrams_in};
use super::rewrite::words;
use super::{CorpusMetric, Error, Reference, ReferenceCount, SACREBLEU_VERSION, Tokenizer};

/// The longest n-gram counted.
const MAX_ORDER: usize = 4;

/// What stands in for a precision of zero, which would make the geometric mean zero.
///
/// The methods and the default values are those of Chen and Cherry, "A Systematic Comparison of Smoothing Techniques for
/// Sentence-Level BLEU" (WMT 2014).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Smoothing {
    /// `none`: nothing; the score is 0 when an order has no match.
    None,
    /// `floor`: this many matches (by default 0.1) where there are none.
    Floor(f64),
    /// `add-k`: this many (by default 1) added to the matches and totals of all orders above 1.
    AddK(f64),
    /// `exp`: ½ match for the first order without one, ¼ for the next, and so on; the default, as in `mteval-v13a.pl`.
    #[default]
    Exp,
}

impl Smoothing {
    /// The names [`Smoothing::from_str`] takes.
    pub const NAMES: [&'static str; 4] = ["none", "floor", "add-k", "exp"];
}

impl fmt::Display for Smoothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Smoothing::None => f.write_str("none"),
            Smoothing::Floor(value) => write!(f, "floor[{value:.2}]"),
            Smoothing::AddK(value) => write!(f, "add-k[{value:.2}]"),
            Smoothing::Exp => f.write_str("exp"),
        }
    }
}

impl FromStr for Smoothing {
    type Err = Error;

    /// Reads a method's name, with its default value.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "none" => Ok(Smoothing::None),
            "floor" => Ok(Smoothing::Floor(0.1)),
            "add-k" => Ok(Smoothing::AddK(1.0)),
            "exp" => Ok(Smoothing::Exp),
            _ => Err(Error::unknown_name("smoothing method", name, &Self::NAMES)),
        }
    }
}

/// What a BLEU score depends on besides the texts; the defaults are sacreBLEU's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BleuOptions {
    /// How lines become tokens.
    pub tokenizer: Tokenizer,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// What replaces a precision of zero.
    pub smoothing: Smoothing,
    /// Whether the mean runs only over the orders the hypotheses are long enough to have, as scores of single
    /// sentences should.
    pub effective_order: bool,
}

/// The BLEU metric.
///
/// ```
/// use atento::eval::Bleu;
///
/// let hypotheses = ["The dog bit the man."];
/// let references = [["The dog bit the man."], ["A dog had bitten the man."]];
/// let score = Bleu::default().corpus(&hypotheses, &references)?;
/// assert_eq!(score.signature, "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
/// assert!(score.to_string().starts_with("BLEU = 100.00 100.0/100.0/100.0/100.0 (BP = 1.000"));
/// # Ok::<(), atento::eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bleu {
    options: BleuOptions,
}

/// A BLEU score with the quantities it was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct BleuScore {
    /// The score, 0 to 100.
    pub score: f64,
    /// Smoothed n-gram precisions in percent, n = 1 to 4.
    pub precisions: [f64; MAX_ORDER],
    /// The brevity penalty, 0 to 1.
    pub bp: f64,
    /// Tokens in the hypotheses.
    pub sys_len: u64,
    /// Tokens in the references, of each segment's the one closest in length.
    pub ref_len: u64,
    /// Matching n-grams by order, before smoothing.
    pub counts: [u64; MAX_ORDER],
    /// N-grams in the hypotheses by order, before smoothing.
    pub totals: [u64; MAX_ORDER],
    /// sacreBLEU's signature of this score.
    pub signature: String,
}

impl Bleu {
    /// A metric with these options.
    pub fn new(options: BleuOptions) -> Self {
        Bleu { options }
    }

    /// The score of a corpus; `references` are streams of as many lines as there are `hypotheses`.
    ///
    /// # Errors
    /// As [`CorpusMetric::statistics`].
    pub fn corpus<H, S, R>(&self, hypotheses: &[H], references: &[S]) -> Result<BleuScore, Error>
    where
        H: AsRef<str>,
        S: AsRef<[R]>,
        R: Reference,
    {
        let statistics = self.statistics(hypotheses, references)?;
        let signature = self.signature(statistics.references());
        Ok(self.score(&statistics.sums(), signature))
    }

    /// The score of one sentence. [`BleuOptions::effective_order`] should be set.
    ///
    /// # Errors
    /// [`Error::NoReferences`].
    pub fn sentence(&self, hypothesis: &str, references: &[&str]) -> Result<BleuScore, Error> {
        if references.is_empty() {
            return Err(Error::NoReferences);
        }
        let signature = self.signature(ReferenceCount::Fixed(references.len()));
        Ok(self.score(&self.segment_statistics(hypothesis, references), signature))
    }

    fn score(&self, sums: &[u64], signature: String) -> BleuScore {
        let (sys_len, ref_len) = (sums[0], sums[1]);
        let counts = [sums[2], sums[3], sums[4], sums[5]];
        let totals = [sums[6], sums[7], sums[8], sums[9]];
        let bp = brevity_penalty(sys_len, ref_len);
        let (precisions, order) = self.precisions(&counts, &totals);
        let score = if counts == [0; MAX_ORDER] {
            0.0
        } else {
            let logarithms: f64 = precisions[..order].iter().map(|&p| floored_ln(p)).sum();
            bp * (logarithms / order as f64).exp()
        };
        BleuScore { score, precisions, bp, sys_len, ref_len, counts, totals, signature }
    }

    /// The smoothed precisions and how many of them the mean takes.
    fn precisions(&self, counts: &[u64; MAX_ORDER], totals: &[u64; MAX_ORDER]) -> ([f64; MAX_ORDER], usize) {
        let mut precisions = [0.0; MAX_ORDER];
        let mut order = MAX_ORDER;
        if counts == &[0; MAX_ORDER] {
            return (precisions, order);
        }
        let mut halvings = 1.0;
        for n in 1..=MAX_ORDER {
            let (mut correct, mut total) = (counts[n - 1] as f64, totals[n - 1] as f64);
            if let (Smoothing::AddK(k), 2..) = (self.options.smoothing, n) {
                correct += k;
                total += k;
            }
            if total == 0.0 {
                break;
            }
            if self.options.effective_order {
                order = n;
            }
            precisions[n - 1] = match self.options.smoothing {
                _ if correct != 0.0 => 100.0 * correct / total,
                Smoothing::Exp => {
                    halvings *= 2.0;
                    100.0 / (halvings * total)
                }
                Smoothing::Floor(value) => 100.0 * value / total,
                Smoothing::None | Smoothing::AddK(_) => 0.0,
            };
        }
        (precisions, order)
    }

    fn spaced_tokens(&self, segment: &str) -> String {
        if self.options.lowercase {
            self.options.tokenizer.space_tokens(&segment.to_lowercase())
        } else {
            self.options.tokenizer.space_tokens(segment)
        }
    }
}

impl CorpusMetric for Bleu {
    fn name(&self) -> String {
        "BLEU".to_owned()
    }

    fn signature(&self, references: ReferenceCount) -> String {
        let BleuOptions { tokenizer, lowercase, smoothing, effective_order } = self.options;
        let case = if lowercase { "lc" } else { "mixed" };
        let eff = if effective_order { "yes" } else { "no" };
        format!(
            "nrefs:{references}|case:{case}|eff:{eff}|tok:{tokenizer}|smooth:{smoothing}|version:{SACREBLEU_VERSION}"
        )
    }

    /// `[hypothesis length, reference length, matches of orders 1 to 4, n-grams of orders 1 to 4]`.
    fn segment_statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<u64> {
        let hypothesis = self.spaced_tokens(hypothesis);
        let references: Vec<_> = references.iter().map(|r| self.spaced_tokens(r)).collect();
        let (mut word_table, mut table) = (WordTable::default(), NgramTable::new());
        let tokens = word_table.number(words(&hypothesis));
        let hypothesis_counts = table.count(&tokens, MAX_ORDER);
        let mut union = Vec::new();
        let mut lengths = Vec::with_capacity(references.len());
        for reference in &references {
            let tokens = word_table.number(words(reference));
            merge_maxima(&mut union, &table.count(&tokens, MAX_ORDER));
            lengths.push(tokens.len());
        }
        let mut row = vec![tokens.len() as u64, closest_length(tokens.len(), &lengths) as u64];
        row.extend(table.matches(&hypothesis_counts, &union, MAX_ORDER));
        row.extend((1..=MAX_ORDER).map(|order| ngrams_in(tokens.len(), order)));
        row
    }

    fn score_of(&self, sums: &[u64]) -> f64 {
        self.score(sums, String::new()).score
    }
}

impl BleuScore {
    /// Hypothesis length over reference length, 0 when the references are empty.
    pub fn ratio(&self) -> f64 {
        match self.ref_len {
            0 => 0.0,
            ref_len => self.sys_len as f64 / ref_len as f64,
        }
    }

    /// sacreBLEU's words after the score: precisions, penalty and lengths.
    pub fn verbose(&self) -> String {
        let precisions = self.precisions.map(|p| format!("{p:.1}")).join("/");
        format!(
            "{precisions} (BP = {:.3} ratio = {:.3} hyp_len = {} ref_len = {})",
            self.bp,
            self.ratio(),
            self.sys_len,
            self.ref_len
        )
    }
}

impl fmt::Display for BleuScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BLEU = {:.2} {}", self.score, self.verbose())
    }
}

fn brevity_penalty(sys_len: u64, ref_len: u64) -> f64 {
    if sys_len >= ref_len {
        1.0
    } else if sys_len == 0 {
        0.0
    } else {
        (1.0 - ref_len as f64 / sys_len as f64).exp()
    }
}

/// The length closest to the hypothesis's, the shorter of two equally close.
fn closest_length(hypothesis: usize, references: &[usize]) -> usize {
    *references
        .iter()
        .min_by_key(|&&reference| (reference.abs_diff(hypothesis), reference))
        .expect("a segment has a reference")
}

/// The logarithm, and for 0 a number low enough to make the score 0.
fn floored_ln(precision: f64) -> f64 {
    if precision == 0.0 { -9_999_999_999.0 } else { precision.ln() }
}
