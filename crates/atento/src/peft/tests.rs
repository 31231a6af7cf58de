use std::path::{Path, PathBuf};

use super::*;
use crate::families::Config;
use crate::hub::ModelDir;
use crate::hub::safetensors::{NamedTensor, write};
use crate::models::Precision;
use crate::pipelines::{LanguageModel, TextModel};

fn read(json: &str) -> Result<AdapterConfig, crate::hub::Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(ADAPTER_CONFIG), json).unwrap();
    AdapterConfig::read(dir.path())
}

fn config(json: &str) -> Result<LoraConfig, crate::hub::Error> {
    read(json).map(|config| match config {
        AdapterConfig::Lora(lora) => lora,
        other => panic!("{other:?}"),
    })
}

#[test]
fn keys_that_are_off_are_accepted_and_others_named() {
    let text = |more: &str| format!(r#"{{"peft_type": "LORA", "r": 4, "target_modules": ["query"]{more}}}"#);
    let found = config(&text(r#", "eva_config": null, "loftq_config": {}, "use_qalora": false"#)).unwrap();
    assert_eq!((found.rank, found.alpha, found.bias), (4, 8.0, Bias::None));
    for (begun, is_principal) in [("\"pissa\"", true), ("\"gaussian\"", false), ("\"eva\"", false), ("false", false)] {
        let found = config(&text(&format!(r#", "init_lora_weights": {begun}"#))).unwrap();
        assert_eq!(found.principal, is_principal, "{begun}");
    }
    for (more, expected) in [
        (r#", "use_qalora": true"#, "key `use_qalora` is true"),
        (r#", "lora_alphaa": 3"#, "is it `lora_alpha`?"),
        (r#", "lora_alpha": 0"#, "a number above 0"),
        (r#", "lora_dropout": 1.5"#, "a probability from 0 to below 1"),
        (r#", "init_lora_weights": "olora""#, "key `init_lora_weights` is \"olora\""),
        (r#", "init_lora_weights": "pissa_niter_4""#, "path_initial_model_for_weight_conversion"),
        (r#", "init_lora_weights": 5"#, "true, false or the name of a way to begin"),
        (r#", "bias": "some""#, "\"none\", \"all\" or \"lora_only\""),
        (r#", "rank_pattern": {"query": 0}"#, "ranks of 1 or more"),
        (r#", "exclude_modules": "(""#, "a regular expression"),
        (r#", "trainable_token_indices": [-1]"#, "a list of ids, or one for each module"),
        (r#", "trainable_token_indices": {"wte": 3}"#, "a list of ids, or one for each module"),
    ] {
        let message = config(&text(more)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for (text, expected) in [
        (
            r#"{"peft_type": "VERA", "target_modules": ["x"]}"#,
            "expected LORA, IA3, PROMPT_TUNING, PREFIX_TUNING, BITFIT, HOULSBY",
        ),
        (r#"{"peft_type": "LORA", "r": 0, "target_modules": ["x"]}"#, "a rank of 1 or more"),
        (r#"{"peft_type": "LORA", "r": 1}"#, "names of modules, or a regular expression"),
    ] {
        let message = config(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn ranks_and_factors_follow_the_patterns_of_paths() {
    let text = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", "v"],
        "rank_pattern": {"q": 2, "h\\.1\\.attn\\.v": 16}, "alpha_pattern": {"q": 3}}"#;
    let mut found = config(text).unwrap();
    assert_eq!(["h.0.attn.q", "h.0.attn.v", "h.1.attn.v", "h.0.seq"].map(|path| found.rank_of(path)), [2, 4, 16, 4]);
    assert_eq!(["h.0.attn.q", "h.0.attn.v", "h.1.attn.v"].map(|path| found.scale_of(path)), [1.5, 2.0, 0.5]);
    found.rank_stabilized = true;
    assert_eq!(found.scale_of("h.1.attn.v"), 2.0);
    let whole = AdapterConfig::Lora(found);
    assert_eq!(read(&serde_json::Value::Object(whole.to_json()).to_string()).unwrap(), whole);
    for tokens in ["[3, 17]", r#"{"lm_head": [1], "wte": [4, 0]}"#] {
        let text = format!(r#"{{"peft_type": "LORA", "target_modules": ["q"], "trainable_token_indices": {tokens}}}"#);
        let whole = read(&text).unwrap();
        assert_eq!(whole.to_json()["trainable_token_indices"].to_string(), tokens.replace(' ', ""));
        assert_eq!(read(&serde_json::Value::Object(whole.to_json()).to_string()).unwrap(), whole);
    }
    let text =
        r#"{"peft_type": "IA3", "target_modules": ["k", "ff"], "feedforward_modules": ["ff"], "task_type": "SEQ_CLS"}"#;
    let whole = read(text).unwrap();
    assert_eq!(read(&serde_json::Value::Object(whole.to_json()).to_string()).unwrap(), whole);
    for text in [
        r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "num_layers": 2, "token_dim": 48, "num_attention_heads": 4,
            "prefix_projection": true, "encoder_hidden_size": 12, "num_transformer_submodules": 1}"#,
        r#"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 1, "prompt_tuning_init": "TEXT", "token_dim": 5}"#,
        r#"{"peft_type": "HOULSBY", "size": 7, "target_modules": "all-linear", "exclude_modules": ["ff"]}"#,
    ] {
        let whole = read(text).unwrap();
        assert_eq!(read(&serde_json::Value::Object(whole.to_json()).to_string()).unwrap(), whole);
    }
    for (text, expected) in [
        (r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 0}"#, "expected 1 or more"),
        (r#"{"peft_type": "PREFIX_TUNING"}"#, "num_virtual_tokens"),
        (
            r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 1, "prompt_tuning_init": "TEXT"}"#,
            "prompt_tuning_init",
        ),
        (r#"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 1, "num_transformer_submodules": 2}"#, "are not here"),
        (r#"{"peft_type": "HOULSBY", "size": 0, "target_modules": ["x"]}"#, "1 or more"),
    ] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = read(&text.replace("task_type", "lora_alpha")).unwrap_err().to_string();
    assert!(message.contains("key `lora_alpha` is \"SEQ_CLS\""), "{message}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)
}

/// An adapter for a model of these modules, with their sizes; its numbers are waves.
fn adapter(modules: &[(&str, [usize; 2])], fan_in_fan_out: bool, more: &[(&str, Vec<usize>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<&str> = modules.iter().map(|(path, _)| *path).collect();
    let config = serde_json::json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": names, "fan_in_fan_out": fan_in_fan_out,
        "modules_to_save": more.iter().map(|(name, _)| name.split('.').next()).collect::<Vec<_>>(),
    });
    std::fs::write(dir.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
    let wave = |len: usize, phase: usize| (0..len).map(|at| (1.7 * at as f32 + phase as f32).sin()).collect::<Vec<_>>();
    let mut tensors = Vec::new();
    for (phase, (path, [outputs, inputs])) in modules.iter().enumerate() {
        for (half, shape) in [("A", [2, *inputs]), ("B", [*outputs, 2])] {
            let name = format!("base_model.model.{path}.lora_{half}.weight");
            tensors.push(NamedTensor::new(name, shape, wave(shape[0] * shape[1], phase)));
        }
    }
    for (name, shape) in more {
        let values = wave(shape.iter().product(), 7);
        tensors.push(NamedTensor::new(format!("base_model.model.{name}"), shape.clone(), values));
    }
    write(&dir.path().join(ADAPTER_WEIGHTS), &tensors, &[]).unwrap();
    dir
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).fold(0.0, |most, (x, y)| most.max((x - y).abs()))
}

#[test]
fn a_merged_model_computes_what_the_adapter_adds_and_is_saved_as_any_other() {
    // A fused matrix that lies [inputs, outputs].
    let mut gpt2 = LanguageModel::load(fixture("gpt2-tiny")).unwrap();
    let width = gpt2.model.d_model();
    let base = gpt2.outputs();
    let dir = adapter(&[("transformer.h.0.attn.c_attn", [3 * width, width])], true, &[]);
    assert_eq!(gpt2.adapt(dir.path()).unwrap(), 1);
    let adapted = gpt2.outputs();
    assert!(largest_difference(&base, &adapted) > 1e-2);
    gpt2.merge().unwrap();
    assert!(largest_difference(&gpt2.outputs(), &adapted) < 1e-4);
    let saved = tempfile::tempdir().unwrap();
    gpt2.save(saved.path()).unwrap();
    let loaded = LanguageModel::load(saved.path()).unwrap();
    assert_eq!(loaded.outputs(), gpt2.outputs());
    // Matrices that are multiplied as one, with an output of the adapter's own.
    let mut bert = TextModel::load(fixture("bert-labels")).unwrap();
    let (width, labels) = (bert.model.config.sizes().d_model, bert.model.config.labels.len());
    let base = bert.outputs();
    let path = |name: &str| format!("bert.encoder.layer.1.attention.self.{name}");
    let (query, value) = (path("query"), path("value"));
    let modules = [(query.as_str(), [width, width]), (&value, [width, width])];
    let dir = adapter(&modules, false, &[]);
    let config = std::fs::read_to_string(dir.path().join(ADAPTER_CONFIG)).unwrap();
    std::fs::write(dir.path().join(ADAPTER_CONFIG), config.replace("bert.encoder.layer.1.attention.self.", ""))
        .unwrap();
    let refused = bert.adapt(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("adapts `bert.encoder.layer.0.attention.self.query`"), "{refused}");
    let mut bert = TextModel::load(fixture("bert-labels")).unwrap();
    let blocks: Vec<String> = (0..2)
        .flat_map(|block| ["query", "value"].map(|name| format!("bert.encoder.layer.{block}.attention.self.{name}")))
        .collect();
    let modules: Vec<(&str, [usize; 2])> = blocks.iter().map(|path| (path.as_str(), [width, width])).collect();
    let dir = adapter(&modules, false, &[("classifier.weight", vec![labels, width])]);
    assert_eq!(bert.adapt(dir.path()).unwrap(), 4);
    let adapted = bert.outputs();
    assert!(largest_difference(&base, &adapted) > 1e-2);
    bert.merge().unwrap();
    assert!(largest_difference(&bert.outputs(), &adapted) < 1e-4);
}

#[test]
fn an_adapter_of_another_model_is_refused_with_what_is_nearest() {
    let gpt2 = LanguageModel::load(fixture("gpt2-tiny")).unwrap();
    let width = gpt2.model.d_model();
    for (path, sizes, is_in_out, expected) in [
        ("transformer.h.0.attn.c_atn", [3 * width, width], true, "the nearest is `transformer.h.0.attn.c_attn`"),
        ("transformer.h.0.attn.c_attn", [width, width], true, "has shape"),
        ("transformer.h.0.attn.c_attn", [3 * width, width], false, "`fan_in_fan_out` is false"),
        (
            "transformer.wte",
            [width, gpt2.model.vocab_size()],
            true,
            "`transformer.wte.lora_A.weight`, which is not of this",
        ),
    ] {
        let mut gpt2 = LanguageModel::load(fixture("gpt2-tiny")).unwrap();
        let message = gpt2.adapt(adapter(&[(path, sizes)], is_in_out, &[]).path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // A second adapter.
    let mut llama = LanguageModel::load(fixture("llama-tiny")).unwrap();
    let gate = "model.layers.0.mlp.gate_proj";
    let sizes = modules(&*llama.model.config(), llama.model.params());
    let (outputs, inputs) = sizes.iter().find(|module| module.path == gate).unwrap().sizes();
    let dir = adapter(&[(gate, [outputs, inputs])], false, &[]);
    llama.adapt(dir.path()).unwrap();
    let message = llama.adapt(dir.path()).unwrap_err().to_string();
    assert!(message.contains("has had an adapter put on it already"), "{message}");
    let held = ModelDir::open(&fixture("llama-tiny")).unwrap();
    let mut rounded = LanguageModel::from_dir(&held, Precision::Int8).unwrap();
    rounded.adapt(dir.path()).unwrap();
    let message = rounded.merge().unwrap_err().to_string();
    assert!(message.contains("is held in few bits"), "{message}");
    let message = LanguageModel::load(adapter(&[], true, &[]).path()).err().unwrap().to_string();
    assert!(message.contains("holds an adapter: name its base"), "{message}");
}

#[test]
fn virtual_tokens_of_another_model_are_refused() {
    let of = |kind, count, sizes, model: &str| {
        let config = ModelDir::open(&fixture(model)).unwrap().model_config().unwrap();
        let tokens = VirtualConfig { sizes, ..VirtualConfig::new(kind, count) };
        let outline = crate::pipelines::outline(&config);
        NewAdapter::of(AdapterConfig::Virtual(tokens), &*config, &outline, &[])
    };
    use VirtualKind::{Prefix, Prompt};
    let fitted = of(Prefix, 4, [0; 3], "gpt2-tiny").unwrap();
    assert_eq!(
        fitted.notes.last().unwrap(),
        "4 virtual tokens before every text, keys and values in 2 blocks; they leave 60 of 64 positions to the text"
    );
    let AdapterConfig::Virtual(VirtualConfig { sizes, .. }) = fitted.config else { panic!() };
    assert!(of(Prompt, 4, sizes, "gpt2-tiny").is_ok());
    let positions =
        ModelDir::open(&fixture("gpt2-tiny")).unwrap().model_config().unwrap().sizes().max_positions.unwrap();
    for (kind, count, sizes, model, expected) in [
        (Prefix, 4, [3, 0, 0], "gpt2-tiny", "`num_layers` is 3, but the model's is 2"),
        (Prompt, 4, [0, 0, 7], "gpt2-tiny", "`token_dim` is 7"),
        (Prompt, positions, [0; 3], "gpt2-tiny", "positions"),
        (Prompt, 4, [0; 3], "marian-tiny", "not here before the texts of a transformer"),
        (Prefix, 4, [0; 3], "modernbert-labels", "not here before the texts of a modernbert"),
    ] {
        let message = of(kind, count, sizes, model).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_prompt_begins_as_rows_of_a_table_that_is_held_in_few_bits() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let mut model =
            LanguageModel::from_dir(&ModelDir::open(&fixture("gpt2-tiny")).unwrap(), precision).unwrap().model;
        let config = model.config();
        let prompt = AdapterConfig::Virtual(VirtualConfig::new(VirtualKind::Prompt, 5));
        let new = NewAdapter::of(prompt, &*config, model.params(), &[]).unwrap();
        new.begin(model.params_mut(), Start::default(), 1);
        let rows = model.params().get(model.params().prompt().unwrap()).to_vec();
        let exact = LanguageModel::load(fixture("gpt2-tiny")).unwrap().model;
        let table = exact.params().to_f32(exact.token_table()).into_owned();
        let width = exact.d_model();
        for row in rows.chunks(width) {
            let apart = |other: &[f32]| row.iter().zip(other).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
            let nearest = table.chunks(width).map(apart).fold(f32::INFINITY, f32::min);
            assert!(nearest < 0.01, "{precision:?}: {nearest}");
        }
    }
}
