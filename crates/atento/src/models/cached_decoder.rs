//! The Transformer's decoder, one token at a time, with a cache of keys and values.
//!
//! The source's keys and values are projected once per sentence and layer. Each live row owns a stretch of each layer's
//! cache, to which every step appends; a query attends to its row's stretch through the same kernel that training uses.

use std::sync::Arc;

use atento_kernels::threads::within;
use atento_tensor::ops::{AttentionInput, Segment};
use atento_tensor::{Graph, Pool, Side, Tensor};

use super::kv_cache::{KvCache, first_columns};
use super::transformer::Transformer;
use crate::generate::StepDecoder;

/// Decoding state of a batch of source sentences.
pub struct CachedDecoder<'m> {
    model: &'m Transformer,
    pool: Pool,
    /// Per layer: [source_tokens, 2·d_model].
    source_key_values: Vec<Tensor>,
    /// Start and length of each source sentence.
    sources: Vec<(usize, usize)>,
    /// The sentence of each live row.
    row_sentence: Vec<usize>,
    cache: KvCache,
}

impl<'m> CachedDecoder<'m> {
    /// Encodes packed source sentences; one row per sentence to begin with.
    ///
    /// # Shapes
    /// `ids`: `[source_tokens]`; `cu_source`: [sentences + 1].
    #[must_use]
    pub fn new(model: &'m Transformer, pool: &Pool, ids: &[u32], cu_source: &[u32]) -> Self {
        let source_key_values = within(|| {
            let mut g = Graph::infer(&model.params, pool);
            let memory = model.encode(&mut g, ids, cu_source);
            model.decoder.iter().map(|layer| layer.cross_attention.key_value.forward(&mut g, &memory)).collect()
        });
        let sources: Vec<_> =
            cu_source.windows(2).map(|pair| (pair[0] as usize, (pair[1] - pair[0]) as usize)).collect();
        Self {
            model,
            pool: pool.clone(),
            source_key_values,
            row_sentence: (0..sources.len()).collect(),
            cache: KvCache::new(model.decoder.len(), 2 * model.config.d_model, sources.len(), 0),
            sources,
        }
    }

    /// Appends a token to every row and writes the logits of what follows it.
    fn feed(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.row_sentence.len(), "CachedDecoder::step: one token per row");
        self.cache.reserve(1);
        let rows = tokens.len();
        let counts = vec![1; rows];
        let own = self.cache.segments(&counts);
        let positions: Vec<u32> = self.cache.lengths().iter().map(|&length| length as u32).collect();
        let cross: Arc<[Segment]> = (0..rows)
            .map(|row| {
                let (key_start, key_len) = self.sources[self.row_sentence[row]];
                Segment { query_start: row, query_len: 1, key_start, key_len }
            })
            .collect();
        let mut g = Graph::infer(&self.model.params, &self.pool);
        let mut x = self.model.embed_at(&mut g, Side::Target, tokens, &positions);
        for (i, layer) in self.model.decoder.iter().enumerate() {
            let cache = &mut self.cache;
            let source = &self.source_key_values[i];
            x = layer.forward_with(
                &mut g,
                &x,
                |g, x| {
                    let attention = &layer.self_attention;
                    let qkv = attention.qkv.forward(g, x);
                    cache.append(i, &qkv, &counts);
                    let query = first_columns(g, &qkv, self.model.config.d_model);
                    let context = g.attention_over(attention.spec, &query, cache.layer(i), &own);
                    attention.out.forward(g, &context)
                },
                |g, x| {
                    let attention = &layer.cross_attention;
                    let query = attention.query.forward(g, x);
                    let input = AttentionInput::QueryAndPacked(&query, source);
                    let context = g.attention(attention.spec, input, None, &cross);
                    attention.out.forward(g, &context)
                },
            );
        }
        if let Some(norm) = &self.model.decoder_norm {
            x = norm.forward(&mut g, &x);
        }
        logits.copy_from_slice(self.model.project(&mut g, &x).values());
        self.cache.advance(&counts);
    }
}

impl StepDecoder for CachedDecoder<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        within(|| self.feed(tokens, logits));
    }

    fn reorder(&mut self, parents: &[usize]) {
        self.cache.reorder(parents);
        self.row_sentence = parents.iter().map(|&parent| self.row_sentence[parent]).collect();
    }
}
