//! A block of queries against a tile of keys: which of them see each other, and the products the
//! forward and the backward pass are told in. The passes over a tile's scores are in
//! [`scores`](super::scores).
//!
//! Scores of a tile are kept transposed, `T[key][query]`, with queries along the vector lanes:
//! ```text
//! T[n][m]   = Σ_d K[n][d]·Qᵀ[d][m]      lanes are queries; Qᵀ packed once a block, K in place
//! O[m][d]  += Σ_n T[n][m]·V[n][d]       lanes are dimensions; V and O in place
//! dV[n][d] += Σ_m T[n][m]·dO[m][d]      lanes are dimensions; dO and dV in place
//! ```
//! and likewise `V·dOᵀ`, `dQ` and `dK`. So keys, values and all gradients are used where they lie,
//! the softmax over keys has no horizontal step, and its statistics are vectors over queries.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says. "Scores" are a pointer to `keys` rows of `row`
//! numbers, at most [`SCORES`]. "Rows" are a pointer and a stride, to that many rows of `head_dim` numbers,
//! which fit 32 bits.

use super::lanes::{Lanes, WIDEST};
use super::product::{Product, Store, multiply};
use super::{Attention, Dropout, Segment};

/// Queries of a block: four vectors of the widest kind, as wide as a register tile gets.
pub(super) const QUERIES: usize = 64;
/// Keys of a tile: its scores and what they meet share the first-level cache.
pub(super) const KEYS: usize = 64;
/// Numbers of a tile's scores, at most.
pub(super) const SCORES: usize = QUERIES * KEYS;
/// Rows that skip masked scores together.
const BAND: usize = 16;

/// Which keys the queries of a segment see.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    pub causal: bool,
    /// `usize::MAX` where there is none.
    pub window: usize,
    pub query_len: usize,
    pub key_len: usize,
}

impl Mask {
    #[inline(always)]
    pub fn new(attention: &Attention<'_>, segment: &Segment) -> Self {
        let window = attention.window.unwrap_or(usize::MAX);
        Mask { causal: attention.causal, window, query_len: segment.query_len, key_len: segment.key_len }
    }

    /// Keys from a query's own place on that it sees, its own included.
    #[inline(always)]
    fn ahead(&self) -> usize {
        if self.causal { 1 } else { self.window }
    }

    /// Query `i` sees the keys before this one.
    #[inline(always)]
    pub fn keys_seen_by(&self, i: usize) -> usize {
        (i + self.key_len).saturating_add(self.ahead()).saturating_sub(self.query_len).min(self.key_len)
    }

    /// Query `i` sees the keys from this one on, which is none beyond [`keys_seen_by`](Self::keys_seen_by).
    #[inline(always)]
    pub fn first_key_of(&self, i: usize) -> usize {
        (i + 1 + self.key_len).saturating_sub(self.query_len).saturating_sub(self.window)
    }

    /// Key `j` is seen by the queries from this one on.
    #[inline(always)]
    pub fn first_query_of(&self, j: usize) -> usize {
        (j + 1 + self.query_len).saturating_sub(self.key_len).saturating_sub(self.ahead())
    }

    /// Key `j` is seen by the queries before this one, which may lie beyond the last.
    #[inline(always)]
    pub fn queries_that_see(&self, j: usize) -> usize {
        (j + self.query_len).saturating_add(self.window).saturating_sub(self.key_len)
    }
}

/// Queries `query .. query + queries` and keys `key .. key + keys` of a segment.
///
/// Made by [`block`](Self::block) and [`at_key`](Self::at_key) only, so that there are 1 to [`QUERIES`] queries and at most
/// [`KEYS`] keys, all of the segment, and `row` is at most [`QUERIES`] and a multiple of every [`Lanes::LANES`].
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub mask: Mask,
    pub query: usize,
    pub queries: usize,
    pub key: usize,
    pub keys: usize,
    /// Numbers in a row of scores: the queries, rounded up to whole vectors.
    pub row: usize,
}

impl Tile {
    /// The block of queries from `query` on, one of the segment's, with no keys yet.
    pub fn block(attention: &Attention<'_>, segment: &Segment, query: usize) -> Self {
        let queries = QUERIES.min(segment.query_len - query);
        Tile {
            mask: Mask::new(attention, segment),
            query,
            queries,
            key: 0,
            keys: 0,
            row: queries.next_multiple_of(WIDEST),
        }
    }

    /// The same queries and the keys from `key` on, one of those that any query of the block sees.
    #[inline(always)]
    pub fn at_key(&self, key: usize) -> Self {
        Tile { key, keys: KEYS.min(self.visible_keys() - key), ..*self }
    }

    /// Keys that the block's last query, and so any, sees.
    #[inline(always)]
    pub fn visible_keys(&self) -> usize {
        self.mask.keys_seen_by(self.query + self.queries - 1)
    }

    /// Where the block's first tile begins: at or shortly before the first key that any of its queries sees.
    #[inline(always)]
    pub fn first_key(&self) -> usize {
        // The random numbers of dropout come for so many keys at once.
        self.mask.first_key_of(self.query) / Dropout::KEYS_PER_BLOCK * Dropout::KEYS_PER_BLOCK
    }

    /// Of the tile's keys, the first that query `lane` of the block sees.
    #[inline(always)]
    pub fn first_seen_by_lane(&self, lane: usize) -> usize {
        let first = self.mask.first_key_of(self.query + lane);
        first.saturating_sub(self.key).min(self.keys)
    }

