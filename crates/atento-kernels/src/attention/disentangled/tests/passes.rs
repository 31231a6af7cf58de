//! One table of cases that every instruction set and thread count runs, beside the reference in f64.

use super::*;
use crate::philox::fill_normal;
use crate::simd::{detected, for_each_level, with_level};

/// What a row no segment covers must still hold afterwards.
const UNTOUCHED: f32 = 777.0;

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    n_heads: usize,
    head_dim: usize,
    keys: bool,
    queries: bool,
    span: usize,
    buckets: Buckets,
    dropout: f32,
    /// Standard deviation of queries, keys and relative tables.
    magnitude: f32,
    lengths: &'static [usize],
    /// Rows between segments, before the first and after the last.
    gap: usize,
}

const PLAIN: Case = Case {
    name: "both terms",
    n_heads: 2,
    head_dim: 16,
    keys: true,
    queries: true,
    span: 8,
    buckets: Buckets::Log { bucket_size: 8, max_position: 30 },
    dropout: 0.0,
    magnitude: 1.0,
    lengths: &[5, 1, 0, 17, 33, 70],
    gap: 0,
};

const IDENTITY: Case = Case { buckets: Buckets::Identity, ..PLAIN };

#[rustfmt::skip]
const CASES: &[Case] = &[
    PLAIN,
    Case { name: "relative keys alone", queries: false, ..PLAIN },
    Case { name: "relative queries alone", keys: false, ..PLAIN },
    Case { name: "no relative term", keys: false, queries: false, ..PLAIN },
    Case { name: "no tokens", lengths: &[0, 0], ..PLAIN },
    Case { name: "one token", lengths: &[1], ..PLAIN },
    Case { name: "rows between segments", gap: 3, lengths: &[5, 70, 16], ..PLAIN },
    Case { name: "odd head size", head_dim: 13, lengths: &[5, 67, 130], ..PLAIN },
    Case { name: "head size 1", head_dim: 1, lengths: &[6, 80], ..PLAIN },
    Case { name: "head size 66", head_dim: 66, lengths: &[19, 66], ..PLAIN },
    Case { name: "head size 64, lengths of tiles", head_dim: 64, lengths: &[64, 128, 63, 65, 127, 129], ..PLAIN },
    Case { name: "identity within the span", span: 140, lengths: &[15, 140, 1], ..IDENTITY },
    Case { name: "identity beyond the span", span: 30, lengths: &[15, 140, 300], ..IDENTITY },
    Case { name: "a span of 1", span: 1, lengths: &[3, 200], ..IDENTITY },
    Case { name: "a span that ends a tile early", span: 63, lengths: &[260], ..IDENTITY },
    Case { name: "a span that ends with a tile", span: 64, lengths: &[260], ..IDENTITY },
    Case { name: "log buckets of DeBERTa", span: 256, buckets: Buckets::Log { bucket_size: 256, max_position: 512 }, n_heads: 1, lengths: &[300, 20], ..PLAIN },
    Case { name: "log buckets that skip some", span: 10, buckets: Buckets::Log { bucket_size: 10, max_position: 11 }, lengths: &[150, 9], ..PLAIN },
    Case { name: "log buckets cut by the span", span: 5, buckets: Buckets::Log { bucket_size: 16, max_position: 100 }, lengths: &[200, 9], ..PLAIN },
    Case { name: "dropout", dropout: 0.3, lengths: &[9, 70, 130], ..PLAIN },
    Case { name: "dropout, one term", dropout: 0.5, keys: false, gap: 2, lengths: &[9, 70], ..PLAIN },
    Case { name: "huge scores", magnitude: 30.0, lengths: &[9, 70, 200], ..PLAIN },
    Case { name: "divided query blocks", n_heads: 1, head_dim: 8, span: 40, lengths: &[2100], ..PLAIN },
];

struct Data {
    segments: Vec<Segment>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    relative_keys: Option<Vec<f32>>,
    relative_queries: Option<Vec<f32>>,
    dout: Vec<f32>,
}

fn normal(stream: u64, len: usize, std: f32) -> Vec<f32> {
    let mut x = vec![0.0; len];
    fill_normal(13, stream, std, &mut x);
    x
}

