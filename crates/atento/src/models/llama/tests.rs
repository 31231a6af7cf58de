use atento_tensor::Pool;

use super::*;
use crate::generate::StepDecoder;
use crate::models::{CachedCausal, Precision};

/// One with everything that a model of this kind may have, and one without any of it.
fn configs() -> [LlamaConfig; 2] {
    let plain = LlamaConfig::new(50, 3, 24, 4, 32);
    let all = LlamaConfig {
        kv_heads: 2,
        head_dim: 10,
        tie_embeddings: false,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        qk_norm: true,
        window: Some(4),
        windowed: vec![true, false, true],
        ..plain.clone()
    };
    [plain, all]
}

fn ids(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| (7 * i + i * i / 3) % 50).collect()
}

#[test]
fn the_table_has_the_parameters_of_the_configuration() {
    for config in configs() {
        for start in [Start::Random(1), Start::Unloaded, Start::Outline] {
            let model = Llama::build(config.clone(), start);
            let found = model.params.entries().iter().map(|entry| (entry.name.clone(), entry.dims.clone()));
            let (mut found, mut expected) = (found.collect::<Vec<_>>(), config.parameters());
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn decoding_over_a_cache_gives_the_logits_of_the_whole_sequence() {
    for config in configs() {
        for precision in [Precision::F32, Precision::Int8] {
            let mut model = Llama::build(config.clone(), Start::Random(2));
            precision.hold_all(&mut model.params).unwrap();
            let (ids, pool) = (ids(30), Pool::new());
            let whole = model.logits(&mut Graph::infer(&model.params, &pool), &ids, &[0, 30]);
            let mut decoder = CachedCausal::new(&model, &pool, &[&ids[..9]], 16);
            let mut logits = vec![0.0; 50];
            for (at, &id) in ids.iter().enumerate().skip(8) {
                decoder.step(&[id], &mut logits);
                let expected = &whole.values()[at * 50..][..50];
                let difference = expected.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 2e-5, "{precision:?}, token {at}: {difference}");
            }
        }
    }
}

#[test]
fn only_what_is_within_the_window_is_seen() {
    let [plain, _] = configs();
    let config = LlamaConfig { layers: 1, windowed: vec![true], window: Some(4), ..plain };
    let model = Llama::build(config, Start::Random(3));
    let last = |ids: &[u32]| {
        let g = &mut Graph::infer(&model.params, &Pool::new());
        model.logits(g, ids, &[0, ids.len() as u32]).values()[(ids.len() - 1) * 50..].to_vec()
    };
    let (whole, mut other) = (ids(12), ids(12));
    other[7] = 49 - other[7];
    assert_eq!(last(&whole), last(&other));
    other[8] = 49 - other[8];
    assert_ne!(last(&whole), last(&other));
}
