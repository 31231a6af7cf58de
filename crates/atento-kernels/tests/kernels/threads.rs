//! Results must have the same bits on any number of threads, at sizes around every branch of every kernel: the few rows
//! of decoding, a block or a task more or less, a tail of a few rows.

use std::sync::LazyLock;

use crate::support::*;
use atento_kernels::attention::{Attention, Dropout, Qkv, QkvGrad, Segment};
use atento_kernels::dropout::DropoutKey;
use atento_kernels::matmul::Precision;
use atento_kernels::matmul::packed::{Unit, with_unit};
use atento_kernels::qk_norm::{self, Heads};
use atento_kernels::simd::{self, with_level};
use atento_kernels::{
    activation::Activation, additive_attention, compact, cross_entropy, elementwise, embedding, gru, linear, norm,
    optim, rms_norm,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Pools of one to five threads.
static POOLS: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    [1, 2, 3, 4, 5].map(pool).into()
});

/// Compares the outputs of `f` on all [`POOLS`].
#[track_caller]
fn assert_same_bits(name: &str, f: impl Fn() -> Vec<f32> + Sync) {
    let bits = |pool: &ThreadPool| -> Vec<u32> {
        let found = with_level(simd::detected(), || pool.install(&f));
        found.into_iter().map(f32::to_bits).collect()
    };
    let one = bits(&POOLS[0]);
    for pool in &POOLS[1..] {
        assert!(one == bits(pool), "{name} differs on {} threads", pool.current_num_threads());
    }
}

/// Numbers of rows around the branches: eight rows and fewer, the register tiles, a block of 512 rows and two of them.
fn row_counts() -> impl Iterator<Item = usize> {
    let around = |at: usize| at - 1..=at + 1;
    (1..=17)
        .chain([32, 64, 128, 256].into_iter().flat_map(around))
        .chain(505..=530)
        .chain(around(768))
        .chain(1022..=1034)
        .chain(1534..=1545)
        .chain(around(2048))
}

#[test]
fn affine_maps_of_any_number_of_rows_do_not_depend_on_threads() {
    use linear::WeightLayout::{InOut, OutIn};
    // More than 512 inputs are summed in two parts; one output is a vector; 8 outputs are few rows of the transpose.
    for (inputs, outputs, layout) in [(24, 17, OutIn), (24, 17, InOut), (520, 3, OutIn), (520, 1, InOut), (3, 8, OutIn)]
    {
        for rows in row_counts() {
            let (x, w, b) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(outputs, 3));
            let dy = values(rows * outputs, 4);
            assert_same_bits(&format!("linear, {rows} rows, {inputs} inputs, {outputs} outputs"), || {
                let (mut out, mut pre) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
                linear::forward(
                    Precision::F32,
                    rows,
                    &x,
                    &w,
                    layout,
                    Some(&b),
                    Activation::Gelu,
                    Some(&mut pre),
                    &mut out,
                );
                let (mut dw, mut db, mut dx) = (vec![0.5; w.len()], vec![0.5; outputs], vec![0.5; x.len()]);
                linear::backward_weight(Precision::F32, rows, &x, &dy, layout, &mut dw);
                linear::backward_bias(&dy, &mut db);
                linear::backward_input(Precision::F32, rows, &dy, &w, layout, &mut dx, true);
                [out, pre, dw, db, dx].concat()
            });
        }
    }
}

#[test]
fn affine_maps_in_bf16_do_not_depend_on_threads() {
    use linear::WeightLayout::{InOut, OutIn};
    for unit in Unit::available() {
        with_unit(unit, || {
            for (rows, inputs, outputs, layout) in [(1, 24, 17, OutIn), (130, 70, 200, InOut), (257, 300, 33, OutIn)] {
                let (x, w, dy) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(rows * outputs, 4));
                assert_same_bits(&format!("linear on {unit:?}, {rows} rows"), || {
                    let (mut out, mut dw, mut dx) = (vec![0.0; dy.len()], vec![0.5; w.len()], vec![0.5; x.len()]);
                    let precision = Precision::Bf16x3;
                    linear::forward(precision, rows, &x, &w, layout, None, Activation::Gelu, None, &mut out);
                    linear::backward_weight(precision, rows, &x, &dy, layout, &mut dw);
                    linear::backward_input(precision, rows, &dy, &w, layout, &mut dx, true);
                    [out, dw, dx].concat()
                });
            }
        });
    }
}

