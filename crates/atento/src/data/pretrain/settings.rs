//! What is asked of the texts and of the examples.

use serde::{Deserialize, Serialize};

use super::{Error, Markers};
use crate::data::tokens::TextSource;

/// What a model learns from an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// Masked tokens of one segment (RoBERTa).
    #[default]
    #[serde(rename = "mlm")]
    Mlm,
    /// Masked tokens of two segments, and whether the second follows the first or is of another document (BERT).
    #[serde(rename = "mlm+nsp")]
    MlmNsp,
    /// Masked tokens of two segments that follow one another, and whether they are in order (ALBERT).
    #[serde(rename = "mlm+sop")]
    MlmSop,
}

impl Objective {
    /// Whether an example has two segments.
    pub fn is_of_pairs(self) -> bool {
        self != Objective::Mlm
    }
}

/// What is chosen to be masked as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// Single tokens.
    #[default]
    Tokens,
    /// All tokens of a word.
    Words,
    /// Words that follow one another: as many as a geometric distribution with p = 0.2 says, ten at most (SpanBERT §3.1).
    Spans,
}

/// When examples are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Anew in each epoch: segments and masks.
    #[default]
    EachEpoch,
    /// Once: each epoch has the same examples with the same masks, in another order.
    Once,
}

/// Which documents are taken, by the hash of their text: equal documents are on the same side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fold {
    /// All.
    #[default]
    All,
    /// All but those of [`Fold::Validation`] with the same share.
    Training(f64),
    /// About this share of the documents.
    Validation(f64),
}

/// How texts become a token file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextOptions {
    /// Leaves out every document equal to an earlier one.
    pub drop_duplicates: bool,
    /// Which documents are taken.
    pub fold: Fold,
    /// What the fold depends on besides the text.
    pub seed: u64,
}

/// How a token file becomes examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExampleOptions {
    /// What is learned.
    pub objective: Objective,
    /// The most tokens of an example, special ones counted.
    pub seq_len: usize,
    /// The share of examples that aim at a random length below `seq_len`.
    pub short_seq_prob: f64,
    /// The share of tokens chosen to be predicted.
    pub mask_prob: f64,
    /// The share of the chosen that the mask token replaces.
    pub mask_share: f64,
    /// The share of the chosen that a random word replaces; the rest stays as it is.
    pub random_share: f64,
    /// What is chosen as one.
    pub units: Units,
    /// When examples are drawn.
    pub draw: Draw,
}

impl Default for ExampleOptions {
    /// BERT's numbers (appendix A.2) for tokens of one segment, 128 tokens long.
    fn default() -> Self {
        ExampleOptions {
            objective: Objective::Mlm,
            seq_len: 128,
            short_seq_prob: 0.1,
            mask_prob: 0.15,
            mask_share: 0.8,
            random_share: 0.1,
            units: Units::Tokens,
            draw: Draw::EachEpoch,
        }
    }
}

impl ExampleOptions {
    /// Tokens of an example that are text.
    pub(super) fn room(&self, markers: &Markers) -> usize {
        self.seq_len - markers.around(self.objective.is_of_pairs())
    }

    /// # Errors
    /// The setting that cannot work.
    pub(super) fn check(&self, markers: &Markers) -> Result<(), Error> {
        let share = |key, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::option(key, value, "expected a share from 0 to 1")),
        };
        share("short_seq_prob", self.short_seq_prob)?;
        share("mask_share", self.mask_share)?;
        share("random_share", self.random_share)?;
        if !(self.mask_prob > 0.0 && self.mask_prob <= 1.0) {
            return Err(Error::option("mask_prob", self.mask_prob, "expected a share above 0, at most 1"));
        }
        if self.mask_share + self.random_share > 1.0 + 1e-9 {
            let problem = format!("together with mask_share = {} it must be at most 1", self.mask_share);
            return Err(Error::option("random_share", self.random_share, problem));
        }
        let around = markers.around(self.objective.is_of_pairs());
        // Two segments need a token each.
        if self.seq_len < around + 2 || self.seq_len > 1 << 20 {
            let problem = format!("expected {} to {}, since {around} tokens are special", around + 2, 1 << 20);
            return Err(Error::option("seq_len", self.seq_len, problem));
        }
        Ok(())
    }
}

/// Texts and settings of pre-training data: all but the tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// The texts.
    pub source: TextSource,
    /// What is made of them.
    #[serde(default)]
    pub texts: TextOptions,
    /// What is drawn of that.
    #[serde(default)]
    pub examples: ExampleOptions,
}

impl PretrainConfig {
    /// # Errors
    /// The setting that cannot work.
    pub(super) fn check(&self, markers: &Markers) -> Result<(), Error> {
        if let Fold::Training(share) | Fold::Validation(share) = self.texts.fold
            && !(0.0..1.0).contains(&share)
        {
            return Err(Error::option("valid_fraction", share, "must be at least 0 and less than 1"));
        }
        self.examples.check(markers)
    }
}

/// How much goes into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchSize {
    /// As many examples as have at most so many tokens.
    Tokens(usize),
    /// So many examples.
    Examples(usize),
}

impl BatchSize {
    pub(super) fn check(self, seq_len: usize) -> Result<(), Error> {
        match self {
            BatchSize::Tokens(tokens) if tokens < seq_len => {
                let problem = format!("an example of seq_len = {seq_len} tokens must fit into a batch");
                Err(Error::option("batch_tokens", tokens, problem))
            }
            BatchSize::Examples(0) => Err(Error::option("batch_examples", 0, "a batch needs at least one example")),
            _ => Ok(()),
        }
    }
}