    /// Of the tile's keys, the end of those that query `lane` of the block sees.
    #[inline(always)]
    pub fn seen_by_lane(&self, lane: usize) -> usize {
        let seen = self.mask.keys_seen_by(self.query + lane);
        seen.saturating_sub(self.key).min(self.keys)
    }

    /// The block's first query that sees key `n` of the tile.
    #[inline(always)]
    pub fn first_lane(&self, n: usize) -> usize {
        let first = self.mask.first_query_of(self.key + n);
        first.saturating_sub(self.query).min(self.queries)
    }

    /// The end of the block's queries that see key `n` of the tile.
    #[inline(always)]
    pub fn end_lane(&self, n: usize) -> usize {
        let end = self.mask.queries_that_see(self.key + n);
        end.saturating_sub(self.query).min(self.queries)
    }

    /// Whether every query sees every key.
    #[inline(always)]
    fn all_visible(&self) -> bool {
        self.keys == 0 || self.first_lane(self.keys - 1) == 0 && self.end_lane(0) == self.queries
    }

    /// Rows that are multiplied together, out of `rows`.
    #[inline(always)]
    fn band(&self, rows: usize) -> usize {
        if self.all_visible() { rows.max(1) } else { BAND }
    }

    /// `out[n][lane] = Σ_d keys[n][d]·packed[d][lane]`, for the lanes' vectors that see key n.
    ///
    /// # Safety
    /// `keys` are rows, one of each of the tile's keys; `packed` is `head_dim` rows of `row` numbers; `out` is scores.
    #[inline(always)]
    pub unsafe fn times_packed<S: Lanes>(
        &self,
        (keys, stride): (*const f32, usize),
        packed: *const f32,
        head_dim: usize,
        out: *mut f32,
    ) {
        for n in (0..self.keys).step_by(self.band(self.keys)) {
            let rows = self.band(self.keys).min(self.keys - n);
            let first = self.first_lane(n) / S::LANES * S::LANES;
            let end = self.end_lane(n + rows - 1).next_multiple_of(S::LANES);
            // SAFETY: the caller promises the operands. A is rows of keys, from `n` to at most the last. B and C are columns
            // of `packed` and of the scores, from `first` to at most the queries rounded up to whole vectors, which is at
            // most `row`; a window is one key or more, so `end` is no less than `first`.
            unsafe {
                multiply::<S>(&Product {
                    a: keys.add(n * stride),
                    a_row: stride,
                    a_column: 1,
                    b: packed.add(first),
                    b_row: self.row,
                    c: out.add(n * self.row + first),
                    c_row: self.row,
                    rows,
                    columns: end - first,
                    depth: head_dim,
                    store: Store::Overwrite,
                });
            }
        }
    }

    /// `out[query] (op)= Σ_n scores[n][query]·keys[n]`, rows of `head_dim`.
    ///
    /// # Safety
    /// `scores` are scores; `keys` and `out` are rows, one of each of the tile's keys and queries. The factors of
    /// `store` are one of each query.
    #[inline(always)]
    pub unsafe fn sum_over_keys<S: Lanes>(
        &self,
        scores: *const f32,
        keys: (*const f32, usize),
        out: (*mut f32, usize),
        head_dim: usize,
        store: Store,
    ) {
        for m in (0..self.queries).step_by(self.band(self.queries)) {
            let rows = self.band(self.queries).min(self.queries - m);
            let first = self.first_seen_by_lane(m);
            // SAFETY: the caller promises the operands. A is columns `m .. m + rows` of the scores, which are queries and
            // so within `row`; C is their rows of `out` and `store` their factors. The rows of A and B from `first` on are
            // keys of the tile, and the last query sees as many or more of them than lie before the first one's.
            unsafe {
                multiply::<S>(&Product {
                    a: scores.add(first * self.row + m),
                    a_row: 1,
                    a_column: self.row,
                    b: keys.0.add(first * keys.1),
                    b_row: keys.1,
                    c: out.0.add(m * out.1),
                    c_row: out.1,
                    rows,
                    columns: head_dim,
                    depth: self.seen_by_lane(m + rows - 1) - first,
                    store: store.of_rows(m),
                });
            }
        }
    }

    /// `out[n] += Σ_query scores[n][query]·queries[query]`, rows of `head_dim`; the rows from key
    /// `fresh` of the tile on are overwritten instead.
    ///
    /// # Safety
    /// `scores` are scores; `queries` and `out` are rows, one of each of the tile's queries and keys.
    #[inline(always)]
    pub unsafe fn sum_over_queries<S: Lanes>(
        &self,
        scores: *const f32,
        queries: (*const f32, usize),
        out: (*mut f32, usize),
        head_dim: usize,
        fresh: usize,
    ) {
        let mut n = 0;
        while n < self.keys {
            let first = self.first_lane(n);
            let mut rows = self.band(self.keys).min(self.keys - n);
            let mut store = Store::Overwrite;
            if n < fresh {
                rows = rows.min(fresh - n);
                store = Store::Add;
            }
            // SAFETY: the caller promises the operands. A is rows `n .. n + rows` of the scores, which are keys, in the
            // columns from `first` on that are queries; B is these queries' rows, and C these keys' rows of `out`. A window
            // is one key or more, so the queries that see the last of the keys end no earlier than the first's begin.
            unsafe {
                multiply::<S>(&Product {
                    a: scores.add(n * self.row + first),
                    a_row: self.row,
                    a_column: 1,
                    b: queries.0.add(first * queries.1),
                    b_row: queries.1,
                    c: out.0.add(n * out.1),
                    c_row: out.1,
                    rows,
                    columns: head_dim,
                    depth: self.end_lane(n + rows - 1) - first,
                    store,
                });
            }
            n += rows;
        }
    }
}