#[test]
fn products_large_enough_for_several_threads_do_not_depend_on_them() {
    let (inputs, outputs) = (130, 110);
    for (rows, inputs, outputs) in [7, 8, 9, 512, 513, 520, 521, 1023, 1024, 1025, 1032, 1033]
        .map(|rows| (rows, inputs, outputs))
        .into_iter()
        .chain([(40, 130, 520), (600, 20, 1100), (600, 1100, 20), (70, 30, 17_000)])
    {
        let (x, w, dy) = (values(rows * inputs, 1), values(inputs * outputs, 2), values(rows * outputs, 4));
        let layout = linear::WeightLayout::OutIn;
        assert_same_bits(&format!("linear, {rows} rows"), || {
            let (mut out, mut dw, mut dx) = (vec![0.0; dy.len()], vec![0.0; w.len()], vec![0.0; x.len()]);
            let mut db = vec![0.0; outputs];
            linear::backward_bias(&dy, &mut db);
            linear::forward(Precision::F32, rows, &x, &w, layout, None, Activation::Identity, None, &mut out);
            linear::backward_weight(Precision::F32, rows, &x, &dy, layout, &mut dw);
            linear::backward_input(Precision::F32, rows, &dy, &w, layout, &mut dx, false);
            [out, dw, dx, db].concat()
        });
    }
}

#[test]
fn weights_in_fewer_bits_do_not_depend_on_threads() {
    let (inputs, outputs) = (130, 300);
    let weight = values(inputs * outputs, 2);
    let (mut bytes, mut scales) = (vec![0; weight.len()], vec![0.0; outputs]);
    compact::to_int8(&weight, linear::WeightLayout::OutIn, inputs, &mut bytes, &mut scales);
    for rows in row_counts().filter(|rows| *rows <= 530) {
        let x = values(rows * inputs, 1);
        assert_same_bits(&format!("compact, {rows} rows"), || {
            let mut out = vec![0.0; rows * outputs];
            compact::Compact::Int8 { values: &bytes, scales: &scales }.forward(Precision::F32, rows, &x, &mut out);
            out
        });
    }
}

