//! Steps of a small model: what the pool allocates, what a checkpoint saves, what threads change.

use crate::model::{Model, Sizes, alone};

const SMALL: Sizes = Sizes { vocab_size: 97, d_model: 32, d_ff: 80, n_layers: 2 };

#[test]
fn after_a_few_steps_the_pool_allocates_nothing_more() {
    let _alone = alone();
    let mut model = Model::new(SMALL);
    let first = model.train(&[9, 20, 3], 0);
    for step in 1..3 {
        model.train(&[9, 20, 3], step);
    }
    let warm = model.pool.stats();
    let last = (3..23).map(|step| model.train(&[9, 20, 3], step)).last().unwrap();
    assert_eq!(model.pool.stats().allocations, warm.allocations);
    assert_eq!(model.pool.stats().live_bytes, 0);
    assert!(last < first - 0.5, "the loss went from {first} to {last}");
}

/// Lengths of the sequences of a step, 90 to 120 tokens in all.
fn varying(step: usize) -> Vec<usize> {
    let mut lengths = vec![30; 3];
    lengths.push(step * 7 % 31);
    lengths.retain(|&length| length > 0);
    lengths
}

#[test]
fn batches_of_varying_size_share_their_buffers() {
    let _alone = alone();
    let mut model = Model::new(SMALL);
    for step in 0..31 {
        model.train(&varying(step), step as u64);
    }
    let warm = model.pool.stats();
    // The same sizes in another order.
    for step in 0..20 {
        model.train(&varying(step * 5 + 2), step as u64);
    }
    let stats = model.pool.stats();
    assert_eq!(stats.allocations, warm.allocations);
    // What the pool keeps is not much more than what the largest step needs at a time.
    assert!(2 * stats.held_bytes < 3 * stats.peak_bytes, "{stats:?}");
}

#[test]
fn checkpointed_layers_compute_the_same_bits_in_less_memory() {
    let _alone = alone();
    let sizes = Sizes { n_layers: 6, ..SMALL };
    let [kept, recomputed] = [false, true].map(|checkpointed| {
        let mut model = Model::new(sizes);
        model.checkpointed = checkpointed;
        let losses: Vec<f64> = (0..3).map(|step| model.train(&[60, 33, 1], step)).collect();
        (losses, model.grads.values, model.pool.stats().peak_bytes)
    });
    assert_eq!(kept.0, recomputed.0);
    assert!(kept.1 == recomputed.1, "gradients differ");
    assert!(recomputed.2 * 2 < kept.2, "{} bytes with checkpoints, {} without", recomputed.2, kept.2);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let _alone = alone();
    let sizes = Sizes { vocab_size: 1500, d_model: 128, d_ff: 512, n_layers: 1 };
    let [one, two, four] = [1, 2, 4].map(|n_threads| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        threads.install(|| {
            let mut model = Model::new(sizes);
            let losses: Vec<f64> = (0..2).map(|step| model.train(&[64; 9], step)).collect();
            (losses, model.params.values().to_vec())
        })
    });
    assert_eq!(one.0, two.0);
    assert_eq!(one.0, four.0);
    assert!(one.1 == two.1 && one.1 == four.1, "parameters differ after two steps");
}
