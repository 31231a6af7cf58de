//! Speculative decoding: a small model proposes a few tokens, the large one judges them all in one pass.
//!
//! Leviathan, Kalman and Matias 2023, "Fast Inference from Transformers via Speculative Decoding", algorithm 1. With q
//! the draft's and p the model's distribution, both after penalties, bans and cuts: a proposal x ~ q is accepted with
//! probability min(1, p(x) / q(x)); the first that is rejected is replaced by a token from max(0, p − q), normalised;
//! after a whole accepted draft one more token comes from p. Every token is thus distributed as p alone would have it.
//! With temperature 0 both distributions are a single token and the result is that of greedy search, token for token.
//!
//! Both models keep a cache; what was fed for rejected proposals is cut off again ([`BlockDecoder::truncate`]).

use super::distribution::Distribution;
use super::draws::{Draws, Purpose};
use super::row::{Picker, Row, check_prompt};
use super::{Error, FinishReason, Sample, SampleOptions, SamplePrompt, Sink};

/// A model with a cache for one sequence, which scores several tokens in one pass.
pub trait BlockDecoder {
    /// Number of logits of a token.
    fn vocab_size(&self) -> usize;

    /// Feeds tokens, appends them to the cache and overwrites `logits` with the scores of what follows each.
    ///
    /// # Shapes
    /// - `tokens`: `[k]`, k ≥ 1
    /// - `logits`: `[k, vocab_size]`
    fn step_block(&mut self, tokens: &[u32], logits: &mut [f32]);

    /// Forgets all but the first `length` tokens; `length` is at most [`len`](Self::len).
    fn truncate(&mut self, length: usize);

    /// Tokens in the cache.
    fn len(&self) -> usize;

    /// Whether the cache is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How well the draft model served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeculativeReport {
    /// Passes of the large model.
    pub passes: usize,
    /// Tokens that the draft model proposed and the large model judged.
    pub proposed: usize,
    /// Those of them that were accepted.
    pub accepted: usize,
}

impl SpeculativeReport {
    /// The share of judged proposals that were accepted, 0 to 1; 0 where none was judged.
    #[must_use]
    pub fn acceptance_rate(&self) -> f64 {
        self.accepted as f64 / self.proposed.max(1) as f64
    }
}

/// Samples one continuation of `prompt` with the help of a draft model that proposes `draft_tokens` tokens at a time
/// (3 to 8 is usual). Both decoders come in with all tokens of the prompt but the last in their caches; the draft's may
/// also be shorter or empty.
///
/// # Errors
/// An option or the prompt makes no sense, the vocabularies differ in size, or logits are NaN or +∞ or all −∞
/// ([`Error`] says which).
pub fn sample_speculative(
    target: &mut dyn BlockDecoder,
    draft: &mut dyn BlockDecoder,
    prompt: &SamplePrompt,
    options: &SampleOptions,
    draft_tokens: usize,
    sink: &mut dyn Sink,
) -> Result<(Sample, SpeculativeReport), Error> {
    let vocab_size = target.vocab_size();
    if draft.vocab_size() != vocab_size {
        return Err(Error::DraftVocabulary { draft: draft.vocab_size(), target: vocab_size });
    }
    options.check(vocab_size)?;
    if options.n != 1 {
        return Err(Error::OneSample { n: options.n, method: "speculative decoding" });
    }
    check_prompt(0, prompt, vocab_size)?;
    let n_prefix = prompt.prefix.len();
    assert_eq!(
        target.len(),
        n_prefix - 1,
        "sample_speculative: tokens in the cache against those of the prompt but one"
    );
    assert!(draft.len() < n_prefix, "sample_speculative: {} tokens in the draft's cache", draft.len());
    let row = Row::new(0, 0, &prompt.prefix, prompt.max_new_tokens);
    let draws = Draws::new(options.seed, prompt.sequence, 0);
    let mut run = Run { options, draws, row, picker: Picker::default(), report: SpeculativeReport::default() };
    let mut proposer = Proposer::default();
    let (mut block, mut logits) = (Vec::new(), Vec::new());
    loop {
        proposer.propose(draft, &mut run, draft_tokens)?;
        let ids = run.row.history.ids();
        block.clear();
        block.extend_from_slice(&ids[target.len()..]);
        block.extend_from_slice(&proposer.tokens);
        logits.resize(block.len() * vocab_size, 0.0);
        target.step_block(&block, &mut logits);
        run.report.passes += 1;
        let judged = logits[(block.len() - 1 - proposer.tokens.len()) * vocab_size..].chunks_exact(vocab_size);
        if let Some(reason) = run.judge(judged, &proposer, sink)? {
            return Ok((run.row.finish(reason), run.report));
        }
        // The last token is fed with the next block.
        let n_cached = run.row.history.ids().len() - 1;
        target.truncate(n_cached.min(target.len()));
        draft.truncate(n_cached.min(draft.len()));
    }
}

struct Run<'a> {
    options: &'a SampleOptions,
    draws: Draws,
    row: Row,
    picker: Picker,
    report: SpeculativeReport,
}

