//! What is made of an RMS norm: the residual step and the norm of queries' and keys' heads.

use crate::support::*;
use atento_kernels::dropout::{self, DropoutKey};
use atento_kernels::qk_norm::{self, Heads};
use atento_kernels::rms_norm::{self, add_dropout_rms_norm_backward, add_dropout_rms_norm_forward};

#[test]
fn the_fused_residual_step_is_its_parts() {
    for (rows, width) in [(0, 3), (3, 67), (40, 512)] {
        for probability in [None, Some(0.0), Some(0.3)] {
            let key = probability.map(|probability| DropoutKey { probability, seed: 5, stream: 9, first: 3 });
            let n = rows * width;
            let (residual, branch, dy, upstream) = (values(n, 1), values(n, 2), values(n, 3), values(n, 4));
            let gamma = values(width, 5);
            for_each_level(|_| {
                let mut parts = vec![0.0; n];
                match key {
                    Some(key) => dropout::add_dropout(key, &residual, &branch, &mut parts),
                    None => atento_kernels::elementwise::add(&residual, &branch, &mut parts),
                }
                let [mut sum, mut y, mut y_parts] = [(); 3].map(|()| vec![0.0; n]);
                let (mut rstd, mut rstd_parts) = (vec![0.0; rows], vec![0.0; rows]);
                rms_norm::rms_norm_forward(&parts, &gamma, 1e-5, &mut y_parts, &mut rstd_parts);
                add_dropout_rms_norm_forward(&residual, &branch, key, &gamma, 1e-5, &mut sum, &mut y, &mut rstd);
                assert_eq!((&sum, &y, &rstd), (&parts, &y_parts, &rstd_parts));

                for accumulate in [false, true] {
                    let (mut dsum, mut dresidual) = (upstream.clone(), upstream.clone());
                    let [mut dgamma_parts, mut dgamma] = [(); 2].map(|()| vec![0.0; width]);
                    let dgamma_part = Some(&mut dgamma_parts[..]);
                    rms_norm::rms_norm_backward(&sum, &gamma, &rstd, &dy, Some(&mut dsum), accumulate, dgamma_part);
                    let [mut dbranch, mut dbranch_parts] = [(); 2].map(|()| vec![0.0; n]);
                    match key {
                        Some(key) => dropout::backward(key, &dsum, &mut dbranch_parts),
                        None => dbranch_parts.copy_from_slice(&dsum),
                    }
                    let step = |dresidual: &mut [f32], dbranch: Option<&mut [f32]>, dgamma: Option<&mut [f32]>| {
                        let (x, r) = (&sum, &rstd);
                        add_dropout_rms_norm_backward(x, &gamma, r, &dy, key, dresidual, accumulate, dbranch, dgamma);
                    };
                    step(&mut dresidual, Some(&mut dbranch), Some(&mut dgamma));
                    assert_eq!((&dresidual, &dbranch), (&dsum, &dbranch_parts));
                    assert_eq!(dgamma, dgamma_parts);
                    let mut alone = upstream.clone();
                    step(&mut alone, None, None);
                    assert_eq!(alone, dresidual);
                }
            });
        }
    }
}

#[test]
fn every_head_of_queries_and_keys_is_normalised_and_values_are_not() {
    for (rows, heads) in [
        (0, Heads { n_heads: 1, n_kv_heads: 1, head_dim: 4 }),
        (3, Heads { n_heads: 2, n_kv_heads: 1, head_dim: 5 }),
        (2, Heads { n_heads: 3, n_kv_heads: 3, head_dim: 64 }),
        (70, Heads { n_heads: 4, n_kv_heads: 2, head_dim: 67 }),
    ] {
        let (d, width) = (heads.head_dim, heads.width());
        let (x, dy) = (values(rows * width, 1), values(rows * width, 2));
        let (q_gamma, k_gamma) = (values(d, 3), values(d, 4));
        let by_definition = |x: &[f64], q_gamma: &[f64], k_gamma: &[f64]| -> Vec<f64> {
            let each = x.chunks(d).enumerate().flat_map(|(at, head)| match at % (width / d) {
                h if h < heads.n_heads => rms_norm::reference(head, q_gamma, 1e-6),
                h if h < heads.normalised() => rms_norm::reference(head, k_gamma, 1e-6),
                _ => head.to_vec(),
            });
            each.collect()
        };
        let (xw, qw, kw) = (wide(&x), wide(&q_gamma), wide(&k_gamma));
        let expected = by_definition(&xw, &qw, &kw);
        for_each_level(|_| {
            let (mut y, mut rstd) = (vec![f32::NAN; x.len()], vec![0.0; rows * heads.normalised()]);
            let gammas = [&q_gamma[..], &k_gamma[..]];
            qk_norm::forward(&x, heads, gammas, 1e-6, &mut y, &mut rstd);
            assert_close("y", &y, &expected, 1e-6);
            let [mut dq, mut dk] = [(); 2].map(|()| vec![0.0; d]);
            let mut dx = dy.clone();
            qk_norm::backward(&x, heads, gammas, &rstd, &mut dx, [Some(&mut dq), Some(&mut dk)]);
            if rows <= 3 {
                assert_close("dx", &dx, &gradient(&x, |x| weighted(&by_definition(x, &qw, &kw), &dy)), 3e-6);
                assert_close("dq", &dq, &gradient(&q_gamma, |q| weighted(&by_definition(&xw, q, &kw), &dy)), 2e-6);
                assert_close("dk", &dk, &gradient(&k_gamma, |k| weighted(&by_definition(&xw, &qw, k), &dy)), 2e-6);
            }
            let (mut alone, mut dx_alone) = (vec![0.0; d], dy.clone());
            qk_norm::backward(&x, heads, gammas, &rstd, &mut dx_alone, [None, Some(&mut alone)]);
            assert_eq!((&alone, &dx_alone), (&dk, &dx));
            let mut dx_alone = dy.clone();
            qk_norm::backward(&x, heads, gammas, &rstd, &mut dx_alone, [None, None]);
            assert_eq!(dx_alone, dx);
        });
    }
}
