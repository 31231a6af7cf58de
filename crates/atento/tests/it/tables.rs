//! Adapters of tables and of outputs onto the vocabulary: merged into models whose output is their table, taken out, converted,
//! and trained from a recipe. What they compute is compared with PEFT in `adapters`.

use std::fs;
use std::path::{Path, PathBuf};

use atento::hub::ModelDir;
use atento::models::Precision;
use atento::peft::{
    Adapter, AdapterConfig, Combination, CombinationRecipe, LoraConfig, NewAdapter, Probed, Start, TrainedTokens,
    Unsaid, changes, combine, from_loralib,
};
use atento::pipelines::{LanguageModel, Pretrained, outline};
use serde_json::{Map, Value};

use crate::adapters::{Opened, open, open_base, tensors};
use crate::conformance::{json, largest_difference};
use crate::tuning::Folder;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)
}

/// A base and an adapter of it, from the name of the latter.
fn pair(name: &str) -> [PathBuf; 2] {
    [fixture(name.split_once('.').unwrap().0), fixture(name)]
}

fn save(model: &Opened, to: &Path) {
    match model {
        Opened::Text(model) => model.save(to).unwrap(),
        Opened::Language(model) => model.save(to).unwrap(),
    }
}

/// The logits of every recorded case, one behind the other.
fn logits(model: &Opened, adapter: &Path) -> Vec<f32> {
    let recorded = json(&adapter.join("expected.json"));
    recorded["cases"].as_array().unwrap().iter().flat_map(|case| model.logits(case)).collect()
}

#[test]
fn a_merge_that_changes_one_end_of_a_tied_table_makes_two_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = "transformer.wte.weight";
    let words = "bert.embeddings.word_embeddings.weight";
    for (name, table, output, unties) in [
        ("gpt2-tiny.lora-tables", table, "lm_head.weight", true),
        ("gpt2-tiny.lora-output", table, "lm_head.weight", true),
        ("llama-tiny.lora-tables", "model.embed_tokens.weight", "lm_head.weight", true),
        ("bert-words.lora-output", words, "cls.predictions.decoder.weight", true),
        ("bert-words.lora-tables", words, "cls.predictions.decoder.weight", true),
        // Both ends are changed alike.
        ("llama-tiny.lora-tying", "model.embed_tokens.weight", "lm_head.weight", false),
        ("gpt2-tiny.lora-tokens", table, "lm_head.weight", false),
    ] {
        let [base, adapter] = pair(name);
        let mut model = open(&base, &adapter);
        let expected = logits(&model, &adapter);
        model.merge().unwrap();
        let merged = folder.path().join(name);
        save(&model, &merged);
        assert_eq!(json(&merged.join("config.json"))["tie_word_embeddings"], Value::from(!unties), "{name}");
        let (own, before) = (tensors(&merged.join("model.safetensors")), tensors(&base.join("model.safetensors")));
        assert_eq!(own.contains_key(output), unties, "{name}");
        let is_output_alone = name.ends_with("output");
        assert_eq!(own[table] == before[table], is_output_alone, "{name}: the table of tokens");
        if unties {
            // `transformers` has the bias of such an output in two places.
            let bias = ("cls.predictions.bias", "cls.predictions.decoder.bias");
            assert_eq!(own.get(bias.0), own.get(bias.1), "{name}");
            assert_eq!(
                own[output] == before[table],
                name == "gpt2-tiny.lora-tables" || name == "bert-words.lora-tables"
            );
        }
        let difference = largest_difference(&logits(&open_base(&merged), &adapter), &expected);
        let largest = expected.iter().fold(1f32, |most, x| most.max(x.abs()));
        assert!(difference <= 1e-5 * largest, "{name}: {difference}");
        // What was added is taken out again; the two tables stay two.
        let mut loaded = open_base(&merged);
        let (config, params) = loaded.parts();
        let found = Adapter::open(&adapter).unwrap().take_out(&*config, params);
        if name.ends_with("tokens") {
            let refused = found.unwrap_err().to_string();
            assert!(refused.contains("what it replaces or stretches"), "{refused}");
            continue;
        }
        found.unwrap();
        let difference = largest_difference(&logits(&loaded, &adapter), &logits(&open_base(&base), &adapter));
        assert!(difference <= 1e-5 * largest, "{name}, taken out: {difference}");
    }
}