impl Run<'_> {
    /// Accepts proposals up to the first that the model rejects and adds the model's own token.
    fn judge<'l>(
        &mut self,
        judged: impl Iterator<Item = &'l [f32]>,
        proposer: &Proposer,
        sink: &mut dyn Sink,
    ) -> Result<Option<FinishReason>, Error> {
        let options = self.options;
        for (i, logits) in judged.enumerate() {
            let position = self.row.history.n_new();
            let uniform = |purpose| self.draws.uniform(position, purpose);
            let normalizer =
                self.picker.prepare(logits, &self.row.history, options).ok_or_else(|| self.row.not_finite())?;
            let p = &self.picker.distribution;
            let proposal = proposer.tokens.get(i).map(|&token| (token, &proposer.distributions[i]));
            self.report.proposed += usize::from(proposal.is_some());
            let (token, is_accepted) = match proposal {
                Some((token, q)) if accepts(p, q, token, uniform(Purpose::Acceptance)) => (Some(token), true),
                Some((_, q)) => (p.draw_without(q, uniform(Purpose::Replacement)), false),
                None => (p.draw(uniform(Purpose::Token)), false),
            };
            self.report.accepted += usize::from(is_accepted);
            let Some(token) = token else {
                return Ok(Some(FinishReason::Length));
            };
            let logprob = normalizer.logprob(logits[token as usize]);
            let next = self.row.append(token, logprob, &self.picker.top, &options.processors.eos_ids, sink);
            if next.ended.is_some() || !is_accepted {
                return Ok(next.ended);
            }
        }
        Ok(None)
    }
}

fn accepts(p: &Distribution, q: &Distribution, token: u32, u: f64) -> bool {
    u * f64::from(q.prob(token)) < f64::from(p.prob(token))
}

/// The draft model's proposals for one pass.
#[derive(Default)]
struct Proposer {
    tokens: Vec<u32>,
    /// What each was drawn from, and more of them kept for later passes.
    distributions: Vec<Distribution>,
    logits: Vec<f32>,
    block: Vec<u32>,
}

