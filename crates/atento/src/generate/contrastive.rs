//! Contrastive search: the likely token that resembles the text so far the least.
//!
//! Su et al. 2022, "A Contrastive Framework for Neural Text Generation", equation 5: among the k likeliest tokens V,
//!
//! x_t = argmax_{v ∈ V} (1 − α)·p(v | x_<t) − α·max_{j<t} cos(h_v, h_{x_j}),
//!
//! where h is the model's last hidden state at a token. Equal to Hugging Face's `generate` with `penalty_alpha` and
//! `top_k`, as its library had it before version 5: probabilities come after the logits processors, over the whole
//! vocabulary, and the first of equally good candidates wins.
//!
//! A step feeds all k candidates of every row as rows of their own and keeps the row that is chosen.

use atento_kernels::activation::Activation;
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::Precision;

use super::row::{Next, Picker, Row, check_prompt};
use super::sample_options::check_range;
use super::top_k::{Normalizer, top_k_into};
use super::{Candidate, Error, FinishReason, ProcessorOptions, Sample, SamplePrompt, Sink, StepDecoder};

/// A [`StepDecoder`] that shows the hidden states from which it computes logits (for GPT-2 after the last layer norm).
pub trait HiddenDecoder: StepDecoder {
    /// Numbers of a hidden state.
    fn d_model(&self) -> usize;

    /// The hidden states of the tokens that were in row `row`'s cache before the first step: `[tokens, d_model]`.
    fn prefill_hidden(&self, row: usize) -> &[f32];

    /// The hidden states at the tokens of the last step: `[rows, d_model]`.
    fn hidden(&self) -> &[f32];
}

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastiveOptions {
    /// α, from 0 (greedy search) to 1 (only the resemblance counts); 0.6 is usual.
    pub penalty_alpha: f64,
    /// k, the candidates of a step; 4 is usual.
    pub top_k: usize,
    /// How many of the likeliest tokens to report beside each token chosen.
    pub top_logprobs: usize,
    /// What changes the logits.
    pub processors: ProcessorOptions,
}

impl Default for ContrastiveOptions {
    /// The paper's values for GPT-2: α = 0.6, k = 4.
    fn default() -> Self {
        ContrastiveOptions { penalty_alpha: 0.6, top_k: 4, top_logprobs: 0, processors: ProcessorOptions::default() }
    }
}

/// A live row.
struct Live {
    row: Row,
    picker: Picker,
    /// The decoder's row that holds it.
    source: usize,
    /// The hidden states of all tokens so far, each of length 1: `[tokens, d_model]`.
    context: Vec<f32>,
    candidates: Vec<Candidate>,
    normalizer: Normalizer,
}

/// Searches one continuation of every prompt. The decoder comes in as for [`sample()`](super::sample()).
///
/// # Errors
/// An option or a prompt that makes no sense ([`Error`] says which), or logits that are NaN or +∞ or all −∞.
pub fn contrastive_search(
    decoder: &mut dyn HiddenDecoder,
    prompts: &[SamplePrompt],
    options: &ContrastiveOptions,
    sink: &mut dyn Sink,
) -> Result<Vec<Sample>, Error> {
    options.check(decoder.vocab_size())?;
    let mut live = Vec::with_capacity(prompts.len());
    for (i, prompt) in prompts.iter().enumerate() {
        check_prompt(i, prompt, decoder.vocab_size())?;
        let mut context = Vec::new();
        append_unit(&mut context, decoder.prefill_hidden(i), decoder.d_model());
        let row = Row::new(i, 0, &prompt.prefix, prompt.max_new_tokens);
        let (picker, candidates, normalizer) = Default::default();
        live.push(Live { row, picker, source: i, context, candidates, normalizer });
    }
    let samples = vec![None; prompts.len()];
    let (logits, after, cosines) = Default::default();
    let mut search = ContrastiveSearch { decoder, options, live, samples, logits, after, cosines };
    search.feed_prompts();
    while !search.live.is_empty() {
        search.find_candidates()?;
        search.feed_candidates();
        search.choose(sink);
    }
    Ok(search.samples.into_iter().flatten().collect())
}

