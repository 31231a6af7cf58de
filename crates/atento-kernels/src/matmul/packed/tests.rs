//! Every unit of this machine, and the emulation in the shapes of all of them, against sums in f64.

use half::bf16;
use rayon::ThreadPoolBuilder;

use super::{Kernel, Mat, MatMut, Operand, Parts, Unit, emulated, product_on};
use crate::philox;

/// Kernels to test, with their names.
fn kernels() -> Vec<(&'static str, &'static Kernel)> {
    let mut all = vec![("emulated", &emulated::KERNEL), ("emulated tiles", &emulated::TILES)];
    for unit in [Unit::Avx512, Unit::Amx] {
        match unit.is_available() {
            true => all.push((unit.name(), unit.kernel())),
            false => eprintln!("not tested: this machine has no {} unit for bf16", unit.name()),
        }
    }
    all
}

fn random(n: usize, stream: u64) -> Vec<f32> {
    let mut out = vec![0.0; n];
    philox::fill_normal(7, stream, 1.0, &mut out);
    out
}

fn rounded(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|x| bf16::from_f32(*x)).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// The matrix, or its transpose in memory.
fn stored<T: Copy>(data: &[T], rows: usize, cols: usize, is_turned: bool) -> Vec<T> {
    match is_turned {
        false => data.to_vec(),
        true => (0..rows * cols).map(|i| data[i % rows * cols + i / rows]).collect(),
    }
}

fn view<T>(data: &[T], rows: usize, cols: usize, is_turned: bool) -> Mat<'_, T> {
    if is_turned { Mat::row_major(data, cols, rows).t() } else { Mat::row_major(data, rows, cols) }
}

/// The three products of training and the fourth: whether A and B lie as their transposes.
const ORIENTATIONS: [(&str, bool, bool); 4] =
    [("x Wᵀ", false, true), ("dy W", false, false), ("dyᵀ x", true, false), ("both", true, true)];

/// Sizes m, k, n: single numbers, tails of every tile of every unit, blocks and stretches along k.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [1, 33, 5],
    [3, 2, 49],
    [7, 31, 47],
    [8, 32, 48],
    [33, 257, 33],
    [129, 64, 193],
    [17, 1057, 20],
    [40, 520, 97],
];

/// Checks `found` against sums in f64. Each product may be off by `error` of itself, each sum by roundings in f32; both add up
/// as random errors do.
#[track_caller]
fn assert_product(name: &str, found: &[f32], [m, k, n]: [usize; 3], a: &[f64], b: &[f64], old: f64, error: f64) {
    for i in 0..m {
        for j in 0..n {
            let products = (0..k).map(|at| a[i * k + at] * b[at * n + j]);
            let (sum, norm) = products.fold((old, 0.0), |(sum, norm), x| (sum + x, norm + x * x));
            let bound = (error + 4.0 * (k as f64).sqrt() * 0.5_f64.powi(24)) * (norm + old * old).sqrt();
            let off = (f64::from(found[i * n + j]) - sum).abs();
            assert!(
                off <= bound,
                "{name}, ({i}, {j}): {} instead of {sum}, off by {off:e} > {bound:e}",
                found[i * n + j]
            );
        }
    }
}

fn run<A: Operand, B: Operand>(
    kernel: &Kernel,
    parts: Parts,
    [m, k, n]: [usize; 3],
    (a, a_turned): (&[A], bool),
    (b, b_turned): (&[B], bool),
    old: Option<f32>,
) -> Vec<f32> {
    let mut c = vec![old.unwrap_or(f32::NAN); m * n];
    let (a, b) = (stored(a, m, k, a_turned), stored(b, k, n, b_turned));
    let (a, b) = (view(&a, m, k, a_turned), view(&b, k, n, b_turned));
    product_on(kernel, parts, a, b, old.is_some(), MatMut::row_major(&mut c, m, n));
    c
}

