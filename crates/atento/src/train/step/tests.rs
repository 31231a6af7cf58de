//! A model with two losses: a token has a colour, and some tokens have a shape.

use atento_kernels::philox::Rng;
use atento_tensor::{Init, Weight};

use super::*;
use crate::train::recipe::OptimizerSettings;

struct Toy {
    params: Params,
    table: Weight,
    colours: Weight,
    shapes: Weight,
}

#[derive(Clone)]
struct Tokens {
    ids: Vec<u32>,
    colours: Vec<Option<u32>>,
    shapes: Vec<Option<u32>>,
}

const SHAPE_WEIGHT: f32 = 0.25;

impl Toy {
    fn new() -> Self {
        let (mut params, rng) = (Params::new(), &mut Rng::new(5, 0));
        let mut add = |name: &str, rows: usize| params.add(name, &[rows, 4], Init::Normal(1.0), rng);
        let (table, colours, shapes) = (add("table", 6), add("colours", 3), add("shapes", 5));
        Self { params, table, colours, shapes }
    }
}

impl Trainable for Toy {
    type Batch = Tokens;

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn load_frozen(&mut self, _: &Path) -> Result<(), pipelines::LoadError> {
        Ok(())
    }

    fn losses(&self, g: &mut Graph<'_>, batch: &Tokens, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy> {
        let states = g.embedding(self.table, &batch.ids, 1.0, None);
        let heads = [(self.colours, &batch.colours), (self.shapes, &batch.shapes)];
        let loss = |((head, targets), scale): ((Weight, &Vec<Option<u32>>), &f32)| {
            g.cross_entropy(&states, head, None, targets, smoothing, *scale)
        };
        heads.into_iter().zip(scales).map(loss).collect()
    }
}

impl TrainBatch for Tokens {
    fn losses(&self) -> Vec<LossInfo> {
        let loss = |name, targets: &[Option<u32>], weight| LossInfo {
            name,
            targets: targets.iter().flatten().count(),
            weight,
        };
        vec![loss("colour", &self.colours, 1.0), loss("shape", &self.shapes, SHAPE_WEIGHT)]
    }

    fn rows(&self) -> [usize; 2] {
        [self.ids.len(), 0]
    }

    fn samples(&self) -> Vec<u64> {
        vec![1]
    }
}

/// Seven tokens: all but one have a colour, and the first and the last a shape.
fn batch() -> Tokens {
    let colours = vec![Some(0), Some(2), None, Some(1), Some(1), Some(0), Some(2)];
    let shapes = vec![Some(4), None, None, None, None, None, Some(0)];
    Tokens { ids: vec![0, 1, 2, 3, 4, 5, 0], colours, shapes }
}

fn cut(batch: &Tokens, ends: &[usize]) -> Vec<Tokens> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let part = |(start, end): (usize, usize)| Tokens {
        ids: batch.ids[start..end].to_vec(),
        colours: batch.colours[start..end].to_vec(),
        shapes: batch.shapes[start..end].to_vec(),
    };
    starts.zip(ends.iter().copied()).map(part).collect()
}

const OPTIONS: StepOptions = StepOptions { smoothing: 0.0, clip_norm: 0.0, seed: 1, precision: Precision::F32 };

fn measured(batches: &[Tokens]) -> (f64, Vec<f32>) {
    let (toy, pool) = (Toy::new(), Pool::new());
    let mut grads = Grads::zeros(&toy.params);
    let (loss, _) = gradients(&toy, &mut grads, &pool, batches, 1, &OPTIONS);
    (loss, grads.values)
}

#[test]
fn each_loss_is_the_mean_over_its_own_targets_of_the_whole_step_however_it_is_cut() {
    let (whole, expected) = measured(&[batch()]);
    // The parts have 1 to 3 colours and 0 or 1 shapes; one has nothing to predict.
    for ends in [&[7][..], &[2, 7], &[2, 3, 4, 7], &[1, 6, 7]] {
        let (loss, found) = measured(&cut(&batch(), ends));
        assert!((loss - whole).abs() < 1e-6, "{ends:?}: {loss}, in one batch {whole}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{ends:?}: {found}, in one batch {expected}");
        }
    }
}

#[test]
fn the_loss_is_the_weighted_sum_and_a_loss_without_targets_adds_nothing() {
    let none = |targets: &Vec<Option<u32>>| vec![None; targets.len()];
    let (all, colours, shapes) = (batch(), batch(), batch());
    let colours = Tokens { shapes: none(&colours.shapes), ..colours };
    let shapes = Tokens { colours: none(&shapes.colours), ..shapes };
    let [(all, all_grads), (colour, colour_grads), (shape, shape_grads)] =
        [all, colours, shapes].map(|one| measured(&[one]));
    assert!((all - colour - shape).abs() < 1e-6, "{all} = {colour} + {shape}");
    for ((all, colour), shape) in all_grads.iter().zip(&colour_grads).zip(&shape_grads) {
        assert!((all - colour - shape).abs() < 1e-6, "{all} = {colour} + {shape}");
    }
    // By hand: the mean over the two shapes, times its weight.
    let toy = Toy::new();
    let mut g = Graph::infer(&toy.params, &Pool::new());
    let states = g.embedding(toy.table, &batch().ids, 1.0, None);
    let sum = g.cross_entropy(&states, toy.shapes, None, &batch().shapes, 0.0, 1.0).nll_sum;
    assert!((shape - f64::from(SHAPE_WEIGHT) * sum / 2.0).abs() < 1e-9);
}

#[test]
fn steps_on_both_losses_bring_both_down() {
    let (mut toy, pool) = (Toy::new(), Pool::new());
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), &toy.params);
    let mut grads = Grads::zeros(&toy.params);
    let each = |toy: &Toy| {
        let mut g = Graph::infer(&toy.params, &Pool::new());
        let losses = toy.losses(&mut g, &batch(), 0.0, &[1.0, 1.0]);
        [losses[0].nll_sum, losses[1].nll_sum]
    };
    let before = each(&toy);
    for step in 1..=60 {
        train_step(&mut toy, &mut optimizer, &mut grads, &pool, &[batch()], step, 0.03, &OPTIONS).unwrap();
    }
    // One token is there twice, with two colours and two shapes: of each, two guesses of even chance remain.
    let (after, least) = (each(&toy), 2.0 * 2f64.ln());
    assert!(before.iter().all(|before| *before > 1.5 * least), "{before:?}");
    assert!(after.iter().all(|after| *after < least + 0.02), "{after:?}");
}
