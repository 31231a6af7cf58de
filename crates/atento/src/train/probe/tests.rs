//! What holds for every probe; `tests/it/probe.rs` compares probes with scikit-learn's.

use rayon::ThreadPoolBuilder;

use super::*;

/// Drawn numbers between −1 and 1.
fn drawn(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Features, and the labels of noisy planes through them.
fn drawn_labels(rows: usize, width: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let (features, planes, noise) = (drawn(rows * width, 1), drawn(classes * width, 2), drawn(rows * classes, 3));
    let label = |(row, noise): (&[f32], &[f32])| {
        let score = |class: usize| {
            row.iter().zip(&planes[class * width..]).map(|(x, w)| x * w).sum::<f32>() + 0.5 * noise[class]
        };
        (0..classes).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap() as u32
    };
    let labels = features.chunks(width).zip(noise.chunks(classes)).map(label).collect();
    (features, labels)
}

/// The derivatives of the function by weights and biases, in f64 and without any of the code under test.
fn gradient(probe: &LogisticProbe, features: &[f32], labels: &[u32], c: f64) -> Vec<f64> {
    let (width, classes) = (probe.width, probe.classes);
    let mut gradient: Vec<f64> = probe.weight.iter().map(|weight| f64::from(*weight) / c).collect();
    gradient.resize(classes * (width + 1), 0.0);
    for (row, &label) in features.chunks(width).zip(labels) {
        let score = |class: usize| {
            let weight = &probe.weight[class * width..][..width];
            let sum: f64 = row.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            (sum + f64::from(probe.bias[class])).exp()
        };
        let exps: Vec<f64> = (0..classes).map(score).collect();
        let sum: f64 = exps.iter().sum();
        for (class, exp) in exps.iter().enumerate() {
            let off = exp / sum - f64::from(u8::from(class == label as usize));
            for (column, x) in row.iter().enumerate() {
                gradient[class * width + column] += off * f64::from(*x);
            }
            gradient[classes * width + class] += off;
        }
    }
    gradient
}

#[test]
fn the_gradient_at_a_probe_of_many_rows_is_zero() {
    // More rows than a block has, parts of unequal sizes; more classes than the products of few rows take.
    let (rows, width, classes, c) = (9001, 12, 11, 0.5);
    let (features, labels) = drawn_labels(rows, width, classes);
    let probe = LogisticProbe::fit(&features, width, &labels, classes, c).unwrap();
    let nothing = LogisticProbe { weight: vec![0.0; classes * width], bias: vec![0.0; classes], width, classes };
    let norm = |probe: &LogisticProbe| gradient(probe, &features, &labels, c).iter().map(|g| g * g).sum::<f64>().sqrt();
    let (end, start) = (norm(&probe), norm(&nothing));
    assert!(end < 1e-5 * start, "{end} after {start}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (features, labels) = drawn_labels(3000, 40, 3);
    let values = drawn(3000, 4);
    let train = Examples { features: &features, width: 40, targets: &labels };
    let fit = || {
        let probe = LogisticProbe::fit_scaled(train, 3, 1.0, Scaling::Standardized).unwrap();
        (probe, RidgeProbe::fit(&features, 40, &values, 1.0).unwrap())
    };
    let on = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(fit);
    assert_eq!(on(1), on(5));
}

#[test]
fn a_constant_column_gets_weight_zero_whatever_its_value() {
    let (mut features, labels) = drawn_labels(50, 4, 3);
    let values: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
    features.chunks_mut(4).for_each(|row| row[2] = 0.1);
    for scaling in [Scaling::AsGiven, Scaling::Standardized] {
        let train = Examples { features: &features, width: 4, targets: &labels };
        let probe = LogisticProbe::fit_scaled(train, 3, 10.0, scaling).unwrap();
        assert!(probe.weight.chunks(4).all(|row| row[2] == 0.0 && row[0] != 0.0), "{:?}", probe.weight);
        let train = Examples { features: &features, width: 4, targets: &values };
        let ridge = RidgeProbe::fit_scaled(train, 0.1, scaling).unwrap();
        assert!(ridge.weight[2] == 0.0 && ridge.weight[0] != 0.0, "{:?}", ridge.weight);
    }
}

/// As the column of an encoder whose last norm has all but switched it off.
#[test]
fn a_column_that_is_nothing_beside_the_others_gets_no_weight() {
    let (mut features, labels) = drawn_labels(50, 4, 3);
    for (row, label) in features.chunks_mut(4).zip(&labels) {
        row[2] = 1e-31 * (*label as f32 + row[0]);
    }
    let train = Examples { features: &features, width: 4, targets: &labels };
    let probe = LogisticProbe::fit_scaled(train, 3, 10.0, Scaling::Standardized).unwrap();
    assert!(probe.weight.chunks(4).all(|row| row[2] == 0.0 && row[0] != 0.0), "{:?}", probe.weight);
}

#[test]
fn columns_that_say_nothing_leave_the_shares_of_the_labels() {
    let probe = LogisticProbe::fit(&[3.5; 8], 1, &[0, 1, 1, 2, 1, 2, 1, 1], 3, 1.0).unwrap();
    let exps: Vec<f64> = probe.logits(&[3.5]).into_iter().map(|score| f64::from(score).exp()).collect();
    let sum: f64 = exps.iter().sum();
    for (exp, share) in exps.iter().zip([1.0, 5.0, 2.0]) {
        assert!((exp / sum - share / 8.0).abs() < 1e-6, "{exps:?}");
    }
}

#[test]
fn equal_values_are_given_for_all_features() {
    let probe = RidgeProbe::fit(&drawn(30, 1), 3, &[0.1; 10], 1.0).unwrap();
    assert_eq!((probe.values(&[5.0, 6.0, 7.0]), probe.weight), (vec![0.1], vec![0.0; 3]));
}

#[test]
fn doubled_columns_share_their_weight() {
    let (features, labels) = drawn_labels(200, 2, 2);
    let doubled: Vec<f32> = features.chunks(2).flat_map(|row| [row[0], row[1], row[0]]).collect();
    let probe = LogisticProbe::fit(&doubled, 3, &labels, 2, 1e6).unwrap();
    assert!((probe.weight[0] - probe.weight[2]).abs() < 1e-4 * probe.weight[0].abs(), "{:?}", probe.weight);
    assert!((probe.weight[0] + probe.weight[3]).abs() < 1e-4 * probe.weight[0].abs(), "{:?}", probe.weight);
}

#[test]
fn a_class_without_rows_is_never_found_and_changes_nothing() {
    let (features, labels) = drawn_labels(80, 5, 3);
    let apart: Vec<u32> = labels.iter().map(|label| [0, 2, 3][*label as usize]).collect();
    let probe = LogisticProbe::fit(&features, 5, &labels, 3, 1.0).unwrap();
    let with_gaps = LogisticProbe::fit(&features, 5, &apart, 5, 1.0).unwrap();
    assert_eq!(with_gaps.weight[10..15], probe.weight[5..10]);
    assert_eq!((with_gaps.bias[1], with_gaps.bias[4], with_gaps.weight[5..10].to_vec()), (-1e30, -1e30, vec![0.0; 5]));
    let found = with_gaps.labels(&drawn(5000, 9));
    assert!(found.iter().all(|label| [0, 2, 3].contains(label)));
    // Fewer rows than classes.
    let few = LogisticProbe::fit(&[0.0, 1.0], 1, &[5, 7], 9, 1.0).unwrap();
    assert_eq!(few.labels(&[-1.0, 2.0]), [5, 7]);
}

#[test]
fn labels_that_a_plane_separates_are_all_found_however_weak_the_regularisation() {
    let features = drawn(120, 1);
    let labels: Vec<u32> = features.chunks(3).map(|row| u32::from(row[0] > 0.1)).collect();
    for c in [1e-8, 1.0, 1e8] {
        let probe = LogisticProbe::fit(&features, 3, &labels, 2, c).unwrap();
        let right = probe.labels(&features).iter().zip(&labels).filter(|(found, label)| found == label).count();
        assert!(if c < 1.0 { right < 40 } else { right > 36 }, "{right} of 40 with c {c}");
        assert!(c < 2.0 || right == 40, "{right} of 40 with c {c}");
    }
}

#[test]
fn the_smallest_c_of_the_best_is_chosen() {
    let (features, labels) = drawn_labels(300, 6, 3);
    let side = |from: usize, to: usize| Examples {
        features: &features[from * 6..to * 6],
        width: 6,
        targets: &labels[from..to],
    };
    let grid = [1e3, 1e-6, 1e-2, 1.0, 1e2, 1e-2];
    let chosen = LogisticProbe::fit_chosen(side(0, 200), side(200, 300), 3, Scaling::AsGiven, &grid).unwrap();
    assert_eq!(chosen.table.iter().map(|tried| tried.c).collect::<Vec<_>>(), [1e-6, 1e-2, 1.0, 1e2, 1e3]);
    let best = chosen.table.iter().map(|tried| tried.valid_accuracy).fold(0.0, f64::max);
    let first = chosen.table.iter().find(|tried| tried.valid_accuracy == best).unwrap();
    assert_eq!((chosen.c, chosen.valid_accuracy), (first.c, best));
    assert!(best > chosen.table[0].valid_accuracy);
    let alone = LogisticProbe::fit(&features[..1200], 6, &labels[..200], 3, chosen.c).unwrap();
    for (chosen, alone) in chosen.probe.weight.iter().zip(&alone.weight) {
        assert!((chosen - alone).abs() < 1e-4, "{chosen} and {alone}");
    }
}

#[test]
fn the_largest_alpha_of_the_best_is_chosen() {
    // Values without noise: the less they are regularised the better; and where features say nothing, all are equal.
    let features = drawn(120, 1);
    let values: Vec<f32> = features.chunks(3).map(|row| row[0] - 2.0 * row[1] + 0.5).collect();
    let side = |features, targets| Examples { features, width: 3, targets };
    let (train, valid) = (side(&features[..90], &values[..30]), side(&features[90..], &values[30..]));
    let chosen = RidgeProbe::fit_chosen(train, valid, Scaling::Standardized, &[10.0, 0.001, 0.1]).unwrap();
    assert_eq!(chosen.table.iter().map(|tried| tried.alpha).collect::<Vec<_>>(), [10.0, 0.1, 0.001]);
    assert!(chosen.alpha == 0.001 && chosen.valid_mse < 1e-6, "{chosen:?}");
    let train = side(&[1.0; 90], &values[..30]);
    let chosen = RidgeProbe::fit_chosen(train, valid, Scaling::AsGiven, &[0.1, 10.0]).unwrap();
    assert_eq!(chosen.alpha, 10.0);
}

#[test]
fn what_cannot_be_fitted_is_refused_by_name() {
    let fit = |features: &[f32], width, labels: &[u32], classes, c| {
        LogisticProbe::fit(features, width, labels, classes, c).unwrap_err()
    };
    let mut features = drawn(12, 1);
    assert_eq!(fit(&features, 4, &[0, 1], 2, 1.0), Error::Shape { features: 12, width: 4, targets: 2 });
    assert_eq!(fit(&[], 0, &[0, 1], 2, 1.0), Error::Shape { features: 0, width: 0, targets: 2 });
    assert_eq!(fit(&[], 4, &[], 2, 1.0), Error::NoRows);
    assert_eq!(fit(&features, 4, &[0, 1, 2], 2, 1.0), Error::Label { row: 2, label: 2, classes: 2 });
    let error = fit(&features, 4, &[1, 1, 1], 2, 1.0);
    assert_eq!(error.to_string(), "all 3 rows have label 1: a probe needs rows of two labels at least");
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(fit(&features, 4, &[0, 1, 1], 2, c), Error::Strength { name: "c", .. }));
    }
    let train = Examples { features: &features.clone(), width: 4, targets: &[0, 1, 1] };
    let narrow = Examples { features: &features.clone(), width: 3, targets: &[0, 1, 1, 0] };
    let chosen = |valid, grid: &[f64]| LogisticProbe::fit_chosen(train, valid, 2, Scaling::AsGiven, grid).unwrap_err();
    assert_eq!(chosen(narrow, &[1.0]), Error::Width { found: 3, expected: 4 });
    assert_eq!(chosen(train, &[]), Error::EmptyGrid { name: "c" });
    features[6] = f32::INFINITY;
    let expected = Error::Feature { row: 1, column: 2, value: f32::INFINITY };
    assert_eq!(fit(&features, 4, &[0, 1, 1], 2, 1.0), expected);
    assert_eq!(chosen(Examples { features: &features, ..train }, &[1.0]), expected);
    let ridge = |values: &[f32], alpha| RidgeProbe::fit(&drawn(12, 1), 4, values, alpha).unwrap_err();
    assert_eq!(ridge(&[0.0, f32::NEG_INFINITY, 1.0], 1.0), Error::Target { row: 1, value: f32::NEG_INFINITY });
    assert_eq!(ridge(&[0.0, 1.0, 1.0], 0.0), Error::Strength { name: "alpha", value: 0.0 });
}

