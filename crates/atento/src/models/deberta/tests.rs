//! Checks of DeBERTa that need no recorded numbers.

use std::sync::Arc;

use super::*;
use crate::families::Head;
use crate::families::heads::{Headed as HeadedConfig, Objective};
use crate::models::Headed;
use crate::models::trunk::tests::check_rows;
use atento_tensor::{Grads, Pool};

fn configs() -> Vec<DebertaConfig> {
    let third = DebertaConfig { buckets: Some(8), pad_id: Some(0), ..DebertaConfig::new(40, 2, 16, 2, 20) };
    let second = DebertaConfig {
        convolution: Some(Convolution { kernel: 3, activation: "gelu".into() }),
        embedding_size: 8,
        absolute_positions: true,
        token_types: 2,
        shares_projections: false,
        ..third.clone()
    };
    vec![third, second]
}

fn model(trunk: &DebertaConfig, head: Head, start: Start) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into()] } else { Vec::new() };
    let trunk: Arc<dyn Config> = Arc::new(trunk.clone());
    Headed::build(HeadedConfig::new(&trunk, head, labels, Objective::Classification).unwrap(), start)
}

#[test]
fn states_of_some_tokens_are_those_among_all() {
    let [third, second] = configs().try_into().expect("two");
    let single = DebertaConfig { layers: 1, ..second.clone() };
    for config in [third, second, single] {
        for checkpoint in [false, true] {
            let mut trunk = Deberta::build(config.clone(), Start::Random(3));
            trunk.checkpoint_activations(checkpoint);
            check_rows(&mut trunk);
        }
    }
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

#[test]
fn every_parameter_gets_a_gradient_and_recomputing_changes_none() {
    let (ids, types) = ([5, 6, 7, 2, 8, 9, 3], [0, 0, 1, 1, 0, 0, 1]);
    for config in configs() {
        let config = DebertaConfig { dropout: 0.0, attention_dropout: 0.0, ..config };
        let type_ids = (config.token_types > 1).then_some(&types[..]);
        let texts = Texts { ids: &ids, type_ids, cu_seqlens: &[0, 4, 7] };
        let gradients = |checkpoint: bool| {
            let mut model = model(&config, Head::Labels, Start::Random(3));
            model.trunk.checkpoint_activations(checkpoint);
            let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
            let mut g = Graph::train(model.params(), &mut grads, &pool, 0);
            let states = model.states(&mut g, texts);
            let loss = model.text_loss(&mut g, &states, texts, &[Some(1), Some(0)], 0.0, 1.0).loss;
            g.backward(&loss);
            drop((g, states, loss));
            for entry in model.params().entries() {
                let gradient = grads.get(entry.weight);
                assert!(gradient.iter().all(|x| x.is_finite()), "{}", entry.name);
                // Keys of contents shift all scores of a query alike.
                let has_none = entry.name.ends_with("key_proj.bias") && !config.shares_projections;
                assert!(has_none || gradient.iter().any(|x| *x != 0.0), "{}", entry.name);
            }
            grads.values
        };
        let (kept, computed) = (gradients(false), gradients(true));
        for (a, b) in kept.iter().zip(&computed) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "{a} and {b}");
        }
    }
}

#[test]
fn a_text_alone_and_beside_others_is_the_same() {
    for config in configs() {
        let model = model(&config, Head::Labels, Start::Random(3));
        let logits = |ids: &[u32], bounds: &[u32]| {
            let g = &mut Graph::infer(model.params(), &Pool::new());
            let texts = Texts::of(ids, bounds);
            let states = model.states(g, texts);
            model.of_texts(g, &states, texts).values().to_vec()
        };
        let together = logits(&[5, 6, 7, 8, 9, 3, 4], &[0, 4, 7]);
        let alone = [logits(&[5, 6, 7, 8], &[0, 4]), logits(&[9, 3, 4], &[0, 3])].concat();
        for (a, b) in together.iter().zip(&alone) {
            assert!((a - b).abs() < 1e-5, "{together:?} and {alone:?}");
        }
    }
}