impl Case {
    fn data(&self) -> Data {
        let mut start = self.gap;
        let segments = Vec::from_iter(self.lengths.iter().map(|&len| {
            let segment = Segment { query_start: start, query_len: len, key_start: start, key_len: len };
            start += len + self.gap;
            segment
        }));
        let width = self.n_heads * self.head_dim;
        let (len, table) = (start * width, 2 * self.span * width);
        Data {
            segments,
            query: normal(0, len, self.magnitude),
            key: normal(1, len, self.magnitude),
            value: normal(2, len, 1.0),
            relative_keys: self.keys.then(|| normal(3, table, self.magnitude)),
            relative_queries: self.queries.then(|| normal(4, table, self.magnitude)),
            dout: normal(5, len, 1.0),
        }
    }

    fn attention<'a>(&self, data: &'a Data) -> Disentangled<'a> {
        let terms = usize::from(self.keys) + usize::from(self.queries);
        Disentangled {
            n_heads: self.n_heads,
            head_dim: self.head_dim,
            scale: 1.0 / ((self.head_dim * (1 + terms)) as f32).sqrt(),
            span: self.span,
            buckets: self.buckets,
            dropout: (self.dropout > 0.0).then_some(Dropout {
                probability: self.dropout,
                seed: 5,
                stream: 1 << 40,
                first_row: 3,
            }),
            segments: &data.segments,
        }
    }
}

/// Everything the passes compute.
#[derive(Debug, PartialEq)]
struct Results {
    out: Vec<f32>,
    lse: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    relative_keys: Vec<f32>,
    relative_queries: Vec<f32>,
}

/// What the gradients of the tables hold before the backward, to see that it adds.
const HELD: f32 = 0.5;

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn run(case: &Case, data: &Data) -> Results {
    let attention = case.attention(data);
    let width = case.n_heads * case.head_dim;
    let rows = |x: &[f32]| Vec::from_iter(x.chunks(width).map(<[f32]>::to_vec));
    let parts = [rows(&data.query), rows(&data.key), rows(&data.value)];
    let qkv = Vec::from_iter((0..parts[0].len()).flat_map(|t| parts.each_ref().map(|part| part[t].clone()).concat()));
    let relative = Relative { keys: data.relative_keys.as_deref(), queries: data.relative_queries.as_deref() };
    let mut out = vec![UNTOUCHED; data.query.len()];
    let mut lse = vec![UNTOUCHED; out.len() / case.head_dim];
    attention.forward(&qkv, relative, &mut out, Some(&mut lse));
    let mut without_lse = vec![UNTOUCHED; out.len()];
    attention.forward(&qkv, relative, &mut without_lse, None);
    assert!(same_bits(&out, &without_lse), "{}: lse changes the output", case.name);

    let mut dqkv = vec![UNTOUCHED; qkv.len()];
    let held = |table: &Option<Vec<f32>>| table.as_ref().map(|table| vec![HELD; table.len()]);
    let (mut dkeys, mut dqueries) = (held(&data.relative_keys), held(&data.relative_queries));
    let drelative = RelativeGrad { keys: dkeys.as_deref_mut(), queries: dqueries.as_deref_mut() };
    attention.backward(&qkv, relative, &out, &lse, &data.dout, &mut dqkv, drelative);
    let mut unwanted = vec![UNTOUCHED; qkv.len()];
    attention.backward(&qkv, relative, &out, &lse, &data.dout, &mut unwanted, RelativeGrad::default());
    assert!(same_bits(&dqkv, &unwanted), "{}: gradients of the tables change the others", case.name);
    let part = |i: usize| dqkv.chunks(3 * width).flat_map(|row| &row[i * width..(i + 1) * width]).copied().collect();
    let (relative_keys, relative_queries) = (dkeys.unwrap_or_default(), dqueries.unwrap_or_default());
    Results { out, lse, query: part(0), key: part(1), value: part(2), relative_keys, relative_queries }
}

