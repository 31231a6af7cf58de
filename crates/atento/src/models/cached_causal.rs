//! A decoder-only model token by token, with a cache of keys and values.

use std::ops::Range;

use atento_kernels::threads::within;
use atento_tensor::{Graph, Pool, Tensor};

use super::causal::{Attend, CausalLm};
use super::kv_cache::KvCache;
use super::virtual_tokens;
use crate::generate::{BlockDecoder, HiddenDecoder, StepDecoder};

/// The most bytes that a cache is made of before it is used.
const RESERVED_BYTES: usize = 2 << 30;

/// Decoding state of a batch of prompts, which may have different lengths.
pub struct CachedCausal<'m> {
    model: &'m dyn CausalLm,
    pool: Pool,
    cache: KvCache,
    /// Tokens whose keys and values every row begins with.
    prefix: usize,
    /// The ids of the prompt that every row begins with.
    prompt: Vec<u32>,
    /// The tokens of texts in the cache, where they are needed to slide.
    slide: Option<Vec<Vec<u32>>>,
    /// States of the prompts' tokens, and which are each prompt's.
    prefill: Option<Tensor>,
    prefill_rows: Vec<Range<usize>>,
    /// States of the last step's tokens.
    last: Option<Tensor>,
}

impl<'m> CachedCausal<'m> {
    /// One row per prompt. All tokens of a prompt but the last go into the cache; the last is the first to be fed by
    /// [`StepDecoder::step`]. `capacity` tokens of each row, prompt included, fit without the cache being moved, unless
    /// that takes gigabytes.
    ///
    /// # Panics
    /// If a prompt is empty or longer than the model's positions.
    #[must_use]
    pub fn new(model: &'m dyn CausalLm, pool: &Pool, prompts: &[&[u32]], capacity: usize) -> Self {
        let limit = model.max_positions();
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        assert!(longest <= limit, "CachedCausal::new: a prompt of {longest} tokens");
        let params = model.params();
        let prompt: Vec<u32> =
            params.prompt().into_iter().flat_map(|rows| virtual_tokens::ids(rows, model.vocab_size())).collect();
        let (all_virtual, prefix) = (params.virtual_count(), params.virtual_count() - prompt.len());
        // Rotary positions cost nothing, so a model may have many more than a text is going to use: a cache for all of them
        // that would be as large as this grows as it fills.
        let row_bytes = size_of::<f32>() * model.layers() * model.kv_width();
        let at_once = RESERVED_BYTES / row_bytes.saturating_mul(prompts.len()).max(1);
        let capacity = capacity.clamp(longest, limit).min(at_once.max(longest)) + all_virtual;
        let mut cache = KvCache::new(model.layers(), model.kv_width(), prompts.len(), capacity);
        if prefix > 0 {
            cache.begin_with(prefix, |block| {
                params.to_f32(params.prefix(block).expect("every block has one")).into_owned()
            });
        }
        let before_last = |tokens: &&[u32]| {
            let (_, before) = tokens.split_last().expect("CachedCausal::new: a prompt is empty");
            [&prompt, before].concat()
        };
        let before_last: Vec<Vec<u32>> = prompts.iter().map(before_last).collect();
        let before_last: Vec<&[u32]> = before_last.iter().map(Vec::as_slice).collect();
        let mut end = 0;
        let rows = before_last.iter().map(|tokens| {
            end += tokens.len();
            end - tokens.len() + prompt.len()..end
        });
        let prefill_rows = rows.collect();
        let pool = pool.clone();
        let mut decoder = Self {
            model,
            pool,
            cache,
            prefix,
            prompt: prompt.clone(),
            slide: None,
            prefill: None,
            prefill_rows,
            last: None,
        };
        if before_last.iter().any(|tokens| !tokens.is_empty()) {
            decoder.prefill = Some(within(|| decoder.feed(&before_last)));
        }
        decoder
    }

    /// The same, sliding where a row is full instead of panicking: of its tokens the later half is kept and read again
    /// from position 0.
    #[must_use]
    pub fn sliding(mut self, prompts: &[&[u32]]) -> Self {
        self.slide = Some(prompts.iter().map(|prompt| prompt[..prompt.len() - 1].to_vec()).collect());
        self
    }

