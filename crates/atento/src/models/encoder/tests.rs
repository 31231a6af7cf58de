//! Checks of the encoder that need no recorded numbers.

use std::sync::Arc;

use super::*;
use crate::families::Head;
use crate::families::heads::{Headed as HeadedConfig, Objective};
use crate::models::Headed;
use crate::models::trunk::tests::{check_rows, put_prompt};
use crate::models::virtual_tokens::prompt_rows;
use atento_tensor::{Grads, Pool};

fn model(trunk: EncoderConfig, head: Head, start: Start) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into()] } else { Vec::new() };
    let trunk: Arc<dyn Config> = Arc::new(trunk);
    Headed::build(HeadedConfig::new(&trunk, head, labels, Objective::Classification).unwrap(), start)
}

fn configs() -> Vec<EncoderConfig> {
    let bert = EncoderConfig { pad_id: Some(0), ..EncoderConfig::new(40, 2, 16, 2, 12) };
    let roberta =
        EncoderConfig { kind: Kind::Roberta, token_types: 1, first_position: 2, pad_id: Some(1), ..bert.clone() };
    let electra = EncoderConfig { kind: Kind::Electra, embedding_size: 8, ..bert.clone() };
    let distilled = EncoderConfig { kind: Kind::DistilBert, token_types: 0, ..bert.clone() };
    let untied = EncoderConfig { tie_embeddings: false, ..bert.clone() };
    vec![bert, roberta, electra, distilled, untied]
}

#[test]
fn the_table_has_the_parameters_of_the_configuration() {
    for config in configs() {
        for head in config.family().heads() {
            for start in [Start::Random(1), Start::Unloaded, Start::Outline] {
                let model = model(config.clone(), *head, start);
                let entries = model.params().entries();
                let found: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect();
                assert_eq!(found, model.config.parameters(), "{:?} {head:?}", config.kind);
            }
        }
    }
}

#[test]
fn every_parameter_that_a_head_reads_gets_a_gradient() {
    let (ids, types) = ([5, 6, 7, 2, 8, 9, 3], [0, 0, 1, 1, 0, 0, 1]);
    for config in configs() {
        let config = EncoderConfig { dropout: 0.0, attention_dropout: 0.0, ..config };
        let type_ids = (config.token_types > 1).then_some(&types[..]);
        let texts = Texts { ids: &ids, type_ids, cu_seqlens: &[0, 4, 7] };
        for head in config.family().heads().iter().filter(|head| **head != Head::States) {
            let model = model(config.clone(), *head, Start::Random(3));
            let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
            let mut g = Graph::train(model.params(), &mut grads, &pool, 0);
            let states = model.states(&mut g, texts);
            let mut losses = Vec::new();
            if matches!(head, Head::Labels | Head::Pretraining) {
                losses.push(model.text_loss(&mut g, &states, texts, &[Some(1), Some(0)], 0.0, 1.0).loss);
            }
            if *head == Head::Choice {
                let logits = model.of_texts(&mut g, &states, texts);
                losses.push(g.squared_error(&logits, &[1.0, -1.0], 1.0));
            }
            if matches!(head, Head::Words | Head::Pretraining | Head::Tags | Head::Span) {
                losses.push(model.token_loss(&mut g, &states, &[1, 5], &[Some(1), Some(0)], 0.0, 1.0).loss);
            }
            g.backward_all(&losses);
            drop((g, states, losses));
            for entry in model.params().entries() {
                let gradient = grads.get(entry.weight);
                assert!(gradient.iter().all(|x| x.is_finite()), "{head:?}: {}", entry.name);
                // A key's bias shifts all scores of a query alike.
                let has_none = entry.name.ends_with("self.key.bias");
                assert!(has_none || gradient.iter().any(|x| *x != 0.0), "{:?} {head:?}: {}", config.kind, entry.name);
            }
        }
    }
}

#[test]
fn states_of_some_tokens_are_those_among_all() {
    for config in configs() {
        for checkpoint in [false, true] {
            let mut trunk = Encoder::build(config.clone(), Start::Random(3));
            trunk.checkpoint_activations(checkpoint);
            check_rows(&mut trunk);
        }
    }
}

#[test]
fn padding_takes_no_place_where_positions_leave_it_out() {
    let states = |config: &EncoderConfig, ids: &[u32]| {
        let model = model(config.clone(), Head::States, Start::Random(3));
        let bounds = [0, ids.len() as u32];
        let g = &mut Graph::infer(model.params(), &Pool::new());
        model.trunk.all_states(g, Texts::of(ids, &bounds))[0].values().to_vec()
    };
    let roberta = &configs()[1];
    let (with, without) = (states(roberta, &[5, 1, 6]), states(roberta, &[5, 6]));
    assert_eq!((&with[..16], &with[32..]), (&without[..16], &without[16..]));
    let bert = &configs()[0];
    assert_ne!(states(bert, &[5, 0, 6])[32..], states(bert, &[5, 6])[16..]);
}

#[test]
#[should_panic(expected = "a text longer than 12 tokens")]
fn a_text_longer_than_the_positions_is_refused() {
    let model = model(configs()[0].clone(), Head::States, Start::Random(3));
    let _ = model.states(&mut Graph::infer(model.params(), &Pool::new()), Texts::of(&[5; 13], &[0, 13]));
}

/// A prompt's rows count among those of a step, so that a text drops alone what it drops among others.
#[test]
fn what_is_dropped_behind_a_prompt_does_not_depend_on_how_a_step_is_cut() {
    for config in configs() {
        let mut trunk = Encoder::build(config, Start::Random(3));
        put_prompt(&mut trunk);
        let states = |ids: &[u32], cu_seqlens: &[u32], before: usize| {
            let (pool, mut grads) = (Pool::new(), Grads::zeros(trunk.params()));
            let mut g = Graph::train(trunk.params(), &mut grads, &pool, 7);
            g.set_rows_before([before as u64, 0]);
            trunk.encode(&mut g, Texts::of(ids, cu_seqlens), &mut |_| ()).values().to_vec()
        };
        let (ids, before) = ([5, 6, 7, 2, 8, 9, 3], 4 + prompt_rows(trunk.params(), &[0, 4]));
        let (both, second) = (states(&ids, &[0, 4, 7], 0), states(&ids[4..], &[0, 3], before));
        assert!(both[4 * 16..].iter().zip(&second).all(|(x, y)| (x - y).abs() < 1e-5));
    }
}
