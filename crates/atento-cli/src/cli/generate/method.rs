//! How tokens are chosen: as the command says, else as the model's generation_config.json does, else by chance.
//!
//! A key of the file is followed where the command has no option of its own for it, as `transformers` would. What is not
//! followed is told; a key without an effect there either (`length_penalty` without beams) is not worth a word.

use std::path::PathBuf;

use anyhow::anyhow;
use atento::generate::{
    ContrastiveOptions, LengthPenalty, ProcessorOptions, SampleOptions, SearchOptions, WarperOptions,
};
use atento::hub::generation::GenerationConfig;
use atento::pipelines::LanguageModel;
use atento::pipelines::continue_text::Method;
use atento::pipelines::translate::search_options;
use clap::builder::RangedU64ValueParser;

use super::LimitArgs;
use crate::cli::translate::check_count;
use crate::ui::failure::Failure;
use crate::ui::number::positive;

/// How tokens are chosen.
#[derive(Debug, clap::Args)]
pub struct MethodArgs {
    /// Take the likeliest token each time
    #[arg(long, conflicts_with_all = ["beam", "penalty_alpha", "temperature"])]
    greedy: bool,

    /// Beam search with this many hypotheses
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["penalty_alpha", "draft", "stop", "temperature", "top_k", "top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty"])]
    beam: Option<usize>,

    /// Beam search: divide log-probabilities by length^A
    #[arg(long, value_name = "A", requires = "beam", allow_negative_numbers = true)]
    length_penalty: Option<f64>,

    /// Divide logits by this before drawing; 0 is greedy
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,

    /// Draw from the K likeliest tokens only; 0 draws from all [contrastive search: candidates]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Draw from the fewest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,

    /// Draw from tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,

    /// Draw from tokens whose surprise is nearest to the expected, until they together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    typical_p: Option<f64>,

    /// Make tokens of prompt and text less likely; 1 changes nothing
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,

    /// Subtract this from a token's logit for each time it was generated
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,

    /// Subtract this from a token's logit if it was generated
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,

    /// No sequence of this many tokens occurs twice; 0 allows all
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,

    /// A text that must not be generated, as its tokens with and without a space before it; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    bad_word: Vec<String>,

    /// Contrastive search: the weight of the resemblance to what was said, 0 to 1
    #[arg(long, value_name = "A", allow_negative_numbers = true, conflicts_with_all = ["temperature", "top_p", "min_p", "typical_p", "draft"])]
    penalty_alpha: Option<f64>,

    /// A smaller model of the same tokenizer that drafts tokens for the model to judge
    #[arg(long, value_name = "MODEL")]
    pub draft: Option<PathBuf>,

    /// Tokens drafted at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive, requires = "draft")]
    draft_tokens: usize,

    /// Continuations of each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub n: usize,
}

/// A way to choose tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// At random.
    Chance,
    /// The likeliest each time.
    Greedy,
    /// Beam search with this many hypotheses.
    Beam(usize),
    /// Contrastive search with this weight.
    Contrast(f64),
}

impl MethodArgs {
    /// The way the command asks for, if it does. An option that only chance has asks for that.
    fn asked(&self) -> Option<Kind> {
        let warps = self.temperature.is_some()
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.min_p.is_some()
            || self.typical_p.is_some();
        match (self.beam, self.penalty_alpha) {
            (Some(beam), _) => Some(Kind::Beam(beam)),
            (None, Some(alpha)) => Some(Kind::Contrast(alpha)),
            _ if self.greedy => Some(Kind::Greedy),
            _ => warps.then_some(Kind::Chance),
        }
    }