struct ContrastiveSearch<'a> {
    decoder: &'a mut dyn HiddenDecoder,
    options: &'a ContrastiveOptions,
    live: Vec<Live>,
    /// Of every prompt, once it ended.
    samples: Vec<Option<Sample>>,
    /// What the decoder said in its last step, of which each live row has its `source`: `[rows, vocab_size]`
    logits: Vec<f32>,
    /// What it says after every candidate of every row: `[candidates of all rows, vocab_size]`
    after: Vec<f32>,
    cosines: Vec<f32>,
}

impl ContrastiveSearch<'_> {
    fn feed_prompts(&mut self) {
        let tokens: Vec<u32> = self.live.iter().map(|live| live.row.history.last()).collect();
        if tokens.is_empty() {
            return;
        }
        let d_model = self.decoder.d_model();
        self.logits.resize(tokens.len() * self.decoder.vocab_size(), 0.0);
        self.decoder.step(&tokens, &mut self.logits);
        for (live, hidden) in self.live.iter_mut().zip(self.decoder.hidden().chunks_exact(d_model)) {
            append_unit(&mut live.context, hidden, d_model);
        }
    }

    fn find_candidates(&mut self) -> Result<(), Error> {
        let vocab_size = self.decoder.vocab_size();
        for live in &mut self.live {
            live.find_candidates(&self.logits[live.source * vocab_size..][..vocab_size], self.options)?;
        }
        Ok(())
    }

    /// Makes a row of every candidate and feeds it.
    fn feed_candidates(&mut self) {
        let each = || self.live.iter().flat_map(|live| live.candidates.iter().map(|one| (one.token, live.source)));
        let (tokens, parents): (Vec<u32>, Vec<usize>) = each().unzip();
        self.after.resize(tokens.len() * self.decoder.vocab_size(), 0.0);
        if !tokens.is_empty() {
            self.decoder.reorder(&parents);
            self.decoder.step(&tokens, &mut self.after);
        }
    }

    /// Lets every row go on with the best of its candidates.
    fn choose(&mut self, sink: &mut dyn Sink) {
        let (vocab_size, d_model) = (self.decoder.vocab_size(), self.decoder.d_model());
        let (mut first, mut interrupted) = (0, false);
        for mut live in std::mem::take(&mut self.live) {
            let n = live.candidates.len();
            let hidden = &self.decoder.hidden()[first * d_model..][..n * d_model];
            let ended = if interrupted {
                Some(FinishReason::Interrupted)
            } else if n == 0 {
                Some(FinishReason::Length)
            } else {
                let logits = &self.logits[live.source * vocab_size..][..vocab_size];
                let chosen = live.go_on(logits, hidden, self.options, &mut self.cosines, sink);
                live.source = first + chosen.0;
                interrupted = chosen.1.interrupted;
                chosen.1.ended
            };
            first += n;
            match ended {
                Some(reason) => live.row.finish_into(&mut self.samples, reason),
                None => self.live.push(live),
            }
        }
        if interrupted {
            let live = self.live.drain(..);
            live.for_each(|live| live.row.finish_into(&mut self.samples, FinishReason::Interrupted));
        }
        std::mem::swap(&mut self.logits, &mut self.after);
    }
}

impl ContrastiveOptions {
    fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let expected = "0 (greedy search) to 1";
        check_range("penalty_alpha", self.penalty_alpha, |value| (0.0..=1.0).contains(&value), expected)?;
        if self.top_k == 0 {
            return Err(Error::NoContrast);
        }
        self.processors.check(vocab_size)
    }
}

