//! One table of cases that every pass, layout, instruction set and thread count runs, and how a case is
//! run. `passes` compares what the passes compute, `checks` says what they refuse.

use super::*;
use crate::philox::fill_normal;
use crate::simd::{Level, for_each_level, with_level};

mod checks;
mod passes;

/// What a row no segment covers must still hold afterwards.
const UNTOUCHED: f32 = 777.0;

struct Case {
    name: &'static str,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    causal: bool,
    window: Option<usize>,
    bias: bool,
    /// Whether the bias is −∞ for some keys, and for all of the second query's.
    hidden: bool,
    dropout: f32,
    /// Standard deviation of queries and keys.
    magnitude: f32,
    /// Query and key length of each segment; segments follow each other with `gap` rows between.
    lengths: &'static [(usize, usize)],
    gap: usize,
}

const PLAIN: Case = Case {
    name: "plain",
    n_heads: 2,
    n_kv_heads: 2,
    head_dim: 16,
    causal: false,
    window: None,
    bias: false,
    hidden: false,
    dropout: 0.0,
    magnitude: 1.0,
    lengths: &[(5, 5), (1, 1), (17, 17), (33, 33)],
    gap: 0,
};

const WINDOW: Case = Case { causal: true, ..PLAIN };
const BOTH_SIDES: Case = PLAIN;

