//! Speed of attention, forward and backward, beside the plain reference and the machine's peak.
//!
//! Counts 4·D multiply-adds' worth of operations per query-key pair and head forward and 10·D
//! backward, half of the pairs when causal and those of the window when there is one. A term of disentangled attention counts
//! 2·D forward and 6·D backward besides. `cargo bench -p atento-kernels --bench attention`; with `-- disentangled` after it, the
//! shapes of DeBERTa-v3-base alone.

use std::hint::black_box;
use std::time::Instant;

use atento_kernels::attention::disentangled::{Buckets, Disentangled, Relative, RelativeGrad};
use atento_kernels::attention::{Attention, Dropout, Qkv, QkvGrad, Segment, reference};
use atento_kernels::philox::fill_normal;
use atento_kernels::simd;

struct Shape {
    segments: usize,
    len: usize,
    heads: usize,
    head_dim: usize,
    causal: bool,
    dropout: bool,
    window: Option<usize>,
}

fn main() {
    let threads = rayon::current_num_threads();
    let peak = fma_peak() * threads as f64;
    println!("{:?}, {threads} threads, FMA peak {peak:.0} GFLOP/s", simd::level());
    let shape = |segments, len, heads, head_dim, causal, dropout| Shape {
        segments,
        len,
        heads,
        head_dim,
        causal,
        dropout,
        window: None,
    };
    disentangled(peak, 8, 256);
    disentangled(peak, 1, 512);
    if std::env::args().any(|arg| arg == "disentangled") {
        return;
    }
    println!("{:<40}{:>12}{:>12}{:>12}{:>10}{:>12}", "GFLOP/s", "forward", "backward", "both", "of peak", "reference");
    for shape in [
        shape(280, 15, 4, 64, false, false),
        shape(280, 15, 4, 64, false, true),
        shape(280, 15, 8, 32, false, false),
        shape(8, 256, 6, 64, true, false),
        shape(8, 256, 6, 64, true, true),
        shape(1, 2048, 12, 64, true, false),
        Shape { window: Some(256), ..shape(1, 2048, 12, 64, true, false) },
        shape(1, 1, 12, 64, true, false),
    ] {
        report(&shape, peak);
    }
}

/// Billions of operations per second of one core that does nothing but multiply-adds in registers.
fn fma_peak() -> f64 {
    let (steps, x, y) = black_box((2_000_000, 0.999, 0.001));
    let mut operations = 0;
    let seconds = best_seconds(|| operations = black_box(multiply_adds(steps, x, y)));
    operations as f64 / seconds / 1e9
}

#[cfg(target_arch = "x86_64")]
fn multiply_adds(steps: usize, x: f32, y: f32) -> usize {
    use std::arch::x86_64::*;
    // Twelve chains hide the latency.
    #[target_feature(enable = "avx512f")]
    fn avx512(steps: usize, x: f32, y: f32) -> f32 {
        let (x, y) = (_mm512_set1_ps(x), _mm512_set1_ps(y));
        let mut chains = [x; 12];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, x, y);
            }
        }
        chains.into_iter().map(|chain| _mm512_reduce_add_ps(chain)).sum()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2(steps: usize, x: f32, y: f32) -> f32 {
        let (x, y) = (_mm256_set1_ps(x), _mm256_set1_ps(y));
        let mut chains = [x; 12];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, x, y);
            }
        }
        chains.into_iter().map(|chain| _mm256_cvtss_f32(chain)).sum()
    }
    match simd::level() {
        // SAFETY: `level` reports what the processor has.
        simd::Level::Avx512 => unsafe { black_box(avx512(steps, x, y)) },
        // SAFETY: as above.
        simd::Level::Avx2 => unsafe { black_box(avx2(steps, x, y)) },
        _ => return 0,
    };
    let lanes = if simd::level() == simd::Level::Avx512 { 16 } else { 8 };
    2 * 12 * lanes * steps
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply_adds(_steps: usize, _x: f32, _y: f32) -> usize {
    0
}

/// Least time of a call, over half a second of them.
fn best_seconds(mut call: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.5 {
        let one = Instant::now();
        call();
        best = best.min(one.elapsed().as_secs_f64());
    }
    best
}

fn report(shape: &Shape, peak: f64) {
    let &Shape { segments, len, heads, head_dim, causal, dropout, window } = shape;
    let (tokens, width) = (segments * len, heads * head_dim);
    let list = sequences_of(segments, len);
    let attention = Attention {
        n_heads: heads,
        n_kv_heads: heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        causal,
        window,
        bias: None,
        dropout: dropout.then_some(Dropout { probability: 0.1, seed: 1, stream: 2, first_row: 0 }),
        segments: &list,
    };
    let (qkv, dout) = (normal(0, tokens * 3 * width), normal(1, tokens * width));
    let (mut out, mut lse) = (vec![0.0; tokens * width], vec![0.0; tokens * heads]);
    let mut grad = vec![0.0; qkv.len()];
    let forward = best_seconds(|| attention.forward(&Qkv::Packed(&qkv), &mut out, Some(&mut lse)));
    let backward = best_seconds(|| {
        attention.backward(&Qkv::Packed(&qkv), &out, &lse, &dout, QkvGrad::Packed(&mut grad), None);
    });
    // Of `len` causal queries, all but the first see a whole window.
    let seen = match window {
        Some(window) => (len * window) as f64 - (window * window) as f64 / 2.0,
        None if causal => (len * len) as f64 / 2.0,
        None => (len * len) as f64,
    };
    let pairs = (segments * heads * head_dim) as f64 * seen;
    let rate = |operations: f64, seconds: f64| operations * pairs / seconds / 1e9;
    let both = rate(14.0, forward + backward);
    let name = format!(
        "{segments} × {len}, {heads} heads of {head_dim}{}{}{}",
        if causal { ", causal" } else { "" },
        window.map_or(String::new(), |window| format!(", {window}")),
        if dropout { ", dropout" } else { "" }
    );
    println!(
        "{name:<40}{:>12.1}{:>12.1}{both:>12.1}{:>9.0}%{:>12.2}  ({:.1} + {:.1} µs)",
        rate(4.0, forward),
        rate(10.0, backward),
        100.0 * both / peak,
        rate(14.0, reference_seconds(&attention, tokens)),
        forward * 1e6,
        backward * 1e6,
    );
}

