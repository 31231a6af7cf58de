//! Results must have the same bits on any number of threads.

use crate::support::*;
use atento_kernels::simd::{self, with_level};
use atento_kernels::{activation::Activation, cross_entropy, elementwise, embedding, linear, norm, optim};

/// The outputs of `f` on pools of one, two and five threads.
#[track_caller]
fn assert_same_bits(name: &str, f: impl Fn() -> Vec<f32> + Sync) {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        with_level(simd::detected(), || pool.install(&f))
    };
    let one: Vec<u32> = on(1).into_iter().map(f32::to_bits).collect();
    for threads in [2, 5] {
        let many: Vec<u32> = on(threads).into_iter().map(f32::to_bits).collect();
        assert!(one == many, "{name} differs on {threads} threads");
    }
}

#[test]
fn affine_maps_and_their_gradients_do_not_depend_on_threads() {
    let (rows, inputs, outputs) = (2600, 48, 40);
    let (x, w, b) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(outputs, 3));
    let dy = values(rows * outputs, 4);
    let layout = linear::WeightLayout::OutIn;
    assert_same_bits("linear::forward", || {
        let mut out = vec![0.0; rows * outputs];
        linear::forward(rows, &x, &w, layout, Some(&b), Activation::Gelu, None, &mut out);
        out
    });
    assert_same_bits("linear::backward", || {
        let (mut dw, mut db, mut dx) = (vec![0.0; w.len()], vec![0.0; outputs], vec![0.0; x.len()]);
        linear::backward_weight(rows, &x, &dy, layout, &mut dw);
        linear::backward_bias(&dy, &mut db);
        linear::backward_input(rows, &dy, &w, layout, &mut dx, false);
        [dw, db, dx].concat()
    });
}

#[test]
fn row_kernels_do_not_depend_on_threads() {
    let (rows, width) = (3000, 40);
    let (x, dy, gamma) = (values(rows * width, 1), values(rows * width, 2), values(width, 3));
    assert_same_bits("layer_norm", || {
        let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
        norm::layer_norm_forward(&x, &gamma, &gamma, 1e-5, &mut y, &mut mean, &mut rstd);
        let (mut dg, mut db) = (vec![0.0; width], vec![0.0; width]);
        let mut dx = vec![0.0; x.len()];
        norm::layer_norm_backward(&x, &gamma, &mean, &rstd, &dy, &mut dx, false, &mut dg, &mut db);
        [y, dx, dg, db].concat()
    });
    let ids: Vec<u32> = (0..rows).map(|i| (i * i % 17) as u32).collect();
    assert_same_bits("embedding", || {
        let mut dtable = vec![0.0; 17 * width];
        embedding::backward(&ids, &dy, 1.0, &mut dtable);
        dtable
    });
    assert_same_bits("cross_entropy", || {
        let (mut logits, mut losses, mut nll) = (x.clone(), vec![0.0; rows], vec![0.0; rows]);
        cross_entropy::forward_backward(&mut logits, &ids, 0.1, 1.0, true, &mut losses, &mut nll, None);
        [logits, losses, nll].concat()
    });
}

#[test]
fn sums_and_optimiser_steps_do_not_depend_on_threads() {
    let (x, grads) = (values(100_000, 1), values(100_000, 2));
    assert_same_bits("sum_of_squares", || vec![elementwise::sum_of_squares(&x) as f32]);
    assert_same_bits("adamw", || {
        let (mut p, mut m, mut v) = (x.clone(), vec![0.0; x.len()], vec![0.0; x.len()]);
        let settings = optim::AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, eps: 1e-9, weight_decay: 0.1, step: 3 };
        optim::adamw_step(&mut p, &grads, &mut m, &mut v, settings, 1.0);
        [p, m, v].concat()
    });
}
