//! Throughput of the kernels beside their plain references. Matrix products count two operations
//! per multiplication and addition (items are FLOP), the others bytes read and written.
//!
//! `cargo bench -p atento-kernels`; `RAYON_NUM_THREADS`, `ATENTO_SIMD` and `ATENTO_BF16` as usual.

use atento_kernels::activation::{self, Activation};
use atento_kernels::compact::{BlockKind, Blocks, Compact, to_bf16, to_int8};
use atento_kernels::dropout::{self, DropoutKey};
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::{self, Mat, MatMut, Precision};
use atento_kernels::qk_norm::{self, Heads};
use atento_kernels::rope::{self, Pairing};
use atento_kernels::{cross_entropy, embedding, gated, norm, optim, philox, rms_norm};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn random(n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    philox::fill_normal(1, 0, 1.0, &mut out);
    out
}

/// FLOP of a product.
fn flop(m: usize, k: usize, n: usize) -> ItemsCount {
    ItemsCount::new(2 * m * k * n)
}

fn bytes(floats: usize) -> BytesCount {
    BytesCount::new(4 * floats)
}

/// What the processor can do at best: independent fused multiply-adds in registers, all threads.
#[divan::bench]
fn fma_peak(bencher: Bencher<'_, '_>) {
    const CHAINS: usize = 256;
    const STEPS: usize = 200_000;
    #[inline(always)]
    fn body<const FMA: bool>(start: f32, factor: f32) -> f32 {
        let mut x = [start; CHAINS];
        for _ in 0..STEPS {
            for x in &mut x {
                *x = atento_kernels::simd::mul_add::<FMA>(*x, factor, factor);
            }
        }
        x.iter().sum()
    }
    let threads = rayon::current_num_threads();
    bencher.counter(ItemsCount::new(2 * CHAINS * STEPS * threads)).bench(|| {
        rayon::broadcast(|_| {
            let (start, factor) = (black_box(1.0), black_box(0.5));
            atento_kernels::dispatch!(body(start: f32, factor: f32) -> f32)
        })
    });
}

/// `[rows, inputs, outputs]` of the projections of small Transformers.
const SHAPES: [[usize; 3]; 7] = [
    [4096, 256, 256],
    [4096, 256, 768],
    [4096, 256, 1024],
    [4096, 1024, 256],
    [2048, 384, 1152],
    [2048, 384, 1536],
    [512, 256, 8192],
];

#[divan::bench(args = SHAPES)]
fn linear_forward_gelu(bencher: Bencher<'_, '_>, [m, k, n]: [usize; 3]) {
    let (x, w, b, mut out) = (random(m * k), random(k * n), random(n), random(m * n));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::forward(Precision::F32, m, &x, &w, WeightLayout::OutIn, Some(&b), Activation::Gelu, None, &mut out);
    });
}

#[divan::bench(args = SHAPES)]
fn linear_backward_input(bencher: Bencher<'_, '_>, [m, k, n]: [usize; 3]) {
    let (dy, w, mut dx) = (random(m * n), random(k * n), random(m * k));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::backward_input(Precision::F32, m, &dy, &w, WeightLayout::OutIn, &mut dx, false);
    });
}

#[divan::bench(args = SHAPES)]
fn linear_backward_weight(bencher: Bencher<'_, '_>, [m, k, n]: [usize; 3]) {
    let (x, dy, mut dw) = (random(m * k), random(m * n), random(k * n));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::backward_weight(Precision::F32, m, &x, &dy, WeightLayout::OutIn, &mut dw);
    });
}

/// How to compute, and rows, inputs, outputs of the projections of larger Transformers.
type Mixed = (Precision, [usize; 3]);
const LARGER: [[usize; 3]; 3] = [[2048, 384, 1152], [2048, 768, 3072], [2048, 3072, 768]];