#[test]
fn features_of_any_size_are_fitted_or_refused() {
    let (features, labels) = drawn_labels(60, 3, 2);
    let probe = |scale: f32| {
        let scaled: Vec<f32> = features.iter().map(|x| x * scale).collect();
        let train = Examples { features: &scaled, width: 3, targets: &labels };
        LogisticProbe::fit_scaled(train, 2, 1.0, Scaling::Standardized)
    };
    let plain = probe(1.0).unwrap();
    for (huge, plain) in probe(1e30).unwrap().weight.iter().zip(&plain.weight) {
        assert!((huge * 1e30 - plain).abs() < 1e-4, "{huge} and {plain}");
    }
    assert!(matches!(probe(1e-40), Err(Error::Weight { .. })));
}

#[test]
fn a_grid_has_both_ends_and_equal_factors() {
    let grid = logarithmic_grid(1e-3, 1e3, 7);
    for (value, expected) in grid.iter().zip([1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3]) {
        assert!((value / expected - 1.0).abs() < 1e-12, "{grid:?}");
    }
}

/// Fewer rows than columns: the values are met exactly, and what is left of the loss says nothing of rounding.
#[test]
fn a_search_among_layers_that_meet_every_value_ends() {
    for rows in [8, 12, 20] {
        let features = drawn(rows * 96, 5);
        let values: Vec<f32> = (0..rows).map(|row| row as f32 / rows as f32).collect();
        for alpha in [1e-6, 1e-4, 1e-2, 1.0, 100.0] {
            let train = Examples { features: &features, width: 96, targets: &values };
            let probe = RidgeProbe::fit_scaled(train, alpha, Scaling::Standardized).unwrap();
            let found = probe.values(&features);
            let worst = found.iter().zip(&values).fold(0f32, |worst, (x, y)| worst.max((x - y).abs()));
            assert!(alpha > 1e-3 || worst < 1e-2, "{rows} rows, {alpha}: {worst}");
        }
    }
}
