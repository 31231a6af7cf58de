use crate::support::*;
use atento_kernels::activation::Activation;
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::{self, Mat, MatMut};

/// Every orientation of A and B, sizes from the few-row loops to several panels.
#[test]
fn products_match_the_triple_loop() {
    let sizes =
        [(1, 1, 1), (1, 67, 130), (2, 40, 33), (3, 17, 5), (5, 129, 70), (8, 64, 600), (9, 33, 21), (130, 70, 90)];
    for (m, k, n) in sizes {
        let (a, b, c) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
        for_each_level(|level| {
            for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
                let a = if a_t { Mat::row_major(&a, k, m).t() } else { Mat::row_major(&a, m, k) };
                let b = if b_t { Mat::row_major(&b, n, k).t() } else { Mat::row_major(&b, k, n) };
                for (alpha, beta) in [(1.0, 0.0), (0.5, 1.0), (2.0, -0.25)] {
                    let mut out = if beta == 0.0 { vec![f32::NAN; m * n] } else { c.clone() };
                    let mut expected = c.clone();
                    matmul::gemm(alpha, a, b, beta, MatMut::row_major(&mut out, m, n));
                    matmul::reference(alpha, a, b, beta, MatMut::row_major(&mut expected, m, n));
                    let name = format!("{m}x{k}x{n} {a_t} {b_t} {level:?}");
                    assert_close(&name, &out, &wide(&expected), 2e-6);
                }
            }
        });
    }
}

#[test]
fn an_empty_depth_leaves_beta_times_c() {
    let mut c = vec![1.0, 2.0, 3.0, 4.0];
    matmul::gemm(1.0, Mat::row_major(&[], 2, 0), Mat::row_major(&[], 0, 2), 2.0, MatMut::row_major(&mut c, 2, 2));
    assert_eq!(c, [2.0, 4.0, 6.0, 8.0]);
    matmul::gemm(1.0, Mat::row_major(&[], 2, 0), Mat::row_major(&[], 0, 2), 0.0, MatMut::row_major(&mut c, 2, 2));
    assert_eq!(c, [0.0; 4]);
}

#[test]
fn strided_views_leave_the_rest_of_their_storage_alone() {
    for rows in [2, 12] {
        let (a, b) = (values(rows * 10, 1), values(6 * 7, 2));
        let a = Mat { data: &a, rows, cols: 6, row_stride: 10, col_stride: 1 };
        let mut c = vec![9.0; rows * 20];
        let view = MatMut { data: &mut c, rows, cols: 7, row_stride: 20, col_stride: 1 };
        matmul::gemm(1.0, a, Mat::row_major(&b, 6, 7), 0.0, view);
        let mut expected = vec![9.0; rows * 20];
        let view = MatMut { data: &mut expected, rows, cols: 7, row_stride: 20, col_stride: 1 };
        matmul::reference(1.0, a, Mat::row_major(&b, 6, 7), 0.0, view);
        assert_close("c", &c, &wide(&expected), 1e-6);
    }
}

#[test]
#[should_panic(expected = "elements of c overlap")]
fn overlapping_outputs_are_refused() {
    let mut c = vec![0.0; 9];
    let view = MatMut { data: &mut c, rows: 2, cols: 3, row_stride: 1, col_stride: 1 };
    matmul::gemm(1.0, Mat::row_major(&[0.0; 4], 2, 2), Mat::row_major(&[0.0; 6], 2, 3), 0.0, view);
}

#[test]
#[should_panic(expected = "a leaves its storage")]
fn views_beyond_their_storage_are_refused() {
    let a = Mat { data: &[0.0; 3], rows: 2, cols: 2, row_stride: 2, col_stride: 1 };
    matmul::gemm(1.0, a, Mat::row_major(&[0.0; 4], 2, 2), 0.0, MatMut::row_major(&mut [0.0; 4], 2, 2));
}

