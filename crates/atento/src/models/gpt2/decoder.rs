//! GPT-2 token by token, with a cache of keys and values.

use atento_tensor::{Graph, Pool, Tensor};

use super::Gpt2;
use crate::generate::StepDecoder;
use crate::models::kv_cache::{KvCache, first_columns};

/// Decoding state of a batch of prompts, which may have different lengths.
pub struct CachedGpt2<'m> {
    model: &'m Gpt2,
    pool: Pool,
    cache: KvCache,
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
        let capacity = capacity.clamp(longest, config.max_positions.max(longest));
        let cache = KvCache::new(config.layers, 2 * config.d_model, prompts.len(), capacity);
        let mut decoder = Self { model, pool: pool.clone(), cache };
        let before_last: Vec<&[u32]> =
            prompts.iter().map(|prompt| prompt.split_last().expect("CachedGpt2::new: a prompt is empty").1).collect();
        if before_last.iter().any(|tokens| !tokens.is_empty()) {
            decoder.feed(&mut Graph::infer(&model.params, pool), &before_last);
        }
        decoder
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
    fn feed(&mut self, g: &mut Graph<'_>, rows: &[&[u32]]) -> Tensor {
        let counts: Vec<usize> = rows.iter().map(|tokens| tokens.len()).collect();
        self.cache.reserve(counts.iter().copied().max().unwrap_or(0));
        let positions: Vec<u32> = (self.cache.lengths().iter().zip(&counts))
            .flat_map(|(&length, &count)| length as u32..(length + count) as u32)
            .collect();
        let segments = self.cache.segments(&counts);
        let (model, cache) = (self.model, &mut self.cache);
        let d_model = model.config.d_model;
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
}

impl StepDecoder for CachedGpt2<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.cache.lengths().len(), "CachedGpt2::step: one token per row");
        let rows: Vec<&[u32]> = tokens.chunks(1).collect();
        let mut g = Graph::infer(&self.model.params, &self.pool);
        let hidden = self.feed(&mut g, &rows);
        logits.copy_from_slice(self.model.project(&mut g, &hidden).values());
    }

    fn reorder(&mut self, parents: &[usize]) {
        self.cache.reorder(parents);
    }
}