fn mixed() -> impl Iterator<Item = Mixed> {
    LARGER.into_iter().flat_map(|shape| Precision::ALL.map(|precision| (precision, shape)))
}

#[divan::bench(args = mixed())]
fn mixed_forward(bencher: Bencher<'_, '_>, (precision, [m, k, n]): Mixed) {
    let (x, w, mut out) = (random(m * k), random(k * n), random(m * n));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::forward(precision, m, &x, &w, WeightLayout::OutIn, None, Activation::Identity, None, &mut out);
    });
}

#[divan::bench(args = mixed())]
fn mixed_backward_input(bencher: Bencher<'_, '_>, (precision, [m, k, n]): Mixed) {
    let (dy, w, mut dx) = (random(m * n), random(k * n), random(m * k));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::backward_input(precision, m, &dy, &w, WeightLayout::OutIn, &mut dx, false);
    });
}

#[divan::bench(args = mixed())]
fn mixed_backward_weight(bencher: Bencher<'_, '_>, (precision, [m, k, n]): Mixed) {
    let (x, dy, mut dw) = (random(m * k), random(m * n), random(k * n));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        linear::backward_weight(precision, m, &x, &dy, WeightLayout::OutIn, &mut dw);
    });
}

/// Decoding: bytes of the weight.
#[divan::bench(args = [1, 2, 4, 8], consts = [true, false])]
fn few_rows<const OUT_IN: bool>(bencher: Bencher<'_, '_>, m: usize) {
    let (k, n) = (768, 50_257);
    let (x, w, mut out) = (random(m * k), random(k * n), random(m * n));
    let layout = if OUT_IN { WeightLayout::OutIn } else { WeightLayout::InOut };
    bencher.counter(bytes(k * n)).bench_local(|| {
        linear::forward(Precision::F32, m, &x, &w, layout, None, Activation::Identity, None, &mut out);
    });
}

#[divan::bench]
fn matmul_reference(bencher: Bencher<'_, '_>) {
    let (m, k, n) = (256, 256, 256);
    let (a, b, mut c) = (random(m * k), random(k * n), random(m * n));
    bencher.counter(flop(m, k, n)).bench_local(|| {
        let c = MatMut::row_major(&mut c, m, n);
        matmul::reference(1.0, Mat::row_major(&a, m, k), Mat::row_major(&b, k, n), 0.0, c);
    });
}

const ROWS: usize = 4096;
const WIDTH: usize = 256;
const SIZE: usize = ROWS * WIDTH;

#[divan::bench(args = [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu])]
fn activation_forward(bencher: Bencher<'_, '_>, act: Activation) {
    let (x, mut y) = (random(SIZE), random(SIZE));
    bencher.counter(bytes(2 * SIZE)).bench_local(|| activation::forward(act, &x, &mut y));
}

#[divan::bench(args = [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu])]
fn activation_backward(bencher: Bencher<'_, '_>, act: Activation) {
    let (x, dy, mut dx) = (random(SIZE), random(SIZE), random(SIZE));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| activation::backward(act, &x, &dy, &mut dx));
}

#[divan::bench(args = [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu])]
fn gated_forward(bencher: Bencher<'_, '_>, act: Activation) {
    let (x, mut y) = (random(2 * SIZE), random(SIZE));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| gated::forward(act, &x, WIDTH, &mut y));
}

#[divan::bench(args = [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu])]
fn gated_backward(bencher: Bencher<'_, '_>, act: Activation) {
    let (x, dy, mut dx) = (random(2 * SIZE), random(SIZE), random(2 * SIZE));
    bencher.counter(bytes(5 * SIZE)).bench_local(|| gated::backward(act, &x, WIDTH, &dy, &mut dx));
}

#[divan::bench]
fn activation_reference_gelu(bencher: Bencher<'_, '_>) {
    let x = random(WIDTH);
    bencher
        .counter(bytes(2 * WIDTH))
        .bench_local(|| x.iter().map(|&x| activation::reference(Activation::Gelu, x.into())).sum::<f64>());
}

