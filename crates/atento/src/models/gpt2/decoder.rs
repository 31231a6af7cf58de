//! GPT-2 token by token, with a cache of keys and values.

use std::ops::Range;

use atento_kernels::threads::within;
use atento_tensor::{Graph, Pool, Tensor};

use super::Gpt2;
use crate::generate::{BlockDecoder, HiddenDecoder, StepDecoder};
use crate::models::kv_cache::{KvCache, first_columns};

/// Decoding state of a batch of prompts, which may have different lengths.
pub struct CachedGpt2<'m> {
    model: &'m Gpt2,
    pool: Pool,
    cache: KvCache,
    /// The tokens in the cache, where they are needed to slide.
    slide: Option<Vec<Vec<u32>>>,
    /// States of the prompts' tokens, and which are each prompt's.
    prefill: Option<Tensor>,
    prefill_rows: Vec<Range<usize>>,
    /// States of the last step's tokens.
    last: Option<Tensor>,
}

impl<'m> CachedGpt2<'m> {
    /// One row per prompt. All tokens of a prompt but the last go into the cache; the last is the first to be fed by
    /// [`StepDecoder::step`]. `capacity` tokens of each row, prompt included, fit without the cache being moved.
    ///
    /// # Panics
    /// If a prompt is empty or longer than the model's positions.
    #[must_use]
    pub fn new(model: &'m Gpt2, pool: &Pool, prompts: &[&[u32]], capacity: usize) -> Self {
        let config = &model.config;
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        assert!(longest <= config.max_positions, "CachedGpt2::new: a prompt of {longest} tokens");
        let capacity = capacity.clamp(longest, config.max_positions);
        let cache = KvCache::new(config.layers, 2 * config.d_model, prompts.len(), capacity);
        let before_last: Vec<&[u32]> =
            prompts.iter().map(|prompt| prompt.split_last().expect("CachedGpt2::new: a prompt is empty").1).collect();
        let mut end = 0;
        let rows = before_last.iter().map(|tokens| {
            end += tokens.len();
            end - tokens.len()..end
        });
        let prefill_rows = rows.collect();
        let pool = pool.clone();
        let mut decoder = Self { model, pool, cache, slide: None, prefill: None, prefill_rows, last: None };
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

    /// Tokens of each row in the cache.
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
        let segments = self.cache.segments(&counts);
        let (model, cache) = (self.model, &mut self.cache);
        let d_model = model.config.d_model;
        let g = &mut Graph::infer(&model.params, &self.pool);
        let x = model.embed(g, &rows.concat(), &positions);
        let hidden = model.run(
            g,
            x,
            |g, layer, block, x| {
                let attention = &block.attention;
                let qkv = attention.qkv.forward(g, x);
                cache.append(layer, &qkv, &counts);
                let query = first_columns(g, &qkv, d_model);
                let context = g.attention_over(attention.spec, &query, cache.layer(layer), &segments);
                attention.out.forward(g, &context)
            },
            |_| (),
        );
        self.cache.advance(&counts);
        hidden
    }

    /// Feeds tokens and writes the logits of what follows each.
    fn feed_and_project(&mut self, rows: &[&[u32]], logits: &mut [f32]) {
        within(|| {
            let hidden = self.feed(rows);
            let g = &mut Graph::infer(&self.model.params, &self.pool);
            logits.copy_from_slice(self.model.project(g, &hidden).values());
            self.last = Some(hidden);
        });
    }

    /// Makes room in the rows that are full.
    fn make_room(&mut self) {
        let limit = self.model.config.max_positions;
        let Some(mut rows) = self.slide.take() else { return };
        let full: Vec<bool> = self.cache.lengths().iter().map(|&length| length >= limit).collect();
        if full.contains(&true) {
            for (row, _) in full.iter().enumerate().filter(|(_, full)| **full) {
                rows[row].drain(..limit - limit / 2);
                self.cache.truncate(row, 0);
            }
            let kept: Vec<&[u32]> =
                rows.iter().zip(&full).map(|(tokens, full)| if *full { &tokens[..] } else { &[] }).collect();
            if kept.iter().any(|tokens| !tokens.is_empty()) {
                within(|| self.feed(&kept));
            }
        }
        self.slide = Some(rows);
    }
}

impl StepDecoder for CachedGpt2<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.cache.lengths().len(), "CachedGpt2::step: one token per row");
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

impl HiddenDecoder for CachedGpt2<'_> {
    fn d_model(&self) -> usize {
        self.model.config.d_model
    }

    fn prefill_hidden(&self, row: usize) -> &[f32] {
        let (d_model, rows) = (self.model.config.d_model, self.prefill_rows[row].clone());
        self.prefill.as_ref().map_or(&[], |states| &states.values()[rows.start * d_model..rows.end * d_model])
    }

    fn hidden(&self) -> &[f32] {
        self.last.as_ref().map_or(&[], Tensor::values)
    }
}

impl BlockDecoder for CachedGpt2<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step_block(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(self.cache.lengths().len(), 1, "CachedGpt2::step_block: one row");
        self.feed_and_project(&[tokens], logits);
    }

    fn truncate(&mut self, length: usize) {
        self.cache.truncate(0, length);
    }

    fn len(&self) -> usize {
        self.cache.lengths()[0]
    }
}
