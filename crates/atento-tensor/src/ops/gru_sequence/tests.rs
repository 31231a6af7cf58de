use atento_kernels::gru;

use super::*;
use crate::ops::finite_differences::*;
use crate::{Grads, Pool};

const HIDDEN: usize = 3;
const ACTIVE: [u32; 3] = [3, 2, 1];

/// One state after another of each sequence by itself, in f64; results laid out step by step.
fn reference(
    gates_x: &[f64],
    initial: &[f64],
    weight: &[f64],
    bias: &[f64],
    steps: &TimeSteps,
    direction: Direction,
) -> Vec<f64> {
    let mut states = vec![0.0; steps.tokens() * HIDDEN];
    for sequence in 0..steps.sequences() {
        let mut state = initial[sequence * HIDDEN..][..HIDDEN].to_vec();
        for t in steps.order(direction).into_iter().filter(|&t| sequence < steps.rows(t).len()) {
            let row = steps.rows(t).start + sequence;
            let product = |row: &[f64]| row.iter().zip(&state).map(|(w, h)| w * h).sum::<f64>();
            let gates_h: Vec<f64> = weight.chunks(HIDDEN).zip(bias).map(|(row, b)| product(row) + b).collect();
            state = gru::reference(&gates_x[row * 3 * HIDDEN..][..3 * HIDDEN], &gates_h, &state);
            states[row * HIDDEN..][..HIDDEN].copy_from_slice(&state);
        }
    }
    states
}

#[test]
fn states_and_all_gradients_match_each_sequence_run_alone() {
    let steps = Arc::new(TimeSteps::new(&ACTIVE));
    let (params, [weight, bias]) = params([&[3 * HIDDEN, HIDDEN], &[3 * HIDDEN]], 1);
    let (x, h, dy) = (values(6 * 3 * HIDDEN, 3), values(3 * HIDDEN, 4), values(6 * HIDDEN, 5));
    let inputs = [wide(&x), wide(&h), wide(params.get(weight)), wide(params.get(bias))];
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut grads = Grads::zeros(&params);
        let mut g = Graph::train(&params, &mut grads, &Pool::new(), 0);
        let (gates, initial) = (g.variable(&x, &[6, 3 * HIDDEN]), g.variable(&h, &[3, HIDDEN]));
        let y = g.gru_sequence(&gates, Some(&initial), GruRecurrence { weight, bias }, &steps, direction);
        let run = |i: &[Vec<f64>; 4]| reference(&i[0], &i[1], &i[2], &i[3], &steps, direction);
        assert_close("y", y.values(), &run(&inputs));
        let found = g.backward_from(vec![(y, buffer(&dy))], &[&gates, &initial]);
        drop(g);
        let found = [found[0].f32(), found[1].f32(), grads.get(weight), grads.get(bias)];
        for (i, name) in ["dgates_x", "dinitial", "dweight", "dbias"].into_iter().enumerate() {
            let slopes = gradient(&inputs[i], |x| {
                let mut inputs = inputs.clone();
                inputs[i] = x.to_vec();
                weighted(&run(&inputs), &dy)
            });
            assert_close(name, found[i], &slopes);
        }
    }
}

#[test]
fn both_directions_are_those_of_pytorch() {
    let steps = Arc::new(TimeSteps::new(&ACTIVE));
    // weight_ih, weight_hh, bias_ih, bias_hh of `torch.nn.GRU(3, 2, bidirectional=True)`, forward and reverse.
    let shape: [&[usize]; 8] = [&[6, 3], &[6, 2], &[6], &[6], &[6, 3], &[6, 2], &[6], &[6]];
    let (params, p) = params(shape, 1);
    let (x, h, dy) = (values(18, 20), values(12, 21), values(24, 22));
    let mut grads = Grads::zeros(&params);
    let mut g = Graph::train(&params, &mut grads, &Pool::new(), 0);
    let input = g.variable(&x, &[6, 3]);
    let mut run = |p: &[Weight], h: &[f32], direction| {
        let gates = g.linear(&input, p[0], WeightLayout::OutIn, Some(p[2]), Activation::Identity);
        let initial = g.variable(h, &[3, 2]);
        let recurrence = GruRecurrence { weight: p[1], bias: p[3] };
        (g.gru_sequence(&gates, Some(&initial), recurrence, &steps, direction), initial)
    };
    let (forward, h_forward) = run(&p[..4], &h[..6], Direction::Forward);
    let (reverse, h_reverse) = run(&p[4..], &h[6..], Direction::Reverse);
    assert_close("forward", forward.values(), &golden::FORWARD);
    assert_close("reverse", reverse.values(), &golden::REVERSE);
    let y = g.concat_columns(&forward, &reverse);
    let found = g.backward_from(vec![(y, buffer(&dy))], &[&input, &h_forward, &h_reverse]);
    drop(g);
    assert_close("dx", found[0].f32(), &golden::DX);
    assert_close("dh", &[found[1].f32(), found[2].f32()].concat(), &golden::DH);
    for (name, weight, expected) in
        [("weight_hh", p[1], &golden::DWEIGHT_HH), ("weight_hh_reverse", p[5], &golden::DWEIGHT_HH_REVERSE)]
    {
        assert_close(name, grads.get(weight), expected);
    }
    assert_close("bias_hh", grads.get(p[3]), &golden::DBIAS_HH);
    assert_close("bias_hh_reverse", grads.get(p[7]), &golden::DBIAS_HH_REVERSE);
}