/// The same from the reference in f64, rounded; rows that no segment covers are [`UNTOUCHED`].
fn expected(case: &Case, data: &Data) -> Results {
    let attention = case.attention(data);
    let wide = |x: &[f32]| Vec::from_iter(x.iter().map(|&x| f64::from(x)));
    let [query, key, value, dout] = [&data.query, &data.key, &data.value, &data.dout].map(|x| wide(x));
    let tables = [&data.relative_keys, &data.relative_queries].map(|x| x.as_deref().map(wide));
    let [relative_keys, relative_queries] = tables.each_ref().map(|table| table.as_deref());
    let inputs = reference::Inputs { query: &query, key: &key, value: &value, relative_keys, relative_queries };
    let pairs = case.lengths.iter().map(|len| len * len).sum::<usize>();
    let (mut out, mut weights) = (vec![0.0; query.len()], vec![0.0; pairs * case.n_heads]);
    reference::forward(&attention, &inputs, &mut out, &mut weights);
    let found = reference::backward(&attention, &inputs, &weights, &dout);
    let covered = |x: &[f64], width: usize| {
        let within = |row: usize| data.segments.iter().any(|s| (s.key_start..s.key_start + s.key_len).contains(&row));
        Vec::from_iter(x.iter().enumerate().map(|(i, &x)| if within(i / width) { x as f32 } else { UNTOUCHED }))
    };
    let narrow = |x: &[f64]| Vec::from_iter(x.iter().map(|&x| (x + f64::from(HELD)) as f32));
    let width = case.n_heads * case.head_dim;
    Results {
        out: covered(&out, width),
        lse: covered(&log_sums(&attention, &inputs, &weights), case.n_heads),
        query: covered(&found.query, width),
        key: covered(&found.key, width),
        value: covered(&found.value, width),
        relative_keys: narrow(&found.relative_keys),
        relative_queries: narrow(&found.relative_queries),
    }
}

/// ln Σ exp(score) of every row and head: a pair's score less the logarithm of its weight.
fn log_sums(attention: &Disentangled<'_>, inputs: &reference::Inputs<'_, f64>, weights: &[f64]) -> Vec<f64> {
    let (h, d) = (attention.n_heads, attention.head_dim);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut lse = vec![0.0; inputs.query.len() / d];
    let mut rest = weights;
    for s in attention.segments {
        for (head, i) in (0..h).flat_map(|head| (0..s.query_len).map(move |i| (head, i))) {
            let (row, after) = rest.split_at(s.key_len);
            rest = after;
            let j = (0..s.key_len).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            let at = |row: usize| (row * h + head) * d..(row * h + head + 1) * d;
            let (q, k) = (&inputs.query[at(s.query_start + i)], &inputs.key[at(s.key_start + j)]);
            let relative = at(attention.buckets.row(i as isize - j as isize, attention.span));
            let keys = inputs.relative_keys.map_or(0.0, |table| dot(q, &table[relative.clone()]));
            let queries = inputs.relative_queries.map_or(0.0, |table| dot(k, &table[relative]));
            let score = (dot(q, k) + keys + queries) * f64::from(attention.scale);
            lse[(s.query_start + i) * h + head] = score - row[j].ln();
        }
    }
    lse
}

/// Each within `tolerance` of the largest expected number, which is at least 1.
#[track_caller]
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().filter(|&&x| x != UNTOUCHED).fold(1.0f32, |a, &b| a.max(b.abs()));
    for (at, (&a, &b)) in actual.iter().zip(expected).enumerate() {
        let fine = a == b || (a - b).abs() <= tolerance * largest && b != UNTOUCHED;
        assert!(fine, "{what}: number {at} is {a}, not {b}");
    }
}

#[test]
fn every_case_matches_the_reference_at_every_level() {
    for case in CASES {
        let data = case.data();
        let expected = expected(case, &data);
        // The relative error of a weight is the absolute error of its score.
        let tolerance = 3e-6 * case.magnitude.max(1.0).powi(2).min(500.0);
        for_each_level(|level| {
            let actual = run(case, &data);
            let check = |what: &str, part: fn(&Results) -> &[f32]| {
                let name = format!("{}, {level:?}, {what}", case.name);
                assert_close(&name, part(&actual), part(&expected), tolerance);
            };
            check("out", |x| &x.out);
            check("lse", |x| &x.lse);
            check("dquery", |x| &x.query);
            check("dkey", |x| &x.key);
            check("dvalue", |x| &x.value);
            check("drelative keys", |x| &x.relative_keys);
            check("drelative queries", |x| &x.relative_queries);
        });
    }
}