#[rustfmt::skip]
const CASES: &[Case] = &[
    PLAIN,
    Case { name: "causal", causal: true, lengths: &[(5, 5), (1, 1), (16, 16), (31, 31)], ..PLAIN },
    Case { name: "cross", lengths: &[(7, 13), (1, 40), (40, 1), (3, 9)], ..PLAIN },
    Case { name: "cross causal with a cache", causal: true, lengths: &[(1, 70), (5, 90), (9, 66)], ..PLAIN },
    Case { name: "empty lengths", lengths: &[(0, 5), (3, 0), (0, 0), (9, 0), (4, 4)], ..PLAIN },
    Case { name: "padded rows", gap: 3, lengths: &[(5, 7), (11, 4), (6, 6)], ..PLAIN },
    Case { name: "entirely masked rows", causal: true, lengths: &[(9, 2), (70, 3), (4, 1), (140, 70)], ..PLAIN },
    Case { name: "odd head size", head_dim: 12, lengths: &[(6, 9), (20, 20), (2, 3)], ..PLAIN },
    Case { name: "head size 1", head_dim: 1, lengths: &[(6, 9), (2, 3)], ..PLAIN },
    Case { name: "head size 80, causal", head_dim: 80, causal: true, lengths: &[(20, 20), (3, 3)], ..PLAIN },
    Case { name: "head size 66", head_dim: 66, lengths: &[(19, 18), (3, 3)], ..PLAIN },
    Case { name: "head size 32", head_dim: 32, lengths: &[(40, 23), (2, 3)], ..PLAIN },
    Case { name: "head size 64", head_dim: 64, lengths: &[(15, 15), (27, 12)], ..PLAIN },
    Case { name: "head size 128", head_dim: 128, lengths: &[(15, 15)], ..PLAIN },
    Case { name: "grouped heads", n_heads: 6, n_kv_heads: 2, causal: true, lengths: &[(9, 9), (2, 12), (70, 70)], ..PLAIN },
    Case { name: "one key head", n_heads: 3, n_kv_heads: 1, lengths: &[(9, 4)], ..PLAIN },
    Case { name: "bias", bias: true, lengths: &[(9, 7), (3, 20), (70, 66)], ..PLAIN },
    Case { name: "bias, causal, grouped", bias: true, causal: true, n_heads: 4, lengths: &[(9, 9), (2, 20), (67, 67)], ..PLAIN },
    Case { name: "dropout", dropout: 0.3, lengths: &[(9, 7), (2, 20), (70, 75)], ..PLAIN },
    Case { name: "dropout, bias, causal, grouped", dropout: 0.5, bias: true, causal: true, n_heads: 4, gap: 2, lengths: &[(9, 9), (1, 3), (80, 90)], ..PLAIN },
    Case { name: "bias that hides keys", bias: true, hidden: true, lengths: &[(9, 7), (3, 20), (70, 140)], ..PLAIN },
    Case { name: "huge scores", magnitude: 60.0, lengths: &[(9, 9), (2, 30), (70, 140)], ..PLAIN },
    Case { name: "long", head_dim: 8, lengths: &[(200, 200), (130, 257)], ..PLAIN },
    Case { name: "gathered keys", head_dim: 12, causal: true, n_heads: 4, lengths: &[(130, 530), (9, 520), (520, 520)], ..PLAIN },
    Case { name: "gathered keys of one head", head_dim: 16, n_heads: 1, n_kv_heads: 1, lengths: &[(70, 520)], ..PLAIN },
    Case { name: "divided query blocks", head_dim: 8, n_heads: 1, n_kv_heads: 1, lengths: &[(2100, 140)], ..PLAIN },
    Case { name: "window of one key", window: Some(1), lengths: &[(5, 5), (1, 1), (0, 9), (70, 70), (3, 70), (9, 2)], ..WINDOW },
    Case { name: "window of a tile less one", window: Some(63), lengths: &[(200, 200), (65, 200), (2, 66), (64, 65)], ..WINDOW },
    Case { name: "window of a tile", window: Some(64), lengths: &[(200, 200), (65, 200), (2, 66), (9, 300)], ..WINDOW },
    Case { name: "window of a tile and one", window: Some(65), lengths: &[(200, 200), (65, 200), (2, 66), (130, 131)], ..WINDOW },
    Case { name: "window of a few keys, odd head size", window: Some(5), head_dim: 13, lengths: &[(33, 33), (70, 3), (4, 40), (140, 70)], ..WINDOW },
    Case { name: "window as long as the segments", window: Some(70), lengths: &[(70, 70), (9, 70), (69, 69), (71, 71)], ..WINDOW },
    Case { name: "window with dropout, bias, grouped", window: Some(37), dropout: 0.4, bias: true, n_heads: 4, gap: 2, lengths: &[(9, 9), (2, 80), (80, 90), (140, 170)], ..WINDOW },
    Case { name: "window with bias that hides keys", window: Some(21), bias: true, hidden: true, lengths: &[(9, 9), (3, 20), (70, 140)], ..WINDOW },
    Case { name: "window of gathered keys", window: Some(100), head_dim: 12, n_heads: 4, lengths: &[(600, 900), (5, 600), (520, 520)], ..WINDOW },
    Case { name: "window of divided query blocks", window: Some(70), head_dim: 8, n_heads: 1, n_kv_heads: 1, lengths: &[(2100, 2110)], ..WINDOW },
    Case { name: "two-sided window of one key", window: Some(1), lengths: &[(5, 5), (1, 1), (0, 9), (70, 70), (3, 70), (9, 2)], ..BOTH_SIDES },
    Case { name: "two-sided window of a tile less one", window: Some(63), lengths: &[(200, 200), (65, 200), (2, 66), (64, 65)], ..BOTH_SIDES },
    Case { name: "two-sided window of a tile", window: Some(64), lengths: &[(200, 200), (65, 200), (2, 66), (9, 300)], ..BOTH_SIDES },
    Case { name: "two-sided window of a tile and one", window: Some(65), lengths: &[(200, 200), (65, 200), (2, 66), (130, 131)], ..BOTH_SIDES },
    Case { name: "two-sided window of a few keys, odd head size", window: Some(5), head_dim: 13, lengths: &[(33, 33), (70, 3), (4, 40), (140, 70)], ..BOTH_SIDES },
    Case { name: "two-sided window with dropout, bias, grouped", window: Some(37), dropout: 0.4, bias: true, n_heads: 4, gap: 2, lengths: &[(9, 9), (2, 80), (80, 90), (140, 170)], ..BOTH_SIDES },
    Case { name: "two-sided window with bias that hides keys", window: Some(21), bias: true, hidden: true, lengths: &[(9, 9), (3, 20), (70, 140)], ..BOTH_SIDES },
    Case { name: "two-sided window of gathered keys", window: Some(100), head_dim: 12, n_heads: 4, lengths: &[(600, 900), (5, 600), (520, 520)], ..BOTH_SIDES },
    Case { name: "two-sided window of divided query blocks", window: Some(70), head_dim: 8, n_heads: 1, n_kv_heads: 1, lengths: &[(2100, 2110)], ..BOTH_SIDES },
    Case { name: "long causal", head_dim: 8, causal: true, lengths: &[(200, 200), (65, 64), (64, 65), (65, 200)], ..PLAIN },
];

