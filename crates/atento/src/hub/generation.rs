//! generation_config.json: how a model wants its outputs searched for.
//!
//! Keys that would change the output of `transformers` and that the search here does not know are not dropped in
//! silence: [`GenerationConfig::not_honoured`] lists them.

use super::Error;
use super::decimal;
use super::json::Keys;
use super::sampling::Sampling;
use crate::families::Sizes;
use crate::generate::LARGEST_BEAM;
use crate::models::RecurrentConfig;
use crate::models::config::TransformerConfig;
use serde_json::{Map, Value, json};
use std::path::Path;

/// When beam search stops looking, as Hugging Face's `early_stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// `false`: when no running hypothesis of the current length could beat the worst finished one.
    #[default]
    Heuristic,
    /// `true`: as soon as there are as many finished hypotheses as beams.
    AtEnoughCandidates,
    /// `"never"`: when no running hypothesis of any length could beat the worst finished one.
    Exhaustive,
}

/// The settings of a search, each neutral unless the file says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Hypotheses kept; 1 is greedy search.
    pub num_beams: usize,
    /// The most tokens of an output, its start token and end token counted.
    pub max_length: Option<usize>,
    /// The most tokens after the start token; stronger than `max_length`.
    pub max_new_tokens: Option<usize>,
    /// The fewest tokens of an output, its start token or prompt counted.
    pub min_length: usize,
    /// The fewest tokens after the start token or the prompt; stronger than `min_length`.
    pub min_new_tokens: Option<usize>,
    /// The exponent of the length that a hypothesis' log-probability is divided by.
    pub length_penalty: f32,
    /// When beam search stops.
    pub early_stopping: EarlyStopping,
    /// Makes tokens that occurred less likely; 1 changes nothing.
    pub repetition_penalty: f64,
    /// No sequence of this many tokens occurs twice; 0 for no such rule.
    pub no_repeat_ngram_size: usize,
    /// Sequences of tokens that are never generated.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that are never generated.
    pub suppressed_ids: Vec<u32>,
    /// The decoder's first input.
    pub decoder_start_id: Option<u32>,
    /// The token forced right after the start token.
    pub forced_bos_id: Option<u32>,
    /// The token forced where an output reaches `max_length`.
    pub forced_eos_id: Option<u32>,
    /// The token that begins a sentence.
    pub bos_id: Option<u32>,
    /// The tokens that end an output.
    pub eos_ids: Vec<u32>,
    /// The padding token.
    pub pad_id: Option<u32>,
    /// Texts that end an output.
    pub stop_strings: Vec<String>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Keys of the file with an effect that nothing here has.
    pub not_honoured: Vec<String>,
    /// What is wrong with settings of the file that only a search needs, a sentence for each key. They are neutral here.
    pub unusable: Vec<String>,
    /// Tokens it names that the model does not have, a sentence for each key.
    pub notes: Vec<String>,
    /// The file, where it is a generation_config.json.
    pub stated: Option<Stated>,
}

/// A generation_config.json and what was read of it: only what has changed since is written anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Stated {
    object: Map<String, Value>,
    entries: Vec<(&'static str, Value)>,
}

impl Default for GenerationConfig {
    /// Hugging Face's defaults: greedy search without an end token.
    fn default() -> Self {
        Self {
            num_beams: 1,
            max_length: None,
            max_new_tokens: None,
            min_length: 0,
            min_new_tokens: None,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::default(),
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            suppressed_ids: Vec::new(),
            decoder_start_id: None,
            forced_bos_id: None,
            forced_eos_id: None,
            bos_id: None,
            eos_ids: Vec::new(),
            pad_id: None,
            stop_strings: Vec::new(),
            sampling: Sampling::default(),
            not_honoured: Vec::new(),
            unusable: Vec::new(),
            notes: Vec::new(),
            stated: None,
        }
    }
}