/// Tables of sources and targets that are one with the output become three.
#[test]
fn a_translator_with_a_pair_on_its_output_is_merged() {
    for name in ["m2m100-tiny", "marian-tiny"] {
        let mut model = Pretrained::load(fixture(name)).unwrap();
        let (config, base) = (model.model.config(), model.outputs());
        let lora = AdapterConfig::Lora(LoraConfig::new("marian", 2, &["lm_head".to_owned()]));
        let params = model.model.params_mut();
        NewAdapter::of(lora, &*config, params, &[]).unwrap().begin(params, Start::Gaussian, 1);
        let up = params.entry("lm_head.lora_B.weight").unwrap().weight;
        params.get_mut(up).iter_mut().enumerate().for_each(|(at, value)| *value = (at as f32).sin());
        let adapted = model.outputs();
        assert!(largest_difference(&adapted, &base) > 0.1, "{name}");
        assert_eq!(model.merge().unwrap(), 1);
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path()).unwrap();
        let largest = adapted.iter().fold(1f32, |most, x| most.max(x.abs()));
        let loaded = Pretrained::load(saved.path()).unwrap().outputs();
        assert!(largest_difference(&loaded, &adapted) <= 1e-5 * largest, "{name}");
        assert_eq!(json(&saved.path().join("config.json"))["tie_word_embeddings"], false);
    }
}

#[test]
fn what_changes_of_a_tied_table_is_said_of_each_end() {
    for (name, expected) in [
        ("gpt2-tiny.lora-tables", &["transformer.wte.weight"][..]),
        ("gpt2-tiny.lora-output", &["lm_head.weight"]),
        ("llama-tiny.lora-tables", &["model.embed_tokens.weight", "lm_head.weight"]),
    ] {
        let [base, adapter] = pair(name);
        let mut model = open(&base, &adapter);
        let (config, params) = model.parts();
        let found = changes(&*config, params, &ModelDir::open(&base).unwrap().weights().unwrap()).unwrap();
        assert_eq!(found.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), expected);
        for change in found {
            assert_eq!(change.rank, Some(2), "{name}");
            // The norm of the difference is that of its singular values.
            let norm = change.spectrum.iter().map(|s| s * s).sum::<f64>().sqrt();
            assert!((norm - change.norm).abs() < 1e-4 * norm, "{name}: {norm} {}", change.norm);
        }
    }
}

#[test]
fn pairs_of_tables_are_combined_and_go_to_loralib_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let [base, adapter] = pair("gpt2-untied.lora-tables");
    let expected = logits(&open(&base, &adapter), &adapter);
    let own = Adapter::open(&adapter).unwrap();
    let file = folder.path().join("state.safetensors");
    let (count, scale) = own.to_loralib(&file).unwrap();
    assert_eq!((count, scale), (5, 4.0));
    let back = folder.path().join("back");
    let unsaid = Unsaid { alpha: 8.0, enabled: Vec::new() };
    from_loralib(&file, &unsaid, &ModelDir::open(&base).unwrap(), &back).unwrap();
    assert_eq!(logits(&open(&base, &back), &adapter), expected);
    for combination in [Combination::Cat, Combination::Svd, Combination::Linear] {
        let weights = if combination == Combination::Linear { vec![0.25, 0.25] } else { vec![0.5, 0.5] };
        let recipe = CombinationRecipe { combination, weights, rank: None, density: 1.0, seed: 1 };
        let out = tempfile::tempdir_in(&folder).unwrap().keep();
        let both = [Adapter::open(&adapter).unwrap(), Adapter::open(&adapter).unwrap()];
        assert_eq!(combine(&both, &recipe, &out).unwrap(), 5);
        let difference = largest_difference(&logits(&open(&base, &out), &adapter), &expected);
        assert!(difference < 1e-4, "{combination:?}: {difference}");
    }
    let with_tokens = [Adapter::open(&fixture("gpt2-tiny.lora-tokens")).unwrap()];
    let recipe =
        CombinationRecipe { combination: Combination::Cat, weights: vec![1.0], rank: None, density: 1.0, seed: 1 };
    let refused = combine(&with_tokens, &recipe, folder.path()).unwrap_err().to_string();
    assert!(refused.contains("`trainable_token_indices`"), "{refused}");
    let refused = with_tokens[0].to_loralib(&folder.path().join("none")).unwrap_err().to_string();
    assert!(refused.contains("`trainable_token_indices`"), "{refused}");
}

