//! What generation_config.json says of how tokens are drawn, or else chosen.

use super::Error;
use super::json::Keys;
use crate::generate::{ContrastiveOptions, WarperOptions};
use serde_json::{Value, json};

/// The settings of sampling and of contrastive search; `None` where the file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampling {
    /// Whether tokens are drawn.
    pub do_sample: Option<bool>,
    /// What logits are divided by before a token is drawn.
    pub temperature: Option<f64>,
    /// How many of the likeliest tokens one is drawn from; of contrastive search, its candidates.
    pub top_k: Option<usize>,
    /// The probability of the likeliest tokens that one is drawn from.
    pub top_p: Option<f64>,
    /// The least probability relative to the likeliest token's.
    pub min_p: Option<f64>,
    /// The probability of the tokens of the most expected surprise that one is drawn from.
    pub typical_p: Option<f64>,
    /// Contrastive search's weight of the resemblance to what was said.
    pub penalty_alpha: Option<f64>,
}

impl Sampling {
    /// # Errors
    /// A key has a value of the wrong type or out of its range.
    pub(super) fn read(keys: Keys<'_>) -> Result<Self, Error> {
        let number = |key: &str, allowed: fn(f64) -> bool, expected: &str| {
            let value: Option<f64> = keys.optional(key)?;
            match value.is_none_or(allowed) {
                true => Ok(value),
                false => Err(keys.wrong(key, expected)),
            }
        };
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        let is_part = |value: f64| (0.0..=1.0).contains(&value);
        Ok(Self {
            do_sample: keys.optional("do_sample")?,
            temperature: number("temperature", |value| (0.0..=f64::from(f32::MAX)).contains(&value), "0 or more")?,
            top_k: keys.optional("top_k")?,
            top_p: number("top_p", is_share, "more than 0 and at most 1")?,
            min_p: number("min_p", is_part, "0 to 1")?,
            typical_p: number("typical_p", is_share, "more than 0 and at most 1")?,
            penalty_alpha: number("penalty_alpha", is_part, "0 to 1")?,
        })
    }

    /// Keys and values of the file, `null` where it does not say.
    pub(super) fn entries(&self) -> [(&'static str, Value); 7] {
        [
            ("do_sample", json!(self.do_sample)),
            ("temperature", json!(self.temperature)),
            ("top_k", json!(self.top_k)),
            ("top_p", json!(self.top_p)),
            ("min_p", json!(self.min_p)),
            ("typical_p", json!(self.typical_p)),
            ("penalty_alpha", json!(self.penalty_alpha)),
        ]
    }

    /// How tokens are drawn where they are, each setting neutral unless the file says otherwise.
    #[must_use]
    pub fn warpers(&self) -> WarperOptions {
        let plain = WarperOptions::default();
        WarperOptions {
            temperature: self.temperature.unwrap_or(plain.temperature),
            top_k: self.top_k.unwrap_or(plain.top_k),
            top_p: self.top_p.unwrap_or(plain.top_p),
            min_p: self.min_p.unwrap_or(plain.min_p),
            typical_p: self.typical_p.unwrap_or(plain.typical_p),
        }
    }

    /// The candidates of contrastive search.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.top_k.filter(|&top_k| top_k > 0).unwrap_or(ContrastiveOptions::default().top_k)
    }

    /// The weight of contrastive search, where the file asks for that: it needs more than one candidate.
    #[must_use]
    pub fn contrast(&self) -> Option<f64> {
        self.penalty_alpha.filter(|&alpha| alpha > 0.0 && self.top_k.is_some_and(|top_k| top_k > 1))
    }

    /// Keys that bend or cut the distribution that tokens are drawn from. 50 is the `top_k` that `transformers` writes
    /// where nobody chose one.
    #[must_use]
    pub fn warping(&self) -> Vec<&'static str> {
        [
            ("temperature", self.temperature.is_some_and(|value| value != 1.0)),
            ("top_k", self.top_k.is_some_and(|value| value != 0 && value != 50)),
            ("top_p", self.top_p.is_some_and(|value| value != 1.0)),
            ("min_p", self.min_p.is_some_and(|value| value != 0.0)),
            ("typical_p", self.typical_p.is_some_and(|value| value != 1.0)),
        ]
        .into_iter()
        .filter_map(|(key, has_effect)| has_effect.then_some(key))
        .collect()
    }
}
