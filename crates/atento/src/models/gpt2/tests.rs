use super::*;
use crate::generate::StepDecoder;
use crate::models::{CachedCausal, Precision};
use atento_tensor::{Grads, Pool};

fn config() -> Gpt2Config {
    Gpt2Config::new(50, 2, 24, 3, 16)
}

/// Sequences of these lengths, packed.
fn packed(lengths: &[usize]) -> (Vec<u32>, Vec<u32>) {
    let n: usize = lengths.iter().sum();
    let ids = (0..n as u32).map(|i| (7 * i + 3) % 50).collect();
    let mut cu_seqlens = vec![0];
    lengths.iter().for_each(|length| cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + *length as u32));
    (ids, cu_seqlens)
}

#[test]
fn the_arena_has_the_parameters_of_the_configuration() {
    for config in [config(), Gpt2Config { tie_embeddings: false, d_ff: 40, ..config() }] {
        for model in [Gpt2::init(config.clone(), 1), Gpt2::unloaded(config.clone())] {
            let found: Vec<_> =
                model.params.entries().iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect();
            assert_eq!(found, config.parameters());
        }
    }
}

#[test]
fn weights_begin_as_the_paper_says() {
    let model = Gpt2::init(Gpt2Config::new(500, 8, 64, 4, 32), 1);
    let std = |name: &str| {
        let values = model.params.get(model.params.entry(name).unwrap().weight);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
    };
    for (name, expected) in [
        ("wte.weight", 0.02),
        ("wpe.weight", 0.02),
        ("h.3.attn.c_attn.weight", 0.02),
        ("h.3.mlp.c_fc.weight", 0.02),
        ("h.3.attn.c_proj.weight", 0.005),
        ("h.3.mlp.c_proj.weight", 0.005),
    ] {
        assert!((std(name) / expected - 1.0).abs() < 0.1, "{name}: {}", std(name));
    }
}

#[test]
fn without_biases_every_matrix_learns_and_no_bias_does() {
    let model = Gpt2::init(Gpt2Config { bias: false, ..config() }, 1);
    let (ids, cu_seqlens) = packed(&[9, 1, 16]);
    let targets: Vec<Option<u32>> = ids.iter().map(|&id| Some((id + 1) % 50)).collect();
    let mut grads = Grads::zeros(&model.params);
    let mut g = Graph::train(&model.params, &mut grads, &Pool::new(), 1);
    let loss = model.loss(&mut g, &ids, &cu_seqlens, &targets, 0.0, 1.0);
    g.backward(&loss.loss);
    drop(g);
    for entry in model.params.entries() {
        assert_eq!(entry.is_trained(), !entry.name.ends_with(".bias"), "{}", entry.name);
        if entry.is_trained() {
            let gradient = grads.get(entry.weight);
            let learns = gradient.iter().any(|&d| d != 0.0) && gradient.iter().all(|d| d.is_finite());
            assert!(learns, "{}", entry.name);
        }
    }
}

#[test]
fn a_sequence_does_not_see_its_neighbours_nor_what_follows() {
    let model = Gpt2::init(config(), 1);
    let (mut ids, cu_seqlens) = packed(&[5, 7]);
    let logits = |ids: &[u32]| {
        let logits = model.logits(&mut Graph::infer(&model.params, &Pool::new()), ids, &cu_seqlens);
        logits.values().to_vec()
    };
    let before = logits(&ids);
    ids[8] = (ids[8] + 1) % 50;
    let after = logits(&ids);
    assert_eq!(before[..8 * 50], after[..8 * 50]);
    assert!(before[8 * 50..].chunks(50).zip(after[8 * 50..].chunks(50)).all(|(a, b)| a != b));
}

