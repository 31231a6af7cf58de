//! Checks that every op goes through, one line a case (after tinygrad's `helper_test_op`).
//!
//! Leaves, parameters and upstream gradients are waves, so that a script can make the same numbers for PyTorch
//! (`scripts/golden_ops.py`). [`Case::check`] compares every gradient with finite differences of fourth order,
//!
//! ```text
//! f'(x) ≈ (8 (f(x + h) − f(x − h)) − (f(x + 2h) − f(x − 2h))) / 12h        error: h⁴ f⁽⁵⁾ / 30
//! ```
//!
//! where `f = Σ upstream · output` is summed in f64. With h = 2⁻⁵ the truncation is near 10⁻⁶ and the rounding of an
//! f32 forward, 2⁻²⁴ / h, near 10⁻⁵. A dropout mask is a function of the seed, so it is the same in every evaluation.

use atento_kernels::linear::WeightLayout;
use atento_kernels::philox::Rng;

use crate::{Bottleneck, Grads, Graph, Init, LookupPair, LowRank, Params, Pool, ReplacedRows, Scaling, Tensor, Weight};

const STEP: f32 = 0.03125;
const SEED: u64 = 9;
/// What parameters' gradients hold before the backward, to see that it adds.
const HELD: f32 = 0.5;

/// An op built from leaves and parameters; one or more outputs.
pub(super) type Op<'a> = &'a dyn Fn(&mut Graph<'_>, &[Tensor], &[Weight]) -> Vec<Tensor>;

/// The inputs of an op under test.
#[derive(Clone)]
pub(super) struct Case {
    leaves: Vec<(Vec<f32>, Vec<usize>)>,
    params: Params,
    weights: Vec<Weight>,
    is_root: bool,
}

/// What a forward and a backward computed.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub outputs: Vec<Vec<f32>>,
    pub shapes: Vec<Vec<usize>>,
    pub leaf_grads: Vec<Vec<f32>>,
    pub param_grads: Vec<Vec<f32>>,
}

/// sin(2.3·i + phase): numbers in [−1, 1] without a pattern at the sizes of these tests.
pub(super) fn wave(len: usize, phase: usize) -> Vec<f32> {
    (0..len).map(|i| (2.3 * i as f64 + phase as f64).sin() as f32).collect()
}

/// Equal to six digits, relative to the largest number.
#[track_caller]
pub(super) fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1f32, |max, x| max.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 2e-6 * scale, "value {i}: {a}, expected {b}: {found:?}");
    }
}

impl Case {
    pub(super) fn new() -> Self {
        Self { leaves: Vec::new(), params: Params::new(), weights: Vec::new(), is_root: false }
    }

    /// One more leaf.
    pub(super) fn leaf(self, dims: &[usize]) -> Self {
        let values = wave(dims.iter().product(), 10 * self.leaves.len());
        self.leaf_of(&values, dims)
    }

    /// One more leaf, of given values.
    pub(super) fn leaf_of(mut self, values: &[f32], dims: &[usize]) -> Self {
        self.leaves.push((values.to_vec(), dims.to_vec()));
        self
    }

    /// One more parameter.
    pub(super) fn param(self, dims: &[usize]) -> Self {
        let values = wave(dims.iter().product(), 50 + 10 * self.weights.len());
        self.param_of(&values, dims)
    }

    /// One more parameter, of given values.
    pub(super) fn param_of(mut self, values: &[f32], dims: &[usize]) -> Self {
        let name = format!("param {}", self.weights.len());
        let weight = self.params.add(&name, dims, Init::Zeros, &mut Rng::new(0, 0));
        self.params.get_mut(weight).copy_from_slice(values);
        self.weights.push(weight);
        self
    }

    /// One more parameter that rows are multiplied by.
    pub(super) fn matrix(mut self, shape: &[usize; 2], layout: WeightLayout) -> Self {
        let values = wave(shape[0] * shape[1], 50 + 10 * self.weights.len());
        let name = format!("param {}", self.weights.len());
        let weight = self.params.add_matrix(&name, *shape, layout, Init::Zeros, &mut Rng::new(0, 0));
        self.params.get_mut(weight).copy_from_slice(&values);
        self.weights.push(weight);
        self
    }

