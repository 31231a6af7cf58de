//! Where queries, keys and values lie in memory, and the checks that make reading them safe.

use super::{Attention, Segment};

/// Rows of a matrix: row `t` begins at `data[t · stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Numbers from the beginning of a row to that of the next, at least a row's width.
    pub stride: usize,
}

/// Rows of a matrix that are written, see [`Rows`].
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The numbers.
    pub data: &'a mut [f32],
    /// Numbers from the beginning of a row to that of the next, at least a row's width.
    pub stride: usize,
}

/// Queries, keys and values, read where a projection left them.
///
/// With H query heads, K key and value heads and head dimension D, a token's queries are H·D
/// numbers (head by head), its keys K·D and its values K·D.
#[derive(Clone, Copy, Debug)]
pub enum Qkv<'a> {
    /// `[tokens, (H + 2K)·D]`: a token's queries, then its keys, then its values.
    Packed(&'a [f32]),
    /// Queries of one sequence, keys and values of another.
    QueryAndPacked {
        /// `[query tokens, H·D]`.
        query: &'a [f32],
        /// `[key tokens, 2K·D]`: a token's keys, then its values.
        key_value: &'a [f32],
    },
    /// Each in a buffer of its own, as in a key-value cache.
    Separate {
        /// `[query tokens, H·D]`.
        query: Rows<'a>,
        /// `[key tokens, K·D]`.
        key: Rows<'a>,
        /// `[key tokens, K·D]`.
        value: Rows<'a>,
    },
}

/// Gradients with respect to queries, keys and values, in the layouts of [`Qkv`].
///
/// Overwritten in every row that a segment covers, untouched elsewhere.
#[derive(Debug)]
pub enum QkvGrad<'a> {
    /// `[tokens, (H + 2K)·D]`.
    Packed(&'a mut [f32]),
    /// Queries of one sequence, keys and values of another.
    QueryAndPacked {
        /// `[query tokens, H·D]`.
        query: &'a mut [f32],
        /// `[key tokens, 2K·D]`.
        key_value: &'a mut [f32],
    },
    /// Each in a buffer of its own.
    Separate {
        /// `[query tokens, H·D]`.
        query: RowsMut<'a>,
        /// `[key tokens, K·D]`.
        key: RowsMut<'a>,
        /// `[key tokens, K·D]`.
        value: RowsMut<'a>,
    },
}

/// A pointer that tasks share, each writing its own heads' part.
#[derive(Clone, Copy)]
pub(super) struct SharedMut(pub *mut f32);

// SAFETY: the tasks of a pass divide by head where this is used, so no two write the same number.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

/// A checked matrix: `rows` rows of known width from `start`, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub start: *mut f32,
    pub stride: usize,
    pub rows: usize,
}

// SAFETY: a view is shared only between tasks that write disjoint rows or heads, see `check`.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// A matrix whose rows are `width` numbers, which has exactly `rows` of them.
    #[track_caller]
    pub fn exact(name: &str, (start, len): Buffer, rows: usize, width: usize) -> Self {
        let expected = rows.checked_mul(width);
        assert!(expected == Some(len), "attention: {name} has {len} numbers, not {rows} query tokens × {width}");
        View { start, stride: width, rows }
    }

    /// A buffer of which every row is `width` numbers of a row of `stride`, from `offset` on.
    #[track_caller]
    fn new(name: &str, buffer: Buffer, stride: usize, offset: usize, width: usize) -> Self {
        let (start, len) = buffer;
        // `widths` asserted that a whole row can be counted, and this is a part of one.
        let end = offset + width;
        assert!(stride >= end, "attention: {name} rows are {width} numbers wide but only {stride} apart");
        // The last row need not be followed by the rest of its stride.
        let rows = len.checked_sub(end).map_or(0, |rest| rest / stride + 1);
        View { start: start.wrapping_add(offset), stride, rows }
    }

    /// Element 0 of `head` in `row`.
    #[inline(always)]
    pub fn at(&self, row: usize, head: usize, head_dim: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride + head * head_dim)
    }

    /// `count` rows of a head, from `row` on.
    #[inline(always)]
    pub fn head(&self, row: usize, head: usize, head_dim: usize, count: usize) -> Self {
        View { start: self.at(row, head, head_dim), stride: self.stride, rows: count }
    }

    /// `count` rows from `row` on.
    #[inline(always)]
    pub fn rows_from(&self, row: usize, count: usize) -> Self {
        View { start: self.start.wrapping_add(row * self.stride), stride: self.stride, rows: count }
    }

    /// The same rows counted from `count` on, as if so many more lay before them, of which none may be touched.
    #[inline(always)]
    pub fn preceded_by(&self, count: usize) -> Self {
        View { start: self.start.wrapping_sub(count * self.stride), stride: self.stride, rows: self.rows + count }
    }

    /// The rows from `row` on, to be read: their beginning and stride.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (*const f32, usize) {
        let (start, stride) = self.row_mut(row);
        (start.cast_const(), stride)
    }

    /// The rows from `row` on, to be written.
    #[inline(always)]
    pub fn row_mut(&self, row: usize) -> (*mut f32, usize) {
        (self.start.wrapping_add(row * self.stride), self.stride)
    }
}