#[divan::bench]
fn layer_norm_forward(bencher: Bencher<'_, '_>) {
    let (x, g, b, mut y) = (random(SIZE), random(WIDTH), random(WIDTH), random(SIZE));
    let (mut mean, mut rstd) = (random(ROWS), random(ROWS));
    bencher.counter(bytes(2 * SIZE)).bench_local(|| {
        norm::layer_norm_forward(&x, &g, &b, 1e-5, &mut y, &mut mean, &mut rstd);
    });
}

#[divan::bench]
fn layer_norm_backward(bencher: Bencher<'_, '_>) {
    let (x, dy, g, mut dx) = (random(SIZE), random(SIZE), random(WIDTH), random(SIZE));
    let (mean, rstd, mut dg, mut db) = (vec![0.0; ROWS], vec![1.0; ROWS], random(WIDTH), random(WIDTH));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| {
        norm::layer_norm_backward(&x, &g, &mean, &rstd, &dy, &mut dx, false, &mut dg, &mut db);
    });
}

#[divan::bench]
fn rms_norm_forward(bencher: Bencher<'_, '_>) {
    let (x, g, mut y, mut rstd) = (random(SIZE), random(WIDTH), random(SIZE), random(ROWS));
    bencher.counter(bytes(2 * SIZE)).bench_local(|| rms_norm::rms_norm_forward(&x, &g, 1e-5, &mut y, &mut rstd));
}

/// With the gradient of gamma, or without, as where it is frozen.
#[divan::bench(consts = [true, false])]
fn rms_norm_backward<const DGAMMA: bool>(bencher: Bencher<'_, '_>) {
    let (x, dy, g, mut dx) = (random(SIZE), random(SIZE), random(WIDTH), random(SIZE));
    let (rstd, mut dg) = (vec![1.0; ROWS], random(WIDTH));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| {
        let dgamma = DGAMMA.then_some(&mut dg[..]);
        rms_norm::rms_norm_backward(&x, &g, &rstd, &dy, Some(&mut dx), false, dgamma);
    });
}

const HEADS: Heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 64 };

#[divan::bench]
fn qk_norm_forward(bencher: Bencher<'_, '_>) {
    let size = ROWS * HEADS.width();
    let (x, g, mut y, mut rstd) = (random(size), random(64), random(size), random(ROWS * HEADS.normalised()));
    bencher.counter(bytes(2 * size)).bench_local(|| qk_norm::forward(&x, HEADS, [&g, &g], 1e-5, &mut y, &mut rstd));
}

/// Queries and keys are read and their gradients read and written; values are not touched. Gammas of 1 keep the gradients,
/// which are written over themselves, away from numbers too small to be normal.
#[divan::bench]
fn qk_norm_backward(bencher: Bencher<'_, '_>) {
    let (x, g, mut dx) = (random(ROWS * HEADS.width()), vec![1.0; 64], random(ROWS * HEADS.width()));
    let (rstd, mut dq, mut dk) = (vec![1.0; ROWS * HEADS.normalised()], random(64), random(64));
    bencher.counter(bytes(3 * ROWS * HEADS.normalised() * 64)).bench_local(|| {
        qk_norm::backward(&x, HEADS, [&g, &g], &rstd, &mut dx, [Some(&mut dq), Some(&mut dk)]);
    });
}

#[divan::bench(consts = [true, false])]
fn rope_forward<const HALF_SPLIT: bool>(bencher: Bencher<'_, '_>) {
    let pairing = if HALF_SPLIT { Pairing::HalfSplit } else { Pairing::Interleaved };
    let (mut x, mut turns) = (random(ROWS * HEADS.width()), random(ROWS * 64));
    rope::fill_turns(&ids(8192), &[0.1; 32], 1.0, &mut turns);
    bencher.counter(bytes(2 * ROWS * HEADS.normalised() * 64)).bench_local(|| {
        rope::forward(&mut x, &turns, HEADS.normalised(), 64, HEADS.width(), pairing);
    });
}

