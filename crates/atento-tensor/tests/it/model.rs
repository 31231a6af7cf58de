//! A causal language model of a few post-norm layers, straight from the ops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, AttentionInput, AttentionSpec, Positions, Segment, WeightLayout};
use atento_tensor::{Grads, Graph, Init, Params, Pool, Tensor, Weight};

static TURN: Mutex<()> = Mutex::new(());

/// Waits until no other test of this binary runs.
pub fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_ff: usize,
    pub n_layers: usize,
}

#[derive(Clone, Copy)]
struct Dense {
    weight: Weight,
    bias: Weight,
}

#[derive(Clone, Copy)]
struct Layer {
    qkv: Dense,
    out: Dense,
    first_norm: Dense,
    inner: Dense,
    outer: Dense,
    second_norm: Dense,
}

/// The model with its gradients and its pool.
pub struct Model {
    pub params: Params,
    pub grads: Grads,
    pub pool: Pool,
    pub checkpointed: bool,
    table: Weight,
    layers: Vec<Layer>,
    spec: AttentionSpec,
    positions: Positions,
}

const LONGEST: usize = 64;
const DROPOUT: f32 = 0.1;

impl Dense {
    fn init(params: &mut Params, name: &str, inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let weight = params.add(&format!("{name}.weight"), &[outputs, inputs], Init::Xavier, rng);
        Self { weight, bias: params.add(&format!("{name}.bias"), &[outputs], Init::Zeros, rng) }
    }

    fn init_norm(params: &mut Params, name: &str, width: usize, rng: &mut Rng) -> Self {
        let weight = params.add(&format!("{name}.weight"), &[width], Init::Ones, rng);
        Self { weight, bias: params.add(&format!("{name}.bias"), &[width], Init::Zeros, rng) }
    }

    fn forward(self, g: &mut Graph<'_>, x: &Tensor, activation: Activation) -> Tensor {
        g.linear(x, self.weight, WeightLayout::OutIn, Some(self.bias), activation)
    }
}

impl Layer {
    fn init(params: &mut Params, name: &str, sizes: Sizes, rng: &mut Rng) -> Self {
        let (d_model, d_ff) = (sizes.d_model, sizes.d_ff);
        Self {
            qkv: Dense::init(params, &format!("{name}.qkv"), d_model, 3 * d_model, rng),
            out: Dense::init(params, &format!("{name}.out"), d_model, d_model, rng),
            first_norm: Dense::init_norm(params, &format!("{name}.first_norm"), d_model, rng),
            inner: Dense::init(params, &format!("{name}.inner"), d_model, d_ff, rng),
            outer: Dense::init(params, &format!("{name}.outer"), d_ff, d_model, rng),
            second_norm: Dense::init_norm(params, &format!("{name}.second_norm"), d_model, rng),
        }
    }

    fn forward(&self, g: &mut Graph<'_>, x: &Tensor, spec: AttentionSpec, segments: &Arc<[Segment]>) -> Tensor {
        let qkv = self.qkv.forward(g, x, Activation::Identity);
        let context = g.attention(spec, AttentionInput::Packed(&qkv), None, segments);
        let branch = self.out.forward(g, &context, Activation::Identity);
        let norm = self.first_norm;
        let (_, x) = g.residual_norm(x, &branch, DROPOUT, norm.weight, Some(norm.bias), 1e-5);
        let hidden = self.inner.forward(g, &x, Activation::Gelu);
        let hidden = g.dropout(&hidden, DROPOUT);
        let branch = self.outer.forward(g, &hidden, Activation::Identity);
        let norm = self.second_norm;
        g.residual_norm(&x, &branch, DROPOUT, norm.weight, Some(norm.bias), 1e-5).1
    }
}

impl Model {
    pub fn new(sizes: Sizes) -> Self {
        let (mut params, mut rng) = (Params::new(), Rng::new(1, 0));
        let table = params.add("table", &[sizes.vocab_size, sizes.d_model], Init::Normal(0.1), &mut rng);
        let layers =
            (0..sizes.n_layers).map(|i| Layer::init(&mut params, &format!("layers.{i}"), sizes, &mut rng)).collect();
        let positions: Vec<f32> = (0..LONGEST * sizes.d_model).map(|_| rng.normal() * 0.1).collect();
        Self {
            grads: Grads::zeros(&params),
            params,
            pool: Pool::new(),
            checkpointed: false,
            table,
            layers,
            spec: AttentionSpec::new(4, sizes.d_model / 4, true, DROPOUT),
            positions: Positions::Fixed(positions.into()),
        }
    }

    /// Forward, backward and a step of plain gradient descent over sequences of these lengths; the loss of a token.
    pub fn train(&mut self, lengths: &[usize], seed: u64) -> f64 {
        self.grads.values.fill(0.0);
        let tokens: usize = lengths.iter().sum();
        let ids: Vec<u32> = (0..tokens).map(|i| ((i * i + 7 * i) % self.table.rows) as u32).collect();
        let position_ids: Vec<u32> = lengths.iter().flat_map(|&length| 0..length as u32).collect();
        let targets: Vec<Option<u32>> = (0..tokens).map(|i| ids.get(i + 1).copied()).collect();
        let mut g = Graph::train(&self.params, &mut self.grads, &self.pool, seed);
        let x = g.embedding(self.table, &ids, 1.0, None);
        let x = g.add_positions(&x, &self.positions, &position_ids);
        let mut x = g.dropout(&x, DROPOUT);
        let (segments, spec) = (segments(lengths), self.spec);
        for layer in &self.layers {
            x = if self.checkpointed {
                let (layer, segments) = (*layer, Arc::clone(&segments));
                g.checkpoint(&[&x], move |g, x| layer.forward(g, &x[0], spec, &segments))
            } else {
                layer.forward(&mut g, &x, spec, &segments)
            };
        }
        let measured = g.cross_entropy(&x, self.table, None, &targets, 0.1, 1.0 / tokens as f32);
        drop(x);
        g.backward(&measured.loss);
        drop(g);
        let values = self.params.values_mut().iter_mut().zip(&self.grads.values);
        values.for_each(|(value, gradient)| *value -= 0.1 * gradient);
        measured.loss_sum / measured.n_targets as f64
    }
}

fn segments(lengths: &[usize]) -> Arc<[Segment]> {
    let mut start = 0;
    lengths
        .iter()
        .map(|&len| {
            start += len;
            Segment { query_start: start - len, query_len: len, key_start: start - len, key_len: len }
        })
        .collect()
}