#[test]
fn products_are_those_of_rounded_operands_in_every_orientation() {
    for (unit, kernel) in kernels() {
        for size @ [m, k, n] in SIZES {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let (near_a, near_b) = (rounded(&a), rounded(&b));
            let exact = |x: &[bf16]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
            let (exact_a, exact_b) = (exact(&near_a), exact(&near_b));
            for (orientation, a_turned, b_turned) in ORIENTATIONS {
                for old in [None, Some(1.5)] {
                    let name = format!("{unit}, {size:?}, {orientation}, onto {old:?}");
                    let found = run(kernel, Parts::One, size, (&a, a_turned), (&b, b_turned), old);
                    let before = f64::from(old.unwrap_or(0.0));
                    assert_product(&name, &found, size, &exact_a, &exact_b, before, 0.0);
                    let given = run(kernel, Parts::One, size, (&near_a, a_turned), (&near_b, b_turned), old);
                    assert!(given == found, "{name}: operands that are bf16 already");
                }
            }
        }
    }
}

#[test]
fn products_in_two_parts_are_nearly_those_of_f32() {
    for (unit, kernel) in kernels() {
        for size @ [m, k, n] in SIZES {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            for (orientation, a_turned, b_turned) in ORIENTATIONS {
                let found = run(kernel, Parts::Two, size, (&a, a_turned), (&b, b_turned), Some(-0.5));
                let name = format!("{unit}, {size:?}, {orientation}");
                assert_product(&name, &found, size, &wide(&a), &wide(&b), -0.5, 3.0 * 0.5_f64.powi(16));
            }
        }
    }
}

