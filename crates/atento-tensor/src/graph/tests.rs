use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;
use atento_kernels::philox::Rng;

use super::Graph;
use crate::{Grads, Init, NonFinite, Params, Pool, Tensor, Weight};

/// A square weight and a bias.
fn parameters(width: usize) -> (Params, Weight, Weight) {
    let (mut params, mut rng) = (Params::new(), Rng::new(4, 0));
    let weight = params.add("weight", &[width, width], Init::Xavier, &mut rng);
    let bias = params.add("bias", &[width], Init::Uniform(0.5), &mut rng);
    (params, weight, bias)
}

/// A graph with gradients that outlives nothing else: for ops without parameters.
fn with_graph<R>(pool: &Pool, body: impl FnOnce(&mut Graph<'_>) -> R) -> R {
    let params = Params::new();
    let mut grads = Grads::zeros(&params);
    body(&mut Graph::train(&params, &mut grads, pool, 7))
}

/// The gradients of `wanted` when every value of `y` has upstream gradient 1.
fn gradients(g: &mut Graph<'_>, y: &Tensor, wanted: &[&Tensor]) -> Vec<Vec<f32>> {
    let ones = g.pool().copy_of(&vec![1.0; y.len()]);
    g.backward_from(vec![(y.clone(), ones)], wanted).iter().map(|d| d.f32().to_vec()).collect()
}

#[test]
fn a_tensor_used_several_times_receives_every_gradient() {
    with_graph(&Pool::new(), |g| {
        let x = g.variable(&[1.0, -2.0, 3.0], &[3]);
        let (square, triple) = (g.mul(&x, &x), g.scale(&x, 3.0));
        let sum = g.add(&square, &triple);
        let y = g.add(&sum, &x);
        assert_eq!(gradients(g, &y, &[&x]), [[6.0, 0.0, 10.0]]);
    });
}

#[test]
fn what_depends_on_constants_alone_is_not_recorded() {
    with_graph(&Pool::new(), |g| {
        let c = g.constant(&[1.0, 2.0], &[2]);
        let (a, b) = (g.mul(&c, &c), g.scale(&c, 2.0));
        let d = g.add(&a, &b);
        let e = g.dropout(&d, 0.5);
        assert!(e.node().is_none() && g.recorded_ops().is_empty());
        let x = g.variable(&[5.0, 7.0], &[2]);
        let y = g.mul(&x, &c);
        assert_eq!(g.recorded_ops(), ["mul"]);
        assert_eq!(gradients(g, &y, &[&x]), [[1.0, 2.0]]);
    });
}

#[test]
fn gradients_stop_where_a_tensor_is_cut_from_the_tape() {
    with_graph(&Pool::new(), |g| {
        let x = g.variable(&[2.0, 3.0], &[2]);
        let square = g.mul(&x, &x);
        let y = g.mul(&square.detached(), &x);
        assert_eq!(gradients(g, &y, &[&x]), [[4.0, 9.0]]);
    });
}

#[test]
fn a_leaf_that_nothing_used_has_gradient_zero() {
    with_graph(&Pool::new(), |g| {
        let (x, unused) = (g.variable(&[2.0], &[1]), g.variable(&[1.0, 1.0], &[2]));
        let _ignored = g.scale(&unused, 3.0);
        let y = g.scale(&x, 4.0);
        assert_eq!(gradients(g, &y, &[&x, &unused]), [vec![4.0], vec![0.0, 0.0]]);
    });
}

#[test]
fn a_reshaped_tensor_is_the_same_on_the_tape() {
    with_graph(&Pool::new(), |g| {
        let x = g.variable(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
        let y = g.mul(&x.reshaped(&[4]), &x.reshaped(&[4]));
        assert_eq!(gradients(g, &y.reshaped(&[1, 4]), &[&x]), [[2.0, 4.0, 6.0, 8.0]]);
    });
}

#[test]
fn two_passes_add_their_gradients() {
    let (params, weight, bias) = parameters(3);
    let mut grads = Grads::zeros(&params);
    let mut once = Vec::new();
    for pass in 1..=2 {
        let mut g = Graph::train(&params, &mut grads, &Pool::new(), 0);
        let x = g.variable(&[0.5, -1.0, 2.0], &[1, 3]);
        let y = g.linear(&x, weight, WeightLayout::OutIn, Some(bias), Activation::Identity);
        gradients(&mut g, &y, &[]);
        drop(g);
        if pass == 1 {
            once = grads.values.clone();
        }
    }
    assert_eq!(grads.values, once.iter().map(|d| 2.0 * d).collect::<Vec<_>>());
    assert!(once.iter().any(|&d| d != 0.0));
}

/// Twenty activations keep their twenty inputs; the backward needs the gradient it reads and the one it writes beside
/// them, and gives a buffer back for each it takes.
#[test]
fn the_backward_frees_activations_as_it_goes() {
    const LEN: usize = 4096;
    let pool = Pool::new();
    with_graph(&pool, |g| {
        let mut x = g.variable(&[0.1; LEN], &[LEN]);
        for _ in 0..20 {
            x = g.activation(&x, Activation::Silu);
        }
        assert_eq!(pool.stats().live_bytes, 21 * 4 * LEN);
        let ones = pool.copy_of(&[1.0; LEN]);
        let _ = g.backward_from(vec![(x, ones)], &[]);
        assert_eq!(pool.stats().live_bytes, 0);
        assert!(pool.stats().peak_bytes <= 23 * 4 * LEN, "{} buffers", pool.stats().peak_bytes / 4 / LEN);
    });
}

#[test]
fn the_first_value_that_is_not_finite_is_named_with_its_module() {
    let params = Params::new();
    for (value, expected) in [(1e38, Some(("scale", "layers.1"))), (1.0, None)] {
        let mut g = Graph::infer(&params, &Pool::new());
        g.check_finite();
        let mut x = g.constant(&[value, 1.0], &[2]);
        for i in 0..3 {
            g.label(|| format!("layers.{i}"));
            x = g.scale(&x, 3.0);
        }
        let expected = expected.map(|(op, module)| NonFinite { op, module: module.into() });
        assert_eq!(g.non_finite(), expected.as_ref());
    }
}

#[test]
#[should_panic(expected = "the loss has 2 values")]
fn a_loss_is_a_scalar() {
    with_graph(&Pool::new(), |g| {
        let x = g.variable(&[1.0, 2.0], &[2]);
        g.backward(&x);
    });
}

/// Two layers with dropout, each perhaps checkpointed: the output, the leaf's gradient, the parameters' gradients.
fn dropped_layers(checkpointed: bool, constant: bool) -> (Vec<f32>, Vec<Vec<f32>>, Vec<f32>) {
    let (params, weight, bias) = parameters(8);
    let mut grads = Grads::zeros(&params);
    let mut g = Graph::train(&params, &mut grads, &Pool::new(), 11);
    let values: Vec<f32> = (0..24).map(|i| (i as f32).sin()).collect();
    let leaf = if constant { g.constant(&values, &[3, 8]) } else { g.variable(&values, &[3, 8]) };
    let layer = move |g: &mut Graph<'_>, x: &[Tensor]| {
        let hidden = g.linear(&x[0], weight, WeightLayout::OutIn, Some(bias), Activation::Gelu);
        let hidden = g.dropout(&hidden, 0.3);
        let sum = g.add(&hidden, &x[0]);
        g.dropout(&sum, 0.2)
    };
    let mut x = g.dropout(&leaf, 0.1);
    for _ in 0..2 {
        x = if checkpointed { g.checkpoint(&[&x], layer) } else { layer(&mut g, &[x]) };
    }
    let y = g.dropout(&x, 0.5);
    let wanted: &[&Tensor] = if constant { &[] } else { &[&leaf] };
    let dx = gradients(&mut g, &y, wanted);
    drop(g);
    (y.values().to_vec(), dx, grads.values)
}

#[test]
fn a_checkpoint_computes_the_same_bits_with_dropout() {
    for constant in [false, true] {
        assert_eq!(dropped_layers(true, constant), dropped_layers(false, constant));
    }
}

#[test]
fn a_checkpoint_keeps_its_inputs_and_output_alone() {
    const LEN: usize = 1024;
    let pool = Pool::new();
    with_graph(&pool, |g| {
        let x = g.variable(&[0.3; LEN], &[LEN]);
        let y = g.checkpoint(&[&x], |g, x| {
            let mut y = x[0].clone();
            for _ in 0..6 {
                y = g.activation(&y, Activation::Silu);
            }
            y
        });
        assert_eq!((pool.stats().live_bytes, g.recorded_ops()), (2 * 4 * LEN, vec!["checkpoint"]));
        let found = gradients(g, &y, &[&x]);
        drop((x, y));
        assert_eq!(pool.stats().live_bytes, 0);
        let x = g.variable(&[0.3; LEN], &[LEN]);
        let mut y = x.clone();
        for _ in 0..6 {
            y = g.activation(&y, Activation::Silu);
        }
        assert_eq!(gradients(g, &y, &[&x]), found);
    });
}

#[test]
fn checkpoints_take_several_inputs_and_lie_within_one_another() {
    let run = |nested: bool| {
        with_graph(&Pool::new(), |g| {
            let (a, b) = (g.variable(&[1.0, 2.0], &[2]), g.variable(&[3.0, 5.0], &[2]));
            let c = g.constant(&[7.0, 0.5], &[2]);
            let inner = |g: &mut Graph<'_>, x: &[Tensor]| {
                let dropped = g.dropout(&x[0], 0.5);
                let square = g.mul(&dropped, &x[0]);
                g.mul(&square, &x[1])
            };
            let outer = move |g: &mut Graph<'_>, x: &[Tensor]| {
                let product = if nested { g.checkpoint(&[&x[0], &x[1]], inner) } else { inner(g, &x[..2]) };
                let scaled = g.mul(&product, &x[2]);
                g.add(&scaled, &x[0])
            };
            let y = if nested { g.checkpoint(&[&a, &b, &c], outer) } else { outer(g, &[a.clone(), b.clone(), c]) };
            gradients(g, &y, &[&a, &b])
        })
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_checkpoint_may_return_its_input() {
    with_graph(&Pool::new(), |g| {
        let x = g.variable(&[2.0, 3.0], &[2]);
        let y = g.checkpoint(&[&x], |g, x| g.dropout(&x[0], 0.0));
        assert_eq!(gradients(g, &y, &[&x]), [[1.0, 1.0]]);
    });
}

#[test]
fn a_checkpoint_in_which_nothing_trains_is_not_recorded() {
    with_graph(&Pool::new(), |g| {
        let c = g.constant(&[2.0, 3.0], &[2]);
        let y = g.checkpoint(&[&c], |g, x| g.scale(&x[0], 2.0));
        assert_eq!((y.values(), y.node(), g.recorded_ops().len()), (&[4.0, 6.0][..], None, 0));
    });
}

#[test]
fn a_checkpoint_in_inference_is_its_body() {
    let params = Params::new();
    let mut g = Graph::infer(&params, &Pool::new());
    let x = g.constant(&[2.0, 3.0], &[2]);
    let y = g.checkpoint(&[&x], |g, x| g.dropout(&x[0], 0.9));
    assert_eq!((y.values(), g.recorded_ops().len()), (x.values(), 0));
}