    /// Adds a low-rank pair, made of the parameters, to one of them.
    pub(super) fn low_rank(mut self, to: usize, pair: impl Fn(&[Weight]) -> LowRank) -> Self {
        self.params.add_low_rank(self.weights[to], pair(&self.weights));
        self
    }

    /// Adds a pair, made of the parameters, to what is looked up in one of them.
    pub(super) fn lookup_pair(mut self, to: usize, pair: impl Fn(&[Weight]) -> LookupPair) -> Self {
        self.params.set_lookup_pair(self.weights[to], pair(&self.weights));
        self
    }

    /// Puts rows, made of the parameters, in the place of some of one of them.
    pub(super) fn replaced_rows(mut self, of: usize, rows: impl Fn(&[Weight]) -> ReplacedRows) -> Self {
        self.params.set_replaced_rows(self.weights[of], rows(&self.weights));
        self
    }

    /// Puts factors, made of the parameters, on one of them.
    pub(super) fn scaling(mut self, on: usize, factors: impl Fn(&[Weight]) -> Scaling) -> Self {
        self.params.set_scaling(self.weights[on], factors(&self.weights));
        self
    }

    /// Puts a bottleneck, made of the parameters, behind one of them.
    pub(super) fn bottleneck(mut self, behind: usize, parts: impl Fn(&[Weight]) -> Bottleneck) -> Self {
        self.params.set_bottleneck(self.weights[behind], parts(&self.weights));
        self
    }

    /// Freezes some of the parameters.
    pub(super) fn frozen(mut self, which: &[usize]) -> Self {
        let weights = &self.weights;
        self.params.freeze(|entry| which.iter().any(|&k| weights[k] == entry.weight));
        self
    }

    /// The op is a loss: its upstream gradient is 1.
    pub(super) fn root(mut self) -> Self {
        self.is_root = true;
        self
    }

    /// Forward and backward; afterwards the tape is empty and all memory is back in the pool.
    pub(super) fn run(&self, op: Op<'_>) -> Found {
        self.run_with(op, |g, values, dims| g.variable(values, dims))
    }