/// A case's data, in buffers `[tokens, heads · head_dim]`.
struct Data {
    segments: Vec<Segment>,
    bias: Option<(Vec<f32>, usize, usize)>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    dout: Vec<f32>,
}

fn normal(stream: u64, len: usize, std: f32) -> Vec<f32> {
    let mut x = vec![0.0; len];
    fill_normal(11, stream, std, &mut x);
    x
}

impl Case {
    fn data(&self) -> Data {
        let (mut query_start, mut key_start) = (self.gap, self.gap);
        let segments = Vec::from_iter(self.lengths.iter().map(|&(query_len, key_len)| {
            let segment = Segment { query_start, query_len, key_start, key_len };
            query_start += query_len + self.gap;
            key_start += key_len + self.gap;
            segment
        }));
        let longest = self.lengths.iter().fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1 + 1)));
        let (width, kv_width) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        Data {
            segments,
            bias: self.bias.then(|| {
                let len = self.n_heads * longest.0 * longest.1;
                let mut bias = normal(4, len, 1.0);
                for (at, x) in bias.iter_mut().enumerate().filter(|_| self.hidden) {
                    let (i, j) = (at / longest.1 % longest.0, at % longest.1);
                    if i == 1 || (i + 2 * j) % 5 == 0 {
                        *x = f32::NEG_INFINITY;
                    }
                }
                (bias, longest.0, longest.1)
            }),
            query: normal(0, query_start * width, self.magnitude),
            key: normal(1, key_start * kv_width, self.magnitude),
            value: normal(2, key_start * kv_width, 1.0),
            dout: normal(3, query_start * width, 1.0),
        }
    }

    fn attention<'a>(&self, data: &'a Data) -> Attention<'a> {
        Attention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            causal: self.causal,
            window: self.window,
            bias: data.bias.as_ref().map(|(data, max_query_len, max_key_len)| Bias {
                data,
                max_query_len: *max_query_len,
                max_key_len: *max_key_len,
            }),
            dropout: (self.dropout > 0.0).then_some(Dropout {
                probability: self.dropout,
                seed: 5,
                stream: 1 << 40,
                first_row: 0,
            }),
            segments: &data.segments,
        }
    }
}

/// Everything the passes compute, `[tokens, heads · head_dim]` and so on.
#[derive(Debug, PartialEq)]
struct Results {
    out: Vec<f32>,
    lse: Vec<f32>,
    dquery: Vec<f32>,
    dkey: Vec<f32>,
    dvalue: Vec<f32>,
    dbias: Vec<f32>,
    weights: Vec<f32>,
}

/// Where a test puts queries, keys and values.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Packed,
    QueryAndPacked,
    /// With some numbers between rows.
    Separate,
}

/// Puts matrices of `widths[i]` columns side by side, as many rows as there are.
fn beside(matrices: &[&[f32]], widths: &[usize], rows: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for t in 0..rows {
        for (matrix, &width) in matrices.iter().zip(widths) {
            let from = t * width;
            let row = matrix.get(from..from + width);
            out.extend(row.map_or(vec![UNTOUCHED; width], <[f32]>::to_vec));
        }
    }
    out
}

/// Columns `offset .. offset + width` of a matrix of `stride` columns.
fn columns(matrix: &[f32], stride: usize, offset: usize, width: usize, rows: usize) -> Vec<f32> {
    let rows = matrix.chunks(stride).take(rows);
    rows.flat_map(|row| &row[offset..offset + width]).copied().collect()
}

