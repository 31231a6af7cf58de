//! Checks of ModernBERT that need no recorded numbers.

use std::sync::Arc;

use super::*;
use crate::families::Head;
use crate::families::heads::{Headed as HeadedConfig, Objective};
use crate::models::Headed;
use crate::models::modernbert::config::local_blocks;
use atento_tensor::Grads;

/// One as published but for its sizes, and one with all biases, and a head of masked words without its transform.
fn configs() -> [ModernBertConfig; 2] {
    let plain = ModernBertConfig { pad_id: Some(0), local_window: 4, ..ModernBertConfig::new(40, 4, 16, 2, 20) };
    let other = ModernBertConfig {
        local: vec![true, true, false, true],
        norm_bias: true,
        attention_bias: true,
        mlp_bias: true,
        head_bias: true,
        head_transform: false,
        mean_pooling: true,
        tie_embeddings: false,
        ..plain.clone()
    };
    [plain, other]
}

fn model(trunk: &ModernBertConfig, head: Head, start: Start) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into()] } else { Vec::new() };
    let trunk: Arc<dyn Config> = Arc::new(trunk.clone());
    Headed::build(HeadedConfig::new(&trunk, head, labels, Objective::Classification).unwrap(), start)
}

#[test]
fn the_table_has_the_parameters_of_the_configuration() {
    for config in configs() {
        for head in config.family().heads() {
            for start in [Start::Random(1), Start::Unloaded, Start::Outline] {
                let model = model(&config, *head, start);
                let entries = model.params().entries();
                let found: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect();
                assert_eq!(found, model.config.parameters(), "{head:?}");
            }
        }
    }
}

/// The loss of a head's outputs and its gradients.
fn gradients(config: &ModernBertConfig, head: Head, checkpoint: bool, seed: u64) -> (Headed, Grads) {
    let ids = [5, 6, 7, 2, 8, 9, 3, 11, 12, 13, 14];
    let texts = Texts::of(&ids, &[0, 7, 11]);
    let mut model = model(config, head, Start::Random(3));
    model.trunk.checkpoint_activations(checkpoint);
    let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
    let mut g = Graph::train(model.params(), &mut grads, &pool, seed);
    let states = model.states(&mut g, texts);
    let targets = [Some(1), Some(0)];
    let mut losses = Vec::new();
    if matches!(head, Head::Labels | Head::Pretraining) {
        losses.push(model.text_loss(&mut g, &states, texts, &targets, 0.0, 1.0).loss);
    }
    if head == Head::Choice {
        let logits = model.of_texts(&mut g, &states, texts);
        losses.push(g.squared_error(&logits, &[1.0, -1.0], 1.0));
    }
    if !matches!(head, Head::Labels | Head::Choice) {
        losses.push(model.token_loss(&mut g, &states, &[1, 8], &targets, 0.0, 1.0).loss);
    }
    g.backward_all(&losses);
    drop((g, states, losses));
    (model, grads)
}

#[test]
fn every_parameter_that_a_head_reads_gets_a_gradient() {
    for config in configs() {
        for head in config.family().heads().iter().filter(|head| **head != Head::States) {
            let (model, grads) = gradients(&config, *head, false, 0);
            for entry in model.params().entries() {
                let gradient = grads.get(entry.weight);
                assert!(gradient.iter().all(|x| x.is_finite()), "{head:?}: {}", entry.name);
                assert!(gradient.iter().any(|x| *x != 0.0), "{head:?}: {}", entry.name);
            }
        }
    }
}

#[test]
fn recomputing_blocks_changes_no_gradient() {
    for config in configs() {
        let dropping =
            ModernBertConfig { dropout: 0.2, attention_dropout: 0.3, embedding_dropout: 0.1, ..config.clone() };
        for config in [config, dropping] {
            let [kept, again] = [false, true].map(|checkpoint| gradients(&config, Head::Words, checkpoint, 7).1);
            let largest = kept.values.iter().fold(0f32, |max, x| max.max(x.abs()));
            let difference = kept.values.iter().zip(&again.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 1e-6 * largest, "{difference} of {largest}");
        }
    }
}

#[test]
fn a_local_block_sees_half_the_window_on_each_side() {
    let [plain, _] = configs();
    let config = ModernBertConfig { layers: 1, local: vec![true], ..plain };
    let model = model(&config, Head::States, Start::Random(3));
    let states = |ids: &[u32]| {
        let bounds = [0, ids.len() as u32];
        let g = &mut Graph::infer(model.params(), &Pool::new());
        model.states(g, Texts::of(ids, &bounds)).values().to_vec()
    };
    let whole: Vec<u32> = (5..16).collect();
    let (mut other, before) = (whole.clone(), states(&whole));
    other[5] = 30;
    for (at, (before, after)) in before.chunks(16).zip(states(&other).chunks(16)).enumerate() {
        assert_eq!(before != after, (3..=7).contains(&at), "token {at}");
    }
}

#[test]
fn every_so_many_blocks_one_is_global() {
    let plain = |layers: usize, every: usize| ModernBertConfig {
        local: local_blocks(layers, every),
        ..ModernBertConfig::new(40, layers, 16, 2, 20)
    };
    assert_eq!(plain(7, 3).local, [false, true, true, false, true, true, false]);
    assert_eq!(
        (plain(7, 3).global_every(), plain(7, 1).global_every(), plain(2, 9).global_every()),
        (Some(3), Some(1), Some(2))
    );
    assert_eq!(configs()[1].global_every(), None);
}

#[test]
#[should_panic(expected = "a text longer than 20 tokens")]
fn a_text_longer_than_the_positions_is_refused() {
    let model = model(&configs()[0], Head::States, Start::Random(3));
    let _ = model.states(&mut Graph::infer(model.params(), &Pool::new()), Texts::of(&[5; 21], &[0, 21]));
}
