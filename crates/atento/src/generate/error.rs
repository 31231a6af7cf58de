//! What can be wrong with a search.

/// Why a search was refused or stopped.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// `beam` is 0.
    #[error("beam is 0: give 1 for greedy search or more for beam search")]
    NoBeam,
    /// `beam` is larger than any search needs.
    #[error("beam is {beam}: the widest is {largest}")]
    HugeBeam {
        /// Hypotheses asked for.
        beam: usize,
        /// The most there may be.
        largest: usize,
    },
    /// `n_best` is 0 or more than the beam holds.
    #[error("n_best is {n_best} with beam {beam}: ask for 1 to {beam} hypotheses, or widen the beam")]
    NBest {
        /// Hypotheses asked for.
        n_best: usize,
        /// Width of the beam.
        beam: usize,
    },
    /// The length penalty's exponent is NaN or infinite.
    #[error(
        "length_penalty is {alpha}: it must be a finite number (0 turns it off, 1 scores the mean log-probability)"
    )]
    LengthPenalty {
        /// The exponent given.
        alpha: f64,
    },
    /// An option names a token that the model does not have.
    #[error("{option} names token {token}, but the model's vocabulary has {vocab_size} tokens (0 to {})", vocab_size - 1)]
    UnknownToken {
        /// The option's name.
        option: &'static str,
        /// The token id given.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A sequence of `bad_words` has no token.
    #[error("bad_words holds an empty sequence: remove it")]
    EmptyBadWord,
    /// A prompt without a token to start from.
    #[error("sentence {sentence} (from 0) has an empty prefix: give at least the decoder's start token")]
    EmptyPrefix {
        /// Index of the prompt.
        sentence: usize,
    },
    /// A prompt that may generate no token.
    #[error("sentence {sentence} (from 0) has max_new_tokens 0: allow at least 1")]
    NothingToGenerate {
        /// Index of the prompt.
        sentence: usize,
    },
    /// The model's scores are not numbers.
    #[error(
        "the logits of sentence {sentence} (from 0) at new token {position} (from 0) hold NaN or +inf, or are all -inf: \
         the model's weights are damaged or its activations overflow"
    )]
    NonFiniteLogits {
        /// Index of the prompt.
        sentence: usize,
        /// New tokens before the one that could not be scored.
        position: usize,
    },
}
