//! The Transformer's decoder, one token at a time, with a cache of keys and values.
//!
//! The source's keys and values are projected once per sentence and layer. Each live row owns a stretch of each layer's
//! cache, `[rows, capacity, 2·d_model]`, to which every step appends; a query attends to its row's stretch through the
//! same kernel that training uses.

use std::sync::Arc;

use atento_tensor::ops::{AttentionInput, Segment};
use atento_tensor::{Graph, Pool, Tensor};

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
    /// Per layer: [rows, capacity, 2·d_model], perhaps with room for more rows behind.
    caches: Vec<Vec<f32>>,
    /// The other buffer of a reordering; kept, so that steps allocate nothing.
    spare: Vec<f32>,
    capacity: usize,
    length: usize,
}

impl<'m> CachedDecoder<'m> {
    /// Encodes packed source sentences; one row per sentence to begin with.
    ///
    /// # Shapes
    /// `ids`: `[source_tokens]`; `cu_source`: [sentences + 1].
    #[must_use]
    pub fn new(model: &'m Transformer, pool: &Pool, ids: &[u32], cu_source: &[u32]) -> Self {
        let mut g = Graph::infer(&model.params, pool);
        let memory = model.encode(&mut g, ids, cu_source);
        let source_key_values =
            model.decoder.iter().map(|layer| layer.cross_attention.key_value.forward(&mut g, &memory)).collect();
        let sources: Vec<_> =
            cu_source.windows(2).map(|pair| (pair[0] as usize, (pair[1] - pair[0]) as usize)).collect();
        Self {
            model,
            pool: pool.clone(),
            source_key_values,
            row_sentence: (0..sources.len()).collect(),
            sources,
            caches: vec![Vec::new(); model.decoder.len()],
            spare: Vec::new(),
            capacity: 0,
            length: 0,
        }
    }

    /// Makes room for one more token in every row.
    fn grow(&mut self) {
        if self.length == self.capacity {
            let rows: Vec<usize> = (0..self.row_sentence.len()).collect();
            self.rearrange(&rows, (self.capacity * 2).max(16));
        }
    }

    /// Moves the used part of old row `parents[i]` to row `i` of caches with room for `capacity` tokens.
    fn rearrange(&mut self, parents: &[usize], capacity: usize) {
        let width = 2 * self.model.config.d_model;
        let (old_stride, new_stride, used) = (self.capacity * width, capacity * width, self.length * width);
        for cache in &mut self.caches {
            let needed = parents.len() * new_stride;
            if self.spare.len() < needed {
                self.spare.resize(needed, 0.0);
            }
            for (row, &parent) in parents.iter().enumerate() {
                self.spare[row * new_stride..][..used].copy_from_slice(&cache[parent * old_stride..][..used]);
            }
            std::mem::swap(cache, &mut self.spare);
        }
        self.capacity = capacity;
    }
}

impl StepDecoder for CachedDecoder<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.row_sentence.len(), "CachedDecoder::step: one token per row");
        self.grow();
        let rows = tokens.len();
        let (capacity, length) = (self.capacity, self.length);
        let own: Vec<Segment> = (0..rows)
            .map(|row| Segment { query_start: row, query_len: 1, key_start: row * capacity, key_len: length + 1 })
            .collect();
        let cross: Arc<[Segment]> = (0..rows)
            .map(|row| {
                let (key_start, key_len) = self.sources[self.row_sentence[row]];
                Segment { query_start: row, query_len: 1, key_start, key_len }
            })
            .collect();
        let mut g = Graph::infer(&self.model.params, &self.pool);
        let positions = vec![length as u32; rows];
        let mut x =
            self.model.embed_at(&mut g, &self.model.target_embedding, &self.model.target_positions, tokens, &positions);
        for (i, layer) in self.model.decoder.iter().enumerate() {
            let cache = &mut self.caches[i];
            let source = &self.source_key_values[i];
            x = layer.forward_with(
                &mut g,
                &x,
                |g, x| {
                    let attention = &layer.self_attention;
                    let qkv = attention.qkv.forward(g, x);
                    let query = append(g, &qkv, cache, capacity, length);
                    let context = g.attention_over(attention.spec, &query, cache, &own);
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
        self.length += 1;
    }

    fn reorder(&mut self, parents: &[usize]) {
        self.rearrange(parents, self.capacity);
        self.row_sentence = parents.iter().map(|&parent| self.row_sentence[parent]).collect();
    }
}

/// Writes each row's new key and value into its stretch of the cache and returns the queries.
///
/// # Shapes
/// `qkv`: [rows, 3·d_model]; result: [rows, d_model].
fn append(g: &Graph<'_>, qkv: &Tensor, cache: &mut [f32], capacity: usize, length: usize) -> Tensor {
    let [rows, width] = qkv.dims();
    let d_model = width / 3;
    let mut queries = vec![0.0; rows * d_model];
    for (row, values) in qkv.values().chunks_exact(width).enumerate() {
        let (query, key_value) = values.split_at(d_model);
        queries[row * d_model..][..d_model].copy_from_slice(query);
        cache[(row * capacity + length) * 2 * d_model..][..2 * d_model].copy_from_slice(key_value);
    }
    g.constant(&queries, &[rows, d_model])
}