    /// Tokens that every row begins with before those of its text.
    fn virtual_tokens(&self) -> usize {
        self.prefix + self.prompt.len()
    }

    /// Tokens of each row in the cache, virtual ones counted.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        self.cache.lengths()
    }

    /// Appends tokens to every row, any number to each, and returns their states, row after row.
    ///
    /// # Shapes
    /// result: [new tokens, d_model].
    ///
    /// # Panics
    /// If a row grows beyond the model's positions.
    fn feed(&mut self, rows: &[&[u32]]) -> Tensor {
        let counts: Vec<usize> = rows.iter().map(|tokens| tokens.len()).collect();
        self.cache.reserve(counts.iter().copied().max().unwrap_or(0));
        let positions: Vec<u32> = (self.cache.lengths().iter().zip(&counts))
            .flat_map(|(&length, &count)| length as u32..(length + count) as u32)
            .collect();
        let g = &mut Graph::infer(self.model.params(), &self.pool);
        let attend = Attend::cache(&mut self.cache, &counts);
        let hidden = self.model.states(g, &rows.concat(), &positions, attend, &mut |_| ());
        self.cache.advance(&counts);
        hidden
    }

    /// Feeds tokens and writes the logits of what follows each.
    fn feed_and_project(&mut self, rows: &[&[u32]], logits: &mut [f32]) {
        within(|| {
            let hidden = self.feed(rows);
            let g = &mut Graph::infer(self.model.params(), &self.pool);
            logits.copy_from_slice(self.model.project(g, &hidden).values());
            self.last = Some(hidden);
        });
    }

    /// Makes room in the rows that are full.
    fn make_room(&mut self) {
        let limit = self.model.max_positions();
        let Some(mut rows) = self.slide.take() else { return };
        let before = self.virtual_tokens();
        let full: Vec<bool> = self.cache.lengths().iter().map(|&length| length >= limit + before).collect();
        if full.contains(&true) {
            for (row, _) in full.iter().enumerate().filter(|(_, full)| **full) {
                rows[row].drain(..limit - limit / 2);
                self.cache.truncate(row, self.prefix);
            }
            let kept = |(tokens, full): (&Vec<u32>, &bool)| match full {
                true => [&self.prompt[..], tokens].concat(),
                false => Vec::new(),
            };
            let kept: Vec<Vec<u32>> = rows.iter().zip(&full).map(kept).collect();
            let kept: Vec<&[u32]> = kept.iter().map(Vec::as_slice).collect();
            if kept.iter().any(|tokens| !tokens.is_empty()) {
                within(|| self.feed(&kept));
            }
        }
        self.slide = Some(rows);
    }
}

impl StepDecoder for CachedCausal<'_> {
    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.cache.lengths().len(), "CachedCausal::step: one token per row");
        self.make_room();
        let rows: Vec<&[u32]> = tokens.chunks(1).collect();
        self.feed_and_project(&rows, logits);
        if let Some(slide) = &mut self.slide {
            slide.iter_mut().zip(tokens).for_each(|(row, &token)| row.push(token));
        }
    }

    fn reorder(&mut self, parents: &[usize]) {
        self.cache.reorder(parents);
        if let Some(slide) = &mut self.slide {
            *slide = parents.iter().map(|&parent| slide[parent].clone()).collect();
        }
    }
}

impl HiddenDecoder for CachedCausal<'_> {
    fn d_model(&self) -> usize {
        self.model.d_model()
    }

    fn prefill_hidden(&self, row: usize) -> &[f32] {
        let (d_model, rows) = (self.model.d_model(), self.prefill_rows[row].clone());
        self.prefill.as_ref().map_or(&[], |states| &states.values()[rows.start * d_model..rows.end * d_model])
    }

    fn hidden(&self) -> &[f32] {
        self.last.as_ref().map_or(&[], Tensor::values)
    }
}

impl BlockDecoder for CachedCausal<'_> {
    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn step_block(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(self.cache.lengths().len(), 1, "CachedCausal::step_block: one row");
        self.feed_and_project(&[tokens], logits);
    }

    fn truncate(&mut self, length: usize) {
        self.cache.truncate(0, self.virtual_tokens() + length);
    }

    fn len(&self) -> usize {
        self.cache.lengths()[0] - self.virtual_tokens()
    }
}