#[test]
fn row_kernels_of_any_number_of_rows_do_not_depend_on_threads() {
    let (width, classes) = (40, 40);
    for rows in row_counts() {
        let (x, dy, gamma) = (values(rows * width, 1), values(rows * width, 2), values(width, 3));
        let ids: Vec<u32> = (0..rows).map(|i| (i * i % 17) as u32).collect();
        assert_same_bits(&format!("norms, {rows} rows"), || {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            norm::layer_norm_forward(&x, &gamma, &gamma, 1e-5, &mut y, &mut mean, &mut rstd);
            let (mut dg, mut db, mut dx) = (vec![0.0; width], vec![0.0; width], vec![0.0; x.len()]);
            norm::layer_norm_backward(&x, &gamma, &mean, &rstd, &dy, &mut dx, false, &mut dg, &mut db);
            let (mut z, mut dz) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            rms_norm::rms_norm_forward(&x, &gamma, 1e-5, &mut z, &mut rstd);
            rms_norm::rms_norm_backward(&x, &gamma, &rstd, &dy, Some(&mut dz), false, Some(&mut dg));
            [y, dx, dg, db, z, dz].concat()
        });
        assert_same_bits(&format!("joined RMS norm and norm of heads, {rows} rows"), || {
            let key = Some(DropoutKey { probability: 0.1, seed: 1, stream: 2, first: 0 });
            let [mut sum, mut y, mut z, mut dresidual, mut dbranch] = [(); 5].map(|()| vec![0.0; x.len()]);
            let (mut rstd, mut dg) = (vec![0.0; rows], vec![0.0; width]);
            rms_norm::add_dropout_rms_norm_forward(&x, &dy, key, &gamma, 1e-5, &mut sum, &mut y, &mut rstd);
            let (dr, db, dgamma) = (&mut dresidual, Some(&mut dbranch[..]), Some(&mut dg[..]));
            rms_norm::add_dropout_rms_norm_backward(&sum, &gamma, &rstd, &dy, key, dr, false, db, dgamma);
            let heads = Heads { n_heads: 3, n_kv_heads: 1, head_dim: 8 };
            let (gammas, mut rstd) = ([&gamma[..8], &gamma[8..16]], vec![0.0; rows * 4]);
            qk_norm::forward(&x, heads, gammas, 1e-5, &mut z, &mut rstd);
            let (mut dz, mut dq, mut dk) = (dy.clone(), vec![0.0; 8], vec![0.0; 8]);
            qk_norm::backward(&x, heads, gammas, &rstd, &mut dz, [Some(&mut dq), Some(&mut dk)]);
            [sum, y, z, dresidual, dbranch, dg, dz, dq, dk].concat()
        });
        assert_same_bits(&format!("joined norm, {rows} rows"), || {
            let key = Some(DropoutKey { probability: 0.1, seed: 1, stream: 2, first: 0 });
            let (mut sum, mut y) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let (mut dresidual, mut dbranch) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let (mut mean, mut rstd) = (vec![0.0; rows], vec![0.0; rows]);
            let (mut dg, mut db) = (vec![0.0; width], vec![0.0; width]);
            norm::add_dropout_layer_norm_forward(
                &x, &dy, key, &gamma, &gamma, 1e-5, &mut sum, &mut y, &mut mean, &mut rstd,
            );
            norm::add_dropout_layer_norm_backward(
                &sum,
                &gamma,
                &mean,
                &rstd,
                &dy,
                Some(&x),
                key,
                &mut dresidual,
                &mut dbranch,
                &mut dg,
                &mut db,
            );
            [sum, y, dresidual, dbranch, dg, db].concat()
        });
        assert_same_bits(&format!("embedding, {rows} rows"), || {
            let (mut out, mut dtable) = (vec![0.0; x.len()], vec![0.0; 17 * width]);
            embedding::forward(&ids, &gamma.repeat(17), 2.0, &mut out);
            embedding::backward(&ids, &dy, 1.0, &mut dtable);
            [out, dtable].concat()
        });
        assert_same_bits(&format!("cross entropy, {rows} rows"), || {
            let (mut logits, mut losses, mut nll) = (x.clone(), vec![0.0; rows], vec![0.0; rows]);
            cross_entropy::forward_backward(&mut logits, &ids, 0.1, 1.0, true, &mut losses, &mut nll, None);
            let mut log_softmax = x.clone();
            cross_entropy::log_softmax(&mut log_softmax, classes);
            [logits, losses, nll, log_softmax].concat()
        });
        assert_same_bits(&format!("gru, {rows} rows"), || {
            let hidden = 4;
            let (gates, h) = (&x[..rows * 3 * hidden], &dy[..rows * hidden]);
            let (mut out, mut saved) = (vec![0.0; h.len()], vec![0.0; 4 * h.len()]);
            gru::forward(gates, gates, h, hidden, &mut out, &mut saved);
            let mut grads = [vec![0.0; gates.len()], vec![0.0; gates.len()], vec![0.0; h.len()]];
            let [dx, dh, dprev] = &mut grads;
            gru::backward(h, h, &saved, hidden, dx, dh, dprev);
            [out, saved, grads.concat()].concat()
        });
    }
}

