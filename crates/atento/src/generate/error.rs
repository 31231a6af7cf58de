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
    /// An option is not a number or lies outside its range.
    #[error("{option} is {value}: expected {expected}")]
    OutOfRange {
        /// The option's name.
        option: &'static str,
        /// The value given.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// No sample is asked for, or more than can be told apart.
    #[error("n is {n}: ask for 1 to {largest} samples of a prompt")]
    Samples {
        /// Samples asked for.
        n: usize,
        /// The most there may be.
        largest: usize,
    },
    /// A method that makes one sample at a time was asked for several.
    #[error("n is {n}: {method} makes 1 sample of a prompt; call it again with another seed")]
    OneSample {
        /// Samples asked for.
        n: usize,
        /// The method's name.
        method: &'static str,
    },
    /// Contrastive search over no candidate.
    #[error("top_k is 0: contrastive search ranks 1 or more candidates (4 to 10 is usual)")]
    NoContrast,
    /// The empty string occurs everywhere.
    #[error("stop string {index} (from 0) is empty: remove it")]
    EmptyStop {
        /// Index of the string.
        index: usize,
    },
    /// A prompt holds a token that the model does not have.
    #[error(
        "sentence {sentence} (from 0) holds token {token}, but the model's vocabulary has {vocab_size} tokens (0 to \
         {}): the tokenizer belongs to another model", vocab_size - 1
    )]
    UnknownPromptToken {
        /// Index of the prompt.
        sentence: usize,
        /// The token id.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// The draft model speaks another vocabulary than the model it drafts for.
    #[error(
        "the draft model's vocabulary has {draft} tokens, the model's {target}: speculative decoding needs models with \
         the same tokenizer"
    )]
    DraftVocabulary {
        /// Tokens of the draft model.
        draft: usize,
        /// Tokens of the model.
        target: usize,
    },
    /// The tokenizer failed on generated tokens.
    #[error("generated tokens could not be turned into text: {detail}")]
    Detokenize {
        /// The tokenizer's message.
        detail: String,
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
