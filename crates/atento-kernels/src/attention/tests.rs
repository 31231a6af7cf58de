//! One table of cases that every pass, layout, instruction set and thread count runs.
#![allow(unsafe_op_in_unsafe_fn)]

use super::*;
use crate::philox::fill_normal;
use crate::simd::{Level, for_each_level, with_level};

/// What a row no segment covers must still hold afterwards.
const UNTOUCHED: f32 = 777.0;

struct Case {
    name: &'static str,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    causal: bool,
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
    bias: false,
    hidden: false,
    dropout: 0.0,
    magnitude: 1.0,
    lengths: &[(5, 5), (1, 1), (17, 17), (33, 33)],
    gap: 0,
};

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
            let seen = |j: &usize| !attention.causal || j + s.query_len <= i + s.key_len;
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

/// Each within `tolerance` of the largest expected number, which is at least 1.
#[track_caller]
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let covered = |x: &&f32| x.is_finite() && **x != UNTOUCHED;
    let largest = expected.iter().filter(covered).fold(1.0f32, |a, &b| a.max(b.abs()));
    for (at, (&a, &b)) in actual.iter().zip(expected).enumerate() {
        let fine = a == b || (a - b).abs() <= tolerance * largest && b != UNTOUCHED;
        assert!(fine, "{what}: number {at} is {a}, not {b}");
    }
}

/// The relative error of a weight is the absolute error of its score, which grows with the score.
fn tolerance(case: &Case) -> f32 {
    2e-6 * case.magnitude.max(1.0).powi(2).min(500.0)
}

#[test]
fn every_case_matches_the_reference_at_every_level_and_layout() {
    for case in CASES {
        let data = case.data();
        let expected = expected(case, &data);
        for_each_level(|level| {
            let actual = run(case, &data, Layout::QueryAndPacked);
            let tolerance = tolerance(case);
            let check = |what: &str, actual: &[f32], expected: &[f32]| {
                let what = format!("{}, {level:?}, {what}", case.name);
                assert_close(&what, actual, expected, tolerance);
            };
            check("out", &actual.out, &expected.out);
            check("lse", &actual.lse, &expected.lse);
            check("dquery", &actual.dquery, &expected.dquery);
            check("dkey", &actual.dkey, &expected.dkey);
            check("dvalue", &actual.dvalue, &expected.dvalue);
            check("dbias", &actual.dbias, &expected.dbias);
            check("weights", &actual.weights, &expected.weights);
            for layout in [Layout::Packed, Layout::Separate] {
                let other = run(case, &data, layout);
                assert!(other == actual, "{}, {level:?}: {layout:?} differs", case.name);
            }
        });
    }
}

#[test]
fn thread_counts_do_not_change_a_bit() {
    let case = Case {
        causal: true,
        head_dim: 64,
        n_heads: 4,
        lengths: &[(300, 300), (9, 9), (130, 400), (15, 15), (3, 3), (64, 64)],
        dropout: 0.1,
        ..PLAIN
    };
    for case in CASES.iter().chain([&case]) {
        let data = case.data();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a thread pool");
            with_level(simd::detected(), || pool.install(|| run(case, &data, Layout::QueryAndPacked)))
        };
        assert!(with_threads(1) == with_threads(3), "{}", case.name);
    }
}

#[test]
fn segments_do_not_see_each_other() {
    let both = Case { lengths: &[(9, 9), (70, 70)], ..PLAIN };
    let data = both.data();
    let width = both.n_heads * both.head_dim;
    let run = |case: &Case, data: &Data| with_level(simd::detected(), || run(case, data, Layout::QueryAndPacked));
    let together = run(&both, &data);
    let alone = Case { lengths: &[(9, 9)], ..PLAIN };
    let first = alone.data();
    let cut = |x: &[f32]| x[..9 * width].to_vec();
    let first =
        Data { query: cut(&data.query), key: cut(&data.key), value: cut(&data.value), dout: cut(&data.dout), ..first };
    let alone = run(&alone, &first);
    assert_eq!(alone.out, cut(&together.out));
    assert_eq!(alone.dquery, cut(&together.dquery));
    assert_eq!(alone.dkey, cut(&together.dkey));
}

#[test]
fn segments_may_share_keys_in_the_forward_but_not_queries() {
    let data = Case { lengths: &[(3, 7), (2, 7)], ..PLAIN }.data();
    let mut shared = Data { segments: data.segments.clone(), ..data };
    shared.segments[1].key_start = 0;
    let attention = PLAIN.attention(&shared);
    let qkv = Qkv::Separate {
        query: Rows { data: &shared.query, stride: 32 },
        key: Rows { data: &shared.key, stride: 32 },
        value: Rows { data: &shared.value, stride: 32 },
    };
    let mut out = vec![0.0; shared.query.len()];
    attention.forward(&qkv, &mut out, None);
    assert!(out.iter().all(|&x| x != 0.0));
    let mut overlapping = attention.segments.to_vec();
    overlapping[1].query_start = 2;
    let attention = Attention { segments: &overlapping, ..attention };
    let refused = std::panic::catch_unwind(move || attention.forward(&qkv, &mut out, None));
    assert!(refused.is_err());
}