impl Live {
    /// The likeliest tokens after the logits processors.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    fn find_candidates(&mut self, logits: &[f32], options: &ContrastiveOptions) -> Result<(), Error> {
        let Live { row, picker, candidates, normalizer, .. } = self;
        let processed = picker.process(logits, &row.history, options.top_logprobs, &options.processors);
        *normalizer = processed.ok_or_else(|| row.not_finite())?;
        // No candidate at all where everything is banned.
        if top_k_into(&picker.scores, options.top_k, &[], candidates).is_none() {
            candidates.clear();
        }
        Ok(())
    }

    /// Appends the best candidate; returns which it is and what follows.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`, from which the candidates come
    /// - `hidden`: `[candidates, d_model]`
    fn go_on(
        &mut self,
        logits: &[f32],
        hidden: &[f32],
        options: &ContrastiveOptions,
        cosines: &mut Vec<f32>,
        sink: &mut dyn Sink,
    ) -> (usize, Next) {
        let d_model = hidden.len() / self.candidates.len();
        let n_context = self.context.len();
        // The candidates' states stand behind the context while they are compared with it.
        append_unit(&mut self.context, hidden, d_model);
        let chosen = self.best(n_context, d_model, options.penalty_alpha as f32, cosines);
        self.context.copy_within(n_context + chosen * d_model..n_context + (chosen + 1) * d_model, n_context);
        self.context.truncate(n_context + d_model);
        let token = self.candidates[chosen].token;
        let logprob = self.normalizer.logprob(logits[token as usize]);
        (chosen, self.row.append(token, logprob, &self.picker.top, &options.processors.eos_ids, sink))
    }

    /// Which candidate has the best contrastive score; `context` is the text's up to `n_context`, then theirs.
    fn best(&self, n_context: usize, d_model: usize, alpha: f32, cosines: &mut Vec<f32>) -> usize {
        let (context, own) = self.context.split_at(n_context);
        let (n_candidates, n_tokens) = (self.candidates.len(), n_context / d_model);
        cosines.resize(n_candidates * n_tokens, 0.0);
        let (layout, identity) = (WeightLayout::OutIn, Activation::Identity);
        linear::forward(Precision::F32, n_candidates, own, context, layout, None, identity, None, cosines);
        let mut best = (0, f32::NEG_INFINITY);
        for (i, (candidate, cosines)) in self.candidates.iter().zip(cosines.chunks_exact(n_tokens)).enumerate() {
            let resemblance = cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let score = (1.0 - alpha) * candidate.logprob.exp() - alpha * resemblance;
            if score > best.1 {
                best = (i, score);
            }
        }
        best.0
    }
}

