use crate::support::*;
use atento_kernels::activation::Activation;
use atento_kernels::compact::{Compact, to_bf16};
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::{self, Mat, MatMut, Precision};
use half::bf16;

/// Every orientation of A and B, sizes from the few-row loops to several panels.
#[test]
fn products_match_the_triple_loop() {
    let sizes = [
        (1, 1, 1),
        (1, 67, 130),
        (2, 40, 33),
        (3, 17, 5),
        (5, 129, 70),
        (8, 64, 600),
        (9, 33, 21),
        (130, 70, 90),
        (1030, 9, 20),
        (513, 3, 1100),
    ];
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

/// Whether a product into a matrix of these sizes and strides over 64 numbers panics, as it must, and writes nothing.
fn is_refused(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    let (a, b) = (vec![1.0; 64], vec![1.0; 64]);
    let mut c = vec![9.0f32; 64];
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let a = Mat { data: &a, rows, cols: 1, row_stride: 0, col_stride: 1 };
        let b = Mat { data: &b, rows: 1, cols, row_stride: 1, col_stride: 0 };
        matmul::gemm(1.0, a, b, 0.0, MatMut { data: &mut c, rows, cols, row_stride, col_stride });
    }));
    refused.is_err() && c == [9.0; 64]
}

#[test]
fn outputs_whose_extent_cannot_be_counted_are_refused() {
    const MOST: usize = usize::MAX;
    let half = MOST / 2 + 1;
    // Each reaches far beyond its storage; in arithmetic that wraps, the extent of most is a few numbers.
    for (rows, cols, row_stride, col_stride) in
        [(3, 1, half, 1), (1, 3, 1, half), (2, 2, MOST, 2), (2, 2, 2, MOST), (half + 1, 2, 2, 1), (2, half + 1, 1, 2)]
    {
        assert!(is_refused(rows, cols, row_stride, col_stride), "{rows} x {cols}, strides {row_stride}, {col_stride}");
    }
    for (rows, cols) in [(MOST, 2), (2, MOST), (half, 2), (half, half)] {
        let made = std::panic::catch_unwind(|| MatMut::row_major(&mut [], rows, cols).data.len());
        assert!(made.is_err(), "{rows} x {cols}");
        assert!(
            std::panic::catch_unwind(|| Mat::<f32>::row_major(&[], rows, cols).data.len()).is_err(),
            "{rows} x {cols}"
        );
    }
}

#[test]
fn outputs_two_of_whose_elements_are_one_number_are_refused() {
    for (rows, cols, row_stride, col_stride) in [
        (1, 5, 5, 0),
        (5, 1, 0, 1),
        (20, 3, 3, 0),
        (20, 3, 0, 1),
        (3, 3, 2, 1),
        (3, 3, 1, 2),
        (3, 3, 2, 2),
        (12, 2, 1, 1),
    ] {
        assert!(is_refused(rows, cols, row_stride, col_stride), "{rows} x {cols}, strides {row_stride}, {col_stride}");
    }
}

/// The stride of a single row or column is never stepped over.
#[test]
fn a_stride_that_is_not_used_may_be_any() {
    for most in [0, 1, usize::MAX, isize::MAX as usize + 1] {
        for (rows, cols) in [(1, 20), (20, 1), (1, 1)] {
            let (row_stride, col_stride) = if rows == 1 { (most, 1) } else { (1, most) };
            let mut c = vec![9.0; 32];
            let (a, b) = (vec![1.0; rows * 3], vec![2.0; cols * 3]);
            let view = MatMut { data: &mut c, rows, cols, row_stride, col_stride };
            matmul::gemm(1.0, Mat::row_major(&a, rows, 3), Mat::row_major(&b, 3, cols), 0.0, view);
            let written = rows * cols;
            assert!(c[..written].iter().all(|&x| x == 6.0) && c[written..].iter().all(|&x| x == 9.0), "{c:?}");
        }
    }
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
                linear::forward(Precision::F32, rows, &x, &weight, layout, Some(&bias), act, None, &mut out);
                assert_close("out", &out, &reference(act), 2e-6);
                let (mut again, mut pre) = (vec![f32::NAN; out.len()], vec![f32::NAN; out.len()]);
                linear::forward(
                    Precision::F32,
                    rows,
                    &x,
                    &weight,
                    layout,
                    Some(&bias),
                    act,
                    Some(&mut pre),
                    &mut again,
                );
                assert_close("pre", &pre, &reference(Activation::Identity), 2e-6);
                assert_close("out again", &again, &wide(&out), 1e-6);
            }
        }
    }
}