#[test]
fn without_initial_states_sequences_begin_with_zeros() {
    let steps = Arc::new(TimeSteps::new(&ACTIVE));
    let (params, [weight, bias]) = params([&[3 * HIDDEN, HIDDEN], &[3 * HIDDEN]], 1);
    let mut g = Graph::infer(&params, &Pool::new());
    let gates = g.constant(&values(6 * 3 * HIDDEN, 3), &[6, 3 * HIDDEN]);
    let zeros = g.constant(&[0.0; 3 * HIDDEN], &[3, HIDDEN]);
    let recurrence = GruRecurrence { weight, bias };
    let with = g.gru_sequence(&gates, Some(&zeros), recurrence, &steps, Direction::Reverse);
    let without = g.gru_sequence(&gates, None, recurrence, &steps, Direction::Reverse);
    assert_eq!(with.values(), without.values());
}

/// From PyTorch 2, in f64.
#[rustfmt::skip]
mod golden {
    pub const FORWARD: [f64; 12] = [
        2.60872447e-01, -2.20007758e-01, 2.15793229e-01, -2.39858242e-01, 4.26527040e-01, -2.87850135e-01,
        4.41364319e-01, -1.97502417e-01, 4.35450604e-01, -1.91175243e-01, 3.09747429e-01, -3.59194556e-01,
    ];
    pub const REVERSE: [f64; 12] = [
        -2.95964175e-01, 2.98323943e-01, -4.33639413e-01, 1.04917242e-01, -7.95369239e-02, -1.13941635e-01,
        -2.23906229e-01, 2.27080440e-01, -3.49807642e-01, 7.86257721e-02, -5.35775975e-02, 3.01731006e-01,
    ];
    pub const DH: [f64; 12] = [
        -2.87620681e-03, 2.35946146e-02, 6.52223096e-02, -7.96016366e-02, -3.53592629e-02, 7.90101588e-02,
        -7.79786002e-02, 3.86396180e-01, 2.79237736e-01, 1.94650460e-01, -1.66895377e-01, -1.12507975e-01,
    ];
    pub const DX: [f64; 18] = [
        -7.02710386e-02, 3.64275794e-02, -3.13568395e-02, -6.27343341e-02, -4.12148966e-02, 8.69692711e-02,
        -8.38156779e-02, 9.73265145e-02, -3.71630982e-02, -1.10607902e-01, -6.55223219e-02, 3.95544128e-02,
        7.76352514e-02, -6.44702117e-02, 6.18480344e-02, -1.03595557e-01, -5.02127549e-02, 3.31899389e-02,
    ];
    pub const DWEIGHT_HH: [f64; 12] = [
        -3.87776201e-03, -2.55769707e-03, -2.84087602e-03, -1.51277241e-03, 4.35907927e-02, 3.59001526e-03,
        -9.01864245e-03, 1.23140482e-02, 6.61057239e-04, -1.14124178e-02, -4.59664937e-02, 3.01696598e-02,
    ];
    pub const DWEIGHT_HH_REVERSE: [f64; 12] = [
        4.76305652e-03, -1.19034764e-03, -5.65749828e-03, 7.31720583e-03, -5.27352574e-02, 1.30023589e-02,
        2.72111550e-03, 1.23303882e-02, -8.38308824e-02, -7.82383825e-03, -3.21342810e-02, 4.35014599e-02,
    ];
    pub const DBIAS_HH: [f64; 6] =
        [1.82226653e-02, 8.89187264e-03, -5.40635920e-02, -4.17435190e-02, 7.63958596e-02, -1.95745299e-01];
    pub const DBIAS_HH_REVERSE: [f64; 6] =
        [2.23348581e-03, 3.25524855e-02, -1.15050956e-01, 3.69173649e-02, -1.24392287e-01, 1.80147848e-01];
}