/// The three views of a [`Qkv`] or [`QkvGrad`]. Of a `Qkv` only reads are allowed.
#[derive(Clone, Copy)]
pub(super) struct Views {
    pub query: View,
    pub key: View,
    pub value: View,
}

/// A buffer's beginning and length.
pub(super) type Buffer = (*mut f32, usize);

pub(super) fn shared(data: &[f32]) -> Buffer {
    (data.as_ptr().cast_mut(), data.len())
}

pub(super) fn exclusive(data: &mut [f32]) -> Buffer {
    (data.as_mut_ptr(), data.len())
}

/// Numbers in a token's queries and in its keys.
///
/// # Panics
/// If a token's queries, keys and values together are more than can be counted: products of sizes that wrapped would
/// pass every check that follows.
#[track_caller]
fn widths(attention: &Attention<'_>) -> (usize, usize) {
    let Attention { n_heads, n_kv_heads, head_dim, .. } = *attention;
    let (q, kv) = (n_heads.checked_mul(head_dim), n_kv_heads.checked_mul(head_dim));
    let whole = q.zip(kv.and_then(|kv| kv.checked_mul(2))).and_then(|(q, both)| q.checked_add(both));
    assert!(whole.is_some(), "attention: {n_heads} and 2 × {n_kv_heads} heads of {head_dim} are too many numbers");
    (n_heads * head_dim, n_kv_heads * head_dim)
}

#[track_caller]
fn whole_rows(name: &str, len: usize, width: usize) {
    assert!(len.is_multiple_of(width), "attention: {name} has {len} numbers, not a multiple of its row of {width}");
}

#[track_caller]
fn packed(attention: &Attention<'_>, data: Buffer) -> Views {
    let (q, kv) = widths(attention);
    let stride = q + 2 * kv;
    whole_rows("packed q, k, v", data.1, stride);
    Views {
        query: View::new("query", data, stride, 0, q),
        key: View::new("key", data, stride, q, kv),
        value: View::new("value", data, stride, q + kv, kv),
    }
}

#[track_caller]
fn query_and_packed(attention: &Attention<'_>, query: Buffer, key_value: Buffer) -> Views {
    let (q, kv) = widths(attention);
    whole_rows("query", query.1, q);
    whole_rows("packed k, v", key_value.1, 2 * kv);
    Views {
        query: View::new("query", query, q, 0, q),
        key: View::new("key", key_value, 2 * kv, 0, kv),
        value: View::new("value", key_value, 2 * kv, kv, kv),
    }
}

#[track_caller]
fn separate(attention: &Attention<'_>, parts: [(Buffer, usize); 3]) -> Views {
    let (q, kv) = widths(attention);
    let [query, key, value] = parts;
    Views {
        query: View::new("query", query.0, query.1, 0, q),
        key: View::new("key", key.0, key.1, 0, kv),
        value: View::new("value", value.0, value.1, 0, kv),
    }
}

impl Qkv<'_> {
    #[track_caller]
    pub(super) fn views(&self, attention: &Attention<'_>) -> Views {
        match self {
            Qkv::Packed(data) => packed(attention, shared(data)),
            Qkv::QueryAndPacked { query, key_value } => query_and_packed(attention, shared(query), shared(key_value)),
            Qkv::Separate { query, key, value } => {
                separate(attention, [query, key, value].map(|rows| (shared(rows.data), rows.stride)))
            }
        }
    }
}

impl QkvGrad<'_> {
    #[track_caller]
    pub(super) fn views(&mut self, attention: &Attention<'_>) -> Views {
        match self {
            QkvGrad::Packed(data) => packed(attention, exclusive(data)),
            QkvGrad::QueryAndPacked { query, key_value } => {
                query_and_packed(attention, exclusive(query), exclusive(key_value))
            }
            QkvGrad::Separate { query, key, value } => {
                separate(attention, [query, key, value].map(|rows| (exclusive(rows.data), rows.stride)))
            }
        }
    }
}

impl Views {
    /// That every segment lies within the rows there are.
    #[track_caller]
    pub fn check(&self, name: &str, segments: &[Segment]) {
        let keys = self.key.rows.min(self.value.rows);
        for (index, segment) in segments.iter().enumerate() {
            let within = |start: usize, len: usize, rows: usize| start.checked_add(len).is_some_and(|end| end <= rows);
            assert!(
                within(segment.query_start, segment.query_len, self.query.rows)
                    && within(segment.key_start, segment.key_len, keys),
                "attention: segment {index} is {segment:?} but {name} has {} query rows and {keys} \
                 key rows",
                self.query.rows
            );
        }
    }
}

/// That no two ranges `(start, len)` share a row, because two tasks would write it.
#[track_caller]
pub(super) fn check_disjoint(name: &str, ranges: impl Iterator<Item = (usize, usize)> + Clone) {
    let used = ranges.filter(|&(_, len)| len > 0);
    let ascending = used.clone().try_fold(0, |end, (start, len)| (start >= end).then_some(start + len));
    if ascending.is_some() {
        return;
    }
    let mut sorted: Vec<_> = used.collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        let ((first, len), (second, _)) = (pair[0], pair[1]);
        assert!(
            first + len <= second,
            "attention: two segments share {name} row {second}, and each would overwrite it"
        );
    }
}
