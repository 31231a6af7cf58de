//! Sums over slices that vectorise: independent accumulators, added pairwise at the end.

/// Accumulators of a sum: two 512-bit registers, enough to hide most of an addition's latency.
const WIDE: usize = 32;

#[inline(always)]
fn total(lanes: [f32; WIDE], tail: f32) -> f32 {
    let mut lanes = lanes;
    let mut width = WIDE / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}

/// [`total`] with an array for each step. The compiler then keeps the lanes in registers, which makes passes over three
/// slices faster by a third; in passes over one slice it would permute what it loads instead, and they would be slower.
#[inline(always)]
fn total_by_halves(lanes: [f32; WIDE], tail: f32) -> f32 {
    let lanes: [f32; 16] = halved(lanes);
    let lanes: [f32; 8] = halved(lanes);
    let lanes: [f32; 4] = halved(lanes);
    let [a, b]: [f32; 2] = halved(lanes);
    a + b + tail
}

#[inline(always)]
fn halved<const N: usize, const HALF: usize>(lanes: [f32; N]) -> [f32; HALF] {
    const { assert!(N == 2 * HALF) };
    let mut sums = [0.0; HALF];
    for i in 0..HALF {
        sums[i] = lanes[i] + lanes[i + HALF];
    }
    sums
}

/// Sum of terms of one slice; `step(sum, a)` returns the sum with the term of `a` added.
#[inline(always)]
pub(crate) fn fold(a: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; WIDE];
    let (a, a_tail) = a.as_chunks::<WIDE>();
    for a in a {
        for i in 0..WIDE {
            lanes[i] = step(lanes[i], a[i]);
        }
    }
    total(lanes, a_tail.iter().fold(0.0, |sum, &a| step(sum, a)))
}

/// Sum of terms of two slices of one length.
#[inline(always)]
pub(crate) fn fold2(a: &[f32], b: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; WIDE];
    let (a, a_tail) = a.as_chunks::<WIDE>();
    let (b, b_tail) = b.as_chunks::<WIDE>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..WIDE {
            lanes[i] = step(lanes[i], a[i], b[i]);
        }
    }
    total(lanes, a_tail.iter().zip(b_tail).fold(0.0, |sum, (&a, &b)| step(sum, a, b)))
}

/// Sum of terms of three slices of one length.
#[inline(always)]
pub(crate) fn fold_three(a: &[f32], b: &[f32], c: &[f32], step: impl Fn(f32, f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; WIDE];
    let (a, a_tail) = a.as_chunks::<WIDE>();
    let (b, b_tail) = b.as_chunks::<WIDE>();
    let (c, c_tail) = c.as_chunks::<WIDE>();
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..WIDE {
            lanes[i] = step(lanes[i], a[i], b[i], c[i]);
        }
    }
    let tail = a_tail.iter().zip(b_tail).zip(c_tail);
    total_by_halves(lanes, tail.fold(0.0, |sum, ((&a, &b), &c)| step(sum, a, b, c)))
}

/// Two sums of terms of three slices of one length.
#[inline(always)]
pub(crate) fn fold3(
    a: &[f32],
    b: &[f32],
    c: &[f32],
    step: impl Fn((f32, f32), f32, f32, f32) -> (f32, f32),
) -> (f32, f32) {
    let (mut first, mut second) = ([0.0; WIDE], [0.0; WIDE]);
    let (a, a_tail) = a.as_chunks::<WIDE>();
    let (b, b_tail) = b.as_chunks::<WIDE>();
    let (c, c_tail) = c.as_chunks::<WIDE>();
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..WIDE {
            (first[i], second[i]) = step((first[i], second[i]), a[i], b[i], c[i]);
        }
    }
    let mut tail = (0.0, 0.0);
    for ((&a, &b), &c) in a_tail.iter().zip(b_tail).zip(c_tail) {
        tail = step(tail, a, b, c);
    }
    (total_by_halves(first, tail.0), total_by_halves(second, tail.1))
}

/// Largest element, −∞ of none. NaN elements are ignored.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; WIDE];
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (a, a_tail) = a.as_chunks::<WIDE>();
    for a in a {
        for i in 0..WIDE {
            lanes[i] = larger(lanes[i], a[i]);
        }
    }
    let tail = a_tail.iter().fold(f32::NEG_INFINITY, |m, &a| larger(m, a));
    lanes.into_iter().fold(tail, larger)
}

/// Sum of a slice.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    fold(a, |sum, a| sum + a)
}
