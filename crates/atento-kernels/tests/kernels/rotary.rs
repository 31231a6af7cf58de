use crate::support::*;
use atento_kernels::rope::*;

const POSITIONS: [u32; 3] = [5, 0, 1000];
const PAIRINGS: [Pairing; 2] = [Pairing::HalfSplit, Pairing::Interleaved];

fn frequencies(head_dim: usize) -> Vec<f32> {
    let mut periods = vec![0.0; head_dim / 2];
    atento_kernels::rope::periods(10_000.0, &mut periods);
    periods.iter().map(|period| 1.0 / period).collect()
}

fn turns(positions: &[u32], head_dim: usize, factor: f32) -> Vec<f32> {
    let mut turns = vec![f32::NAN; positions.len() * head_dim];
    fill_turns(positions, &frequencies(head_dim), factor, &mut turns);
    turns
}

/// As PyTorch has them: the product is rounded.
fn angles(position: u32, head_dim: usize) -> Vec<f64> {
    frequencies(head_dim).iter().map(|frequency| f64::from(position as f32 * frequency)).collect()
}

#[test]
fn periods_are_powers_of_theta() {
    let mut found = [0.0; 64];
    periods(500_000.0, &mut found);
    let expected: Vec<f64> = (0..64).map(|i| (500_000f64.ln() * f64::from(i) / 64.0).exp()).collect();
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) / expected - 1.0).abs() < 1e-6, "{found}, expected {expected}");
    }
}

#[test]
fn rotations_match_the_reference_and_leave_the_rest_of_a_row() {
    let (heads, d, stride) = (2, 34, 80);
    let x = values(3 * stride, 1);
    for pairing in PAIRINGS {
        for_each_level(|_| {
            let (mut turned, turns) = (x.clone(), turns(&POSITIONS, d, 1.0));
            forward(&mut turned, &turns, heads, d, stride, pairing);
            let mut expected = wide(&x);
            for (row, &position) in expected.chunks_mut(stride).zip(&POSITIONS) {
                for head in row[..heads * d].chunks_mut(d) {
                    head.copy_from_slice(&reference(head, &angles(position, d), pairing));
                }
            }
            assert_close("x", &turned, &expected, 1e-6);
            backward(&mut turned, &turns, heads, d, stride, pairing);
            assert_close("turned back", &turned, &wide(&x), 1e-6);
        });
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (x, dy, factor) = (values(6, 1), values(6, 2), 1.25);
    for pairing in PAIRINGS {
        let mut dx = dy.clone();
        backward(&mut dx, &turns(&[7], 6, factor), 1, 6, 6, pairing);
        let scaled = |x: &[f64]| -> Vec<f64> {
            reference(x, &angles(7, 6), pairing).iter().map(|y| y * f64::from(factor)).collect()
        };
        assert_close("dx", &dx, &gradient(&x, |x| weighted(&scaled(x), &dy)), 1e-6);
    }
}

#[test]
fn rows_without_heads_and_batches_without_rows_are_left_alone() {
    let mut x = values(8, 1);
    forward(&mut x, &turns(&[3, 4], 4, 1.0), 0, 4, 4, Pairing::HalfSplit);
    forward(&mut [], &[], 2, 4, 8, Pairing::HalfSplit);
    assert_eq!(x, values(8, 1));
}

#[test]
fn rotations_are_those_of_llama_and_gptj() {
    let golden = [
        [-1.10753407, 1.16092098e-1, 1.78014917, 9.23779424e-1, 7.26169839e-1, -1.86093226],
        [-7.18958380e-2, 1.23013459, 1.89681616, -3.73749181e-1, 7.00211848e-1, -1.87256598],
    ];
    for (pairing, golden) in PAIRINGS.into_iter().zip(golden) {
        let mut x = values(6, 11);
        forward(&mut x, &turns(&[5], 6, 1.0), 1, 6, 6, pairing);
        assert_close("x", &x, &golden, 1e-6);
    }
}
