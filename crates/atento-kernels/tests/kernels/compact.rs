use crate::support::*;
use atento_kernels::activation::Activation;
use atento_kernels::compact::{BlockKind, Blocks, Compact, to_bf16, to_int8};
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::Precision;
use half::{bf16, f16};

/// `[inputs, outputs]` of an `[outputs, inputs]` matrix.
fn transposed(weight: &[f32], outputs: usize, inputs: usize) -> Vec<f32> {
    (0..inputs * outputs).map(|i| weight[i % outputs * inputs + i / outputs]).collect()
}

/// The weight that a compact one stands for.
fn widened(compact: Compact<'_>, outputs: usize, inputs: usize) -> Vec<f32> {
    let mut wide = vec![0.0; outputs * inputs];
    wide.chunks_exact_mut(inputs).enumerate().for_each(|(row, out)| compact.widen_row(row, 1.0, out));
    wide
}

/// Few rows and many, sizes that fill no register, several tasks and blocks.
const SIZES: [[usize; 3]; 7] =
    [[1, 1, 1], [1, 67, 130], [2, 40, 33], [5, 129, 70], [8, 64, 600], [9, 33, 21], [20, 70, 300]];

#[test]
fn products_are_those_of_the_widened_weight_whatever_its_layout() {
    for [rows, inputs, outputs] in SIZES {
        let (x, weight) = (values(rows * inputs, 1), values(inputs * outputs, 2));
        let flipped = transposed(&weight, outputs, inputs);
        let mut halves = vec![bf16::ZERO; weight.len()];
        let (mut bytes, mut scales) = (vec![0; weight.len()], vec![0.0; outputs]);
        for (weight, layout) in [(&weight, WeightLayout::OutIn), (&flipped, WeightLayout::InOut)] {
            to_bf16(weight, layout, inputs, &mut halves);
            to_int8(weight, layout, inputs, &mut bytes, &mut scales);
            let singles: Vec<f16> =
                widened(Compact::Bf16(&halves), outputs, inputs).into_iter().map(f16::from_f32).collect();
            let int8 = Compact::Int8 { values: &bytes, scales: &scales };
            for compact in [Compact::F16(&singles), Compact::Bf16(&halves), int8] {
                let wide_weight = widened(compact, outputs, inputs);
                let expected = linear::reference(
                    rows,
                    &wide(&x),
                    &wide(&wide_weight),
                    WeightLayout::OutIn,
                    &vec![0.0; outputs],
                    Activation::Identity,
                );
                for_each_level(|level| {
                    let mut out = vec![f32::NAN; rows * outputs];
                    compact.forward(Precision::F32, rows, &x, &mut out);
                    assert_close(&format!("{rows}x{inputs}x{outputs} {level:?}"), &out, &expected, 2e-6);
                });
            }
        }
    }
}

#[test]
fn a_gradient_passes_through_to_the_input() {
    for [rows, inputs, outputs] in SIZES {
        let (dy, weight) = (values(rows * outputs, 1), values(inputs * outputs, 2));
        let mut halves = vec![bf16::ZERO; weight.len()];
        to_bf16(&weight, WeightLayout::OutIn, inputs, &mut halves);
        let (mut bytes, mut scales) = (vec![0; weight.len()], vec![0.0; outputs]);
        to_int8(&weight, WeightLayout::OutIn, inputs, &mut bytes, &mut scales);
        let singles: Vec<f16> = weight.iter().map(|&x| f16::from_f32(x)).collect();
        let int8 = Compact::Int8 { values: &bytes, scales: &scales };
        for compact in [Compact::F16(&singles), Compact::Bf16(&halves), int8] {
            let exact = widened(compact, outputs, inputs);
            let mut expected = vec![0.0; rows * inputs];
            linear::backward_input(Precision::F32, rows, &dy, &exact, WeightLayout::OutIn, &mut expected, false);
            let mut dx = vec![f32::NAN; rows * inputs];
            compact.backward_input(Precision::F32, rows, &dy, &mut dx, false);
            assert_close(&format!("{rows}x{inputs}x{outputs}"), &dx, &wide(&expected), 4e-6);
            compact.backward_input(Precision::F32, rows, &dy, &mut dx, true);
            let twice: Vec<f64> = expected.iter().map(|&x| 2.0 * f64::from(x)).collect();
            assert_close(&format!("{rows}x{inputs}x{outputs}, added"), &dx, &twice, 4e-6);
        }
    }
}

#[test]
fn no_whole_number_stands_for_one_that_is_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 77, 149] {
            let mut weight = values(150, 1);
            weight[at] = value;
            let refused = std::panic::catch_unwind(|| {
                to_int8(&weight, WeightLayout::OutIn, 30, &mut [0; 150], &mut [0.0; 5]);
            });
            assert!(refused.is_err(), "{value} at {at}");
        }
    }
}

