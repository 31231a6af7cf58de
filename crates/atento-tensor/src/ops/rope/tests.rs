use super::super::testing::{Case, assert_close, wave};
use super::*;
use crate::Params;

const POSITIONS: [u32; 3] = [5, 0, 900];
const YARN: RopeScaling = RopeScaling::Yarn {
    factor: 4.0,
    original_max_position: 2048,
    beta_fast: 32.0,
    beta_slow: 1.0,
    attention_factor: None,
    mscale: None,
    mscale_all_dim: None,
    truncate: true,
};

/// Equal to six digits, number by number.
#[track_caller]
fn assert_frequencies(rope: &Rope, expected: &[(usize, f64)]) {
    for &(pair, expected) in expected {
        let found = f64::from(rope.frequencies()[pair]);
        assert!((found / expected - 1.0).abs() < 1e-6, "pair {pair}: {found}, expected {expected}");
    }
}

fn scaled(head_dim: usize, theta: f64, scaling: RopeScaling) -> Rope {
    Rope::scaled(head_dim, theta, Pairing::HalfSplit, &scaling)
}

#[test]
fn queries_and_keys_turn_by_their_position_and_values_stay() {
    for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
        let rope = Rope::new(4, 10_000.0, pairing);
        let case = Case::new().leaf(&[3, 12]);
        let found = case.check_plain(&|g, x, _| vec![g.rope(x[0].clone(), &rope.at(g.pool(), &POSITIONS), 2)]);
        let mut expected = wave(36, 0);
        for (row, position) in expected.chunks_mut(12).zip(POSITIONS) {
            for pair in 0..2 {
                let (sin, cos) = (f64::from(position) * [1.0, 0.01][pair]).sin_cos();
                for head in [0, 4] {
                    let (i, j) =
                        if pairing == Pairing::HalfSplit { (pair, pair + 2) } else { (2 * pair, 2 * pair + 1) };
                    let (a, b) = (f64::from(row[head + i]), f64::from(row[head + j]));
                    (row[head + i], row[head + j]) = ((a * cos - b * sin) as f32, (a * sin + b * cos) as f32);
                }
            }
        }
        // The angle 900 · 0.01 is rounded to f32.
        assert_close(&found.outputs[0], &expected);
    }
}

#[test]
fn the_factor_of_yarn_is_in_the_gradient() {
    let rope = scaled(8, 10_000.0, YARN);
    let case = Case::new().leaf(&[3, 9]);
    let found = case.check_plain(&|g, x, _| vec![g.rope(x[0].clone(), &rope.at(g.pool(), &POSITIONS), 1)]);
    let (found, x) = (&found.outputs[0], wave(27, 0));
    let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (found, x) in found.chunks(9).zip(x.chunks(9)) {
        assert!((norm(&found[..8]) / norm(&x[..8]) - 1.138_629_4).abs() < 1e-6);
        assert_eq!(found[8], x[8]);
    }
}

#[test]
fn layers_share_the_turns_and_a_tensor_of_their_own_is_turned_in_place() {
    let (params, pool) = (Params::new(), Pool::new());
    let mut g = Graph::infer(&params, &pool);
    let turns = Rope::new(4, 10_000.0, Pairing::HalfSplit).at(&pool, &POSITIONS);
    let x = g.constant(&wave(12, 1), &[3, 4]);
    let kept = g.rope(x.clone(), &turns, 1);
    assert_eq!(x.values(), wave(12, 1));
    let address = x.values().as_ptr();
    let turned = g.rope(x, &turns, 1);
    assert_eq!((turned.values().as_ptr(), turned.values()), (address, kept.values()));
}

#[test]
#[should_panic(expected = "rope: turns of as many tokens as x")]
fn turns_are_those_of_the_rows() {
    let (params, pool) = (Params::new(), Pool::new());
    let mut g = Graph::infer(&params, &pool);
    let x = g.constant(&[0.0; 8], &[2, 4]);
    let _ = g.rope(x, &Rope::new(4, 10_000.0, Pairing::HalfSplit).at(&pool, &POSITIONS), 1);
}