#[test]
#[should_panic(expected = "two segments share key row 4")]
fn a_backward_over_shared_keys_is_refused() {
    let mut data = Case { lengths: &[(3, 7), (2, 7)], ..PLAIN }.data();
    data.segments[1].key_start = 4;
    run(&PLAIN, &data, Layout::QueryAndPacked);
}

#[test]
#[should_panic(expected = "but qkv has")]
fn a_segment_beyond_its_buffer_is_refused() {
    let mut data = PLAIN.data();
    data.segments[0].key_len = usize::MAX;
    run(&PLAIN, &data, Layout::QueryAndPacked);
}

/// Sizes whose products wrap, and views whose rows would overlap: each must panic before anything is written.
#[test]
fn sizes_that_cannot_be_counted_and_rows_that_overlap_are_refused() {
    let half = usize::MAX / 2 + 1;
    let segments = [Segment { query_start: 0, query_len: 2, key_start: 0, key_len: 2 }];
    let plain = Attention {
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 4,
        scale: 1.0,
        causal: false,
        bias: None,
        dropout: None,
        segments: &segments,
    };
    let x = [0.5f32; 24];
    let forward = |attention: Attention<'_>, qkv: Qkv<'_>| {
        let mut out = [9.0f32; 8];
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attention.forward(&qkv, &mut out, None)));
        (found.is_err(), out)
    };
    let refused = |attention: Attention<'_>, qkv: Qkv<'_>| forward(attention, qkv) == (true, [9.0; 8]);
    let packed = Qkv::Packed(&x);
    assert!(!forward(plain, packed).0);
    for (n_heads, n_kv_heads, head_dim) in
        [(half, half, 2), (half, 1, 2), (2, 2, half), (1, 1, half), (1, 1, usize::MAX)]
    {
        let attention = Attention { n_heads, n_kv_heads, head_dim, ..plain };
        assert!(refused(attention, packed), "{n_heads}, {n_kv_heads}, {head_dim}");
        let attention = Attention { segments: &[], ..attention };
        assert!(refused(attention, packed), "{n_heads}, {n_kv_heads}, {head_dim}, no segments");
    }
    let rows = |stride| Rows { data: &x[..8], stride };
    for stride in [0, 3, usize::MAX] {
        assert!(refused(plain, Qkv::Separate { query: rows(stride), key: rows(4), value: rows(4) }), "{stride}");
        assert!(refused(plain, Qkv::Separate { query: rows(4), key: rows(4), value: rows(stride) }), "{stride}");
    }
    for (query_start, query_len) in [(usize::MAX, 2), (1, usize::MAX), (2, 1), (1, 2)] {
        let segments = [Segment { query_start, query_len, ..segments[0] }];
        assert!(refused(Attention { segments: &segments, ..plain }, packed), "{query_start}, {query_len}");
    }
    let bias = |max_query_len, max_key_len| Some(super::Bias { data: &[], max_query_len, max_key_len });
    for (queries, keys) in [(half, 2), (2, half), (half, half)] {
        assert!(refused(Attention { bias: bias(queries, keys), ..plain }, packed), "{queries}, {keys}");
    }
    let mut overlapping = [9.0f32; 8];
    let grad = QkvGrad::Separate {
        query: RowsMut { data: &mut overlapping, stride: 2 },
        key: RowsMut { data: &mut [0.0; 8], stride: 4 },
        value: RowsMut { data: &mut [0.0; 8], stride: 4 },
    };
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        plain.backward(&packed, &[0.0; 8], &[0.0; 2], &[0.0; 8], grad, None);
    }));
    assert!(found.is_err() && overlapping == [9.0; 8]);
}

#[test]
fn nan_reaches_the_queries_that_see_it_and_no_others() {
    let case = Case { causal: true, lengths: &[(70, 70)], ..PLAIN };
    let mut data = case.data();
    data.key[40 * 32] = f32::NAN; // Key 40 of head 0.
    for_each_level(|level| {
        let out = run_forward(&case, &data);
        for (row, out) in out.chunks(32).enumerate() {
            assert_eq!(out[0].is_nan(), row >= 40, "{level:?}: row {row}");
            assert!(!out[16].is_nan());
        }
    });
}

fn run_forward(case: &Case, data: &Data) -> Vec<f32> {
    let rows = |data| Rows { data, stride: case.n_heads * case.head_dim };
    let qkv = Qkv::Separate { query: rows(&data.query), key: rows(&data.key), value: rows(&data.value) };
    let mut out = vec![0.0; data.query.len()];
    case.attention(data).forward(&qkv, &mut out, None);
    out
}

