//! Adapters in llama.cpp's files.

use std::path::Path;

use atento::hub::gguf::Gguf;
use atento::models::Precision;
use atento::peft::{self, Adapter, AdapterConfig, LoraConfig, NewAdapter, Start};
use atento::pipelines::LanguageModel;

use crate::adapters::tensors;

/// An adapter with numbers everywhere, in `out`, on a model of the fixtures.
fn adapter(base: &str, config: LoraConfig, out: &Path) -> (LanguageModel, Adapter) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let dir = atento::hub::ModelDir::open(&fixtures.join(base)).unwrap();
    let mut model = LanguageModel::from_dir(&dir, Precision::F32).unwrap();
    let shape = model.model.config();
    let params = model.model.params_mut();
    let new = NewAdapter::of(AdapterConfig::Lora(config), &*shape, params, &[]).unwrap();
    params.freeze(|entry| !new.trains(entry));
    new.begin(params, Start::Gaussian, 5);
    let mut at = 0.0_f32;
    params.values_mut().iter_mut().for_each(|value| {
        at += 1.0;
        *value = (at * 0.7).sin();
    });
    let json = shape.to_json().unwrap();
    peft::save(out, &new.config, (&*shape, &json), params, "00000000").unwrap();
    (model, Adapter::open(out).unwrap())
}

/// `factor · b · a`, of tensors [outputs, rank] and [rank, inputs].
fn product(a: &[f32], b: &[f32], rank: usize, factor: f32) -> Vec<f32> {
    let inputs = a.len() / rank;
    let one = |row: &[f32], input: usize| -> f32 { (0..rank).map(|k| row[k] * a[k * inputs + input]).sum() };
    b.chunks_exact(rank).flat_map(|row| (0..inputs).map(move |input| factor * one(row, input))).collect()
}

#[test]
fn what_llama_cpp_adds_is_what_the_adapter_adds_with_rows_where_it_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["q_proj", "v_proj", "down_proj"].map(str::to_owned);
    let config = LoraConfig {
        alpha: 6.0,
        rank_stabilized: true,
        ranks: [("v_proj".to_owned(), 1)].into(),
        alphas: [("down_proj".to_owned(), 1.5)].into(),
        ..LoraConfig::new("llama", 2, &names)
    };
    let (model, held) = adapter("llama-tiny", config, &folder.path().join("adapter"));
    let file = folder.path().join("adapter.gguf");
    let shape = model.model.config();
    let count = held.to_gguf(&*shape, model.model.params(), &file).unwrap();
    let layers = shape.attention_shape().unwrap().layers;
    assert_eq!(count, 3 * layers);
    let found = Gguf::open(&file).unwrap();
    assert_eq!(found.text("general.architecture").unwrap(), Some("llama"));
    assert_eq!(found.text("general.type").unwrap(), Some("adapter"));
    assert_eq!(found.text("adapter.type").unwrap(), Some("lora"));
    assert_eq!(found.number("adapter.lora.alpha").unwrap(), Some(6.0));
    let own = tensors(&folder.path().join("adapter/adapter_model.safetensors"));
    let head_dim = shape.attention_shape().unwrap().head_dim;
    for (ours, theirs, rank, alpha) in [
        ("self_attn.q_proj", "attn_q", 2_usize, 6.0_f32),
        ("self_attn.v_proj", "attn_v", 1, 6.0),
        ("mlp.down_proj", "ffn_down", 2, 1.5),
    ] {
        let half = |half: &str| &own[&format!("base_model.model.model.layers.0.{ours}.lora_{half}.weight")];
        let expected = product(half("A"), half("B"), rank, alpha / (rank as f32).sqrt());
        let [a, b] = ["a", "b"].map(|half| found.read(&format!("blk.0.{theirs}.weight.lora_{half}")).unwrap());
        // llama.cpp multiplies by α over the rank of the pair.
        let added = product(&a, &b, rank, 6.0 / rank as f32);
        let inputs = a.len() / rank;
        for (row, values) in expected.chunks_exact(inputs).enumerate() {
            // Queries turn in neighbours there, and in halves here.
            let (head, at) = (row / head_dim, row % head_dim);
            let paired = head * head_dim + at % (head_dim / 2) * 2 + at / (head_dim / 2);
            let place = if theirs == "attn_q" { paired } else { row };
            for (found, expected) in added[place * inputs..][..inputs].iter().zip(values) {
                assert!((found - expected).abs() < 1e-5, "{theirs} {row}: {found} {expected}");
            }
        }
    }
}

#[test]
fn what_llama_cpp_has_no_place_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        LoraConfig::new("gpt2", 2, &names)
    };
    let file = folder.path().join("x.gguf");
    for (at, (config, expected)) in [
        (LoraConfig { dora: true, ..config(&["c_attn"]) }, "have no place for lengths of rows"),
        (config(&["wte"]), "`transformer.wte` is a table of rows or the output"),
    ]
    .into_iter()
    .enumerate()
    {
        let (model, held) = adapter("gpt2-tiny", config, &folder.path().join(at.to_string()));
        let refused = held.to_gguf(&*model.model.config(), model.model.params(), &file).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!file.exists());
    }
    let (model, held) = adapter("gpt2-tiny", config(&["c_attn"]), &folder.path().join("plain"));
    held.to_gguf(&*model.model.config(), model.model.params(), &file).unwrap();
    // A rank that the tensors do not have.
    let said = folder.path().join("plain/adapter_config.json");
    let other = std::fs::read_to_string(&said).unwrap().replace("\"r\": 2", "\"r\": 3");
    std::fs::write(&said, other).unwrap();
    let held = Adapter::open(&folder.path().join("plain")).unwrap();
    let wrong = folder.path().join("wrong.gguf");
    let refused = held.to_gguf(&*model.model.config(), model.model.params(), &wrong).unwrap_err().to_string();
    assert!(refused.contains("its pair of rank 3 has [2, 16] and [48, 2]"), "{refused}");
    let found = Gguf::open(&file).unwrap();
    assert_eq!(found.tensor("blk.0.attn_qkv.weight.lora_b").unwrap().shape.len(), 2);
}