#[test]
fn plain_and_linear_frequencies() {
    let powers: Vec<(usize, f64)> = (0..16).map(|i| (i, 10f64.powf(-(i as f64) / 4.0))).collect();
    assert_frequencies(&scaled(32, 10_000.0, RopeScaling::None), &powers);
    let linear = scaled(32, 10_000.0, RopeScaling::Linear { factor: 2.5 });
    assert_frequencies(&linear, &powers.iter().map(|&(i, power)| (i, power / 2.5)).collect::<Vec<_>>());
    assert_eq!(linear.attention_factor(), 1.0);
}

/// The pairs of Llama 3.1 8B: fast ones stay, slow ones are divided by 8, and seven lie between.
#[test]
fn frequencies_of_llama_3() {
    let scaling =
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 8192 };
    let rope = scaled(128, 500_000.0, scaling);
    let expected = [
        (0, 1.0),
        (20, 1.65604401e-02),
        (28, 3.21144599e-03),
        (29, 2.16657076e-03),
        (30, 1.37189357e-03),
        (31, 8.56751413e-04),
        (32, 5.24846161e-04),
        (33, 3.12693750e-04),
        (34, 1.78507813e-04),
        (35, 9.55621235e-05),
        (36, 7.78465527e-05),
        (40, 3.42810220e-05),
        (63, 3.06892599e-07),
    ];
    assert_frequencies(&rope, &expected);
    assert_eq!((rope.attention_factor(), rope.head_dim()), (1.0, 128));
}

/// From the formulas of the paper, §3.2, in f64: the ramp of 32 and 1 turns goes from pair 4 to 11, or from 4.03 to 10.05.
#[test]
fn frequencies_of_yarn() {
    let whole = [
        (0, 1.0),
        (3, 1.77827941e-01),
        (4, 1.0e-01),
        (5, 5.02090469e-02),
        (6, 2.48464673e-02),
        (8, 5.71428571e-03),
        (10, 1.12938488e-03),
        (11, 4.44569853e-04),
        (15, 4.44569853e-05),
    ];
    assert_frequencies(&scaled(32, 10_000.0, YARN), &whole);
    let RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_position, .. } = YARN else { unreachable!() };
    let changed = |original_max_position: usize, mscale: [Option<f64>; 2], attention_factor, truncate| {
        let [mscale, mscale_all_dim] = mscale;
        RopeScaling::Yarn {
            factor,
            original_max_position,
            beta_fast,
            beta_slow,
            attention_factor,
            mscale,
            mscale_all_dim,
            truncate,
        }
    };
    let exact = [(4, 1.0e-01), (5, 4.94530869e-02), (7, 1.12079520e-02), (10, 8.11290382e-04), (11, 4.44569853e-04)];
    assert_frequencies(&scaled(32, 10_000.0, changed(original_max_position, [None; 2], None, false)), &exact);
    // Qwen2.5 with a context four times as long.
    let long = [
        (0, 1.0),
        (22, 8.65964323e-03),
        (23, 6.97830585e-03),
        (24, 5.37532149e-03),
        (30, 1.06436098e-03),
        (39, 6.49039432e-05),
        (40, 4.44569853e-05),
        (63, 3.10234440e-07),
    ];
    assert_frequencies(&scaled(128, 1_000_000.0, changed(32_768, [None; 2], None, true)), &long);

    // 0.1 ln 4 + 1, and (0.1 m ln 4 + 1) / (0.1 n ln 4 + 1).
    let factor = |mscale, given| scaled(32, 10_000.0, changed(2048, mscale, given, true)).attention_factor();
    assert_eq!(factor([None; 2], None), 1.138_629_4);
    assert_eq!(factor([Some(0.707), Some(0.0)], None), 1.138_629_4);
    assert!((factor([Some(0.5), Some(1.0)], None) - 1.069_314_7 / 1.138_629_4).abs() < 1e-7);
    assert_eq!(factor([Some(0.5), Some(1.0)], Some(1.5)), 1.5);
}

/// Where both ends of the ramp are one pair, nothing is divided by zero.
#[test]
fn a_ramp_without_length_is_a_step() {
    let scaling = RopeScaling::Yarn {
        factor: 2.0,
        original_max_position: 3,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: None,
        mscale: None,
        mscale_all_dim: None,
        truncate: true,
    };
    let rope = scaled(4, 10_000.0, scaling);
    assert_frequencies(&rope, &[(0, 1.0), (1, 0.005)]);
}