/// Keys that nothing here knows, each with the value at which it has no effect, as `null` always has.
fn neutral_values() -> [(&'static str, Value); 20] {
    [
        ("token_healing", json!(false)),
        ("num_return_sequences", json!(1)),
        ("encoder_repetition_penalty", json!(1.0)),
        ("encoder_no_repeat_ngram_size", json!(0)),
        ("num_beam_groups", json!(1)),
        ("diversity_penalty", json!(0.0)),
        ("epsilon_cutoff", json!(0.0)),
        ("eta_cutoff", json!(0.0)),
        ("top_h", Value::Null),
        ("dola_layers", Value::Null),
        ("guidance_scale", json!(1.0)),
        ("begin_suppress_tokens", json!([])),
        ("forced_decoder_ids", json!([])),
        ("force_words_ids", json!([])),
        ("constraints", json!([])),
        ("sequence_bias", json!([])),
        ("exponential_decay_length_penalty", json!([])),
        ("renormalize_logits", json!(false)),
        ("watermarking_config", Value::Null),
        ("max_time", Value::Null),
    ]
}

impl GenerationConfig {
    /// Greedy search with a model's own tokens, up to its positions, never generating padding.
    pub fn of_model(config: &TransformerConfig) -> Self {
        Self {
            max_length: Some(config.max_positions),
            bad_words_ids: vec![vec![config.pad_id]],
            decoder_start_id: Some(config.decoder_start_id),
            bos_id: config.bos_id,
            eos_ids: vec![config.eos_id],
            pad_id: Some(config.pad_id),
            ..Self::default()
        }
    }

    /// As [`GenerationConfig::of_model`], for a recurrent model, whose outputs have no longest.
    pub fn of_recurrent(config: &RecurrentConfig) -> Self {
        Self {
            bad_words_ids: vec![vec![config.pad_id]],
            decoder_start_id: Some(config.decoder_start_id),
            bos_id: config.bos_id,
            eos_ids: vec![config.eos_id],
            pad_id: Some(config.pad_id),
            ..Self::default()
        }
    }

    /// Greedy search with a language model's own tokens; how much to generate is for the caller to say.
    pub fn of_language_model(sizes: Sizes) -> Self {
        Self {
            bos_id: sizes.bos_id,
            eos_ids: sizes.eos_id.into_iter().collect(),
            pad_id: sizes.pad_id,
            ..Self::default()
        }
    }

    /// Reads the settings from the object that `path` holds: generation_config.json, or the config.json of a
    /// directory from before that file existed.
    ///
    /// # Errors
    /// A key has a value of the wrong type, or one that no search can have.
    pub fn from_json(path: &Path, object: &Map<String, Value>) -> Result<Self, Error> {
        let keys = Keys::new(path, object);
        let config = Self::read(keys, object)?;
        let faults = [
            ("num_beams", !(1..=LARGEST_BEAM).contains(&config.num_beams), format!("1 to {LARGEST_BEAM}")),
            ("max_new_tokens", config.max_new_tokens == Some(0), "1 or more".into()),
            ("max_length", config.max_length == Some(0), "1 or more".into()),
            ("length_penalty", !config.length_penalty.is_finite(), "a number that f32 can hold".into()),
            ("repetition_penalty", !is_penalty(config.repetition_penalty), "a number above 0".into()),
            ("bad_words_ids", config.bad_words_ids.iter().any(Vec::is_empty), "lists of one token id or more".into()),
        ];
        match faults.into_iter().find(|(_, wrong, _)| *wrong) {
            Some((key, _, expected)) => Err(keys.wrong(key, expected)),
            None => Ok(config),
        }
    }

    /// As [`GenerationConfig::from_json`], but a fault in what only a search needs is kept for the search to refuse
    /// ([`require`](Self::require)): a model whose texts are scored needs no beams.
    ///
    /// # Errors
    /// A token has an id that cannot be.
    pub(super) fn from_json_for_any_use(path: &Path, object: &Map<String, Value>) -> Result<Self, Error> {
        let (mut usable, mut unusable) = (object.clone(), Vec::new());
        loop {
            match Self::from_json(path, &usable) {
                Err(Error::WrongValue { key, path, found, expected })
                    if !key.ends_with("_token_id") && usable.remove(&key).is_some() =>
                {
                    unusable.push(Error::WrongValue { key, path, found, expected }.to_string());
                }
                config => return config.map(|config| Self { unusable, ..config }),
            }
        }
    }

    /// Checks that a search can use the settings.
    ///
    /// # Errors
    /// [`Error::Unusable`] names the first that it cannot use.
    pub fn require(&self) -> Result<(), Error> {
        self.unusable.first().map_or(Ok(()), |fault| Err(Error::Unusable(fault.clone())))
    }

    /// The settings with all of the generation_config.json that they were read from, also what nothing here reads: it is
    /// written again as it was, except for what has changed since.
    #[must_use]
    pub fn with_file(mut self, object: &Map<String, Value>) -> Self {
        self.stated = Some(Stated { object: object.clone(), entries: self.entries() });
        self
    }

    /// The generation_config.json that the settings were read from, where it is one.
    #[must_use]
    pub fn stated(&self) -> Option<&Map<String, Value>> {
        self.stated.as_ref().map(|stated| &stated.object)
    }

    /// With these tokens to end an output, where the file names none.
    #[must_use]
    pub fn or_ended_by(self, eos_ids: Vec<u32>) -> Self {
        if self.eos_ids.is_empty() { Self { eos_ids, ..self } } else { self }
    }

    fn read(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        Ok(Self {
            num_beams: keys.or("num_beams", 1)?,
            max_length: keys.optional("max_length")?,
            max_new_tokens: keys.optional("max_new_tokens")?,
            min_length: keys.or("min_length", 0)?,
            min_new_tokens: keys.optional("min_new_tokens")?,
            length_penalty: keys.or("length_penalty", 1.0)?,
            early_stopping: read_early_stopping(keys, object)?,
            repetition_penalty: keys.or("repetition_penalty", 1.0)?,
            no_repeat_ngram_size: keys.or("no_repeat_ngram_size", 0)?,
            bad_words_ids: bad_words(keys)?,
            suppressed_ids: keys.special("suppress_tokens")?.unwrap_or_default(),
            decoder_start_id: keys.special_one("decoder_start_token_id")?,
            forced_bos_id: keys.special_one("forced_bos_token_id")?,
            forced_eos_id: keys.special_one("forced_eos_token_id")?,
            bos_id: keys.special_one("bos_token_id")?,
            eos_ids: keys.special("eos_token_id")?.unwrap_or_default(),
            pad_id: keys.special_one("pad_token_id")?,
            stop_strings: keys.or("stop_strings", Vec::new())?,
            sampling: Sampling::read(keys)?,
            not_honoured: not_honoured(object),
            unusable: Vec::new(),
            notes: Vec::new(),
            stated: None,
        })
    }

    /// Forgets tokens that a model of this vocabulary cannot produce and that only ever end or forbid something. Tokens
    /// that a search has to produce stay: it is the search that refuses them.
    pub(super) fn forget_absent_tokens(&mut self, vocab_size: usize) {
        let is_there = |id: &u32| (*id as usize) < vocab_size;
        self.eos_ids.retain(is_there);
        self.suppressed_ids.retain(is_there);
        self.bad_words_ids.retain(|word| word.iter().all(is_there));
        self.bos_id = self.bos_id.filter(is_there);
        self.pad_id = self.pad_id.filter(is_there);
    }

    /// Keys of the file with an effect that a search without chance does not have.
    #[must_use]
    pub fn beyond_search(&self) -> Vec<&str> {
        let draws = (self.sampling.do_sample == Some(true)).then_some("do_sample");
        let contrasts = self.sampling.contrast().map(|_| "penalty_alpha");
        let stops = (!self.stop_strings.is_empty()).then_some("stop_strings");
        self.not_honoured.iter().map(String::as_str).chain(draws).chain(contrasts).chain(stops).collect()
    }

    /// The tokens never generated: bad words of one token, except those that end an output (a rule of
    /// `transformers`), and suppressed tokens. Sorted, each once.
    pub fn banned_ids(&self) -> Vec<u32> {
        let single = self.bad_words_ids.iter().filter_map(|word| match word[..] {
            [token] if !self.eos_ids.contains(&token) => Some(token),
            _ => None,
        });
        let mut banned: Vec<u32> = single.chain(self.suppressed_ids.iter().copied()).collect();
        banned.sort_unstable();
        banned.dedup();
        banned
    }

    /// The object that generation_config.json is to hold; neutral values are left out.
    pub fn to_json(&self) -> Map<String, Value> {
        let (mut object, read) = match &self.stated {
            Some(stated) => (stated.object.clone(), stated.entries.as_slice()),
            None => (Map::new(), &[][..]),
        };
        for (key, value) in self.entries().into_iter().filter(|entry| !read.contains(entry)) {
            match value {
                Value::Null => object.remove(key),
                value => object.insert(key.to_owned(), value),
            };
        }
        object
    }

    /// Every key that is known here, with its value in the file; `null` where it is neutral.
    fn entries(&self) -> Vec<(&'static str, Value)> {
        let some = |token: Option<u32>| token.map_or(Value::Null, |token| json!(token));
        let eos = match self.eos_ids[..] {
            [token] => json!(token),
            _ => json!(self.eos_ids),
        };
        let early_stopping = match self.early_stopping {
            EarlyStopping::Heuristic => Value::Null,
            EarlyStopping::AtEnoughCandidates => json!(true),
            EarlyStopping::Exhaustive => json!("never"),
        };
        let unless = |neutral: bool, value: Value| if neutral { Value::Null } else { value };
        let penalty = decimal(self.length_penalty);
        [
            ("num_beams", json!(self.num_beams)),
            ("max_length", json!(self.max_length)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("min_length", unless(self.min_length == 0, json!(self.min_length))),
            ("min_new_tokens", json!(self.min_new_tokens)),
            ("length_penalty", unless(penalty == 1.0, json!(penalty))),
            ("early_stopping", early_stopping),
            ("repetition_penalty", unless(self.repetition_penalty == 1.0, json!(self.repetition_penalty))),
            ("no_repeat_ngram_size", unless(self.no_repeat_ngram_size == 0, json!(self.no_repeat_ngram_size))),
            ("bad_words_ids", unless(self.bad_words_ids.is_empty(), json!(self.bad_words_ids))),
            ("suppress_tokens", unless(self.suppressed_ids.is_empty(), json!(self.suppressed_ids))),
            ("decoder_start_token_id", some(self.decoder_start_id)),
            ("forced_bos_token_id", some(self.forced_bos_id)),
            ("forced_eos_token_id", some(self.forced_eos_id)),
            ("bos_token_id", some(self.bos_id)),
            ("eos_token_id", unless(self.eos_ids.is_empty(), eos)),
            ("pad_token_id", some(self.pad_id)),
            ("stop_strings", unless(self.stop_strings.is_empty(), json!(self.stop_strings))),
        ]
        .into_iter()
        .chain(self.sampling.entries())
        .collect()
    }
}

fn read_early_stopping(keys: Keys<'_>, object: &Map<String, Value>) -> Result<EarlyStopping, Error> {
    match object.get("early_stopping") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(EarlyStopping::Heuristic),
        Some(Value::Bool(true)) => Ok(EarlyStopping::AtEnoughCandidates),
        Some(Value::String(word)) if word == "never" => Ok(EarlyStopping::Exhaustive),
        Some(_) => Err(keys.wrong("early_stopping", "true, false or \"never\"")),
    }
}

/// Sequences that are never generated. One with a negative id, which no text has, forbids nothing.
fn bad_words(keys: Keys<'_>) -> Result<Vec<Vec<u32>>, Error> {
    let words: Vec<Vec<i64>> = keys.or("bad_words_ids", Vec::new())?;
    let ids = |word: Vec<i64>| word.into_iter().map(|id| u32::try_from(id).ok()).collect();
    Ok(words.into_iter().filter_map(ids).collect())
}

fn is_penalty(value: f64) -> bool {
    // As f32 too, in which it is used.
    value as f32 > 0.0 && (value as f32).is_finite()
}

fn not_honoured(object: &Map<String, Value>) -> Vec<String> {
    let has_effect = |(key, neutral): &(&str, Value)| match object.get(*key) {
        None | Some(Value::Null) => false,
        Some(value) => value != neutral && value.as_f64().is_none_or(|number| neutral.as_f64() != Some(number)),
    };
    neutral_values().iter().filter(|entry| has_effect(entry)).map(|(key, _)| key.to_string()).collect()
}

#[cfg(test)]
mod tests;
