//! A decoder whose logits are a hash of (sentence, last two tokens, step, token): the toy of
//! `scripts/golden_search.py`, bit for bit.

use super::{BlockDecoder, HiddenDecoder, StepDecoder};

pub(super) const VOCAB: usize = 24;
pub(super) const HIDDEN: usize = 5;

/// f32 in [0, 1) from 32-bit words: multiply-xorshift rounds, then Murmur3's finaliser.
fn uniform(words: [u32; 4]) -> f32 {
    let mut h = 0x1234_5678u32;
    for word in words {
        h = (h ^ word).wrapping_mul(0x9E37_79B1);
        h ^= h >> 15;
    }
    h = h.wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^= h >> 16;
    (h >> 8) as f32 / (1 << 24) as f32
}

pub(super) fn toy_logits(sentence: u32, prefix: &[u32], eos_bias: f32) -> Vec<f32> {
    let last = prefix[prefix.len() - 1];
    let before = if prefix.len() > 1 { prefix[prefix.len() - 2] } else { 9999 };
    let logit = |token: u32| {
        let markov = uniform([sentence, before, last, token]);
        let drift = uniform([sentence, 777, prefix.len() as u32, token]);
        let logit = 8.0 * (markov * markov) + drift;
        if token == 1 || token == 2 { logit + eos_bias } else { logit }
    };
    (0..VOCAB as u32).map(logit).collect()
}

/// The "hidden state" of the last token of a prefix.
pub(super) fn toy_hidden(sentence: u32, prefix: &[u32]) -> [f32; HIDDEN] {
    let last = prefix[prefix.len() - 1];
    std::array::from_fn(|i| uniform([sentence, 4242 + i as u32, last, prefix.len() as u32 % 3]) - 0.4)
}

/// Keeps each row's sentence and tokens, as a real decoder keeps keys and values.
pub(super) struct Toy {
    rows: Vec<(u32, Vec<u32>)>,
    eos_bias: f32,
    /// Rows of each step so far.
    pub(super) rows_per_step: Vec<usize>,
    prefill: Vec<Vec<f32>>,
    hidden: Vec<f32>,
}

impl Toy {
    pub(super) fn new(sentences: &[u32], eos_bias: f32) -> Self {
        Self::prefilled(&sentences.iter().map(|&sentence| (sentence, [].as_slice())).collect::<Vec<_>>(), eos_bias)
    }

    /// With tokens in each sentence's cache.
    pub(super) fn prefilled(sentences: &[(u32, &[u32])], eos_bias: f32) -> Self {
        let hidden =
            |&(sentence, ids): &(u32, &[u32])| (1..=ids.len()).flat_map(|n| toy_hidden(sentence, &ids[..n])).collect();
        Toy {
            rows: sentences.iter().map(|&(sentence, ids)| (sentence, ids.to_vec())).collect(),
            eos_bias,
            rows_per_step: Vec::new(),
            prefill: sentences.iter().map(hidden).collect(),
            hidden: Vec::new(),
        }
    }
}

impl StepDecoder for Toy {
    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.rows.len(), "one token per row");
        assert_eq!(logits.len(), self.rows.len() * VOCAB, "one row of logits per row");
        self.rows_per_step.push(tokens.len());
        self.hidden.clear();
        for ((row, &token), out) in self.rows.iter_mut().zip(tokens).zip(logits.chunks_mut(VOCAB)) {
            row.1.push(token);
            out.copy_from_slice(&toy_logits(row.0, &row.1, self.eos_bias));
            self.hidden.extend(toy_hidden(row.0, &row.1));
        }
    }

    fn reorder(&mut self, parents: &[usize]) {
        self.rows = parents.iter().map(|&parent| self.rows[parent].clone()).collect();
    }
}

impl HiddenDecoder for Toy {
    fn d_model(&self) -> usize {
        HIDDEN
    }

    fn prefill_hidden(&self, row: usize) -> &[f32] {
        &self.prefill[row]
    }

    fn hidden(&self) -> &[f32] {
        &self.hidden
    }
}

/// The toy as a model that scores a block of tokens of one sequence.
pub(super) struct ToyBlock {
    sentence: u32,
    ids: Vec<u32>,
    /// Added to the sentence where logits are made: another model with the same vocabulary.
    variant: u32,
    /// Tokens of each block so far.
    pub(super) blocks: Vec<usize>,
}

impl ToyBlock {
    pub(super) fn new(sentence: u32, variant: u32, cached: &[u32]) -> Self {
        ToyBlock { sentence, ids: cached.to_vec(), variant, blocks: Vec::new() }
    }

    /// The logits after `ids`: those of the toy, blended with noise for a variant.
    pub(super) fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let own = toy_logits(self.sentence, ids, 0.0);
        let noise = toy_logits(self.sentence + 1000 + self.variant, ids, 0.0);
        let share = if self.variant == 0 { 0.0 } else { 0.3 };
        own.iter().zip(&noise).map(|(own, noise)| (1.0 - share) * own + share * noise).collect()
    }
}

impl BlockDecoder for ToyBlock {
    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn step_block(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(logits.len(), tokens.len() * VOCAB, "one row of logits per token");
        self.blocks.push(tokens.len());
        for (&token, out) in tokens.iter().zip(logits.chunks_mut(VOCAB)) {
            self.ids.push(token);
            out.copy_from_slice(&self.logits(&self.ids));
        }
    }

    fn truncate(&mut self, length: usize) {
        assert!(length <= self.ids.len(), "{length} of {} tokens", self.ids.len());
        self.ids.truncate(length);
    }

    fn len(&self) -> usize {
        self.ids.len()
    }
}