    fn run_with(&self, op: Op<'_>, leaf: impl Fn(&mut Graph<'_>, &[f32], &[usize]) -> Tensor) -> Found {
        let pool = Pool::new();
        let mut grads = Grads::zeros(&self.params);
        grads.values.fill(HELD);
        let mut g = Graph::train(&self.params, &mut grads, &pool, SEED);
        let leaves: Vec<Tensor> = self.leaves.iter().map(|(values, dims)| leaf(&mut g, values, dims)).collect();
        let outputs = op(&mut g, &leaves, &self.weights);
        let shapes = outputs.iter().map(|y| y.shape().to_vec()).collect();
        let values: Vec<Vec<f32>> = outputs.iter().map(|y| y.values().to_vec()).collect();
        let upstream = outputs
            .into_iter()
            .enumerate()
            .filter(|(_, y)| y.node().is_some())
            .map(|(k, y)| (y.clone(), pool.copy_of(&self.upstream(k, y.len()))))
            .collect();
        let wanted: Vec<&Tensor> = leaves.iter().filter(|leaf| leaf.node().is_some()).collect();
        let leaf_grads = g.backward_from(upstream, &wanted).iter().map(|dx| dx.f32().to_vec()).collect();
        drop(leaves);
        assert!(g.recorded_ops().is_empty(), "the tape still holds {:?}", g.recorded_ops());
        assert_eq!(pool.stats().live_bytes, 0, "bytes the op keeps after its backward");
        drop(g);
        let gradient = |&weight: &Weight| match self.params.is_any_trained(&[weight]) {
            true => grads.get(weight).iter().map(|d| d - HELD).collect(),
            false => Vec::new(),
        };
        let param_grads = self.weights.iter().map(gradient).collect();
        Found { outputs: values, shapes, leaf_grads, param_grads }
    }

    /// All checks: a forward that does not record computes the same unless the op drops; every gradient is that of
    /// finite differences; constants in the place of leaves change no parameter's gradient, and neither do frozen ones.
    pub(super) fn check(&self, op: Op<'_>) -> Found {
        let found = self.run(op);
        let frozen = self.run_with(op, |g, values, dims| g.constant(values, dims));
        assert_eq!((&frozen.outputs, &frozen.param_grads), (&found.outputs, &found.param_grads), "with constants");
        self.check_frozen(op, &found);
        for (k, gradient) in found.leaf_grads.iter().enumerate() {
            self.compare(&format!("leaf {k}"), gradient, op, |case, i, x| case.leaves[k].0[i] += x);
        }
        for (k, gradient) in found.param_grads.iter().enumerate() {
            let weight = self.weights[k];
            self.compare(&format!("parameter {k}"), gradient, op, |case, i, x| case.params.get_mut(weight)[i] += x);
        }
        found
    }

    /// The case with some parameters frozen.
    fn freezing(&self, which: &dyn Fn(usize) -> bool) -> Self {
        let mut frozen = self.clone();
        let is_chosen = |weight: &Weight| self.weights.iter().position(|other| other == weight).is_some_and(which);
        frozen.params.freeze(|entry| is_chosen(&entry.weight));
        frozen
    }

    /// Frozen parameters have no gradient, and change neither the outputs nor any other gradient.
    fn check_frozen(&self, op: Op<'_>, found: &Found) {
        let count = self.weights.len();
        let sets = (0..count).map(|k| vec![k]).chain((count > 1).then(|| (0..count).collect()));
        for set in sets {
            let frozen = self.freezing(&|k| set.contains(&k)).run(op);
            assert_eq!((&frozen.outputs, &frozen.leaf_grads), (&found.outputs, &found.leaf_grads), "{set:?} frozen");
            for (k, gradient) in frozen.param_grads.iter().enumerate() {
                let expected = if set.contains(&k) { &[][..] } else { &found.param_grads[k] };
                assert_eq!(gradient, expected, "parameter {k} where {set:?} are frozen");
            }
        }
    }

    /// [`Case::check`] of an op that drops nothing: a pass that does not record computes the same bits.
    pub(super) fn check_plain(&self, op: Op<'_>) -> Found {
        let found = self.check(op);
        let pool = Pool::new();
        let mut g = Graph::infer(&self.params, &pool);
        let leaves: Vec<Tensor> = self.leaves.iter().map(|(values, dims)| g.constant(values, dims)).collect();
        let outputs = op(&mut g, &leaves, &self.weights);
        assert!(outputs.iter().all(|y| y.node().is_none()) && g.recorded_ops().is_empty(), "inference records");
        let values: Vec<Vec<f32>> = outputs.iter().map(|y| y.values().to_vec()).collect();
        assert_eq!(values, found.outputs, "inference");
        found
    }

    fn upstream(&self, output: usize, len: usize) -> Vec<f32> {
        if self.is_root { vec![1.0; len] } else { wave(len, 100 + 10 * output) }
    }

    fn compare(&self, name: &str, gradient: &[f32], op: Op<'_>, shift: impl Fn(&mut Case, usize, f32)) {
        let scale = gradient.iter().fold(1f64, |max, d| max.max(f64::from(d.abs())));
        for (i, &found) in gradient.iter().enumerate() {
            let at = |steps: f32| {
                let mut shifted = self.clone();
                shift(&mut shifted, i, steps * STEP);
                shifted.objective(op)
            };
            let expected = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * f64::from(STEP));
            let difference = (f64::from(found) - expected).abs();
            assert!(difference <= 1e-4 * scale, "{name}, value {i}: gradient {found}, finite difference {expected}");
        }
    }

    /// Σ upstream · output, in f64.
    fn objective(&self, op: Op<'_>) -> f64 {
        let mut grads = Grads::zeros(&self.params);
        let mut g = Graph::train(&self.params, &mut grads, &Pool::new(), SEED);
        let leaves: Vec<Tensor> = self.leaves.iter().map(|(values, dims)| g.constant(values, dims)).collect();
        let outputs = op(&mut g, &leaves, &self.weights);
        let products = outputs.iter().enumerate().map(|(k, y)| {
            let upstream = self.upstream(k, y.len());
            y.values().iter().zip(upstream).map(|(y, d)| f64::from(*y) * f64::from(d)).sum::<f64>()
        });
        products.sum()
    }
}
