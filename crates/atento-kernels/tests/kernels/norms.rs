use crate::support::*;
use atento_kernels::dropout::{self, DropoutKey};
use atento_kernels::norm::{self, add_dropout_layer_norm_backward, add_dropout_layer_norm_forward};
use atento_kernels::rms_norm;

const SIZES: [(usize, usize); 5] = [(0, 4), (1, 1), (2, 5), (3, 67), (4, 96)];

fn layer_norm_rows(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    x.chunks(gamma.len()).flat_map(|x| norm::reference(x, gamma, beta, 1e-5)).collect()
}

fn rms_norm_rows(x: &[f64], gamma: &[f64]) -> Vec<f64> {
    x.chunks(gamma.len()).flat_map(|x| rms_norm::reference(x, gamma, 1e-6)).collect()
}

#[test]
fn layer_norm_and_all_its_gradients_match_the_reference() {
    for (rows, width) in SIZES {
        let (x, dy) = (values(rows * width, 1), values(rows * width, 4));
        let (gamma, beta) = (values(width, 2), values(width, 3));
        let (xw, gw, bw) = (wide(&x), wide(&gamma), wide(&beta));
        for_each_level(|_| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            norm::layer_norm_forward(&x, &gamma, &beta, 1e-5, &mut y, &mut mean, &mut rstd);
            assert_close("y", &y, &layer_norm_rows(&xw, &gw, &bw), 1e-6);
            let (mut dx, mut dgamma, mut dbeta) = (vec![f32::NAN; x.len()], vec![0.0; width], vec![0.0; width]);
            norm::layer_norm_backward(&x, &gamma, &mean, &rstd, &dy, &mut dx, false, &mut dgamma, &mut dbeta);
            assert_close("dx", &dx, &gradient(&x, |x| weighted(&layer_norm_rows(x, &gw, &bw), &dy)), 3e-6);
            assert_close("dgamma", &dgamma, &gradient(&gamma, |g| weighted(&layer_norm_rows(&xw, g, &bw), &dy)), 2e-6);
            assert_close("dbeta", &dbeta, &gradient(&beta, |b| weighted(&layer_norm_rows(&xw, &gw, b), &dy)), 2e-6);
            let twice: Vec<f64> = dx.iter().map(|&d| 2.0 * f64::from(d)).collect();
            norm::layer_norm_backward(&x, &gamma, &mean, &rstd, &dy, &mut dx, true, &mut dgamma, &mut dbeta);
            assert_close("dx added", &dx, &twice, 1e-6);
        });
    }
}

#[test]
fn rms_norm_and_all_its_gradients_match_the_reference() {
    for (rows, width) in SIZES {
        let (x, dy, gamma) = (values(rows * width, 1), values(rows * width, 4), values(width, 2));
        let (xw, gw) = (wide(&x), wide(&gamma));
        for_each_level(|_| {
            let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows]);
            rms_norm::rms_norm_forward(&x, &gamma, 1e-6, &mut y, &mut rstd);
            assert_close("y", &y, &rms_norm_rows(&xw, &gw), 1e-6);
            let (mut dx, mut dgamma) = (vec![f32::NAN; x.len()], vec![0.0; width]);
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, Some(&mut dx), false, Some(&mut dgamma));
            assert_close("dx", &dx, &gradient(&x, |x| weighted(&rms_norm_rows(x, &gw), &dy)), 2e-6);
            assert_close("dgamma", &dgamma, &gradient(&gamma, |g| weighted(&rms_norm_rows(&xw, g), &dy)), 2e-6);
            let twice: Vec<f64> = dx.iter().map(|&d| 2.0 * f64::from(d)).collect();
            let (once, mut added) = (dx.clone(), vec![0.0; width]);
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, Some(&mut dx), true, Some(&mut added));
            assert_close("dx added", &dx, &twice, 1e-6);
            assert_eq!(added, dgamma);
            // Each alone is what it is beside the other.
            let mut alone = vec![0.0; width];
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, None, false, Some(&mut alone));
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, Some(&mut dx), false, None);
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, None, false, None);
            assert_eq!((alone, dx), (dgamma, once));
        });
    }
}

