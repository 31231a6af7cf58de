//! The options of sampling: what is done to the logits, and how a token is drawn from what is left.

use super::Error;
use super::draws::MOST_SAMPLES;

/// What changes a row's logits before a token is chosen, in the order of the fields, which is Hugging Face's; the two
/// penalties that Hugging Face does not have stand behind the one they resemble.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessorOptions {
    /// Divides the positive logits of all tokens of prompt and continuation by this and multiplies the negative ones;
    /// 1 changes nothing, more discourages repetition. Keskar et al. 2019, "CTRL", equation 1 of section 4.1.
    pub repetition_penalty: f64,
    /// Subtracted from a token's logit once for each time it was generated; 0 changes nothing. The prompt does not
    /// count. OpenAI's parameter of this name.
    pub frequency_penalty: f64,
    /// Subtracted from a token's logit if it was generated at all; 0 changes nothing. The prompt does not count.
    pub presence_penalty: f64,
    /// No sequence of this many tokens occurs twice, the prompt included; 0 allows all.
    pub no_repeat_ngram: usize,
    /// Token sequences that must not be produced. A sequence of one end token is ignored, as in Hugging Face's
    /// `bad_words_ids`.
    pub bad_words: Vec<Vec<u32>>,
    /// End tokens are banned before this many new tokens.
    pub min_new_tokens: usize,
    /// End tokens are banned before prompt and continuation together have this many tokens.
    pub min_length: usize,
    /// Tokens that must not be produced.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that end a sample. Empty: only the length does.
    pub eos_ids: Vec<u32>,
}

impl Default for ProcessorOptions {
    /// No end token, and nothing is changed.
    fn default() -> Self {
        ProcessorOptions {
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            no_repeat_ngram: 0,
            bad_words: Vec::new(),
            min_new_tokens: 0,
            min_length: 0,
            suppress_tokens: Vec::new(),
            eos_ids: Vec::new(),
        }
    }
}

/// How the distribution is bent and cut before a token is drawn from it, in the order of the fields, which is Hugging
/// Face's. Each works on what the ones before it left, with its probabilities adding up to 1 again. One token at least
/// always stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarperOptions {
    /// Logits are divided by this. 0 is greedy search: the likeliest token (the lowest id where equal), whatever the
    /// other fields say; Hugging Face's `do_sample=False`.
    pub temperature: f64,
    /// Keeps this many of the likeliest tokens, and those exactly as likely as the last of them; 0 keeps all.
    /// Fan et al. 2018, "Hierarchical Neural Story Generation".
    pub top_k: usize,
    /// Keeps the smallest set of likeliest tokens that together have at least this probability; 1 keeps all.
    /// Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", equation 2.
    pub top_p: f64,
    /// Keeps the tokens that are at least this times as likely as the likeliest; 0 keeps all. Nguyen et al. 2024,
    /// "Turning Up the Heat: Min-p Sampling".
    pub min_p: f64,
    /// Keeps the tokens whose surprise −ln p is nearest to its expectation, the entropy, until they together have this
    /// probability; 1 keeps all. Meister et al. 2023, "Locally Typical Sampling", equation 10.
    pub typical_p: f64,
}

impl Default for WarperOptions {
    /// The model's own distribution.
    fn default() -> Self {
        WarperOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, typical_p: 1.0 }
    }
}

impl WarperOptions {
    /// Whether the likeliest token is taken, without chance.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        // A temperature that is 0 in f32 cannot divide.
        self.temperature as f32 == 0.0
    }
}

/// How to sample.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Samples of each prompt.
    pub n: usize,
    /// Which of all possible outcomes; the same seed gives the same samples.
    pub seed: u64,
    /// How many of the likeliest tokens to report beside each token chosen.
    pub top_logprobs: usize,
    /// What changes the logits.
    pub processors: ProcessorOptions,
    /// How a token is drawn.
    pub warpers: WarperOptions,
}

impl Default for SampleOptions {
    /// One sample of the model's own distribution.
    fn default() -> Self {
        SampleOptions {
            n: 1,
            seed: 0,
            top_logprobs: 0,
            processors: ProcessorOptions::default(),
            warpers: WarperOptions::default(),
        }
    }
}

pub(super) fn check_range(
    option: &'static str,
    value: f64,
    allowed: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), Error> {
    // As f32 too, in which logits are computed. NaN satisfies no comparison.
    let fits = (value as f32).is_finite() && allowed(value);
    if fits { Ok(()) } else { Err(Error::OutOfRange { option, value, expected }) }
}

pub(super) fn check_repetition_penalty(value: f64) -> Result<(), Error> {
    let expected = "a number above 0 (1 turns it off, 1.2 discourages repetition)";
    check_range("repetition_penalty", value, |value| value as f32 > 0.0, expected)
}

pub(super) fn check_tokens(option: &'static str, tokens: &[u32], vocab_size: usize) -> Result<(), Error> {
    match tokens.iter().find(|&&token| token as usize >= vocab_size) {
        Some(&token) => Err(Error::UnknownToken { option, token, vocab_size }),
        None => Ok(()),
    }
}

pub(super) fn check_bad_words(bad_words: &[Vec<u32>], vocab_size: usize) -> Result<(), Error> {
    if bad_words.iter().any(Vec::is_empty) {
        return Err(Error::EmptyBadWord);
    }
    bad_words.iter().try_for_each(|word| check_tokens("bad_words", word, vocab_size))
}

impl ProcessorOptions {
    pub(super) fn check(&self, vocab_size: usize) -> Result<(), Error> {
        check_repetition_penalty(self.repetition_penalty)?;
        let expected = "a finite number (0 turns it off, 0 to 2 is usual)";
        check_range("frequency_penalty", self.frequency_penalty, |_| true, expected)?;
        check_range("presence_penalty", self.presence_penalty, |_| true, expected)?;
        check_bad_words(&self.bad_words, vocab_size)?;
        check_tokens("suppress_tokens", &self.suppress_tokens, vocab_size)?;
        check_tokens("eos_ids", &self.eos_ids, vocab_size)
    }
}

impl WarperOptions {
    fn check(&self) -> Result<(), Error> {
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        let expected = "a finite number, 0 (greedy) or more";
        check_range("temperature", self.temperature, |value| value >= 0.0, expected)?;
        check_range("top_p", self.top_p, is_share, "more than 0 and at most 1 (1 turns it off)")?;
        check_range("min_p", self.min_p, |value| (0.0..=1.0).contains(&value), "0 to 1 (0 turns it off)")?;
        check_range("typical_p", self.typical_p, is_share, "more than 0 and at most 1 (1 turns it off)")
    }
}

impl SampleOptions {
    pub(super) fn check(&self, vocab_size: usize) -> Result<(), Error> {
        if self.n == 0 || self.n > MOST_SAMPLES {
            return Err(Error::Samples { n: self.n, largest: MOST_SAMPLES });
        }
        self.processors.check(vocab_size)?;
        self.warpers.check()
    }
}