/// Attention over segments of these lengths, forward and backward.
fn attention(lengths: &[usize], causal: bool, dropout: Option<Dropout>) -> Vec<f32> {
    let (n_heads, head_dim) = (2, 12);
    let mut start = 0;
    let segment = |&len: &usize| {
        let segment = Segment { query_start: start, query_len: len, key_start: start, key_len: len };
        start += len;
        segment
    };
    let segments: Vec<Segment> = lengths.iter().map(segment).collect();
    let tokens: usize = lengths.iter().sum();
    let (width, x) = (n_heads * head_dim, values(tokens * 3 * n_heads * head_dim, 1));
    let scale = (head_dim as f32).sqrt().recip();
    let attention = Attention {
        n_heads,
        n_kv_heads: n_heads,
        head_dim,
        scale,
        causal,
        window: None,
        bias: None,
        dropout,
        segments: &segments,
    };
    let (mut out, mut lse) = (vec![0.0; tokens * width], vec![0.0; tokens * n_heads]);
    attention.forward(&Qkv::Packed(&x), &mut out, Some(&mut lse));
    let (dout, mut grad) = (values(tokens * width, 2), vec![0.0; x.len()]);
    attention.backward(&Qkv::Packed(&x), &out, &lse, &dout, QkvGrad::Packed(&mut grad), None);
    [out, lse, grad].concat()
}

#[test]
fn attention_over_any_length_does_not_depend_on_threads() {
    let dropout = Some(Dropout { probability: 0.1, seed: 1, stream: 2, first_row: 0 });
    for len in row_counts().filter(|len| *len <= 530) {
        let lengths = [len, 3, len.min(70), 1];
        assert_same_bits(&format!("attention, {len} tokens"), || attention(&lengths, len % 2 == 0, dropout));
    }
    // Sequences that are divided among threads by blocks of queries, and many short ones.
    for lengths in [vec![2047], vec![2049], vec![2200, 5], vec![15; 300]] {
        assert_same_bits(&format!("attention, {lengths:?}"), || attention(&lengths, true, None));
    }
}

#[test]
fn additive_attention_does_not_depend_on_threads() {
    let (hidden, width) = (6, 5);
    for batch in [1, 2, 8, 9, 33, 200] {
        let cu_k: Vec<u32> = (0..=batch).map(|b| (9 * b + b * b % 7) as u32).collect();
        let keys = cu_k[batch] as usize;
        let (q_proj, k_proj) = (values(batch * hidden, 1), values(keys * hidden, 2));
        let (keys_values, v, dcontext) = (values(keys * width, 3), values(hidden, 4), values(batch * width, 5));
        let inputs =
            additive_attention::Inputs { q_proj: &q_proj, k_proj: &k_proj, values: &keys_values, v: &v, cu_k: &cu_k };
        assert_same_bits(&format!("additive attention, {batch} queries"), || {
            let (mut alpha, mut context) = (vec![0.0; keys], vec![0.0; batch * width]);
            additive_attention::forward(inputs, &mut alpha, &mut context);
            let (mut dq, mut dk) = (vec![0.0; q_proj.len()], vec![0.0; k_proj.len()]);
            let (mut dvalues, mut dv) = (vec![0.0; keys_values.len()], vec![0.0; hidden]);
            let gradients = additive_attention::Gradients {
                dq_proj: &mut dq,
                dk_proj: &mut dk,
                dvalues: &mut dvalues,
                dv: &mut dv,
            };
            additive_attention::backward(inputs, &alpha, &dcontext, gradients);
            [alpha, context, dq, dk, dvalues, dv].concat()
        });
    }
}

#[test]
fn sums_and_optimiser_steps_do_not_depend_on_threads() {
    for len in [1, 16_383, 16_384, 16_385, 100_000] {
        let (x, grads) = (values(len, 1), values(len, 2));
        assert_same_bits(&format!("sums of {len}"), || {
            vec![elementwise::sum_of_squares(&x) as f32, elementwise::sum(&x) as f32]
        });
        assert_same_bits(&format!("optimisers, {len} values"), || {
            let (mut p, mut m, mut v) = (x.clone(), vec![0.0; x.len()], vec![0.0; x.len()]);
            let settings = optim::AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, eps: 1e-9, weight_decay: 0.1, step: 3 };
            optim::adamw_step(&mut p, &grads, &mut m, &mut v, settings, 1.0);
            let settings = optim::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.1, step: 3 };
            optim::sgd_step(&mut p, &grads, &mut m, settings, 1.0);
            let mut average = x.clone();
            optim::ema_update(&mut average, &p, 0.9);
            [p, m, v, average].concat()
        });
    }
}
