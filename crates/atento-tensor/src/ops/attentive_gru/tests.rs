use atento_kernels::additive_attention;
use atento_kernels::gru;

use super::*;
use crate::ops::finite_differences::*;
use crate::{Grads, Params, Pool};

const HIDDEN: usize = 2;
const ATTENTION: usize = 3;
const VALUES: usize = 2;
const SHAPES: [&[usize]; 5] =
    [&[3 * HIDDEN, HIDDEN], &[3 * HIDDEN], &[3 * HIDDEN, VALUES], &[ATTENTION, HIDDEN], &[ATTENTION]];

/// Inputs in the order gates_x, initial, keys, values; parameters in the order of [`SHAPES`].
struct Case {
    active: Vec<u32>,
    cu_keys: Arc<[u32]>,
    params: Params,
    weights: [Weight; 5],
    inputs: [Vec<f32>; 4],
}

impl Case {
    fn new(active: &[u32], cu_keys: &[u32]) -> Self {
        let (params, weights) = params(SHAPES, 1);
        let (tokens, sequences) = (active.iter().sum::<u32>() as usize, cu_keys.len() - 1);
        let keys = cu_keys[sequences] as usize;
        let lengths = [tokens * 3 * HIDDEN, sequences * HIDDEN, keys * ATTENTION, keys * VALUES];
        let mut salt = 5;
        let inputs = lengths.map(|length| {
            salt += 1;
            values(length, salt)
        });
        Self { active: active.to_vec(), cu_keys: cu_keys.into(), params, weights, inputs }
    }

    fn cell(&self) -> AttentiveGru {
        let [weight, bias, context, query, score] = self.weights;
        AttentiveGru { recurrence: GruRecurrence { weight, bias }, context, query, score }
    }

    /// Outputs, then the gradients of inputs and parameters for output gradients `values(_, 10)` and `values(_, 11)`.
    fn run(&self) -> ([Vec<f32>; 2], Vec<Vec<f32>>) {
        let steps = Arc::new(TimeSteps::new(&self.active));
        let mut grads = Grads::zeros(&self.params);
        let mut g = Graph::train(&self.params, &mut grads, &Pool::new(), 0);
        let widths = [3 * HIDDEN, HIDDEN, ATTENTION, VALUES];
        let variables: Vec<Tensor> =
            self.inputs.iter().zip(widths).map(|(x, width)| g.variable(x, &[x.len() / width, width])).collect();
        let [gates_x, initial, keys, values_] = &variables[..] else { unreachable!() };
        let memory = Memory { keys: keys.clone(), values: values_.clone(), cu_keys: Arc::clone(&self.cu_keys) };
        let (states, contexts) = g.attentive_gru(gates_x, initial, self.cell(), &memory, &steps);
        let outputs = [states.values().to_vec(), contexts.values().to_vec()];
        let dy = [buffer(&values(states.len(), 10)), buffer(&values(contexts.len(), 11))];
        let wanted: Vec<&Tensor> = variables.iter().collect();
        let found = g.backward_from([states, contexts].into_iter().zip(dy).collect(), &wanted);
        drop(g);
        let mut gradients: Vec<Vec<f32>> = found.iter().map(|b| b.f32().to_vec()).collect();
        gradients.extend(self.weights.map(|weight| grads.get(weight).to_vec()));
        (outputs, gradients)
    }

    /// Inputs and parameters in f64.
    fn wide(&self) -> Vec<Vec<f64>> {
        let parameters = self.weights.iter().map(|&weight| wide(self.params.get(weight)));
        self.inputs.iter().map(|x| wide(x)).chain(parameters).collect()
    }