/// Few rows and many, and weights that are frozen in fewer bits.
#[test]
fn affine_maps_and_gradients_in_bf16_are_those_of_f32_but_for_rounding() {
    for (rows, inputs, outputs, layout) in [(1, 20, 33, LAYOUTS[0]), (7, 64, 9, LAYOUTS[1]), (1100, 8, 12, LAYOUTS[0])]
    {
        let (x, weight, bias) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(outputs, 3));
        let (dy, mut halves) = (values(rows * outputs, 4), vec![bf16::ZERO; weight.len()]);
        to_bf16(&weight, WeightLayout::OutIn, inputs, &mut halves);
        let all = |precision| {
            let (mut out, mut pre) = (vec![f32::NAN; rows * outputs], vec![f32::NAN; rows * outputs]);
            let (act, before) = (Activation::Gelu, Some(&mut pre[..]));
            linear::forward(precision, rows, &x, &weight, layout, Some(&bias), act, before, &mut out);
            let (mut dx, mut dweight) = (vec![0.5; x.len()], vec![0.5; weight.len()]);
            linear::backward_input(precision, rows, &dy, &weight, layout, &mut dx, true);
            linear::backward_weight(precision, rows, &x, &dy, layout, &mut dweight);
            let (mut y, mut dx_of_halves) = (vec![f32::NAN; rows * outputs], vec![f32::NAN; x.len()]);
            Compact::Bf16(&halves).forward(precision, rows, &x, &mut y);
            Compact::Bf16(&halves).backward_input(precision, rows, &dy, &mut dx_of_halves, false);
            [out, pre, dx, dweight, y, dx_of_halves]
        };
        let exact = all(Precision::F32);
        for (precision, tolerance) in [(Precision::Bf16, 4e-3), (Precision::Bf16x3, 1e-5)] {
            for (found, expected) in all(precision).iter().zip(&exact) {
                assert_close(precision.name(), found, &wide(expected), tolerance);
            }
        }
    }
}

#[test]
fn a_missing_bias_is_a_zero_bias() {
    let (x, weight) = (values(12, 1), values(20, 2));
    for act in [Activation::Identity, Activation::Silu] {
        for_each_level(|level| {
            let (mut with, mut without) = (vec![0.0; 15], vec![0.0; 15]);
            linear::forward(Precision::F32, 3, &x, &weight, WeightLayout::OutIn, Some(&[0.0; 5]), act, None, &mut with);
            linear::forward(Precision::F32, 3, &x, &weight, WeightLayout::OutIn, None, act, None, &mut without);
            assert_eq!(with, without, "{level:?}");
        });
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
        linear::backward_input(Precision::F32, rows, &dy, &weight, layout, &mut dx, true);
        let expected: Vec<f64> = gradient(&x, |x| loss(x, &ww, &bw)).iter().map(|d| d + 1.0).collect();
        assert_close("dx added to 1", &dx, &expected, 1e-6);
        linear::backward_input(Precision::F32, rows, &dy, &weight, layout, &mut dx, false);
        assert_close("dx", &dx, &gradient(&x, |x| loss(x, &ww, &bw)), 1e-6);
        let (mut dweight, mut dbias) = (vec![0.0; inputs * outputs], vec![0.0; outputs]);
        linear::backward_weight(Precision::F32, rows, &x, &dy, layout, &mut dweight);
        linear::backward_bias(&dy, &mut dbias);
        assert_close("dweight", &dweight, &gradient(&weight, |w| loss(&xw, w, &bw)), 1e-6);
        assert_close("dbias", &dbias, &gradient(&bias, |b| loss(&xw, &ww, b)), 1e-6);
    }
}

#[test]
fn bias_gradients_over_many_rows_are_exact_sums() {
    for (rows, outputs) in [(5000, 7), (3, 16_384), (40, 20_001)] {
        let dy: Vec<f32> = (0..rows * outputs).map(|i| (i % 5) as f32).collect();
        let mut dbias = vec![10.0; outputs];
        linear::backward_bias(&dy, &mut dbias);
        for (output, &sum) in dbias.iter().enumerate() {
            let expected: usize = (0..rows).map(|row| (row * outputs + output) % 5).sum();
            assert_eq!(sum, 10.0 + expected as f32, "{rows} rows of {outputs}, output {output}");
        }
    }
}