    /// The way tokens are chosen.
    pub fn kind(&self, limits: &LimitArgs, own: &GenerationConfig) -> Kind {
        if let Some(asked) = self.asked() {
            return asked;
        }
        // What a beam cannot have: the command line refuses it together with --beam.
        let excludes_beam = self.draft.is_some()
            || !limits.stop.is_empty()
            || self.frequency_penalty.is_some()
            || self.presence_penalty.is_some();
        let excludes_contrast = self.draft.is_some() || self.n > 1;
        match (own.sampling.do_sample, own.sampling.contrast()) {
            (Some(true), _) => Kind::Chance,
            _ if own.num_beams > 1 && !excludes_beam => Kind::Beam(own.num_beams),
            (_, Some(alpha)) if !excludes_contrast => Kind::Contrast(alpha),
            (Some(false), _) => Kind::Greedy,
            (None, _) => Kind::Chance,
        }
    }

    /// Keys of the model's own settings that are not followed, though the command does not replace them.
    pub fn not_followed<'k>(&self, kind: Kind, own: &'k GenerationConfig) -> Vec<&'k str> {
        let mut keys: Vec<&str> = own.not_honoured.iter().map(String::as_str).collect();
        let is_beam = matches!(kind, Kind::Beam(_));
        let asked_for_one = matches!(self.asked(), Some(Kind::Greedy | Kind::Contrast(_)));
        if is_beam && !own.stop_strings.is_empty() {
            keys.push("stop_strings");
        }
        if own.num_beams > 1 && !is_beam && !asked_for_one {
            keys.push("num_beams");
        }
        if own.forced_bos_id.is_some() && !is_beam {
            keys.push("forced_bos_token_id");
        }
        if own.forced_eos_id.is_some() && !is_beam {
            keys.push("forced_eos_token_id");
        }
        if self.asked().is_none() {
            if own.sampling.contrast().is_some() && !matches!(kind, Kind::Contrast(_)) {
                keys.push("penalty_alpha");
            }
            let warping = own.sampling.warping().into_iter();
            keys.extend(warping.filter(|key| match kind {
                Kind::Chance => false,
                Kind::Contrast(_) => *key != "top_k",
                Kind::Greedy | Kind::Beam(_) => true,
            }));
        }
        keys
    }

    /// All that a continuation needs to know of it.
    ///
    /// # Errors
    /// Options that exclude each other, or a forbidden text without tokens.
    pub fn method<'m>(
        &self,
        limits: &LimitArgs,
        language: &LanguageModel,
        draft: Option<&'m LanguageModel>,
        seed: u64,
    ) -> Result<Method<'m>, Failure> {
        let own = &language.generation;
        own.require()?;
        let kind = self.kind(limits, own);
        let processors = self.processors(limits, language)?;
        let temperature = match kind {
            Kind::Beam(beam) => {
                check_count("--n", self.n, beam)?;
                return Ok(Method::Beam(self.search(beam, processors, own)));
            }
            Kind::Contrast(_) if self.n > 1 => {
                return Err(anyhow!("--n {} does not go with --penalty-alpha, which finds one text", self.n).into());
            }
            Kind::Contrast(penalty_alpha) => {
                let top_k = self.top_k.unwrap_or(own.sampling.candidates());
                return Ok(Method::Contrastive(ContrastiveOptions {
                    penalty_alpha,
                    top_k,
                    top_logprobs: 0,
                    processors,
                }));
            }
            Kind::Greedy => Some(0.0),
            Kind::Chance => self.temperature,
        };
        let usual = own.sampling.warpers();
        let warpers = WarperOptions {
            temperature: temperature.unwrap_or(usual.temperature),
            top_k: self.top_k.unwrap_or(usual.top_k),
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            typical_p: self.typical_p.unwrap_or(usual.typical_p),
        };
        let options = SampleOptions { n: self.n, seed, top_logprobs: 0, processors, warpers };
        Ok(match draft {
            Some(draft) => Method::Speculative { options, draft, draft_tokens: self.draft_tokens },
            None => Method::Sample(options),
        })
    }

    fn search(&self, beam: usize, processors: ProcessorOptions, own: &GenerationConfig) -> SearchOptions {
        SearchOptions {
            beam,
            n_best: self.n,
            length_penalty: LengthPenalty::HuggingFace(self.length_penalty.unwrap_or(f64::from(own.length_penalty))),
            ..search_options(own).with(processors)
        }
    }

    fn processors(&self, limits: &LimitArgs, language: &LanguageModel) -> Result<ProcessorOptions, Failure> {
        let own = &language.generation;
        let mut bad_words = own.bad_words_ids.clone();
        for word in &self.bad_word {
            for text in [word.clone(), format!(" {word}")] {
                let ids = language.tokenizer.encode_ids(&text, false)?;
                if ids.is_empty() {
                    return Err(anyhow!("--bad-word {word:?} has no tokens").into());
                }
                bad_words.push(ids);
            }
        }
        let mut suppress_tokens = own.suppressed_ids.clone();
        suppress_tokens.extend(language.unused_ids());
        // A count of new tokens, whoever gives it, is stronger than one of the whole.
        let min_new_tokens = limits.min_new_tokens.or(own.min_new_tokens);
        Ok(ProcessorOptions {
            repetition_penalty: self.repetition_penalty.unwrap_or(own.repetition_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            no_repeat_ngram: self.no_repeat_ngram.unwrap_or(own.no_repeat_ngram_size),
            bad_words,
            min_new_tokens: min_new_tokens.unwrap_or(0),
            min_length: if min_new_tokens.is_some() { 0 } else { own.min_length },
            suppress_tokens,
            eos_ids: if limits.ignore_end { Vec::new() } else { own.eos_ids.clone() },
        })
    }
}