    /// Each sequence by itself, in f64: states and contexts, laid out step by step.
    fn reference(&self, all: &[Vec<f64>]) -> [Vec<f64>; 2] {
        let [gates_x, initial, keys, values, weight, bias, context, query, score] = all else { unreachable!() };
        let steps = TimeSteps::new(&self.active);
        let mut states = vec![0.0; steps.tokens() * HIDDEN];
        let mut contexts = vec![0.0; steps.tokens() * VALUES];
        for sequence in 0..steps.sequences() {
            let run = self.cu_keys[sequence] as usize..self.cu_keys[sequence + 1] as usize;
            let (keys, values) = (&keys[span(&run, ATTENTION)], &values[span(&run, VALUES)]);
            let mut state = initial[sequence * HIDDEN..][..HIDDEN].to_vec();
            for t in (0..self.active.len()).filter(|&t| sequence < self.active[t] as usize) {
                let row = steps.rows(t).start + sequence;
                let c = additive_attention::reference(&product(query, &state), keys, values, score, VALUES);
                let shares = gates_x[row * 3 * HIDDEN..].iter().zip(product(context, &c));
                let from_input: Vec<f64> = shares.map(|(x, c)| x + c).collect();
                let from_state: Vec<f64> = product(weight, &state).iter().zip(bias).map(|(h, b)| h + b).collect();
                state = gru::reference(&from_input, &from_state, &state);
                states[row * HIDDEN..][..HIDDEN].copy_from_slice(&state);
                contexts[row * VALUES..][..VALUES].copy_from_slice(&c);
            }
        }
        [states, contexts]
    }
}