impl Proposer {
    fn propose(&mut self, draft: &mut dyn BlockDecoder, run: &mut Run<'_>, n: usize) -> Result<(), Error> {
        let vocab_size = draft.vocab_size();
        let n_new = run.row.history.n_new();
        self.tokens.clear();
        // The pass yields one token more than are accepted.
        for i in 0..n.min(run.row.remaining() - 1) {
            self.block.clear();
            self.block.extend_from_slice(&run.row.history.ids()[draft.len()..]);
            self.logits.resize(self.block.len() * vocab_size, 0.0);
            draft.step_block(&self.block, &mut self.logits);
            let logits = &self.logits[(self.block.len() - 1) * vocab_size..];
            run.picker.prepare(logits, &run.row.history, run.options).ok_or_else(|| run.row.not_finite())?;
            let uniform = run.draws.uniform(n_new + i, Purpose::Proposal);
            let Some(token) = run.picker.distribution.draw(uniform) else {
                break;
            };
            if self.distributions.len() == i {
                self.distributions.push(Distribution::default());
            }
            std::mem::swap(&mut self.distributions[i], &mut run.picker.distribution);
            self.tokens.push(token);
            run.row.history.push(token);
            if run.options.processors.eos_ids.contains(&token) {
                break;
            }
        }
        run.row.history.shorten(n_new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::toy::{Toy, ToyBlock, VOCAB};
    use super::super::{Flow, ProcessorOptions, TokenEvent, WarperOptions, sample};
    use super::*;

    const PREFIX: [u32; 3] = [3, 9, 4];

    fn go_on(_: &TokenEvent<'_>) -> Flow {
        Flow::Continue
    }

    fn prompt(sequence: u64, max_new_tokens: usize) -> SamplePrompt {
        SamplePrompt { prefix: PREFIX.to_vec(), max_new_tokens, sequence }
    }

    fn greedy() -> SampleOptions {
        SampleOptions {
            processors: ProcessorOptions { eos_ids: vec![1], repetition_penalty: 1.2, ..Default::default() },
            warpers: WarperOptions { temperature: 0.0, ..Default::default() },
            ..Default::default()
        }
    }

    #[test]
    fn without_chance_it_is_greedy_search_whatever_the_draft_says() {
        let mut rates = Vec::new();
        for sentence in 0..12 {
            let options = greedy();
            let mut toy = Toy::prefilled(&[(sentence, &PREFIX[..2])], 0.0);
            let expected = sample(&mut toy, &[prompt(0, 25)], &options, &mut go_on).unwrap().concat();
            for (variant, draft_tokens) in [(0, 4), (1, 3), (2, 1), (3, 40), (4, 0)] {
                let mut target = ToyBlock::new(sentence, 0, &PREFIX[..2]);
                let mut draft = ToyBlock::new(sentence, variant, &PREFIX[..(variant as usize).min(2)]);
                let found =
                    sample_speculative(&mut target, &mut draft, &prompt(0, 25), &options, draft_tokens, &mut go_on);
                let (found, report) = found.unwrap();
                assert_eq!(found, expected[0]);
                assert_eq!(report.passes, target.blocks.len());
                rates.push((variant, report));
            }
        }
        // A draft that is the model itself is always right, so that 25 tokens take 5 passes of 5 tokens.
        assert!(rates.iter().all(|(variant, report)| *variant != 0 || report.acceptance_rate() == 1.0));
        assert!(rates.iter().all(|(variant, report)| *variant != 0 || report.passes <= 5));
        assert!(rates.iter().any(|(variant, report)| *variant == 1 && (0.2..1.0).contains(&report.acceptance_rate())));
    }

    /// How likely the model says each continuation of two tokens is, after the cuts.
    fn exact(options: &SampleOptions) -> BTreeMap<Vec<u32>, f64> {
        let model = ToyBlock::new(5, 0, &[]);
        let after = |new: &[u32]| {
            let mut picker = Picker::default();
            let mut row = Row::new(0, 0, &PREFIX, 9);
            new.iter().for_each(|&token| row.history.push(token));
            picker.prepare(&model.logits(row.history.ids()), &row.history, options).unwrap();
            picker.distribution
        };
        let first = after(&[]);
        let mut exact = BTreeMap::new();
        for a in (0..VOCAB as u32).filter(|&a| first.prob(a) > 0.0) {
            let second = after(&[a]);
            for b in (0..VOCAB as u32).filter(|&b| second.prob(b) > 0.0) {
                exact.insert(vec![a, b], f64::from(first.prob(a)) * f64::from(second.prob(b)));
            }
        }
        exact
    }

    #[test]
    fn continuations_come_as_often_as_from_the_model_alone() {
        let n = 12_000;
        let options = SampleOptions {
            processors: ProcessorOptions { presence_penalty: 0.5, ..Default::default() },
            warpers: WarperOptions { temperature: 1.5, top_k: 4, top_p: 0.95, ..Default::default() },
            ..Default::default()
        };
        let exact = exact(&options);
        for (variant, draft_tokens) in [(1, 1), (2, 3)] {
            let mut counts = BTreeMap::<Vec<u32>, usize>::new();
            let mut accepted = 0;
            for sequence in 0..n {
                let mut target = ToyBlock::new(5, 0, &PREFIX[..2]);
                let mut draft = ToyBlock::new(5, variant, &PREFIX[..2]);
                let prompt = prompt(sequence, 2 + draft_tokens);
                let found =
                    sample_speculative(&mut target, &mut draft, &prompt, &options, draft_tokens, &mut go_on).unwrap();
                *counts.entry(found.0.ids[..2].to_vec()).or_default() += 1;
                accepted += found.1.accepted;
            }
            assert!(accepted > 0);
            assert!(counts.keys().all(|ids| exact.contains_key(ids)));
            // Pearson's statistic has mean and half variance d; 5 standard deviations above is never by chance.
            let statistic: f64 = exact
                .iter()
                .map(|(ids, probability)| {
                    let expected = probability * n as f64;
                    let found = *counts.get(ids).unwrap_or(&0) as f64;
                    (found - expected) * (found - expected) / expected
                })
                .sum();
            let freedom = (exact.len() - 1) as f64;
            assert!(statistic < freedom + 5.0 * (2.0 * freedom).sqrt(), "{statistic} with {freedom} degrees");
        }
    }

    #[test]
    fn an_interruption_leaves_what_was_told_and_a_row_can_be_ended() {
        for (flow, reason) in [(Flow::Interrupt, FinishReason::Interrupted), (Flow::EndRow, FinishReason::Stop)] {
            let mut told = Vec::new();
            let mut sink = |event: &TokenEvent<'_>| {
                told.push(event.token);
                if told.len() == 3 { flow } else { Flow::Continue }
            };
            let (mut target, mut draft) = (ToyBlock::new(1, 0, &PREFIX[..2]), ToyBlock::new(1, 0, &PREFIX[..2]));
            let options = SampleOptions::default();
            let (sample, _) =
                sample_speculative(&mut target, &mut draft, &prompt(0, 25), &options, 6, &mut sink).unwrap();
            assert_eq!((sample.ids, sample.finish_reason), (told, reason));
        }
    }

    #[test]
    fn several_samples_and_another_vocabulary_are_refused() {
        struct Narrow;
        impl BlockDecoder for Narrow {
            fn vocab_size(&self) -> usize {
                7
            }
            fn step_block(&mut self, _: &[u32], _: &mut [f32]) {}
            fn truncate(&mut self, _: usize) {}
            fn len(&self) -> usize {
                0
            }
        }
        let mut target = ToyBlock::new(1, 0, &PREFIX[..2]);
        let narrow = sample_speculative(&mut target, &mut Narrow, &prompt(0, 5), &greedy(), 2, &mut go_on);
        assert_eq!(narrow.unwrap_err(), Error::DraftVocabulary { draft: 7, target: 24 });
        let (options, mut draft) = (SampleOptions { n: 2, ..greedy() }, ToyBlock::new(1, 0, &[]));
        let two = sample_speculative(&mut target, &mut draft, &prompt(0, 5), &options, 2, &mut go_on);
        assert!(two.unwrap_err().to_string().starts_with("n is 2: speculative decoding makes 1 sample"));
    }
}