#[test]
fn norms_are_those_of_pytorch() {
    let (x, gamma, beta, dy) = (values(10, 1), values(5, 2), values(5, 3), values(10, 4));
    let (mut y, mut dx) = ([0.0; 10], [0.0; 10]);
    let (mut mean, mut rstd, mut dgamma, mut dbeta) = ([0.0; 2], [0.0; 2], [0.0; 5], [0.0; 5]);
    norm::layer_norm_forward(&x, &gamma, &beta, 1e-5, &mut y, &mut mean, &mut rstd);
    norm::layer_norm_backward(&x, &gamma, &mean, &rstd, &dy, &mut dx, false, &mut dgamma, &mut dbeta);
    #[rustfmt::skip]
    let golden = (
        [7.40483865e-1, 8.46201974e-1, 1.04593888, 3.61391981e-1, 1.58441245, -2.37164474, 6.06464382e-1, -5.70626192e-1, 7.29150115e-1, 1.03462437],
        [-4.15426597e-1, 6.09999315e-1, -1.24540328, -5.45948856e-1, 1.59677941, 1.42948272, 2.37461359e-1, -2.56199466, 1.52536532e-1, 7.42514052e-1],
        [-1.08517594, -1.41915327e-1, -3.30575378, 5.86299041e-1, 6.20625903e-1],
        [-1.16, 1.8, -3.32, -0.36, 2.6],
    );
    assert_close("y", &y, &golden.0, 5e-7);
    assert_close("dx", &dx, &golden.1, 1e-6);
    assert_close("dgamma", &dgamma, &golden.2, 5e-7);
    assert_close("dbeta", &dbeta, &golden.3, 5e-7);

    let mut dgamma = [0.0; 5];
    rms_norm::rms_norm_forward(&x, &gamma, 1e-6, &mut y, &mut rstd);
    rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, Some(&mut dx), false, Some(&mut dgamma));
    #[rustfmt::skip]
    let golden = (
        [1.61556246, -2.66301518e-2, 2.38191909, 7.72274397e-1, 2.24876826e-1, -1.60881965, -2.18339820e-1, 1.05722443, 1.05722443, -2.18339820e-1],
        [-5.71072202e-1, 3.70735556e-1, -1.51025289, -7.15981843e-1, 1.32062099, 1.16984276, 1.41356315e-2, -2.79771154, -5.64998338e-2, 5.12728055e-1],
        [-9.75338498e-1, -4.31365784e-1, -2.85792505, 5.91934394e-1, 2.09462855e-1],
    );
    assert_close("rms y", &y, &golden.0, 5e-7);
    assert_close("rms dx", &dx, &golden.1, 1e-6);
    assert_close("rms dgamma", &dgamma, &golden.2, 5e-7);
}

#[test]
fn a_large_mean_does_not_cancel_the_variance() {
    let x: Vec<f32> = (0..256).map(|i| 10_000.0 + (i % 2) as f32).collect();
    let (mut y, mut mean, mut rstd) = (vec![0.0; 256], [0.0], [0.0]);
    norm::layer_norm_forward(&x, &[1.0; 256], &[0.0; 256], 1e-5, &mut y, &mut mean, &mut rstd);
    assert!((mean[0] - 10_000.5).abs() < 0.01 && (rstd[0] - 2.0).abs() < 0.01);
}

#[test]
fn the_fused_residual_step_is_its_parts() {
    for (rows, width) in [(3, 67), (40, 512)] {
        for probability in [None, Some(0.0), Some(0.3)] {
            let key = probability.map(|probability| DropoutKey { probability, seed: 5, stream: 9, first: 0 });
            let n = rows * width;
            let (residual, branch, dy, upstream) = (values(n, 1), values(n, 2), values(n, 3), values(n, 4));
            let (gamma, beta) = (values(width, 5), values(width, 6));
            for_each_level(|_| {
                let mut parts = vec![0.0; n];
                match key {
                    Some(key) => dropout::add_dropout(key, &residual, &branch, &mut parts),
                    None => atento_kernels::elementwise::add(&residual, &branch, &mut parts),
                }
                let [mut sum, mut y, mut y_parts] = [(); 3].map(|()| vec![0.0; n]);
                let (mut mean, mut rstd) = (vec![0.0; rows], vec![0.0; rows]);
                norm::layer_norm_forward(&parts, &gamma, &beta, 1e-5, &mut y_parts, &mut mean, &mut rstd);
                add_dropout_layer_norm_forward(
                    &residual, &branch, key, &gamma, &beta, 1e-5, &mut sum, &mut y, &mut mean, &mut rstd,
                );
                assert_eq!(sum, parts);
                assert_eq!(y, y_parts);

                let mut dsum = upstream.clone();
                let [mut dgamma_parts, mut dbeta_parts, mut dgamma, mut dbeta] = [(); 4].map(|()| vec![0.0; width]);
                norm::layer_norm_backward(
                    &sum,
                    &gamma,
                    &mean,
                    &rstd,
                    &dy,
                    &mut dsum,
                    true,
                    &mut dgamma_parts,
                    &mut dbeta_parts,
                );
                let [mut dresidual, mut dbranch, mut dbranch_parts] = [(); 3].map(|()| vec![0.0; n]);
                match key {
                    Some(key) => dropout::backward(key, &dsum, &mut dbranch_parts),
                    None => dbranch_parts.copy_from_slice(&dsum),
                }
                add_dropout_layer_norm_backward(
                    &sum,
                    &gamma,
                    &mean,
                    &rstd,
                    &dy,
                    Some(&upstream),
                    key,
                    &mut dresidual,
                    &mut dbranch,
                    &mut dgamma,
                    &mut dbeta,
                );
                assert_eq!((dresidual, dbranch), (dsum, dbranch_parts));
                assert_eq!((dgamma, dbeta), (dgamma_parts, dbeta_parts));
            });
        }
    }
}
