//! The options of a search, named and counted so that each says what it counts.

use super::Error;
use super::sample_options::{ProcessorOptions, check_bad_words, check_repetition_penalty, check_tokens};

/// Divides the log-probability of a hypothesis by a function of its length |Y|, so that long ones are not at a loss.
/// |Y| counts the generated tokens, the end token included, the prefix not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LengthPenalty {
    /// |Y|^α, Hugging Face's `length_penalty`: 0 compares sums, 1 means; a negative α favours short hypotheses.
    HuggingFace(f64),
    /// ((5 + |Y|) / 6)^α: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14.
    Gnmt(f64),
}

impl LengthPenalty {
    /// What a sum of log-probabilities over `length` tokens is divided by.
    pub fn divisor(self, length: usize) -> f32 {
        // In f64 and rounded once, as Python computes it.
        match self {
            LengthPenalty::HuggingFace(alpha) => (length as f64).powf(alpha) as f32,
            LengthPenalty::Gnmt(alpha) => ((5.0 + length as f64) / 6.0).powf(alpha) as f32,
        }
    }

    pub(super) fn alpha(self) -> f64 {
        match self {
            LengthPenalty::HuggingFace(alpha) | LengthPenalty::Gnmt(alpha) => alpha,
        }
    }
}

/// When beam search stops once it holds `beam` finished hypotheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyStopping {
    /// As soon as the best live hypothesis, scored as if it ended at its present length, is no better than the worst
    /// finished one. Hugging Face's `False`, its default.
    False,
    /// At once.
    True,
    /// When no live hypothesis can still win at the length that flatters it most (`max_new_tokens` for α > 0).
    Never,
}

/// A wider beam is a slip of the keyboard: it would only fill the memory.
pub const LARGEST_BEAM: usize = 1024;

/// What to search and what to leave out.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Live hypotheses per sentence; 1 is greedy search.
    pub beam: usize,
    /// Hypotheses to return per sentence, at most `beam`.
    pub n_best: usize,
    /// How finished hypotheses of different lengths compare.
    pub length_penalty: LengthPenalty,
    /// When a sentence's beam search ends; greedy search ends with its first end token.
    pub early_stopping: EarlyStopping,
    /// End tokens are banned before this many new tokens.
    pub min_new_tokens: usize,
    /// End tokens are banned before prefix and hypothesis together have this many tokens.
    pub min_length: usize,
    /// Makes tokens of prefix and hypothesis less likely; 1 changes nothing. As in Hugging Face, greedy search applies
    /// it to logits (and reports log-probabilities without it), beam search multiplies the log-probability, which then
    /// is what counts and what is reported. Keskar et al. 2019, "CTRL", section 4.1.
    pub repetition_penalty: f64,
    /// No sequence of this many tokens occurs twice, the prefix included; 0 allows all.
    pub no_repeat_ngram: usize,
    /// Tokens that end a hypothesis. Empty: only the length does.
    pub eos_ids: Vec<u32>,
    /// Token sequences that must not be produced, such as `[[pad]]` for Marian. A sequence of one end token is
    /// ignored, as in Hugging Face's `bad_words_ids`.
    pub bad_words: Vec<Vec<u32>>,
    /// Tokens that must not be produced, be they forced.
    pub suppress_tokens: Vec<u32>,
    /// The first new token, where the prefix is a single token.
    pub forced_bos: Option<u32>,
    /// The last token of a hypothesis that reaches `max_new_tokens`.
    pub forced_eos: Option<u32>,
}

impl SearchOptions {
    /// The search with these in place of what it does to the probabilities of tokens.
    #[must_use]
    pub fn with(self, processors: ProcessorOptions) -> Self {
        Self {
            min_new_tokens: processors.min_new_tokens,
            min_length: processors.min_length,
            repetition_penalty: processors.repetition_penalty,
            no_repeat_ngram: processors.no_repeat_ngram,
            eos_ids: processors.eos_ids,
            bad_words: processors.bad_words,
            suppress_tokens: processors.suppress_tokens,
            ..self
        }
    }
}

impl Default for SearchOptions {
    /// Greedy search without an end token or a ban.
    fn default() -> Self {
        SearchOptions {
            beam: 1,
            n_best: 1,
            length_penalty: LengthPenalty::HuggingFace(1.0),
            early_stopping: EarlyStopping::False,
            min_new_tokens: 0,
            min_length: 0,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
            eos_ids: Vec::new(),
            bad_words: Vec::new(),
            suppress_tokens: Vec::new(),
            forced_bos: None,
            forced_eos: None,
        }
    }
}

impl SearchOptions {
    /// Bytes that the search itself holds for a live hypothesis of up to `length` tokens: the tokens with their
    /// log-probabilities, twice while a step is taken, and its candidates, ranked and unranked.
    pub(crate) fn row_bytes(&self, length: usize) -> usize {
        const PER_TOKEN: usize = 2 * (size_of::<u32>() + size_of::<f32>());
        const PER_CANDIDATE: usize = 40;
        length.saturating_mul(PER_TOKEN).saturating_add(self.n_candidates().saturating_mul(PER_CANDIDATE))
    }

    /// Continuations of each live hypothesis that are ranked: enough for the beam if every end token is among them.
    pub(super) fn n_candidates(&self) -> usize {
        if self.beam == 1 { 1 } else { (1 + self.eos_ids.len()).max(2).saturating_mul(self.beam) }
    }

    pub(super) fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let (beam, n_best, alpha) = (self.beam, self.n_best, self.length_penalty.alpha());
        if beam > LARGEST_BEAM {
            return Err(Error::HugeBeam { beam, largest: LARGEST_BEAM });
        }
        if beam == 0 {
            return Err(Error::NoBeam);
        }
        if n_best == 0 || n_best > beam {
            return Err(Error::NBest { n_best, beam });
        }
        if !alpha.is_finite() {
            return Err(Error::LengthPenalty { alpha });
        }
        check_repetition_penalty(self.repetition_penalty)?;
        check_tokens("eos_ids", &self.eos_ids, vocab_size)?;
        check_tokens("suppress_tokens", &self.suppress_tokens, vocab_size)?;
        check_tokens("forced_bos", self.forced_bos.as_slice(), vocab_size)?;
        check_tokens("forced_eos", self.forced_eos.as_slice(), vocab_size)?;
        check_bad_words(&self.bad_words, vocab_size)
    }
}
