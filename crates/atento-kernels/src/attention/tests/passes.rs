//! What the passes compute: beside the reference, alone and together, on any number of threads and from NaN; and the
//! reference, dropout and the powers of two by themselves.

use super::*;
use crate::philox::Rng;

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

#[track_caller]
fn assert_all_close(name: &str, actual: &Results, expected: &Results, tolerance: f32) {
    let check = |what: &str, part: fn(&Results) -> &[f32]| {
        assert_close(&format!("{name}, {what}"), part(actual), part(expected), tolerance);
    };
    check("out", |results| &results.out);
    check("lse", |results| &results.lse);
    check("dquery", |results| &results.dquery);
    check("dkey", |results| &results.dkey);
    check("dvalue", |results| &results.dvalue);
    check("dbias", |results| &results.dbias);
    check("weights", |results| &results.weights);
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
            assert_all_close(&format!("{}, {level:?}", case.name), &actual, &expected, tolerance(case));
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

/// Sizes at random: lengths around those of blocks and tiles, windows from one key to more than there are.
#[test]
fn windows_of_any_size_match_the_reference() {
    const AROUND: [usize; 12] = [1, 2, 4, 5, 15, 17, 63, 64, 65, 100, 130, 200];
    let mut rng = Rng::new(3, 0);
    let mut pick = |below: usize| rng.below(below);
    for round in 0..80 {
        let lengths: Vec<(usize, usize)> = (0..3).map(|_| (AROUND[pick(12)], AROUND[pick(12)])).collect();
        let case = Case {
            name: "at random",
            causal: round < 40,
            window: Some(AROUND[pick(12)] + pick(3)),
            head_dim: [1, 7, 8, 20][pick(4)],
            n_heads: [2, 4][pick(2)],
            dropout: [0.0, 0.3][pick(2)],
            bias: pick(3) == 0,
            gap: pick(2),
            lengths: lengths.leak(),
            ..WINDOW
        };
        let data = case.data();
        let expected = expected(&case, &data);
        let actual = with_level(simd::detected(), || run(&case, &data, Layout::QueryAndPacked));
        let name = format!("round {round}, causal {}, window {:?} of {:?}", case.causal, case.window, case.lengths);
        assert_all_close(&name, &actual, &expected, tolerance(&case));
    }
}

#[test]
fn a_window_that_hides_nothing_changes_no_bit() {
    for (causal, window) in [(true, 200), (true, 1000), (true, usize::MAX), (false, 200), (false, usize::MAX)] {
        let lengths = &[(70, 70), (3, 69), (200, 200), (9, 2)];
        let plain = Case { lengths, dropout: 0.2, causal, ..PLAIN };
        let (data, wide) = (plain.data(), Case { window: Some(window), ..plain });
        for_each_level(|level| {
            let [plain, wide] = [&plain, &wide].map(|case| run(case, &data, Layout::Packed));
            assert!(plain == wide, "causal {causal}, window {window} at {level:?}");
        });
    }
}

#[test]
fn nan_reaches_the_queries_whose_window_holds_it_and_no_others() {
    for (causal, seeing) in [(true, 100..170), (false, 31..170)] {
        let case = Case { lengths: &[(300, 300)], window: Some(70), causal, ..PLAIN };
        let mut data = case.data();
        data.key[100 * 32] = f32::NAN; // Key 100 of head 0.
        for_each_level(|level| {
            for (row, out) in run_forward(&case, &data).chunks(32).enumerate() {
                assert_eq!(out[0].is_nan(), seeing.contains(&row), "{level:?}, causal {causal}: row {row}");
            }
        });
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
    let (whole, len) = (x.len().next_multiple_of(lanes::WIDEST), x.len());
    let mut padded = x.to_vec();
    padded.resize(whole, 0.0);
    // SAFETY: the level is available, and there are `whole` numbers, a multiple of every vector.
    unsafe { exp2_at(level, padded.as_mut_ptr(), whole) };
    x.copy_from_slice(&padded[..len]);
}

lanes::instantiate! {
    /// # Safety
    /// As [`exp2_all`].
    fn exp2_at = exp2_all(x: *mut f32, len: usize)
}

/// # Safety
/// `x` is `len` numbers, whole vectors of them.
#[inline(always)]
unsafe fn exp2_all<S: lanes::Lanes>(x: *mut f32, len: usize) {
    for at in (0..len).step_by(S::LANES) {
        // SAFETY: promised by the caller.
        unsafe { S::store(x.add(at), S::exp2(S::load(x.add(at)))) };
    }
}
