use crate::support::*;
use atento_kernels::dropout::{self, DropoutKey};
use atento_kernels::elementwise::*;
use atento_kernels::embedding;

#[test]
fn embeddings_are_scaled_rows_and_positions_are_added() {
    let (table, positions) = (values(7 * 3, 1), values(4 * 3, 2));
    let (ids, at) = ([6u32, 0, 6], [1u32, 0, 3]);
    let mut out = vec![0.0; 9];
    embedding::forward(&ids, &table, 2.0, &mut out);
    embedding::add_positions(&at, &positions, &mut out);
    for i in 0..3 {
        for c in 0..3 {
            let expected = 2.0 * table[ids[i] as usize * 3 + c] + positions[at[i] as usize * 3 + c];
            assert_eq!(out[i * 3 + c], expected);
        }
    }
}

#[test]
fn embedding_gradients_are_the_scatter_add() {
    for (n, vocabulary, width) in [(5, 9, 3), (4000, 700, 24), (2000, 3, 40)] {
        let ids: Vec<u32> = (0..n).map(|i| (i * i * 7 % vocabulary) as u32).collect();
        let dy = values(n * width, 1);
        for_each_level(|level| {
            let (mut dtable, mut expected) = (vec![1.0; vocabulary * width], vec![1.0; vocabulary * width]);
            embedding::backward(&ids, &dy, 0.5, &mut dtable);
            embedding::reference_backward(&ids, &dy, 0.5, &mut expected);
            assert_close(&format!("{level:?}"), &dtable, &wide(&expected), 1e-5);
        });
    }
}

#[test]
#[should_panic(expected = "id 7 in a table of 7 rows")]
fn ids_beyond_the_table_are_refused() {
    embedding::forward(&[7], &[0.0; 21], 1.0, &mut [0.0; 3]);
}

#[test]
fn dropout_is_the_reference_at_every_level_and_length() {
    let key = DropoutKey { probability: 0.3, seed: 0x1234_5678_9abc, stream: 42, first: 0 };
    for n in [0, 1, 63, 64, 65, 40_001] {
        let (x, residual) = (values(n, 1), values(n, 2));
        let mut expected = vec![0.0; n];
        dropout::reference(key, &x, &mut expected);
        for_each_level(|_| {
            let mut out = vec![f32::NAN; n];
            dropout::forward(key, &x, &mut out);
            assert_eq!(out, expected);
            dropout::backward(key, &x, &mut out);
            assert_eq!(out, expected);
            out.copy_from_slice(&x);
            dropout::forward_inplace(key, &mut out);
            assert_eq!(out, expected);
            dropout::add_dropout(key, &residual, &x, &mut out);
            let sum: Vec<f64> = wide(&residual).iter().zip(&expected).map(|(r, &d)| r + f64::from(d)).collect();
            assert_close("sum", &out, &sum, 1e-6);
        });
    }
}

#[test]
fn dropout_keeps_its_share_and_the_expectation() {
    let key = DropoutKey { probability: 0.1, seed: 1, stream: 2, first: 0 };
    let mut out = vec![0.0; 100_000];
    dropout::forward(key, &vec![1.0; 100_000], &mut out);
    let kept = out.iter().filter(|&&x| x != 0.0).count();
    assert!((89_500..90_500).contains(&kept), "{kept} kept");
    let other = DropoutKey { stream: 3, ..key };
    assert_ne!(
        (0..64).map(|i| key.multiplier(i)).collect::<Vec<_>>(),
        (0..64).map(|i| other.multiplier(i)).collect::<Vec<_>>()
    );
}

#[test]
fn arithmetic_is_that_of_each_element() {
    for n in [0, 5, 33_000] {
        let (a, b) = (values(n, 1), values(n, 2));
        let mut out = vec![0.0; n];
        add(&a, &b, &mut out);
        assert!((0..n).all(|i| out[i] == a[i] + b[i]));
        mul(&a, &b, &mut out);
        assert!((0..n).all(|i| out[i] == a[i] * b[i]));
        scale(&mut out, 2.0);
        assert!((0..n).all(|i| out[i] == a[i] * b[i] * 2.0));
        out.copy_from_slice(&a);
        add_assign(&mut out, &b);
        assert!((0..n).all(|i| out[i] == a[i] + b[i]));
        axpy(0.5, &b, &mut out);
        let expected: Vec<f64> = (0..n).map(|i| f64::from(a[i]) + 1.5 * f64::from(b[i])).collect();
        assert_close("axpy", &out, &expected, 1e-6);
        for_each_level(|_| {
            let exact: f64 = wide(&a).iter().sum();
            assert!((sum(&a) - exact).abs() < 1e-6);
            let exact: f64 = wide(&a).iter().map(|a| a * a).sum();
            assert!((sum_of_squares(&a) - exact).abs() < 1e-6);
        });
    }
}

#[test]
fn the_first_non_finite_element_is_found() {
    for_each_level(|_| {
        let mut x = values(40_000, 1);
        assert!(all_finite(&x) && first_non_finite(&x).is_none());
        x[39_999] = f32::NAN;
        x[777] = f32::NEG_INFINITY;
        assert!(!all_finite(&x));
        assert_eq!(first_non_finite(&x), Some(777));
    });
}

#[test]
fn columns_are_copied_and_added_and_rows_gathered() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut out = [0.0; 8];
    copy_columns(&x, 3, 1, &mut out, 4, 2, 2);
    assert_eq!(out, [0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 5.0, 6.0]);
    add_columns(&x, 3, 0, &mut out, 4, 1, 2);
    assert_eq!(out, [0.0, 1.0, 4.0, 3.0, 0.0, 4.0, 10.0, 6.0]);
    let mut rows = [0.0; 9];
    gather_rows(&x, 3, &[1, 0, 1], &mut rows);
    assert_eq!(rows, [4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn mean_pooling_averages_each_segment_and_spreads_its_gradient() {
    let (x, cu_seqlens) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0, 1, 1, 3]);
    let mut out = [f32::NAN; 6];
    mean_pool_forward(&x, 2, &cu_seqlens, &mut out);
    assert_eq!(out, [1.0, 2.0, 0.0, 0.0, 4.0, 5.0]);
    let mut dx = [f32::NAN; 6];
    mean_pool_backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &cu_seqlens, &mut dx);
    assert_eq!(dx, [1.0, 2.0, 2.5, 3.0, 2.5, 3.0]);
}