fn run(case: &Case, data: &Data, layout: Layout) -> Results {
    let attention = case.attention(data);
    let (w, kw) = (case.n_heads * case.head_dim, case.n_kv_heads * case.head_dim);
    let (rows, keys) = (data.query.len() / w, data.key.len() / kw);
    let Data { query, key, value, dout, .. } = data;
    // Rows and columns of each buffer and where its parts begin.
    let (tq, tk) = match layout {
        Layout::Packed => (rows.max(keys), rows.max(keys)),
        _ => (rows, keys),
    };
    const SPACE: usize = 3;
    let packed = beside(&[query, key, value], &[w, kw, kw], tq);
    let key_value = beside(&[key, value], &[kw, kw], tk);
    let spread = |x: &[f32], width: usize, rows: usize| beside(&[x, &vec![9.0; rows * SPACE]], &[width, SPACE], rows);
    let (wide_q, wide_k, wide_v) = (spread(query, w, tq), spread(key, kw, tk), spread(value, kw, tk));
    let qkv = match layout {
        Layout::Packed => Qkv::Packed(&packed),
        Layout::QueryAndPacked => Qkv::QueryAndPacked { query, key_value: &key_value },
        Layout::Separate => Qkv::Separate {
            query: Rows { data: &wide_q, stride: w + SPACE },
            key: Rows { data: &wide_k, stride: kw + SPACE },
            value: Rows { data: &wide_v, stride: kw + SPACE },
        },
    };
    let mut out = vec![UNTOUCHED; tq * w];
    let mut lse = vec![UNTOUCHED; tq * case.n_heads];
    attention.forward(&qkv, &mut out, Some(&mut lse));
    let mut without_lse = vec![UNTOUCHED; tq * w];
    attention.forward(&qkv, &mut without_lse, None);
    assert_eq!(out, without_lse, "{}: lse changes the output", case.name);

    let padded_dout = beside(&[dout], &[w], tq);
    let mut dbias = data.bias.as_ref().map(|(bias, ..)| vec![1.0; bias.len()]);
    let mut packed = vec![UNTOUCHED; packed.len()];
    let mut key_value = vec![UNTOUCHED; key_value.len()];
    let [mut dq, mut dk, mut dv] = [&wide_q, &wide_k, &wide_v].map(|x| vec![UNTOUCHED; x.len()]);
    let mut narrow = vec![UNTOUCHED; tq * w];
    let grad = match layout {
        Layout::Packed => QkvGrad::Packed(&mut packed),
        Layout::QueryAndPacked => QkvGrad::QueryAndPacked { query: &mut narrow, key_value: &mut key_value },
        Layout::Separate => QkvGrad::Separate {
            query: RowsMut { data: &mut dq, stride: w + SPACE },
            key: RowsMut { data: &mut dk, stride: kw + SPACE },
            value: RowsMut { data: &mut dv, stride: kw + SPACE },
        },
    };
    attention.backward(&qkv, &out, &lse, &padded_dout, grad, dbias.as_deref_mut());
    let (dquery, dkey, dvalue) = match layout {
        Layout::Packed => {
            let part = |offset, width, rows| columns(&packed, w + 2 * kw, offset, width, rows);
            (part(0, w, rows), part(w, kw, keys), part(w + kw, kw, keys))
        }
        Layout::QueryAndPacked => {
            let part = |offset| columns(&key_value, 2 * kw, offset, kw, keys);
            (narrow.clone(), part(0), part(kw))
        }
        Layout::Separate => {
            let between = |x: &[f32], width| columns(x, width + SPACE, width, SPACE, tq.min(tk));
            for (x, width) in [(&dq, w), (&dk, kw), (&dv, kw)] {
                assert!(between(x, width).iter().all(|&x| x == UNTOUCHED));
            }
            let part = |x: &[f32], width, rows| columns(x, width + SPACE, 0, width, rows);
            (part(&dq, w, rows), part(&dk, kw, keys), part(&dv, kw, keys))
        }
    };
    let mut weights = Vec::new();
    for (index, segment) in data.segments.iter().enumerate() {
        let mut one = vec![UNTOUCHED; case.n_heads * segment.query_len * segment.key_len];
        attention.weights(&qkv, index, &mut one);
        weights.extend(one);
    }
    out.truncate(rows * w);
    lse.truncate(rows * case.n_heads);
    let dbias = dbias.unwrap_or_default();
    Results { out, lse, dquery, dkey, dvalue, dbias, weights }
}

