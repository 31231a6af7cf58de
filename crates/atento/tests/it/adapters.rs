//! Adapters against recordings of PEFT (`scripts/golden_peft.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento::families::{Config, Head};
use atento::generate::StepDecoder;
use atento::hub::ModelDir;
use atento::hub::safetensors::SafeTensors;
use atento::models::{CachedCausal, Headed, Precision, Texts};
use atento::peft::{
    self, Adapter, AdapterConfig, BitFitConfig, Combination, CombinationRecipe, NewAdapter, Unsaid, combine,
    from_loralib,
};
use atento::pipelines::texts::TooLong;
use atento::pipelines::texts::embed::{EmbedOptions, Pooling};
use atento::pipelines::{LanguageModel, Net, TextModel};
use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Grads, Graph, Params, Pool};
use serde_json::Value;

use crate::causal;
use crate::conformance::{ids, json, largest_difference, recorded_run, rows};

/// The kinds of adapters that PEFT has too.
const KINDS: [&str; 4] = ["lora-", "ia3", "prompt", "prefix"];

/// Every recording of a kind of adapter, with its base: those committed, and a larger set beside the repository where there is
/// one. `file` is one that it must have.
fn recordings(kinds: &[&str], file: &str) -> Vec<(PathBuf, PathBuf)> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = [crate_dir.join("../../../shared/conformance"), crate_dir.join("tests/fixtures/conformance")];
    let mut found = Vec::new();
    for root in roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten() {
        let (path, name) = (root.path(), root.file_name().to_string_lossy().into_owned());
        let Some((base, kind)) = name.split_once('.') else { continue };
        let of_kind = kinds.iter().any(|wanted| kind.starts_with(wanted));
        if of_kind && kind != "lora-base" && path.join(file).exists() {
            let beside = path.parent().unwrap();
            let named = [beside.join(format!("{base}.lora-base")), beside.join(base)];
            found.push((named.into_iter().find(|base| base.exists()).unwrap(), path));
        }
    }
    assert!(!found.is_empty(), "no recording of {kinds:?}");
    found
}

/// Opens a base with an adapter, in both ways that there are.
pub enum Opened {
    Text(Box<TextModel>),
    Language(Box<LanguageModel>),
}

pub fn open(base: &Path, adapter: &Path) -> Opened {
    let dir = ModelDir::open_with(base, adapter).unwrap();
    match dir.head() {
        Head::Language => Opened::Language(Box::new(LanguageModel::from_dir(&dir, Precision::F32).unwrap())),
        _ => Opened::Text(Box::new(TextModel::from_dir(&dir, Precision::F32).unwrap())),
    }
}

impl Opened {
    pub fn params(&self) -> &Params {
        match self {
            Opened::Text(model) => model.model.trunk.params(),
            Opened::Language(model) => model.model.params(),
        }
    }

    /// Logits of one case.
    pub fn logits(&self, case: &Value) -> Vec<f32> {
        match self {
            Opened::Text(model) if model.model.config.head != Head::Labels => {
                let ids = ids(&case["input_ids"]);
                let g = &mut Graph::infer(model.model.trunk.params(), &Pool::new());
                let states = model.model.states(g, Texts::of(&ids, &[0, ids.len() as u32]));
                match case["states"].is_null() {
                    false => states.values().to_vec(),
                    true => model.model.of_tokens(g, &states).values().to_vec(),
                }
            }
            Opened::Text(model) => {
                let mut text = model.encode(case["text"].as_str().unwrap(), None, TooLong::Refuse).unwrap();
                // Some were recorded with another tokenizer than the base's.
                text.ids = ids(&case["input_ids"]);
                model.classify(&[&text]).unwrap().remove(0).logits
            }
            Opened::Language(model) => {
                let ids = ids(&case["input_ids"]);
                let mut g = Graph::infer(model.model.params(), &Pool::new());
                model.model.logits(&mut g, &ids, &[0, ids.len() as u32]).values().to_vec()
            }
        }
    }

    pub fn merge(&mut self) -> Result<usize, peft::Error> {
        match self {
            Opened::Text(model) => model.merge(),
            Opened::Language(model) => model.merge(),
        }
    }
}

