use crate::support::*;
use atento_kernels::rope::*;

const POSITIONS: [u32; 3] = [5, 0, 1000];
const PAIRINGS: [Pairing; 2] = [Pairing::HalfSplit, Pairing::Interleaved];

fn table(head_dim: usize) -> Vec<f32> {
    let mut table = vec![0.0; 1001 * head_dim];
    fill_table(head_dim, 10_000.0, &mut table);
    table
}

#[test]
fn rotations_match_the_reference_and_leave_the_rest_of_a_row() {
    let (heads, d, stride) = (2, 34, 80);
    let x = values(3 * stride, 1);
    for pairing in PAIRINGS {
        for_each_level(|_| {
            let mut turned = x.clone();
            forward(&mut turned, &POSITIONS, heads, d, stride, &table(d), pairing);
            let mut expected = wide(&x);
            for (row, &position) in expected.chunks_mut(stride).zip(&POSITIONS) {
                for head in row[..heads * d].chunks_mut(d) {
                    head.copy_from_slice(&reference(head, position, 10_000.0, pairing));
                }
            }
            assert_close("x", &turned, &expected, 1e-6);
            backward(&mut turned, &POSITIONS, heads, d, stride, &table(d), pairing);
            assert_close("turned back", &turned, &wide(&x), 1e-6);
        });
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (x, dy) = (values(6, 1), values(6, 2));
    for pairing in PAIRINGS {
        let mut dx = dy.clone();
        backward(&mut dx, &[7], 1, 6, 6, &table(6), pairing);
        let slopes = gradient(&x, |x| weighted(&reference(x, 7, 10_000.0, pairing), &dy));
        assert_close("dx", &dx, &slopes, 1e-6);
    }
}

#[test]
fn rotations_are_those_of_llama_and_gptj() {
    let golden = [
        [-1.10753407, 1.16092098e-1, 1.78014917, 9.23779424e-1, 7.26169839e-1, -1.86093226],
        [-7.18958380e-2, 1.23013459, 1.89681616, -3.73749181e-1, 7.00211848e-1, -1.87256598],
    ];
    for (pairing, golden) in PAIRINGS.into_iter().zip(golden) {
        let mut x = values(6, 11);
        forward(&mut x, &[5], 1, 6, 6, &table(6), pairing);
        assert_close("x", &x, &golden, 1e-6);
    }
}
