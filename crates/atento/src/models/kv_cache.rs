//! Keys and values of the tokens so far, for decoding token by token.
//!
//! Each live row owns a stretch of each layer's cache, `[rows, capacity, width]`, whose token holds its key and then its
//! value. Rows may have different lengths.

use atento_tensor::ops::Segment;
use atento_tensor::{Graph, Tensor};

/// The caches of all layers.
pub(super) struct KvCache {
    /// Numbers per token: keys and values of all heads.
    width: usize,
    /// Per layer: [rows, capacity, width], perhaps with room for more rows behind.
    layers: Vec<Vec<f32>>,
    /// The other buffer of a reordering; kept, so that steps allocate nothing.
    spare: Vec<f32>,
    capacity: usize,
    lengths: Vec<usize>,
}

impl KvCache {
    /// Empty rows with room for `capacity` tokens each. The memory is reserved, not touched: a cache whose capacity is
    /// known beforehand is never copied to grow.
    pub fn new(n_layers: usize, width: usize, rows: usize, capacity: usize) -> Self {
        let layers = (0..n_layers).map(|_| vec![0.0; rows * capacity * width]).collect();
        Self { width, layers, spare: Vec::new(), capacity, lengths: vec![0; rows] }
    }

    /// Rows that begin with these tokens, `layer` giving the keys and values of each layer: [count, width].
    pub fn begin_with(&mut self, count: usize, layer: impl Fn(usize) -> Vec<f32>) {
        assert!(count <= self.capacity, "KvCache::begin_with: {count} tokens");
        let stride = self.capacity * self.width;
        for (at, cache) in self.layers.iter_mut().enumerate() {
            let values = layer(at);
            (0..self.lengths.len()).for_each(|row| cache[row * stride..][..values.len()].copy_from_slice(&values));
        }
        self.lengths.fill(count);
    }

    /// Tokens in each row.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The cache of one layer: rows of `width` numbers.
    pub fn layer(&self, layer: usize) -> &[f32] {
        &self.layers[layer]
    }

    /// Makes room for `more` tokens in every row.
    pub fn reserve(&mut self, more: usize) {
        let needed = self.lengths.iter().max().map_or(0, |longest| longest + more);
        if needed > self.capacity {
            let rows: Vec<usize> = (0..self.lengths.len()).collect();
            self.rearrange(&rows, needed.max(2 * self.capacity).max(16));
        }
    }

    /// Makes new row `i` continue old row `parents[i]`.
    pub fn reorder(&mut self, parents: &[usize]) {
        self.rearrange(parents, self.capacity);
    }

    /// Moves the used part of old row `parents[i]` to row `i` of caches with room for `capacity` tokens.
    fn rearrange(&mut self, parents: &[usize], capacity: usize) {
        let (old_stride, new_stride) = (self.capacity * self.width, capacity * self.width);
        for cache in &mut self.layers {
            let needed = parents.len() * new_stride;
            if self.spare.len() < needed {
                self.spare = vec![0.0; needed];
            }
            for (row, &parent) in parents.iter().enumerate() {
                let used = self.lengths[parent] * self.width;
                self.spare[row * new_stride..][..used].copy_from_slice(&cache[parent * old_stride..][..used]);
            }
            std::mem::swap(cache, &mut self.spare);
        }
        self.capacity = capacity;
        self.lengths = parents.iter().map(|&parent| self.lengths[parent]).collect();
    }

    /// Writes keys and values of new tokens behind those of their rows, for one layer. Their number per row is
    /// `counts`; [`KvCache::advance`] makes them part of the rows once every layer has them.
    ///
    /// # Shapes
    /// `qkv`: [new tokens, anything + width], keys and values last.
    pub fn append(&mut self, layer: usize, qkv: &Tensor, counts: &[usize]) {
        let [_, columns] = qkv.dims();
        let mut new = qkv.values().chunks_exact(columns).map(|row| &row[columns - self.width..]);
        for (row, &count) in counts.iter().enumerate() {
            let start = (row * self.capacity + self.lengths[row]) * self.width;
            let cache = &mut self.layers[layer][start..start + count * self.width];
            cache.chunks_exact_mut(self.width).zip(&mut new).for_each(|(to, from)| to.copy_from_slice(from));
        }
    }

    /// Who attends to whom while the new tokens are appended but not yet part of their rows.
    pub fn segments(&self, counts: &[usize]) -> Vec<Segment> {
        let mut query_start = 0;
        let segment = |(row, &count): (usize, &usize)| {
            let key_len = self.lengths[row] + count;
            let segment = Segment { query_start, query_len: count, key_start: row * self.capacity, key_len };
            query_start += count;
            segment
        };
        counts.iter().enumerate().map(segment).collect()
    }

    /// Counts the appended tokens as part of their rows.
    pub fn advance(&mut self, counts: &[usize]) {
        self.lengths.iter_mut().zip(counts).for_each(|(length, count)| *length += count);
    }

    /// Forgets all but the first `length` tokens of a row.
    pub fn truncate(&mut self, row: usize, length: usize) {
        self.lengths[row] = self.lengths[row].min(length);
    }
}

/// The queries of a fused projection of queries, keys and values.
///
/// # Shapes
/// `x`: [rows, columns]; result: [rows, width].
pub(super) fn first_columns(g: &Graph<'_>, x: &Tensor, width: usize) -> Tensor {
    let [rows, columns] = x.dims();
    let mut out = g.pool().take(rows * width);
    out.f32_mut().chunks_exact_mut(width).zip(x.values().chunks_exact(columns)).for_each(|(to, from)| {
        to.copy_from_slice(&from[..width]);
    });
    g.constant(out.f32(), &[rows, width])
}