#[test]
fn logits_with_an_adapter_are_those_of_peft_merged_or_not() {
    let mut faults = Vec::new();
    for (base, adapter) in recordings(&KINDS, "expected.safetensors") {
        let mut model = open(&base, &adapter);
        let recorded = json(&adapter.join("expected.json"));
        let expected = SafeTensors::open(&adapter.join("expected.safetensors")).unwrap();
        let (mut adapted, mut largest) = (Vec::new(), 0.0_f32);
        for merged in [false, true] {
            if merged && model.params().virtual_count() > 0 {
                let refused = model.merge().unwrap_err().to_string();
                assert!(refused.contains("it is tokens before every text; use it with --adapter"), "{refused}");
                break;
            }
            if merged {
                model.merge().unwrap();
            }
            for (at, case) in recorded["cases"].as_array().unwrap().iter().enumerate() {
                let found = model.logits(case);
                if !merged {
                    let key = format!("{at}.logits");
                    let values = expected.read_f32(&key, expected.get(&key).unwrap().shape).unwrap();
                    // Some were recorded with the logits of virtual tokens before those of the text.
                    let values = &values[values.len() - found.len()..];
                    let difference = largest_difference(&found, values);
                    if difference > 1e-4 {
                        faults.push(format!("{}: case {at}: {difference}", adapter.display()));
                    }
                    largest = values.iter().fold(largest, |most, value| most.max(value.abs()));
                    adapted.push(found);
                    continue;
                }
                let difference = largest_difference(&found, &adapted[at]);
                if difference > 1e-5 * largest.max(1.0) {
                    faults.push(format!("{}: merged, case {at}: {difference}", adapter.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Bases that are read where they lie in their files, also in few bits.
#[test]
fn an_adapter_on_a_mapped_or_rounded_base_adds_what_it_adds_to_the_base_itself() {
    let mut count = 0;
    for (base, adapter) in
        recordings(&["lora-plain", "lora-pissa", "lora-all", "lora-tables", "ia3"], "expected.safetensors")
    {
        let dir = ModelDir::open_with(&base, &adapter).unwrap();
        if dir.head() != Head::Language {
            continue;
        }
        count += 1;
        let logits = |model: &LanguageModel| {
            let mut g = Graph::infer(model.model.params(), &Pool::new());
            model.model.logits(&mut g, &[3, 65, 9, 70], &[0, 4]).values().to_vec()
        };
        let exact = logits(&LanguageModel::from_dir(&dir, Precision::F32).unwrap());
        let mapped = logits(&LanguageModel::mapped(&dir).unwrap());
        assert!(largest_difference(&mapped, &exact) < 1e-4, "{}", adapter.display());
        let bare = logits(&LanguageModel::from_dir(&ModelDir::open(&base).unwrap(), Precision::F32).unwrap());
        let rounded = logits(&LanguageModel::from_dir(&dir, Precision::Int8).unwrap());
        let (moved, lost) = (largest_difference(&bare, &exact), largest_difference(&rounded, &exact));
        assert!(lost < 0.5 * moved, "{}: {lost} {moved}", adapter.display());
    }
    assert!(count > 2, "{count}");
}

#[test]
fn as_many_parameters_are_trained_as_with_peft_and_ten_losses_are_the_same() {
    let mut faults = Vec::new();
    for (base, adapter) in recordings(&KINDS, "adapter_config.json") {
        let (mut model, held) = (open_base(&base), Adapter::open(&adapter).unwrap());
        let (config, params) = model.parts();
        if matches!(&held.config, AdapterConfig::Lora(lora) if lora.ensures_tying) {
            let refused = held.train_on(&*config, params).unwrap_err().to_string();
            assert!(refused.contains("`ensure_weight_tying` is true"), "{refused}");
            continue;
        }
        held.train_on(&*config, params).unwrap();
        let recorded = adapter.join("expected.json");
        if recorded.exists() {
            let expected = json(&recorded);
            let trainable = expected.get("trainable").or(expected.get("trainable_parameters"));
            if let Some(trainable) = trainable {
                assert_eq!(Value::from(params.trainable_count()), *trainable, "{}", adapter.display());
            }
        }
        if !adapter.join("train_losses.json").exists() {
            continue;
        }
        let batches = SafeTensors::open(&adapter.join("train_batches.safetensors")).unwrap();
        let (mut optimizer, lr, losses) = recorded_run(&adapter, model.params());
        let (mut grads, pool) = (Grads::zeros(model.params()), Pool::new());
        for (step, expected) in losses.into_iter().enumerate() {
            grads.values.fill(0.0);
            let mut g = Graph::train(model.params(), &mut grads, &pool, 0);
            let loss = match &model {
                Opened::Language(model) => causal::loss(&*model.model, &mut g, &batches, step),
                Opened::Text(model) => label_loss(&model.model, &mut g, &batches, step),
            };
            g.backward(&loss.loss);
            drop(g);
            let found = loss.loss_sum / loss.n_targets as f64;
            if (found - expected).abs() > 1e-5 * expected.max(1.0) {
                faults.push(format!("{}: loss {step}: {found} {expected}", adapter.display()));
            }
            optimizer.step(model.parts().1, &grads, lr, step as u64 + 1, 1.0);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

pub fn open_base(base: &Path) -> Opened {
    match ModelDir::open(base).unwrap().head() {
        Head::Language => Opened::Language(Box::new(LanguageModel::load(base).unwrap())),
        _ => Opened::Text(Box::new(TextModel::load(base).unwrap())),
    }
}

impl Opened {
    pub fn parts(&mut self) -> (Arc<dyn Config>, &mut Params) {
        match self {
            Opened::Text(model) => (Net::config(&model.model), model.model.trunk.params_mut()),
            Opened::Language(model) => (model.model.config(), model.model.params_mut()),
        }
    }
}

/// The loss of a recorded batch of labelled texts, or of words.
fn label_loss(model: &Headed, g: &mut Graph<'_>, file: &SafeTensors, step: usize) -> CrossEntropy {
    let table = |name: &str| rows(file, &format!("{step}.{name}"));
    let (all, masks, types) = (table("input_ids"), table("attention_mask"), table("token_type_ids"));
    let real = |values: &[Vec<i64>]| -> Vec<u32> {
        let kept = values.iter().zip(&masks).flat_map(|(row, mask)| row.iter().zip(mask));
        kept.filter(|(_, one)| **one == 1).map(|(value, _)| *value as u32).collect()
    };
    let lens = masks.iter().scan(0, |end, mask| {
        *end += mask.iter().sum::<i64>() as u32;
        Some(*end)
    });
    let cu_seqlens: Vec<u32> = std::iter::once(0).chain(lens).collect();
    let (ids, type_ids) = (real(&all), real(&types));
    let texts = Texts { ids: &ids, type_ids: Some(&type_ids), cu_seqlens: &cu_seqlens };
    let wanted = |label: i64| u32::try_from(label).ok();
    if model.config.head == Head::Words {
        let labels = table("labels").concat().into_iter().zip(masks.concat());
        let labels: Vec<Option<u32>> = labels.filter(|(_, one)| *one == 1).map(|(label, _)| wanted(label)).collect();
        let (rows, count): (Vec<u32>, _) = ((0..labels.len() as u32).collect(), labels.iter().flatten().count());
        let states = model.states(g, texts);
        return model.token_loss(g, &states, &rows, &labels, 0.0, 1.0 / count as f32);
    }
    let labels = file.read_i64(&format!("{step}.labels"), &[all.len()]).unwrap();
    let labels: Vec<Option<u32>> = labels.into_iter().map(wanted).collect();
    let (_, whole) = model.read(g, texts, &[]);
    model.read_text_loss(g, &whole.unwrap(), &labels, 0.0, 1.0 / labels.len() as f32)
}

/// Tokens one by one over a cache, which slides where it is full, see what the forward over whole texts sees.
#[test]
fn a_cache_begins_with_virtual_tokens_and_keeps_them_as_it_slides() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    for name in ["gpt2-tiny.prefix", "gpt2-tiny.prompt", "llama-tiny.prefix"] {
        let base = fixtures.join(name.split_once('.').unwrap().0);
        let Opened::Language(model) = open(&base, &fixtures.join(name)) else { panic!("{name}") };
        let model = &*model.model;
        let (rows, pool) = (model.vocab_size(), Pool::new());
        let last = |ids: &[u32]| {
            let logits = model.logits(&mut Graph::infer(model.params(), &pool), ids, &[0, ids.len() as u32]);
            logits.values()[(ids.len() - 1) * rows..].to_vec()
        };
        let limit = model.max_positions();
        assert_eq!(Some(limit + model.params().virtual_count()), model.sizes().max_positions, "{name}");
        // Two prompts of different lengths, to the end and beyond it.
        let ids: Vec<u32> = (0..limit + 5).map(|at| (at * 7 % rows) as u32).collect();
        let prompts = [&ids[..3], &ids[1..2]];
        let mut decoder = CachedCausal::new(model, &pool, &prompts, 4).sliding(&prompts);
        let mut texts = prompts.map(|prompt| prompt[..prompt.len() - 1].to_vec());
        for at in 2..ids.len() {
            let tokens = [ids[at], ids[(at * 3) % ids.len()]];
            let mut logits = vec![0.0; 2 * rows];
            decoder.step(&tokens, &mut logits);
            for (row, text) in texts.iter_mut().enumerate() {
                if text.len() >= limit {
                    text.drain(..limit - limit / 2);
                }
                text.push(tokens[row]);
                let difference = largest_difference(&last(text), &logits[row * rows..][..rows]);
                assert!(difference < 1e-4, "{name}, token {at} of row {row}: {difference}");
            }
        }
    }
}

/// What is before a text is seen by it and pooled with it only where a vector is that of the first row.
#[test]
fn a_text_behind_a_prompt_is_the_same_alone_and_among_others() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    for base in ["bert", "roberta-labels", "modernbert-labels"] {
        let adapter = fixtures.join(format!("{base}.prompt"));
        let Opened::Text(model) = open(&fixtures.join(base), &adapter) else { panic!("{base}") };
        let texts = ["a red cat runs", "the dog sees a red hen"];
        let texts = texts.map(|text| model.encode(text, None, TooLong::Refuse).unwrap());
        for pooling in [Pooling::Cls, Pooling::Mean, Pooling::Max, Pooling::Last, Pooling::None] {
            let options = EmbedOptions { layers: vec![0, 1, -1], pooling, ..EmbedOptions::default() };
            let together = model.embed(&[&texts[0], &texts[1]], &options).unwrap();
            for (text, among) in texts.iter().zip(together) {
                let alone = model.embed(&[text], &options).unwrap().remove(0);
                for (alone, among) in alone.layers.iter().zip(&among.layers) {
                    assert!(largest_difference(alone, among) < 1e-5, "{base} {pooling:?}");
                }
            }
        }
        let virtual_count = model.model.params().virtual_count();
        assert_eq!(model.longest().map(|longest| longest + virtual_count), model.model.config.sizes().max_positions);
        let recorded = SafeTensors::open(&adapter.join("expected.safetensors")).unwrap();
        if base == "bert" {
            let first = recorded.read_f32("0.first", &[model.model.config.sizes().d_model]).unwrap();
            let options = EmbedOptions { pooling: Pooling::Cls, ..EmbedOptions::default() };
            let found = model.embed(&[&texts[0]], &options).unwrap().remove(0);
            assert!(largest_difference(&found.layers[0], &first) < 1e-4);
        }
    }
}

/// What adapter_config.json does not speak of is not left out in silence, and neither is a method that trains nothing.
#[test]
fn tensors_of_another_kind_and_methods_without_effect_are_refused() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let (base, dora, folder) =
        (fixtures.join("bert-labels"), fixtures.join("bert-labels.lora-dora"), tempfile::tempdir().unwrap());
    fs::copy(dora.join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
    let config = fs::read_to_string(dora.join("adapter_config.json")).unwrap();
    fs::write(folder.path().join("adapter_config.json"), config.replace("\"use_dora\": true", "\"use_dora\": false"))
        .unwrap();
    let dir = ModelDir::open_with(&base, folder.path()).unwrap();
    let refused = TextModel::from_dir(&dir, Precision::F32).err().unwrap().to_string();
    assert!(refused.contains("lora_magnitude_vector`, which is not of this kind of adapter"), "{refused}");
    let mistral = LanguageModel::load(fixtures.join("mistral-tiny")).unwrap().model;
    let biases = AdapterConfig::BitFit(BitFitConfig::default());
    let refused = NewAdapter::of(biases, &*mistral.config(), mistral.params(), &[]).unwrap_err().to_string();
    assert!(refused.contains("it trains nothing of this model"), "{refused}");
}

/// Two adapters as one, as PEFT's `add_weighted_adapter` makes them.
#[test]
fn combinations_are_those_of_peft() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let (recorded, folder) = (fixtures.join("gpt2-tiny.combined"), tempfile::tempdir().unwrap());
    let expected = tensors(&recorded.join("expected.safetensors"));
    let open = || ["one", "two"].map(|name| Adapter::open(&recorded.join(name)).unwrap());
    let make = |combination, weights: [f64; 2], density| {
        let rank = (combination == Combination::Svd).then_some(3);
        let recipe = CombinationRecipe { combination, weights: weights.to_vec(), rank, density, seed: 1 };
        let out = tempfile::tempdir_in(&folder).unwrap().keep();
        assert_eq!(combine(&open(), &recipe, &out).unwrap(), 6);
        (tensors(&out.join("adapter_model.safetensors")), out)
    };
    for (combination, name) in [
        (Combination::Cat, "cat"),
        (Combination::Svd, "svd"),
        (Combination::Linear, "linear"),
        (Combination::Magnitude, "magnitude_prune"),
        (Combination::Ties, "ties"),
    ] {
        let (found, out) = make(combination, [0.7, -0.4], 0.4);
        let mut compared = 0;
        for key in expected.keys().filter(|key| key.starts_with(&format!("{name}.")) && key.ends_with(".A")) {
            let path = key.strip_prefix(&format!("{name}.")).unwrap().strip_suffix(".A").unwrap();
            let own = ["A", "B"].map(|half| &found[&format!("base_model.model.{path}.lora_{half}.weight")]);
            let theirs = ["A", "B"].map(|half| &expected[&format!("{name}.{path}.{half}")]);
            // Which vectors a product is made of is a matter of signs, and of rows that are zero.
            let difference = if matches!(combination, Combination::Svd | Combination::Cat) {
                let inputs = if path.contains("mlp") { 64 } else { 16 };
                let product = |[a, b]: [&Vec<f32>; 2]| -> Vec<f32> {
                    let (rank, outputs) = (a.len() / inputs, b.len() * inputs / a.len());
                    let entry = |at: usize| {
                        (0..rank).map(|k| b[at / inputs * rank + k] * a[k * inputs + at % inputs]).sum::<f32>()
                    };
                    (0..outputs * inputs).map(entry).collect()
                };
                largest_difference(&product(own), &product(theirs))
            } else {
                largest_difference(own[0], theirs[0]).max(largest_difference(own[1], theirs[1]))
            };
            assert!(difference < 1e-5, "{key}: {difference}");
            compared += 1;
        }
        assert_eq!(compared, 6, "{name}");
        // It is an adapter that can be put on the model.
        let model = self::open(&fixtures.join("gpt2-tiny"), &out);
        assert!(model.params().entries().iter().any(|entry| entry.is_added));
    }
    // Half of the values are kept at random and made twice as large.
    let (all, _) = make(Combination::DareLinear, [1.0, 0.0], 1.0);
    let (some, _) = make(Combination::DareLinear, [1.0, 0.0], 0.5);
    let half = "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight";
    let is_either = |(all, some): (&f32, &f32)| *some == 0.0 || (some - 2.0 * all).abs() < 1e-6;
    assert!(all[half].iter().zip(&some[half]).all(is_either));
    let dropped = some[half].iter().filter(|value| **value == 0.0).count();
    assert!((some[half].len() / 4..3 * some[half].len() / 4).contains(&dropped), "{dropped}");
    assert_eq!(make(Combination::DareTies, [1.0, 1.0], 0.5).0, make(Combination::DareTies, [1.0, 1.0], 0.5).0);
    // Ranks that differ, other methods, two outputs.
    let refusal = |names: [&str; 2], combination| {
        let adapters = names.map(|name| Adapter::open(&fixtures.join(name)).unwrap());
        let recipe = CombinationRecipe { combination, weights: vec![0.5, 0.5], rank: None, density: 1.0, seed: 1 };
        combine(&adapters, &recipe, &folder.path().join("refused")).unwrap_err().to_string()
    };
    let ranks = refusal(["gpt2-tiny.combined/one", "gpt2-tiny.lora-ranks"], Combination::Linear);
    assert!(ranks.contains("the ranks are 2 and 1: take another method"), "{ranks}");
    let other = refusal(["gpt2-tiny.combined/one", "gpt2-tiny.ia3"], Combination::Cat);
    assert!(other.contains("adapters of low-rank pairs can be combined"), "{other}");
    let outputs = refusal(["bert-labels.lora-plain", "bert-labels.lora-plain"], Combination::Cat);
    assert!(outputs.contains("more than one of the adapters holds a module whole"), "{outputs}");
}

/// A state dict of loralib with parts of a fused matrix is the adapter that loralib computes with, and goes there and back.
#[test]
fn a_state_dict_of_loralib_becomes_an_adapter_and_again_a_state_dict() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let (base, recorded) = (fixtures.join("gpt2-tiny"), fixtures.join("gpt2-tiny.loralib"));
    let (told, folder) = (json(&recorded.join("expected.json")), tempfile::tempdir().unwrap());
    let held = ModelDir::open(&base).unwrap();
    let convert = |enabled: &[&str], out: &str| {
        let enabled = enabled.iter().map(|name| (*name).to_owned()).collect();
        let unsaid = Unsaid { alpha: told["alpha"].as_f64().unwrap(), enabled };
        from_loralib(&recorded.join("state.safetensors"), &unsaid, &held, &folder.path().join(out))
    };
    assert_eq!(convert(&["q", "v"], "adapter").unwrap(), 4);
    let adapter = folder.path().join("adapter");
    let expected = SafeTensors::open(&recorded.join("expected.safetensors")).unwrap();
    let expected = expected.read_f32("0.logits", expected.get("0.logits").unwrap().shape).unwrap();
    let found = open(&base, &adapter).logits(&told["cases"][0]);
    assert!(largest_difference(&found, &expected) <= 1e-4);
    // Parts that are not said, or are others.
    for enabled in [&["q"][..], &[], &["q", "k", "v"]] {
        let refused = convert(enabled, "none").unwrap_err().to_string();
        assert!(refused.contains("is of 2 parts") && refused.contains("--enabled"), "{refused}");
    }
    let file = folder.path().join("state.safetensors");
    assert_eq!(Adapter::open(&adapter).unwrap().to_loralib(&file).unwrap(), (4, 3.0));
    let (back, own) = (tensors(&file), tensors(&adapter.join("adapter_model.safetensors")));
    assert_eq!(
        back["transformer.h.1.attn.c_proj.lora_A"],
        own["base_model.model.transformer.h.1.attn.c_proj.lora_A.weight"]
    );
    assert_eq!(back.len(), own.len());
}

pub fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = SafeTensors::open(path).unwrap();
    let shape = |name: &str| file.get(name).unwrap().shape.to_vec();
    file.names().map(|name| (name.to_owned(), file.read_f32(name, &shape(name)).unwrap())).collect()
}

/// Writes a file of tensors anew, with those that `keeps` says and as it leaves them.
fn rewrite(path: &Path, keeps: impl Fn(&str, &mut Vec<u8>) -> bool) {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    all.retain_mut(|(name, data)| keeps(name, data));
    let views = all.iter().map(|(name, data)| {
        let held = file.tensor(name).unwrap();
        (name.as_str(), safetensors::tensor::TensorView::new(held.dtype(), held.shape().to_vec(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().flatten() {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What was multiplied is divided again, biases too; what the adapter holds whole stays.
#[test]
fn factors_are_taken_out_of_the_model_that_they_were_merged_into() {
    for (base, adapter) in recordings(&["ia3"], "expected.safetensors") {
        let folder = tempfile::tempdir().unwrap();
        let mut model = open(&base, &adapter);
        model.merge().unwrap();
        let merged = folder.path().join("merged");
        match &model {
            Opened::Text(model) => model.save(&merged).unwrap(),
            Opened::Language(model) => model.save(&merged).unwrap(),
        }
        let mut plain = open_base(&merged);
        let held = Adapter::open(&adapter).unwrap();
        let whole = held.names().1;
        let (config, params) = plain.parts();
        let count = held.take_out(&*config, params).unwrap();
        assert_eq!(count, held.names().0.len(), "{}", adapter.display());
        let (config, params) = (plain.parts().0, plain.params());
        let (before, changed) = (open_base(&base), open_base(&merged));
        let mut moved = 0;
        for entry in before.params().entries() {
            if config.sources(&entry.name).iter().any(|name| whole.contains(name)) {
                continue;
            }
            let of = |params: &Params| params.to_f32(params.entry(&entry.name).unwrap().weight).into_owned();
            let (own, found) = (of(before.params()), of(params));
            moved += usize::from(of(changed.params()) != own);
            let apart = own.iter().zip(&found).find(|(own, found)| (*own - *found).abs() > 1e-6 * own.abs());
            assert!(apart.is_none(), "{}: {} {apart:?}", adapter.display(), entry.name);
        }
        assert!(moved >= count, "{}: {moved} of {count}", adapter.display());
        // A zero has taken away what it was multiplied into.
        let zeros = folder.path().join("zeros");
        copy(&adapter, &zeros);
        rewrite(&zeros.join("adapter_model.safetensors"), |name, data| {
            if name.ends_with("ia3_l") {
                data[4..8].fill(0);
            }
            true
        });
        let mut plain = open_base(&merged);
        let (config, params) = plain.parts();
        let refused = Adapter::open(&zeros).unwrap().take_out(&*config, params).unwrap_err().to_string();
        assert!(refused.contains(".ia3_l` is 0 at element 1"), "{refused}");
    }
}

/// A state dict with an output that the base lacks is an adapter with that output.
#[test]
fn a_state_dict_of_loralib_brings_the_output_that_its_base_lacks() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let (labelled, adapter) = (fixtures.join("bert-labels"), fixtures.join("bert-labels.lora-plain"));
    let folder = tempfile::tempdir().unwrap();
    let (bare, state) = (folder.path().join("bare"), folder.path().join("state.safetensors"));
    copy(&labelled, &bare);
    rewrite(&bare.join("model.safetensors"), |name, _| !name.starts_with("classifier"));
    let mut config = json(&bare.join("config.json"));
    config["architectures"] = Value::from(vec!["BertModel"]);
    let labels = config["id2label"].as_object().unwrap().len();
    config.as_object_mut().unwrap().retain(|key, _| !["id2label", "label2id"].contains(&key.as_str()));
    fs::write(bare.join("config.json"), config.to_string()).unwrap();
    let (modules, scale) = Adapter::open(&adapter).unwrap().to_loralib(&state).unwrap();
    assert!(tensors(&state).contains_key("classifier.weight"));
    let unsaid = Unsaid { alpha: scale * 2.0, enabled: Vec::new() };
    let convert = |without: &str, out: &str| {
        let part = folder.path().join(format!("{out}.safetensors"));
        fs::copy(&state, &part).unwrap();
        rewrite(&part, |name, _| name != without);
        from_loralib(&part, &unsaid, &ModelDir::open(&bare).unwrap(), &folder.path().join(out))
    };
    assert_eq!(convert("", "adapter").unwrap(), modules);
    let back = open(&bare, &folder.path().join("adapter"));
    let Opened::Text(model) = &back else { panic!() };
    assert_eq!(model.model.config.labels, (0..labels).map(|at| format!("LABEL_{at}")).collect::<Vec<_>>());
    let case = &json(&adapter.join("expected.json"))["cases"][0];
    assert_eq!(back.logits(case), open(&labelled, &adapter).logits(case));
    // Half of an output.
    let refused = convert("classifier.bias", "half").unwrap_err().to_string();
    assert!(refused.contains("there is no `classifier.bias`, which the base does not have either"), "{refused}");
    let refused = convert("classifier.weight", "none").unwrap_err().to_string();
    assert!(refused.contains("`classifier.bias` is no parameter of the model, and none of an output"), "{refused}");
    assert!(!folder.path().join("none").exists());
}