/// Appends hidden states scaled to length 1; one that is 0 stays 0.
///
/// # Shapes
/// - `hidden`: `[tokens, d_model]`
fn append_unit(out: &mut Vec<f32>, hidden: &[f32], d_model: usize) {
    for state in hidden.chunks_exact(d_model) {
        let length = state.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32;
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        out.extend(state.iter().map(|x| x * scale));
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{Toy, VOCAB, toy_hidden, toy_logits};
    use super::super::{Flow, SampleOptions, TokenEvent, WarperOptions, sample};
    use super::*;

    const PREFIXES: [&[u32]; 3] = [&[0], &[3, 9, 4], &[7, 7]];

    fn prompts(max_new_tokens: usize) -> Vec<SamplePrompt> {
        PREFIXES.map(|prefix| SamplePrompt { prefix: prefix.to_vec(), max_new_tokens, sequence: 0 }).to_vec()
    }

    fn toy(sentences: std::ops::Range<usize>) -> Toy {
        let cached = |i: usize| (i as u32, &PREFIXES[i][..PREFIXES[i].len() - 1]);
        Toy::prefilled(&sentences.map(cached).collect::<Vec<_>>(), 0.0)
    }

    fn go_on(_: &TokenEvent<'_>) -> Flow {
        Flow::Continue
    }

    /// The definition, in f64, over whole prefixes.
    fn reference(sentence: u32, prefix: &[u32], n_new: usize, alpha: f64, top_k: usize) -> Vec<u32> {
        let unit = |ids: &[u32]| {
            let hidden = toy_hidden(sentence, ids).map(f64::from);
            let length = hidden.iter().map(|x| x * x).sum::<f64>().sqrt();
            hidden.map(|x| x / length)
        };
        let mut ids = prefix.to_vec();
        for _ in 0..n_new {
            let logits = toy_logits(sentence, &ids, 0.0);
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            let mut ranked: Vec<u32> = (0..VOCAB as u32).collect();
            ranked.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            let score = |token: u32| {
                let own = unit(&[ids.as_slice(), &[token]].concat());
                let cosine = |n: usize| unit(&ids[..n]).iter().zip(&own).map(|(a, b)| a * b).sum::<f64>();
                let resemblance = (1..=ids.len()).map(cosine).fold(f64::NEG_INFINITY, f64::max);
                (1.0 - alpha) * f64::from(logits[token as usize]).exp() / sum - alpha * resemblance
            };
            let best = ranked[..top_k].iter().max_by(|&&a, &&b| score(a).total_cmp(&score(b)));
            ids.push(*best.unwrap());
        }
        ids.split_off(prefix.len())
    }

    #[test]
    fn tokens_are_those_of_the_definition_alone_and_together() {
        for (penalty_alpha, top_k) in [(0.6, 4), (0.3, 7), (1.0, 3), (0.5, 1)] {
            let options = ContrastiveOptions { penalty_alpha, top_k, ..Default::default() };
            let together = contrastive_search(&mut toy(0..3), &prompts(9), &options, &mut go_on).unwrap();
            for (i, sample) in together.iter().enumerate() {
                assert_eq!(sample.ids, reference(i as u32, PREFIXES[i], 9, penalty_alpha, top_k));
                let alone = contrastive_search(&mut toy(i..i + 1), &prompts(9)[i..=i], &options, &mut go_on).unwrap();
                assert_eq!(&alone[0], sample);
            }
        }
    }

    #[test]
    fn without_a_penalty_it_is_greedy_search_with_its_processors_and_end_tokens() {
        let processors = ProcessorOptions { eos_ids: vec![1, 2], no_repeat_ngram: 2, ..Default::default() };
        let options =
            ContrastiveOptions { penalty_alpha: 0.0, top_logprobs: 2, processors, ..ContrastiveOptions::default() };
        let greedy = SampleOptions {
            processors: options.processors.clone(),
            warpers: WarperOptions { temperature: 0.0, ..Default::default() },
            ..Default::default()
        };
        let expected = sample(&mut toy(0..3), &prompts(30), &greedy, &mut go_on).unwrap().concat();
        let mut n_top = Vec::new();
        let mut sink = |event: &TokenEvent<'_>| {
            n_top.push(event.top.len());
            Flow::Continue
        };
        assert_eq!(contrastive_search(&mut toy(0..3), &prompts(30), &options, &mut sink).unwrap(), expected);
        assert!(n_top.iter().all(|&n| n == 2));
    }

    #[test]
    fn an_interruption_leaves_what_was_told() {
        let mut told = 0;
        let mut sink = |_: &TokenEvent<'_>| {
            told += 1;
            if told == 5 { Flow::Interrupt } else { Flow::Continue }
        };
        let samples =
            contrastive_search(&mut toy(0..3), &prompts(9), &ContrastiveOptions::default(), &mut sink).unwrap();
        let lengths: Vec<usize> = samples.iter().map(|sample| sample.ids.len()).collect();
        assert_eq!(lengths, [2, 2, 1]);
        assert!(samples.iter().all(|sample| sample.finish_reason == FinishReason::Interrupted));
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let refuse = |options: ContrastiveOptions| {
            contrastive_search(&mut toy(0..3), &prompts(9), &options, &mut go_on).unwrap_err().to_string()
        };
        assert!(refuse(ContrastiveOptions { top_k: 0, ..Default::default() }).starts_with("top_k is 0"));
        let refused = refuse(ContrastiveOptions { penalty_alpha: 1.1, ..Default::default() });
        assert_eq!(refused, "penalty_alpha is 1.1: expected 0 (greedy search) to 1");
    }
}