#[test]
fn dropout_drops_its_share_and_keeps_the_mean() {
    let dropout = Dropout { probability: 0.1, seed: 3, stream: 9, first_row: 0 };
    let factors = Vec::from_iter((0..200_000).map(|i| dropout.factor(i % 7, i / 70, i % 70)));
    let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f32 / 2e5;
    let mean = factors.iter().sum::<f32>() / 2e5;
    assert!((dropped - 0.1).abs() < 0.003 && (mean - 1.0).abs() < 0.003, "{dropped} {mean}");
    let other = Dropout { stream: 10, ..dropout };
    assert!((0..100).any(|j| other.factor(0, 0, j) != dropout.factor(0, 0, j)));
}

/// The reference itself, in f64: each gradient against (L(x + h) − L(x − h)) / 2h of L = Σ out·dout.
#[test]
fn the_reference_matches_finite_differences() {
    let case =
        Case { n_heads: 4, head_dim: 3, causal: true, bias: true, dropout: 0.3, lengths: &[(3, 4), (4, 2)], ..PLAIN };
    let mut data = case.data();
    // Multiples of the step by which the f32 bias is moved, so that it moves by exactly as much.
    let step = 1.0 / 1024.0;
    for x in data.bias.iter_mut().flat_map(|(bias, ..)| bias) {
        *x = (*x / step).round() * step;
    }
    let attention = case.attention(&data);
    let wide = |x: &[f32]| Vec::from_iter(x.iter().map(|&x| f64::from(x)));
    let dout = wide(&data.dout);
    let loss = |attention: &Attention<'_>, [query, key, value]: &[Vec<f64>; 3]| -> f64 {
        let (mut out, mut weights) = (vec![0.0; query.len()], vec![0.0; 4 * (12 + 8)]);
        reference::forward(attention, query, key, value, &mut out, &mut weights);
        out.iter().zip(&dout).map(|(a, b)| a * b).sum()
    };
    let inputs = [wide(&data.query), wide(&data.key), wide(&data.value)];
    let [query, key, value] = &inputs;
    let (mut out, mut weights) = (vec![0.0; query.len()], vec![0.0; 4 * (12 + 8)]);
    reference::forward(&attention, query, key, value, &mut out, &mut weights);
    let mut grads = inputs.clone();
    let [dq, dk, dv] = &mut grads;
    let (bias, max_query_len, max_key_len) = data.bias.as_ref().expect("the case has a bias");
    let mut dbias = vec![0.0; bias.len()];
    reference::backward(&attention, query, key, value, &weights, &dout, dq, dk, dv, Some(&mut dbias));
    for which in 0..3 {
        for at in 0..inputs[which].len() {
            let moved = |by: f64| {
                let mut inputs = inputs.clone();
                inputs[which][at] += by;
                loss(&attention, &inputs)
            };
            let (slope, gradient) = ((moved(1e-5) - moved(-1e-5)) / 2e-5, grads[which][at]);
            let fine = (slope - gradient).abs() < 1e-7;
            assert!(fine, "input {which}, {at}: {gradient}, not {slope}");
        }
    }
    for at in 0..bias.len() {
        let moved = |by: f32| {
            let mut bias = bias.clone();
            bias[at] += by;
            let (data, max_query_len, max_key_len) = (&bias[..], *max_query_len, *max_key_len);
            let bias = Some(Bias { data, max_query_len, max_key_len });
            loss(&Attention { bias, ..attention }, &inputs)
        };
        let (slope, gradient) = ((moved(step) - moved(-step)) / f64::from(2.0 * step), dbias[at]);
        assert!((slope - gradient).abs() < 1e-5, "bias {at}: {gradient}, not {slope}");
    }
}

#[test]
fn powers_of_two_are_within_two_units() {
    let x = Vec::from_iter((0..1_000_000).map(|i| -126.0 + 126.5 * i as f32 / 1e6));
    for_each_level(|level| {
        let mut y = x.clone();
        exp2_of(level, &mut y);
        for (x, y) in x.iter().zip(y) {
            let exact = f64::from(*x).exp2();
            let error = (f64::from(y) / exact - 1.0).abs() * 16_777_216.0;
            assert!(error <= 2.0, "{level:?}: 2^{x} is {y}, {error:.2} units off");
        }
        let mut limits = [f32::NEG_INFINITY, -1e30, -126.01, 0.0, 1.0, f32::NAN];
        exp2_of(level, &mut limits);
        assert_eq!(limits[..5], [0.0, 0.0, 0.0, 1.0, 2.0]);
        assert!(limits[5].is_nan());
    });
}

fn exp2_of(level: Level, x: &mut [f32]) {
    let (whole, len) = (x.len().next_multiple_of(16), x.len());
    let mut padded = x.to_vec();
    padded.resize(whole, 0.0);
    // SAFETY: the level is available and there are `whole` numbers.
    unsafe { exp2_at(level, padded.as_mut_ptr(), whole) };
    x.copy_from_slice(&padded[..len]);
}

lanes::instantiate! {
    fn exp2_at = exp2_all(x: *mut f32, len: usize)
}

#[inline(always)]
unsafe fn exp2_all<S: lanes::Lanes>(x: *mut f32, len: usize) {
    for at in (0..len).step_by(S::LANES) {
        S::store(x.add(at), S::exp2(S::load(x.add(at))));
    }
}