#[test]
fn decoding_over_a_cache_gives_the_logits_of_the_whole_sequence() {
    let model = Gpt2::init(config(), 2);
    let (ids, cu_seqlens) = packed(&[6, 1, 11]);
    let pool = Pool::new();
    let whole = model.logits(&mut Graph::infer(&model.params, &pool), &ids, &cu_seqlens);
    // Prompts of all but the last three tokens (the short one whole), then token by token.
    let rows: Vec<&[u32]> = cu_seqlens.windows(2).map(|pair| &ids[pair[0] as usize..pair[1] as usize]).collect();
    for capacity in [0, 16] {
        let prompts: Vec<&[u32]> = rows.iter().map(|row| &row[..row.len().saturating_sub(3).max(1)]).collect();
        let mut decoder = CachedCausal::new(&model, &pool, &prompts, capacity);
        let mut live: Vec<usize> = vec![0, 1, 2];
        loop {
            let lengths = decoder.lengths().to_vec();
            let tokens: Vec<u32> = live.iter().zip(&lengths).map(|(&row, &at)| rows[row][at]).collect();
            let mut logits = vec![0.0; 50 * tokens.len()];
            decoder.step(&tokens, &mut logits);
            for ((&row, &at), logits) in live.iter().zip(&lengths).zip(logits.chunks(50)) {
                let expected = &whole.values()[(cu_seqlens[row] as usize + at) * 50..][..50];
                let difference = expected.iter().zip(logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-5, "row {row}, token {at}: {difference}");
            }
            // Finished rows leave; the others change places.
            let mut parents: Vec<usize> = (0..live.len()).filter(|&i| lengths[i] + 1 < rows[live[i]].len()).collect();
            parents.reverse();
            if parents.is_empty() {
                break;
            }
            decoder.reorder(&parents);
            live = parents.iter().map(|&i| live[i]).collect();
        }
    }
}

#[test]
fn weights_in_fewer_bits_give_nearly_the_same_logits() {
    let (ids, cu_seqlens) = packed(&[9, 12]);
    let pool = Pool::new();
    let logits =
        |model: &Gpt2| model.logits(&mut Graph::infer(&model.params, &pool), &ids, &cu_seqlens).values().to_vec();
    for (precision, tolerance) in [(Precision::F32, 0.0), (Precision::Bf16, 0.01), (Precision::Int8, 0.02)] {
        let mut model = Gpt2::init(config(), 3);
        let exact = logits(&model);
        precision.hold_all(&mut model.params).unwrap();
        let size = exact.iter().map(|x| x.abs()).fold(0.0, f32::max);
        let difference = exact.iter().zip(logits(&model)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= tolerance * size, "{precision:?}: {difference} of {size}");
        assert_eq!(difference == 0.0, precision == Precision::F32);
        // One row at a time takes another path.
        let mut decoder = CachedCausal::new(&model, &pool, &[&ids[..9]], 16);
        let mut last = vec![0.0; 50];
        decoder.step(&ids[8..9], &mut last);
        let expected = &logits(&model)[8 * 50..9 * 50];
        assert!(last.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{precision:?}");
    }
}

#[test]
fn a_matrix_that_int8_has_no_number_for_is_named() {
    let mut model = Gpt2::init(config(), 3);
    let entry = model.params.entries().iter().find(|entry| entry.name.ends_with("attn.c_attn.weight")).unwrap().clone();
    model.params.get_mut(entry.weight)[5] = f32::NAN;
    let message = Precision::Int8.hold_all(&mut model.params).unwrap_err().to_string();
    assert_eq!(message, format!("tensor `{}` holds NaN at element 5: rounding has no number for it", entry.name));
}

#[test]
fn weights_in_fewer_bits_are_not_trained_and_pass_gradients_on() {
    let gradients = |precision: Precision| {
        let mut model = Gpt2::init(config(), 3);
        precision.hold_all(&mut model.params).unwrap();
        let (ids, cu_seqlens) = packed(&[9, 12]);
        let targets: Vec<Option<u32>> = ids.iter().map(|&id| Some((id + 1) % 50)).collect();
        let mut grads = Grads::zeros(&model.params);
        let mut g = Graph::train(&model.params, &mut grads, &Pool::new(), 1);
        let loss = model.loss(&mut g, &ids, &cu_seqlens, &targets, 0.0, 1.0);
        g.backward(&loss.loss);
        drop(g);
        let trained = model.params.entries().iter().filter(|entry| entry.is_trained());
        trained.map(|entry| (entry.name.clone(), grads.get(entry.weight).to_vec())).collect::<Vec<_>>()
    };
    let exact = gradients(Precision::F32);
    for precision in [Precision::Bf16, Precision::Int8] {
        let found = gradients(precision);
        assert!(found.len() > 10 && found.iter().all(|(name, _)| !name.ends_with("c_fc.weight")));
        for (name, found) in &found {
            let (_, expected) = exact.iter().find(|(other, _)| other == name).unwrap();
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
            let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
            let size = norm(&mut expected.iter().copied());
            // Keys' biases have none.
            assert!(size > 0.0 && difference <= 0.05 * size, "{precision:?} {name}: {difference} of {size}");
        }
    }
}