/// The same from the reference in f64, rounded; rows that no segment covers are [`UNTOUCHED`].
fn expected(case: &Case, data: &Data) -> Results {
    let attention = case.attention(data);
    let wide = |x: &[f32]| Vec::from_iter(x.iter().map(|&x| f64::from(x)));
    let [query, key, value, dout] = [&data.query, &data.key, &data.value, &data.dout].map(|x| wide(x));
    let pairs: usize = case.lengths.iter().map(|&(q, k)| q * k * case.n_heads).sum();
    let mut weights = vec![0.0; pairs];
    let mut out = vec![0.0; query.len()];
    let [mut dq, mut dk, mut dv] = [&query, &key, &value].map(|x| vec![0.0; x.len()]);
    let mut dbias = data.bias.as_ref().map_or(Vec::new(), |(bias, ..)| vec![1.0; bias.len()]);
    reference::forward(&attention, &query, &key, &value, &mut out, &mut weights);
    reference::backward(
        &attention,
        &query,
        &key,
        &value,
        &weights,
        &dout,
        &mut dq,
        &mut dk,
        &mut dv,
        data.bias.is_some().then_some(&mut dbias),
    );
    let query_rows = Vec::from_iter(data.segments.iter().map(|s| (s.query_start, s.query_len)));
    let key_rows = Vec::from_iter(data.segments.iter().map(|s| (s.key_start, s.key_len)));
    let covered = |x: &[f64], width: usize, ranges: &[(usize, usize)]| {
        let within = |row: usize| ranges.iter().any(|&(start, len)| (start..start + len).contains(&row));
        let pick = |(i, &x): (usize, &f64)| {
            if within(i / width) { x as f32 } else { UNTOUCHED }
        };
        Vec::from_iter(x.iter().enumerate().map(pick))
    };
    let (w, kw) = (case.n_heads * case.head_dim, case.n_kv_heads * case.head_dim);
    Results {
        out: covered(&out, w, &query_rows),
        lse: covered(&log_sums(&attention, &query, &key), case.n_heads, &query_rows),
        dquery: covered(&dq, w, &query_rows),
        dkey: covered(&dk, kw, &key_rows),
        dvalue: covered(&dv, kw, &key_rows),
        dbias: dbias.into_iter().map(|x| x as f32).collect(),
        weights: weights.into_iter().map(|x| x as f32).collect(),
    }
}

/// ln Σ exp(score) of every query row and head, straight from the definition.
fn log_sums(attention: &Attention<'_>, query: &[f64], key: &[f64]) -> Vec<f64> {
    let (h, d) = (attention.n_heads, attention.head_dim);
    let mut lse = vec![f64::NEG_INFINITY; query.len() / d];
    for s in attention.segments {
        for (i, head) in (0..s.query_len).flat_map(|i| (0..h).map(move |head| (i, head))) {
            let q = ((s.query_start + i) * h + head) * d;
            let position = (i + s.key_len) as i64 - s.query_len as i64;
            let distance = |j: usize| position - j as i64;
            let seen = |&j: &usize| {
                let is_near = attention.window.is_none_or(|window| distance(j).unsigned_abs() < window as u64);
                is_near && (!attention.causal || distance(j) >= 0)
            };
            let scores = Vec::from_iter((0..s.key_len).filter(seen).map(|j| {
                let k = ((s.key_start + j) * attention.n_kv_heads + attention.kv_head(head)) * d;
                let dot: f64 = (0..d).map(|x| query[q + x] * key[k + x]).sum();
                let bias = attention.bias.map_or(0.0, |bias| bias.data[bias.at(head, i, j)]);
                dot * f64::from(attention.scale) + f64::from(bias)
            }));
            let maximum = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let sum: f64 = scores.iter().map(|s| (s - maximum).exp()).sum();
            lse[q / d] = if sum > 0.0 { maximum + sum.ln() } else { f64::NEG_INFINITY };
        }
    }
    lse
}
