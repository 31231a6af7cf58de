//! Evaluation: BLEU and chrF equal to sacreBLEU's, whether a difference is chance, and the metrics of classification and
//! regression.
//!
//! [`Bleu`] and [`Chrf`] reproduce sacreBLEU [`SACREBLEU_VERSION`] to the printed digit, with its signatures
//! (M. Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018). [`Bootstrap`] is its paired bootstrap test.
//! [`labels`], [`values`], [`entities`] and [`answers`] measure what models with heads say; [`spread`] sums up several runs.
//!
//! Characters are classified and lowercased by the Unicode tables compiled into this program, while sacreBLEU uses
//! those of its Python; the two may differ on characters younger than the older of the two tables.

pub mod answers;
mod bleu;
mod chrf;
mod corpus;
mod counts;
pub mod entities;
mod error;
pub mod labels;
mod ngrams;
mod numpy_random;
mod rewrite;
mod significance;
pub mod spread;
mod tokenize_13a;
mod tokenize_intl;
mod tokenizer;
pub mod values;

pub use bleu::{Bleu, BleuOptions, BleuScore, Smoothing};
pub use chrf::{Chrf, ChrfOptions, ChrfScore};
pub use corpus::{CorpusMetric, Reference, ReferenceCount, Statistics};
pub use counts::Counts;
pub use error::Error;
pub use significance::{Bootstrap, Interval, PairedComparison};
pub use tokenizer::Tokenizer;

/// The sacreBLEU release whose scores and signatures are reproduced.
pub const SACREBLEU_VERSION: &str = "2.6.0";

/// A ratio that is 0 where nothing is below.
fn ratio(above: f64, below: f64) -> f64 {
    if below == 0.0 { 0.0 } else { above / below }
}