#[test]
fn what_cannot_stand_on_a_table_is_refused_by_name() {
    let of = |model: &str, targets: &[&str], change: &dyn Fn(&mut LoraConfig)| {
        let config = ModelDir::open(&fixture(model)).unwrap().model_config().unwrap();
        let names: Vec<String> = targets.iter().map(|name| (*name).to_owned()).collect();
        let mut lora = LoraConfig::new("", 2, &names);
        change(&mut lora);
        NewAdapter::of(AdapterConfig::Lora(lora), &*config, &outline(&config), &[])
    };
    let tokens = |ids: &[u32]| Some(TrainedTokens::OfInput(ids.to_vec()));
    let named = |entries: &[(&str, &[u32])]| {
        let entry = |(name, ids): &(&str, &[u32])| ((*name).to_owned(), ids.to_vec());
        Some(TrainedTokens::Of(entries.iter().map(entry).collect()))
    };
    let found = of("gpt2-tiny", &["wte"], &|_| {}).unwrap();
    let notes = found.notes.join("\n");
    assert!(
        notes.contains("`transformer.wte` is tied to `lm_head`: the pair changes what is looked up alone"),
        "{notes}"
    );
    assert!(of("gpt2-tiny", &["c_attn"], &|lora| lora.tokens = named(&[("wte", &[3]), ("lm_head", &[3])])).is_ok());
    for (model, targets, change, expected) in [
        ("gpt2-tiny", "wte", &(|lora: &mut LoraConfig| lora.dora = true) as &dyn Fn(&mut LoraConfig), "`use_dora`"),
        ("gpt2-tiny", "c_attn", &|lora| lora.tokens = tokens(&[5, 290]), "there is no token 290"),
        ("gpt2-tiny", "c_attn", &|lora| lora.tokens = tokens(&[5, 5]), "token 5 is named twice"),
        ("gpt2-tiny", "lm_head", &|lora| lora.tokens = tokens(&[5]), "`lm_head` has a pair too"),
        ("gpt2-tiny", "c_attn", &|lora| lora.tokens = named(&[("c_attn", &[5])]), "\"c_attn\" matches 2 modules"),
        ("gpt2-tiny", "c_attn", &|lora| lora.tokens = named(&[("h.0.attn.c_attn", &[5])]), "has no rows of tokens"),
        ("gpt2-tiny", "c_attn", &|lora| lora.tokens = named(&[("lm_head", &[5])]), "`lm_head` is `transformer.wte`"),
        ("bert-words", "query", &|lora| lora.tokens = tokens(&[5]), "is an output with a bias"),
        ("m2m100-tiny", "shared", &|_| {}, "is one table for sources and targets"),
        ("m2m100-tiny", "q_proj", &|lora| lora.tokens = tokens(&[5]), "is one table for sources and targets"),
        (
            "gpt2-tiny",
            "c_attn",
            &|lora| lora.common.modules_to_save = vec!["lm_head".into()],
            "is the table `transformer.wte`, which the output is tied to",
        ),
    ] {
        let message = of(model, &[targets], change).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// A folder with a small language model, `base/model`.
fn folder(tie: &str) -> Folder {
    let text: String = (0..60).map(|at| format!("the {} sees {at}.\n", ["dog", "cat", "hen"][at % 3])).collect();
    let data = "text = \"t.txt\"\nvalid_text = \"t.txt\"\nblock_size = 16";
    let folder = Folder::new("causal-lm", data, &[("t.txt", &text)]);
    let recipe = fs::read_to_string(folder.path("r.toml")).unwrap();
    let recipe = recipe.replace("\"bert\"", "\"gpt2\"").replace("max_sentences = 8", "batch_tokens = 128");
    fs::write(folder.path("r.toml"), recipe.replace("vocab_size = 60", "vocab_size = 300")).unwrap();
    folder.run("base", &[&format!("model.tie_embeddings={tie}"), "train.max_epochs=2"], 0).unwrap();
    folder
}

#[test]
fn a_recipe_trains_tables_outputs_and_rows_of_tokens() {
    for tie in ["all", "none"] {
        let folder = folder(tie);
        let from = format!("from={}", folder.path("base/model").display());
        let base = LanguageModel::load(folder.path("base")).unwrap();
        let (rows, width) = (base.model.vocab_size(), base.model.d_model());
        let before = base.outputs();
        for (name, settings, trainable) in [
            ("tables", &["lora.targets=[\"wte\", \"lm_head\", \"wpe\"]"][..], 4 * (rows + width) + 2 * (48 + width)),
            (
                "tokens",
                &["lora.targets=[\"mlp.c_fc\"]", "lora.trainable_tokens=[\"s\", 3]"],
                2 * (width + 64) + 2 * width,
            ),
            (
                "output",
                &["lora.targets=[\"lm_head\"]", "lora.dora=true", "lora.dropout=0.1"],
                2 * (rows + width) + rows,
            ),
        ] {
            let settings =
                [&[from.as_str(), "train.method=lora", "lora.rank=2", "train.max_epochs=2"], settings].concat();
            let summary = folder.run(name, &settings, 0).unwrap();
            assert_eq!(summary.trainable, trainable, "{tie} {name}");
            let mut loaded = LanguageModel::load(folder.path(name)).unwrap();
            let outputs = loaded.outputs();
            assert!(largest_difference(&outputs, &before) > 1e-4, "{tie} {name}: nothing was learned");
            loaded.merge().unwrap();
            assert!(largest_difference(&loaded.outputs(), &outputs) < 1e-5, "{tie} {name}");
            let log = fs::read_to_string(folder.path(&format!("{name}/log.txt"))).unwrap();
            let warns = tie == "all" && name != "tokens";
            assert_eq!(log.contains("is tied to `"), warns, "{log}");
            // A run that was stopped and goes on gives the same bits.
            let again = format!("{name} again");
            folder.run(&again, &settings, 3).unwrap();
            folder.run(&again, &settings, 0).unwrap();
            let weights = |run: &str| tensors(&folder.path(&format!("{run}/model/adapter_model.safetensors")));
            assert_eq!(weights(&again), weights(name), "{tie} {name}");
        }
        let config: Map<String, Value> =
            serde_json::from_value(json(&folder.path("tokens/model/adapter_config.json"))).unwrap();
        assert_eq!(config["trainable_token_indices"].as_array().unwrap()[1], 3);
        let refused = folder.refusal(&[&from, "train.method=lora", "lora.trainable_tokens=[\"nope\"]"]);
        assert!(refused.contains("`lora.trainable_tokens`") && refused.contains("\"nope\" is no token"), "{refused}");
        let refused = folder.refusal(&[&from, "train.method=lora", "lora.trainable_tokens=[99999]"]);
        assert!(
            refused.contains("`lora.trainable_tokens`") && refused.contains("there is no token 99999"),
            "{refused}"
        );
    }
    // A base that is held in few bits.
    let folder = folder("all");
    let from = format!("from={}", folder.path("base/model").display());
    let tokens = "lora.trainable_tokens=[3]";
    folder
        .run("int8", &[&from, "train.method=lora", "train.base_dtype=int8", "train.max_epochs=1", tokens], 0)
        .unwrap();
    let dir = ModelDir::open_with(&folder.path("base"), &folder.path("int8")).unwrap();
    assert!(LanguageModel::from_dir(&dir, Precision::Int8).is_ok());
}