#[test]
fn rounding_is_within_half_a_step() {
    let (outputs, inputs) = (7, 50);
    let mut weight = values(outputs * inputs, 3);
    weight[2 * inputs..3 * inputs].fill(0.0);
    weight[5] = -40.0;
    let mut halves = vec![bf16::ZERO; weight.len()];
    to_bf16(&weight, WeightLayout::OutIn, inputs, &mut halves);
    for (x, half) in weight.iter().zip(widened(Compact::Bf16(&halves), outputs, inputs)) {
        assert!((x - half).abs() <= x.abs() / 256.0, "{x} {half}");
    }
    let (mut bytes, mut scales) = (vec![0; weight.len()], vec![0.0; outputs]);
    to_int8(&weight, WeightLayout::OutIn, inputs, &mut bytes, &mut scales);
    let wide = widened(Compact::Int8 { values: &bytes, scales: &scales }, outputs, inputs);
    for (i, (x, found)) in weight.iter().zip(wide).enumerate() {
        assert!((x - found).abs() <= scales[i / inputs] * 0.5001, "{x} {found}");
    }
    assert_eq!((bytes[5], scales[2]), (-127, 0.0));
}

#[test]
fn inputs_that_are_not_finite_or_nothing_stay_so_before_blocks() {
    let bytes: Vec<u8> = f16::ONE.to_le_bytes().into_iter().chain(1..=32).collect::<Vec<u8>>().repeat(4);
    let blocks = Compact::Blocks(Blocks { bytes: &bytes, kind: BlockKind::Q8_0, paired: 0 });
    for_each_level(|level| {
        for (value, stays) in [(f32::NAN, true), (f32::INFINITY, true), (f32::NEG_INFINITY, true), (1e-30, false)] {
            let (mut x, mut out) = (vec![0.0; 64], vec![0.0; 2]);
            x[40] = value;
            blocks.forward(Precision::F32, 1, &x, &mut out);
            assert!(out.iter().all(|out| out.is_finite() != stays), "{level:?} {value}: {out:?}");
        }
        let mut out = vec![f32::NAN; 2];
        blocks.forward(Precision::F32, 1, &[0.0; 64], &mut out);
        assert_eq!(out, [0.0; 2], "{level:?}");
    });
}

#[test]
fn blocks_are_multiplied_as_the_numbers_that_they_stand_for() {
    let kinds = [
        BlockKind::Q4_0,
        BlockKind::Q4_1,
        BlockKind::Q5_0,
        BlockKind::Q5_1,
        BlockKind::Q8_0,
        BlockKind::Q4K,
        BlockKind::Q5K,
        BlockKind::Q6K,
    ];
    for kind in kinds {
        let (elements, size) = kind.sizes();
        // One task and several, outputs that end within a few.
        for [rows, inputs, outputs] in [[1, 256, 3], [3, 512, 400], [6, 256, 5], [8, 256, 21], [20, 256, 300]] {
            let count = outputs * inputs / elements;
            let mut bytes: Vec<u8> = (0..count * size).map(|at| (at * 37 % 251) as u8).collect();
            let small = f16::from_f32(0.01).to_le_bytes();
            for block in bytes.chunks_exact_mut(size) {
                let at = if kind == BlockKind::Q6K { [size - 2; 2] } else { [0, 2] };
                at.into_iter().for_each(|at| block[at..at + 2].copy_from_slice(&small));
            }
            let plain = Compact::Blocks(Blocks { bytes: &bytes, kind, paired: 0 });
            let weight = widened(plain, outputs, inputs);
            assert!(weight.iter().any(|value| *value != 0.0), "{kind:?}");
            let x = values(rows * inputs, 1);
            let product = |weight: &[f32]| {
                linear::reference(
                    rows,
                    &wide(&x),
                    &wide(weight),
                    WeightLayout::OutIn,
                    &vec![0.0; outputs],
                    Activation::Identity,
                )
            };
            let dy = values(rows * outputs, 2);
            for_each_level(|level| {
                let what = format!("{kind:?} {rows}x{inputs}x{outputs} {level:?}");
                let mut out = vec![f32::NAN; rows * outputs];
                plain.forward(Precision::F32, rows, &x, &mut out);
                assert_close(&what, &out, &product(&weight), 4e-6);
                let (mut expected, mut dx) = (vec![0.0; rows * inputs], vec![f32::NAN; rows * inputs]);
                linear::backward_input(Precision::F32, rows, &dy, &weight, WeightLayout::OutIn, &mut expected, false);
                plain.backward_input(Precision::F32, rows, &dy, &mut dx, false);
                assert_close(&what, &dx, &wide(&expected), 8e-6);
            });
            // Rows of heads of four lie in turn: 0, 2, 1, 3.
            if outputs % 4 == 0 {
                let turned = Compact::Blocks(Blocks { bytes: &bytes, kind, paired: 4 });
                let order = |row: usize| row / 4 * 4 + [0, 2, 1, 3][row % 4];
                let expected: Vec<f32> =
                    (0..outputs).flat_map(|row| weight[order(row) * inputs..][..inputs].to_vec()).collect();
                assert_eq!(widened(turned, outputs, inputs), expected, "{kind:?}");
                for_each_level(|level| {
                    let mut out = vec![f32::NAN; rows * outputs];
                    turned.forward(Precision::F32, rows, &x, &mut out);
                    assert_close(&format!("{kind:?} {rows} in turn {level:?}"), &out, &product(&expected), 4e-6);
                });
            }
        }
    }
}