const LAYOUTS: [WeightLayout; 2] = [WeightLayout::OutIn, WeightLayout::InOut];

#[test]
fn affine_maps_match_the_reference_with_and_without_saving_their_input() {
    for (rows, inputs, outputs) in [(1, 20, 33), (7, 5, 9), (2100, 8, 12)] {
        let (x, weight, bias) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(outputs, 3));
        for layout in LAYOUTS {
            for act in [Activation::Identity, Activation::Relu, Activation::Gelu, Activation::Silu] {
                let reference = |act| linear::reference(rows, &wide(&x), &wide(&weight), layout, &wide(&bias), act);
                let mut out = vec![f32::NAN; rows * outputs];
                linear::forward(rows, &x, &weight, layout, Some(&bias), act, None, &mut out);
                assert_close("out", &out, &reference(act), 2e-6);
                let (mut again, mut pre) = (vec![f32::NAN; out.len()], vec![f32::NAN; out.len()]);
                linear::forward(rows, &x, &weight, layout, Some(&bias), act, Some(&mut pre), &mut again);
                assert_close("pre", &pre, &reference(Activation::Identity), 2e-6);
                assert_close("out again", &again, &wide(&out), 1e-6);
            }
        }
    }
}

#[test]
fn a_missing_bias_is_a_zero_bias() {
    let (x, weight) = (values(12, 1), values(20, 2));
    for act in [Activation::Identity, Activation::Silu] {
        let (mut with, mut without) = (vec![0.0; 15], vec![0.0; 15]);
        linear::forward(3, &x, &weight, WeightLayout::OutIn, Some(&[0.0; 5]), act, None, &mut with);
        linear::forward(3, &x, &weight, WeightLayout::OutIn, None, act, None, &mut without);
        assert_eq!(with, without);
    }
}

#[test]
fn all_gradients_of_an_affine_map_are_those_of_finite_differences() {
    let (rows, inputs, outputs) = (3, 4, 5);
    let (x, weight, bias, dy) = (values(12, 1), values(20, 2), values(5, 3), values(15, 4));
    for layout in LAYOUTS {
        let loss = |x: &[f64], w: &[f64], b: &[f64]| {
            weighted(&linear::reference(rows, x, w, layout, b, Activation::Identity), &dy)
        };
        let (xw, ww, bw) = (wide(&x), wide(&weight), wide(&bias));
        let mut dx = vec![1.0; rows * inputs];
        linear::backward_input(rows, &dy, &weight, layout, &mut dx, true);
        let expected: Vec<f64> = gradient(&x, |x| loss(x, &ww, &bw)).iter().map(|d| d + 1.0).collect();
        assert_close("dx added to 1", &dx, &expected, 1e-6);
        linear::backward_input(rows, &dy, &weight, layout, &mut dx, false);
        assert_close("dx", &dx, &gradient(&x, |x| loss(x, &ww, &bw)), 1e-6);
        let (mut dweight, mut dbias) = (vec![0.0; inputs * outputs], vec![0.0; outputs]);
        linear::backward_weight(rows, &x, &dy, layout, &mut dweight);
        linear::backward_bias(&dy, &mut dbias);
        assert_close("dweight", &dweight, &gradient(&weight, |w| loss(&xw, w, &bw)), 1e-6);
        assert_close("dbias", &dbias, &gradient(&bias, |b| loss(&xw, &ww, b)), 1e-6);
    }
}

#[test]
fn bias_gradients_over_many_rows_are_exact_sums() {
    let (rows, outputs) = (5000, 7);
    let dy: Vec<f32> = (0..rows * outputs).map(|i| (i % 5) as f32).collect();
    let mut dbias = vec![10.0; outputs];
    linear::backward_bias(&dy, &mut dbias);
    for (output, &sum) in dbias.iter().enumerate() {
        let expected: usize = (0..rows).map(|row| (row * outputs + output) % 5).sum();
        assert_eq!(sum, 10.0 + expected as f32);
    }
}