/// Several stretches of rows, columns and k, each with a tail.
#[test]
fn products_larger_than_a_stretch_are_whole() {
    for size @ [m, k, n] in [[super::ROWS + 9, 3, 5], [5, 3, super::COLS + 70], [4, 2 * super::DEPTH + 33, 6]] {
        let (a, b) = (random(m * k, 1), random(k * n, 2));
        let near = |x: &[f32]| -> Vec<f64> { rounded(x).iter().map(|x| x.to_f64()).collect() };
        for (unit, kernel) in kernels() {
            let found = run(kernel, Parts::One, size, (&a, false), (&b, true), Some(2.0));
            assert_product(unit, &found, size, &near(&a), &near(&b), 2.0, 0.0);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (unit, kernel) in kernels() {
        for size @ [m, k, n] in [[40, 520, 97], [300, 70, 500]] {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            for (_, a_turned, b_turned) in ORIENTATIONS {
                let on = |threads: usize| {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| run(kernel, Parts::Two, size, (&a, a_turned), (&b, b_turned), Some(0.5)))
                };
                let one = on(1);
                assert!((2..=3).all(|threads| on(threads) == one), "{unit}, {size:?}");
            }
        }
    }
}

/// Both sum in the same order and in tiles of the same depth.
#[test]
fn the_vector_unit_has_the_bits_of_the_emulation() {
    let [m, k, n] = [40, 520, 97];
    let (a, b) = (random(m * k, 1), random(k * n, 2));
    for (unit, kernel) in kernels().into_iter().filter(|(unit, _)| *unit == Unit::Avx512.name()) {
        for parts in [Parts::One, Parts::Two] {
            let run = |kernel| run(kernel, parts, [m, k, n], (&a, false), (&b, true), Some(0.5));
            assert!(run(kernel) == run(&emulated::KERNEL), "{unit}, {parts:?}");
        }
    }
}

/// Rows of a product do not depend on the rows beside them, nor columns on columns.
#[test]
fn a_part_of_a_product_has_the_bits_of_the_whole() {
    let [m, k, n] = [70, 300, 101];
    let (a, b) = (random(m * k, 1), random(k * n, 2));
    for (unit, kernel) in kernels() {
        let whole = run(kernel, Parts::One, [m, k, n], (&a, false), (&b, false), None);
        let rows = run(kernel, Parts::One, [3, k, n], (&a[50 * k..53 * k], false), (&b, false), None);
        assert!(rows == whole[50 * n..53 * n], "{unit}");
    }
}

/// One product, alone among zeros.
fn one(kernel: &Kernel, parts: Parts, a: f32, b: f32) -> f32 {
    run(kernel, parts, [1, 2, 1], (&[a, 0.0], false), (&[b, 0.0], false), None)[0]
}

#[test]
fn special_numbers() {
    let tiny = f32::from_bits(0x0040_0000);
    for (unit, kernel) in kernels() {
        let one = |a, b| one(kernel, Parts::One, a, b);
        assert!(one(f32::NAN, 1.0).is_nan() && one(2.0, -f32::NAN).is_nan(), "{unit}");
        // A NaN whose bits lie in the half that is cut off.
        assert!(one(f32::from_bits(0x7f80_0001), 1.0).is_nan(), "{unit}");
        assert_eq!((one(f32::INFINITY, 2.0), one(-2.0, f32::INFINITY)), (f32::INFINITY, f32::NEG_INFINITY), "{unit}");
        assert!(one(f32::INFINITY, 0.0).is_nan(), "{unit}");
        assert_eq!((one(f32::MAX, 1.0), one(1e38, 10.0)), (f32::INFINITY, f32::INFINITY), "{unit}");
        // Denormal operands and sums are 0, also where another factor would make them normal.
        assert_eq!((one(tiny, 1e30), one(1e-20, 1e-20)), (0.0, 0.0), "{unit}");
    }
}

#[test]
fn special_numbers_in_two_parts() {
    for (unit, kernel) in kernels() {
        let one = |a, b| one(kernel, Parts::Two, a, b);
        assert!(one(f32::NAN, 1.0).is_nan() && one(f32::INFINITY, 1.0).is_nan(), "{unit}");
        assert_eq!((one(0.0, 3.0), one(1e-20, 1e-20)), (0.0, 0.0), "{unit}");
    }
}

#[test]
fn rounding_is_that_of_the_half_crate() {
    let bits = (0..u32::MAX).step_by(65_521).chain([0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x7f80_0001, 0xffff_ffff]);
    for x in bits.map(f32::from_bits) {
        assert_eq!(x.high(), bf16::from_f32(x).to_bits(), "{x:e}");
    }
}

#[test]
fn an_empty_depth_gives_zeros_or_what_was_there() {
    for (unit, kernel) in kernels() {
        let empty: &[f32] = &[];
        assert_eq!(run(kernel, Parts::One, [2, 0, 2], (empty, false), (empty, false), None), [0.0; 4], "{unit}");
        assert_eq!(run(kernel, Parts::One, [2, 0, 2], (empty, false), (empty, false), Some(3.0)), [3.0; 4], "{unit}");
    }
}

#[test]
fn a_product_into_some_columns_leaves_the_others_alone() {
    let (a, b) = (random(12 * 6, 1), random(6 * 7, 2));
    for (unit, kernel) in kernels() {
        let mut c = vec![9.0; 12 * 20];
        let out = MatMut { data: &mut c[3..], rows: 12, cols: 7, row_stride: 20, col_stride: 1 };
        product_on(kernel, Parts::One, Mat::row_major(&a, 12, 6), Mat::row_major(&b, 6, 7), false, out);
        let inside = |i: usize| (3..10).contains(&(i % 20));
        assert!(c.iter().enumerate().all(|(i, x)| inside(i) != (*x == 9.0)), "{unit}");
    }
}

#[test]
#[should_panic(expected = "packed product: rows 7 apart, columns 2")]
fn operands_without_neighbours_are_refused() {
    let a = Mat { data: &[0.0; 20][..], rows: 2, cols: 3, row_stride: 7, col_stride: 2 };
    let b = [0.0; 6];
    product_on(
        &emulated::KERNEL,
        Parts::One,
        a,
        Mat::row_major(&b, 3, 2),
        false,
        MatMut::row_major(&mut [0.0; 4], 2, 2),
    );
}

#[test]
fn a_kernel_that_multiplies_wrongly_is_told_from_one_that_does_not() {
    for (name, kernel) in kernels() {
        let plain = if kernel.cols == emulated::TILES.cols { &emulated::TILES } else { &emulated::KERNEL };
        assert!(emulated::agrees(kernel, plain), "{name}");
    }
    // B read as if it were A.
    let swapped: fn(&[super::Term<'_>], &mut [f32]) = |terms, sums| {
        let swapped: Vec<_> = terms.iter().map(|(a, b)| (*b, *a)).collect();
        (emulated::TILES.tile)(&swapped, sums);
    };
    let Kernel { rows, cols, depth, .. } = emulated::TILES;
    assert!(!emulated::agrees(&Kernel { rows, cols, depth, tile: swapped }, &emulated::TILES));
}