#[divan::bench]
fn layer_norm_reference(bencher: Bencher<'_, '_>) {
    let [x, g, b] = [(); 3].map(|()| random(WIDTH).into_iter().map(f64::from).collect::<Vec<_>>());
    bencher.counter(bytes(2 * WIDTH)).bench_local(|| norm::reference(&x, &g, &b, 1e-5));
}

const KEY: DropoutKey = DropoutKey { probability: 0.1, seed: 1, stream: 2, first: 0 };

#[divan::bench]
fn add_dropout_layer_norm_forward(bencher: Bencher<'_, '_>) {
    let (r, x, g, b) = (random(SIZE), random(SIZE), random(WIDTH), random(WIDTH));
    let (mut s, mut y, mut mean, mut rstd) = (random(SIZE), random(SIZE), random(ROWS), random(ROWS));
    bencher.counter(bytes(4 * SIZE)).bench_local(|| {
        norm::add_dropout_layer_norm_forward(&r, &x, Some(KEY), &g, &b, 1e-5, &mut s, &mut y, &mut mean, &mut rstd);
    });
}

#[divan::bench]
fn add_dropout_rms_norm_forward(bencher: Bencher<'_, '_>) {
    let (r, x, g) = (random(SIZE), random(SIZE), random(WIDTH));
    let (mut s, mut y, mut rstd) = (random(SIZE), random(SIZE), random(ROWS));
    bencher.counter(bytes(4 * SIZE)).bench_local(|| {
        rms_norm::add_dropout_rms_norm_forward(&r, &x, Some(KEY), &g, 1e-5, &mut s, &mut y, &mut rstd);
    });
}

#[divan::bench]
fn add_dropout_rms_norm_backward(bencher: Bencher<'_, '_>) {
    let (x, dy, g) = (random(SIZE), random(SIZE), random(WIDTH));
    let (rstd, mut dx, mut dbranch, mut dg) = (vec![1.0; ROWS], random(SIZE), random(SIZE), random(WIDTH));
    bencher.counter(bytes(5 * SIZE)).bench_local(|| {
        let (dbranch, dg) = (Some(&mut dbranch[..]), Some(&mut dg[..]));
        rms_norm::add_dropout_rms_norm_backward(&x, &g, &rstd, &dy, None, &mut dx, true, dbranch, dg);
        dx.fill(0.5);
    });
}

#[divan::bench]
fn dropout_forward(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (random(SIZE), random(SIZE));
    bencher.counter(bytes(2 * SIZE)).bench_local(|| dropout::forward(KEY, &x, &mut y));
}

#[divan::bench]
fn dropout_reference(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (random(WIDTH), random(WIDTH));
    bencher.counter(bytes(2 * WIDTH)).bench_local(|| dropout::reference(KEY, &x, &mut y));
}

#[divan::bench]
fn cross_entropy_forward_backward(bencher: Bencher<'_, '_>) {
    let (rows, classes) = (512, 8192);
    let (mut x, mut losses, mut nll) = (random(rows * classes), random(rows), random(rows));
    let targets: Vec<u32> = (0..rows as u32).collect();
    bencher.counter(bytes(2 * rows * classes)).bench_local(|| {
        cross_entropy::forward_backward(&mut x, &targets, 0.1, 1.0, true, &mut losses, &mut nll, None);
    });
}

#[divan::bench]
fn cross_entropy_reference(bencher: Bencher<'_, '_>) {
    let x: Vec<f64> = random(8192).into_iter().map(f64::from).collect();
    bencher.counter(bytes(2 * x.len())).bench_local(|| cross_entropy::reference(&x, 5, 0.1));
}