fn product(weight: &[f64], x: &[f64]) -> Vec<f64> {
    weight.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

#[test]
fn states_contexts_and_all_gradients_match_each_sequence_run_alone() {
    let case = Case::new(&[3, 3, 1], &[0, 2, 3, 7]);
    let (outputs, gradients) = case.run();
    let all = case.wide();
    let expected = case.reference(&all);
    assert_close("states", &outputs[0], &expected[0]);
    assert_close("contexts", &outputs[1], &expected[1]);
    let (dstates, dcontexts) = (values(outputs[0].len(), 10), values(outputs[1].len(), 11));
    let names = ["gates_x", "initial", "keys", "values", "weight", "bias", "context", "query", "score"];
    for (i, name) in names.into_iter().enumerate() {
        let slopes = gradient(&all[i], |x| {
            let mut all = all.clone();
            all[i] = x.to_vec();
            let [states, contexts] = case.reference(&all);
            weighted(&states, &dstates) + weighted(&contexts, &dcontexts)
        });
        assert_close(name, &gradients[i], &slopes);
    }
}

#[test]
fn states_contexts_and_gradients_are_those_of_pytorch() {
    let (outputs, gradients) = Case::new(&[2, 1], &[0, 2, 3]).run();
    assert_close("states", &outputs[0], &golden::STATES);
    assert_close("contexts", &outputs[1], &golden::CONTEXTS);
    for (i, expected) in golden::GRADIENTS.into_iter().enumerate() {
        assert_close(&format!("gradient {i}"), &gradients[i], expected);
    }
}

#[test]
fn kept_weights_give_the_contexts() {
    let case = Case::new(&[3, 3, 1], &[0, 2, 3, 7]);
    let steps = Arc::new(TimeSteps::new(&case.active));
    let mut g = Graph::infer(&case.params, &Pool::new());
    g.record_attention();
    let [gates_x, initial, keys, values] = &case.inputs;
    let [gates_x, initial] = [(gates_x, 3 * HIDDEN), (initial, HIDDEN)].map(|(x, n)| g.constant(x, &[x.len() / n, n]));
    let memory = Memory {
        keys: g.constant(keys, &[7, ATTENTION]),
        values: g.constant(values, &[7, VALUES]),
        cu_keys: Arc::clone(&case.cu_keys),
    };
    let (_, contexts) = g.attentive_gru(&gates_x, &initial, case.cell(), &memory, &steps);
    let kept = g.take_attention();
    let shapes: Vec<&[usize]> = kept[0].iter().map(Tensor::shape).collect();
    assert_eq!((kept.len(), shapes), (1, vec![&[1, 3, 2][..], &[1, 2, 1], &[1, 2, 4]]));
    for (sequence, weights) in kept[0].iter().enumerate() {
        let [_, queries, keys] = weights.dims();
        let first = case.cu_keys[sequence] as usize;
        for t in 0..queries {
            let row = &weights.values()[t * keys..(t + 1) * keys];
            let context = &contexts.values()[(steps.rows(t).start + sequence) * VALUES..][..VALUES];
            for (d, expected) in context.iter().enumerate() {
                let sum: f32 = row.iter().enumerate().map(|(j, w)| w * values[(first + j) * VALUES + d]).sum();
                assert!((sum - expected).abs() < 1e-6, "sequence {sequence}, step {t}: {sum} {expected}");
            }
        }
    }
}

#[test]
fn a_run_taken_step_by_step_gives_the_same_states() {
    let case = Case::new(&[2, 2], &[0, 2, 5]);
    let (outputs, _) = case.run();
    let mut g = Graph::infer(&case.params, &Pool::new());
    let [gates_x, initial, keys, values] = &case.inputs;
    let memory = Memory {
        keys: g.constant(keys, &[5, ATTENTION]),
        values: g.constant(values, &[5, VALUES]),
        cu_keys: Arc::clone(&case.cu_keys),
    };
    let one_step = Arc::new(TimeSteps::new(&[2]));
    let mut state = g.constant(initial, &[2, HIDDEN]);
    for (t, gates_x) in gates_x.chunks(2 * 3 * HIDDEN).enumerate() {
        let gates_x = g.constant(gates_x, &[2, 3 * HIDDEN]);
        (state, _) = g.attentive_gru(&gates_x, &state, case.cell(), &memory, &one_step);
        assert_eq!(state.values(), &outputs[0][t * 2 * HIDDEN..][..2 * HIDDEN]);
    }
}

/// From PyTorch 2, in f64; gradients in the order of [`Case::run`].
#[rustfmt::skip]
mod golden {
    pub const STATES: [f64; 6] =
        [-9.75976476e-03, -1.15571868e-01, -1.50773717e-02, 1.78974747e-01, -1.85917205e-02, 2.16523318e-01];
    pub const CONTEXTS: [f64; 6] =
        [3.53430854e-01, -2.86569146e-01, -5.00000000e-02, 3.20000000e-01, 3.53435764e-01, -2.86564236e-01];
    pub const GRADIENTS: [&[f64]; 9] = [
        &[
            -2.64302058e-03, -1.99266228e-03, -5.66981751e-02, -7.57182377e-03, -1.09707526e-01, 3.39187694e-02,
            4.57012864e-03, 1.66955221e-02, 3.20416547e-03, -3.64851240e-02, 1.17274429e-01, -1.17065662e-01,
            7.46438625e-04, -2.46039533e-02, 3.76817907e-04, -4.88836568e-02, 1.73065207e-02, 2.39925173e-01,
        ],
        &[-1.80431039e-01, 2.46387066e-03, 1.80870333e-01, -1.88756201e-01],
        &[-1.32572969e-03, -1.10584344e-02, 6.05460776e-03, 1.24026814e-03, 1.16316209e-02, -5.75493745e-03, 0.0, 0.0, 0.0],
        &[1.11409489e-02, -2.23531210e-01, 1.13921218e-02, -2.28769556e-01, 3.45065050e-01, -1.84303258e-01],
        &[
            -7.20900622e-04, 2.58259791e-03, -2.97890019e-04, 9.75815308e-03, -1.53121849e-02, 2.21203164e-02,
            -1.56729943e-03, -5.04834552e-03, -1.24014442e-02, 3.95893055e-02, 2.72940423e-03, -3.69291821e-02,
        ],
        &[2.67354668e-03, -9.90109343e-03, -5.31171917e-02, -9.29406045e-02, 2.23549447e-02, 7.86022031e-02],
        &[
            -8.98813347e-04, 2.00594670e-03, -1.02349615e-02, 1.29642157e-02, -2.00659118e-02, 1.71652980e-02,
            -1.81290925e-02, 4.50291914e-03, -3.85210028e-02, 6.40071795e-02, 1.02639360e-01, -1.15935058e-01,
        ],
        &[-9.46968887e-06, 1.92477408e-05, 8.41877393e-05, -1.47896585e-04, 4.85059164e-05, -8.14071562e-05],
        &[2.56882755e-03, 2.70480709e-03, 2.68751118e-03],
    ];
}