/// A layer of DeBERTa-v3-base beside plain attention of its shape.
fn disentangled(peak: f64, sequences: usize, len: usize) {
    const HEADS: usize = 12;
    const HEAD_DIM: usize = 64;
    const SPAN: usize = 256;
    let (tokens, width) = (sequences * len, HEADS * HEAD_DIM);
    let segments = sequences_of(sequences, len);
    let (qkv, dout) = (normal(0, tokens * 3 * width), normal(1, tokens * width));
    let (keys, queries) = (normal(2, 2 * SPAN * width), normal(3, 2 * SPAN * width));
    let (mut out, mut lse) = (vec![0.0; tokens * width], vec![0.0; tokens * HEADS]);
    let (mut grad, mut dkeys, mut dqueries) = (vec![0.0; qkv.len()], vec![0.0; keys.len()], vec![0.0; keys.len()]);
    let print = |name: &str, terms: usize, forward: f64, backward: f64| {
        let pairs = (sequences * len * len * width) as f64;
        let share = |operations: usize, seconds: f64| 100.0 * operations as f64 * pairs / seconds / 1e9 / peak;
        let (of_forward, of_backward) = (share(4 + 2 * terms, forward), share(10 + 6 * terms, backward));
        let (forward, backward) = (forward * 1e3, backward * 1e3);
        println!(
            "{sequences} × {len}, {HEADS} heads of {HEAD_DIM}, {name}: forward {forward:.2} ms, {of_forward:.0}% of peak, \
             backward {backward:.2} ms, {of_backward:.0}%"
        );
    };

    let plain = Attention {
        n_heads: HEADS,
        n_kv_heads: HEADS,
        head_dim: HEAD_DIM,
        scale: 1.0 / (HEAD_DIM as f32).sqrt(),
        causal: false,
        window: None,
        bias: None,
        dropout: None,
        segments: &segments,
    };
    let forward = best_seconds(|| plain.forward(&Qkv::Packed(&qkv), &mut out, Some(&mut lse)));
    let backward = best_seconds(|| {
        plain.backward(&Qkv::Packed(&qkv), &out, &lse, &dout, QkvGrad::Packed(&mut grad), None);
    });
    print("plain", 0, forward, backward);

    for (name, terms) in [("relative keys", 1), ("relative keys and queries", 2)] {
        let relative = Relative { keys: Some(&keys), queries: (terms > 1).then_some(&queries[..]) };
        let attention = Disentangled {
            n_heads: HEADS,
            head_dim: HEAD_DIM,
            scale: 1.0 / ((HEAD_DIM * (1 + terms)) as f32).sqrt(),
            span: SPAN,
            buckets: Buckets::Log { bucket_size: 256, max_position: 512 },
            dropout: None,
            segments: &segments,
        };
        let forward = best_seconds(|| attention.forward(&qkv, relative, &mut out, Some(&mut lse)));
        let backward = best_seconds(|| {
            let gradients =
                RelativeGrad { keys: Some(&mut dkeys), queries: relative.queries.map(|_| &mut dqueries[..]) };
            attention.backward(&qkv, relative, &out, &lse, &dout, &mut grad, gradients);
        });
        print(name, terms, forward, backward);
    }
}

fn normal(stream: u64, len: usize) -> Vec<f32> {
    let mut x = vec![0.0; len];
    fill_normal(7, stream, 1.0, &mut x);
    x
}

/// Sequences of one length, one after the other.
fn sequences_of(count: usize, len: usize) -> Vec<Segment> {
    (0..count).map(|i| Segment { query_start: i * len, query_len: len, key_start: i * len, key_len: len }).collect()
}

fn reference_seconds(attention: &Attention<'_>, tokens: usize) -> f64 {
    let width = attention.n_heads * attention.head_dim;
    let x = vec![0.1f32; tokens * width];
    let pairs: usize = attention.segments.iter().map(|s| s.query_len * s.key_len).sum();
    let mut weights = vec![0.0; pairs * attention.n_heads];
    let [mut out, mut dq, mut dk, mut dv] = [0; 4].map(|_| vec![0.0; x.len()]);
    best_seconds(|| {
        reference::forward(attention, &x, &x, &x, &mut out, &mut weights);
        reference::backward(attention, &x, &x, &x, &weights, &x, &mut dq, &mut dk, &mut dv, None);
    })
}