#[cfg(test)]
mod tests {
    use atento::hub::sampling::Sampling;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        method: MethodArgs,
        #[command(flatten)]
        limits: LimitArgs,
    }

    /// What is chosen and what is not followed.
    fn choice(options: &str, own: &GenerationConfig) -> (Kind, String) {
        let Line { method, limits } = Line::parse_from(["generate"].into_iter().chain(options.split_whitespace()));
        let kind = method.kind(&limits, own);
        (kind, method.not_followed(kind, own).join(" "))
    }

    fn of(sampling: Sampling, num_beams: usize) -> GenerationConfig {
        GenerationConfig { sampling, num_beams, ..GenerationConfig::default() }
    }

    #[test]
    fn what_the_command_does_not_say_is_as_the_model_has_it() {
        let plain = Sampling::default();
        let greedy = Sampling { do_sample: Some(false), ..plain };
        let chance = Sampling { do_sample: Some(true), ..plain };
        let contrast = Sampling { penalty_alpha: Some(0.6), top_k: Some(4), ..plain };
        for (options, own, kind, not_followed) in [
            ("", of(plain, 1), Kind::Chance, ""),
            ("", of(greedy, 1), Kind::Greedy, ""),
            ("", of(greedy, 4), Kind::Beam(4), ""),
            ("", of(plain, 4), Kind::Beam(4), ""),
            ("", of(chance, 4), Kind::Chance, "num_beams"),
            ("", of(contrast, 1), Kind::Contrast(0.6), ""),
            ("", of(contrast, 2), Kind::Beam(2), "penalty_alpha top_k"),
            ("--n 2", of(contrast, 1), Kind::Chance, "penalty_alpha"),
            ("--stop x", of(greedy, 4), Kind::Greedy, "num_beams"),
            ("--temperature 2", of(greedy, 1), Kind::Chance, ""),
            ("--temperature 2", of(plain, 4), Kind::Chance, "num_beams"),
            ("--greedy", of(chance, 4), Kind::Greedy, ""),
            ("--beam 2", of(contrast, 4), Kind::Beam(2), ""),
            ("", of(Sampling { temperature: Some(0.5), ..greedy }, 1), Kind::Greedy, "temperature"),
            ("", of(Sampling { temperature: Some(0.5), top_k: Some(50), ..chance }, 1), Kind::Chance, ""),
        ] {
            assert_eq!(choice(options, &own), (kind, not_followed.to_owned()), "{options} {own:?}");
        }
        let forced = GenerationConfig { forced_eos_id: Some(1), forced_bos_id: Some(2), ..of(plain, 1) };
        assert_eq!(choice("--greedy", &forced).1, "forced_bos_token_id forced_eos_token_id");
        assert_eq!(choice("--beam 2", &forced).1, "");
    }
}