#[test]
fn weights_are_those_of_the_reference_and_give_the_output() {
    for case in CASES.iter().filter(|case| case.dropout == 0.0) {
        let (data, width) = (case.data(), case.n_heads * case.head_dim);
        let attention = case.attention(&data);
        let rows = |x: &[f32]| Vec::from_iter(x.chunks(width).map(<[f32]>::to_vec));
        let parts = [rows(&data.query), rows(&data.key), rows(&data.value)];
        let tokens = 0..data.query.len() / width;
        let qkv = Vec::from_iter(tokens.flat_map(|t| parts.each_ref().map(|part| part[t].clone()).concat()));
        let relative = Relative { keys: data.relative_keys.as_deref(), queries: data.relative_queries.as_deref() };
        let mut out = vec![0.0; data.query.len()];
        attention.forward(&qkv, relative, &mut out, None);

        let (query, key, value) = (&data.query, &data.key, &data.value);
        let inputs =
            reference::Inputs { query, key, value, relative_keys: relative.keys, relative_queries: relative.queries };
        let pairs = case.lengths.iter().map(|len| len * len).sum::<usize>();
        let (mut ignored, mut expected) = (out.clone(), vec![0.0; pairs * case.n_heads]);
        reference::forward(&attention, &inputs, &mut ignored, &mut expected);

        let tolerance = 3e-6 * case.magnitude.powi(2).min(500.0);
        let mut rest = &expected[..];
        for (number, segment) in data.segments.iter().enumerate() {
            let len = segment.key_len;
            let mut weights = vec![UNTOUCHED; case.n_heads * len * len];
            attention.weights(&qkv, relative, number, &mut weights);
            let (own, after) = rest.split_at(weights.len());
            assert_close(case.name, &weights, own, tolerance);
            rest = after;
            for (at, row) in weights.chunks(len.max(1)).enumerate() {
                let (head, token) = (at / len, segment.query_start + at % len);
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{}", case.name);
                for d in head * case.head_dim..(head + 1) * case.head_dim {
                    let values =
                        row.iter().enumerate().map(|(j, weight)| weight * value[(segment.key_start + j) * width + d]);
                    let (found, fused) = (values.sum::<f32>(), out[token * width + d]);
                    assert!((found - fused).abs() < 10.0 * tolerance, "{}: {found} {fused}", case.name);
                }
            }
        }
    }
}

#[test]
fn thread_counts_do_not_change_a_bit() {
    let large = Case { n_heads: 4, head_dim: 64, dropout: 0.1, lengths: &[300, 9, 130, 15, 3, 64], ..PLAIN };
    for case in CASES.iter().chain([&large]) {
        let data = case.data();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            with_level(detected(), || pool.install(|| run(case, &data)))
        };
        assert!(with_threads(1) == with_threads(3), "{}", case.name);
    }
}

#[test]
fn other_segments_of_a_call_change_no_bit() {
    let case = Case { gap: 0, lengths: &[20, 300], dropout: 0.2, ..PLAIN };
    let data = case.data();
    for_each_level(|_| {
        let both = run(&case, &data);
        let alone = Data { segments: vec![data.segments[0]], ..case.data() };
        let rows = 20 * case.n_heads * case.head_dim;
        let alone = run(&case, &alone);
        assert_eq!(alone.out[..rows], both.out[..rows]);
        assert_eq!(alone.query[..rows], both.query[..rows]);
        assert_eq!(alone.key[..rows], both.key[..rows]);
        assert!(alone.out[rows..].iter().all(|&x| x == UNTOUCHED));
    });
}

#[test]
fn nan_spreads_to_the_queries_that_see_it_and_no_farther() {
    for_each_level(|level| {
        let case = Case { lengths: &[70, 20], ..PLAIN };
        let mut data = case.data();
        data.key[5] = f32::NAN;
        let found = run(&case, &data);
        // Head 0 of the first segment.
        let width = case.n_heads * case.head_dim;
        for (row, out) in found.out.chunks(width).enumerate() {
            assert_eq!(out[0].is_nan(), row < 70, "{level:?}, row {row}");
            assert!(!out[case.head_dim].is_nan(), "{level:?}, row {row}");
        }
    });
}