fn ids(vocabulary: u32) -> Vec<u32> {
    (0..ROWS as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocabulary).collect()
}

#[divan::bench]
fn embedding_backward(bencher: Bencher<'_, '_>) {
    let (ids, dy, mut dtable) = (ids(8192), random(SIZE), random(8192 * WIDTH));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| embedding::backward(&ids, &dy, 1.0, &mut dtable));
}

#[divan::bench]
fn embedding_backward_reference(bencher: Bencher<'_, '_>) {
    let (ids, dy, mut dtable) = (ids(8192), random(SIZE), random(8192 * WIDTH));
    bencher.counter(bytes(3 * SIZE)).bench_local(|| embedding::reference_backward(&ids, &dy, 1.0, &mut dtable));
}

const SETTINGS: optim::AdamW =
    optim::AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.98, eps: 1e-9, weight_decay: 0.1, step: 10 };

#[divan::bench]
fn adamw_step(bencher: Bencher<'_, '_>) {
    let n = 8 << 20;
    let (mut p, g, mut m, mut v) = (random(n), random(n), vec![0.0; n], vec![0.0; n]);
    bencher.counter(bytes(7 * n)).bench_local(|| optim::adamw_step(&mut p, &g, &mut m, &mut v, SETTINGS, 1.0));
}

#[divan::bench]
fn adamw_reference(bencher: Bencher<'_, '_>) {
    let [mut p, g] = [(); 2].map(|()| random(SIZE).into_iter().map(f64::from).collect::<Vec<_>>());
    let (mut m, mut v) = (vec![0.0; SIZE], vec![0.0; SIZE]);
    bencher.counter(bytes(7 * SIZE)).bench_local(|| optim::reference(&mut p, &g, &mut m, &mut v, SETTINGS, true));
}

/// Outputs and inputs of a projection that is beyond the caches in f32.
const COMPACT: [usize; 2] = [4096, 2048];

/// A few tokens through a projection whose weights are in fewer bits; items are weights.
#[divan::bench(args = ["bf16", "int8", "q4_0", "q4_1", "q8_0", "q4_k", "q5_k", "q6_k"], consts = [1, 4])]
fn compact_few_rows<const ROWS: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let [outputs, inputs] = COMPACT;
    let (x, weight) = (random(ROWS * inputs), random(outputs * inputs));
    let kind = match name {
        "q4_0" => Some(BlockKind::Q4_0),
        "q4_1" => Some(BlockKind::Q4_1),
        "q8_0" => Some(BlockKind::Q8_0),
        "q4_k" => Some(BlockKind::Q4K),
        "q5_k" => Some(BlockKind::Q5K),
        "q6_k" => Some(BlockKind::Q6K),
        _ => None,
    };
    let (mut halves, mut whole, mut scales) = (Vec::new(), Vec::new(), vec![0.0; outputs]);
    let bytes: Vec<u8> = kind.map_or_else(Vec::new, |kind| {
        let (elements, size) = kind.sizes();
        (0..outputs * inputs / elements * size).map(|at| (at * 37 % 113) as u8).collect()
    });
    let compact = match (name, kind) {
        (_, Some(kind)) => Compact::Blocks(Blocks { bytes: &bytes, kind, paired: 0 }),
        ("bf16", _) => {
            halves.resize(weight.len(), Default::default());
            to_bf16(&weight, WeightLayout::OutIn, inputs, &mut halves);
            Compact::Bf16(&halves)
        }
        _ => {
            whole.resize(weight.len(), 0);
            to_int8(&weight, WeightLayout::OutIn, inputs, &mut whole, &mut scales);
            Compact::Int8 { values: &whole, scales: &scales }
        }
    };
    let mut out = vec![0.0; ROWS * outputs];
    bencher
        .counter(ItemsCount::new(outputs * inputs))
        .bench_local(|| compact.forward(Precision::F32, ROWS, &x, black_box(&mut out)));
}
