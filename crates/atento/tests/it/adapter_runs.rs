//! Adapters that are trained here: from a recipe to a directory that is put on its base again.

use std::collections::BTreeMap;
use std::fs;

use atento::hub::ModelDir;
use atento::models::Precision;
use atento::peft::{Adapter, AdapterConfig};
use atento::pipelines::TextModel;
use atento::pipelines::texts::TooLong;

use crate::adapters::tensors;
use crate::conformance::largest_difference;
use crate::tuning::Folder;

fn texts(labels: [&str; 2]) -> String {
    (0..40).map(|at| format!("it {at} is {}\t{}\n", ["good", "bad"][at % 2], labels[at % 2])).collect()
}

/// A folder with a model that has learned the labels the other way round, `base/model`.
fn folder() -> Folder {
    let data = "train = { tsv = \"t.tsv\" }\nvalid = { tsv = \"v.tsv\" }";
    let few = |labels| texts(labels).lines().take(8).map(|line| format!("{line}\n")).collect::<String>();
    let other = ["no", "yes"];
    let folder = Folder::new("classify", data, &[("t.tsv", &texts(other)), ("v.tsv", &few(other))]);
    let summary = folder.run("base", &["train.max_epochs=20"], 0).unwrap();
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    fs::write(folder.path("t.tsv"), texts(["yes", "no"])).unwrap();
    fs::write(folder.path("v.tsv"), few(["yes", "no"])).unwrap();
    folder
}

#[test]
fn a_run_trains_an_adapter_that_is_small_and_classifies_as_the_run_did() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let settings = |more: &[&'static str]| -> Vec<String> {
        let own = [from.as_str(), "train.method=lora", "lora.rank=2", "train.max_epochs=30"];
        own.iter().chain(more).map(|setting| (*setting).to_owned()).collect()
    };
    let run = |name: &str, more: &[&'static str], stop_at: u64| {
        let settings = settings(more);
        folder.run(name, &settings.iter().map(String::as_str).collect::<Vec<_>>(), stop_at).unwrap()
    };
    let summary = run("lora", &[], 0);
    // One block: queries and values [32, 32] with pairs of rank 2, and the classifier with its bias.
    assert_eq!(summary.trainable, 2 * 2 * (32 + 32) + 2 * 32 + 2);
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    let log = fs::read_to_string(folder.path("lora/log.txt")).unwrap();
    assert!(log.contains("target modules: \"query\" matches 1 module"), "{log}");
    // The directory holds the adapter alone, and so does a checkpoint.
    let own = tensors(&folder.path("lora/model/adapter_model.safetensors"));
    let query = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_";
    assert_eq!(own.len(), 6);
    assert_eq!((own[&format!("{query}A.weight")].len(), own[&format!("{query}B.weight")].len()), (64, 64));
    assert!(own[&format!("{query}B.weight")].iter().any(|value| *value != 0.0));
    assert!(!folder.path("lora/model/model.safetensors").exists());
    let values = fs::metadata(folder.path(&format!("lora/checkpoints/step-{}/values.f32", summary.steps))).unwrap();
    assert_eq!(values.len(), 4 * summary.trainable as u64);
    // Put on its base, opened by itself, and merged, it computes the same.
    let texts = ["it 3 is bad", "it 2 is good"];
    let logits = |model: &TextModel| -> Vec<f32> {
        let encoded = texts.map(|text| model.encode(text, None, TooLong::Refuse).unwrap());
        let found = model.classify(&encoded.each_ref()).unwrap();
        found.into_iter().flat_map(|found| found.logits).collect()
    };
    let mut alone = TextModel::load(folder.path("lora")).unwrap();
    let dir = ModelDir::open_with(&folder.path("base"), &folder.path("lora")).unwrap();
    let with = TextModel::from_dir(&dir, Precision::F32).unwrap();
    assert_eq!(logits(&alone), logits(&with));
    assert!(logits(&alone)[0] != logits(&alone)[2]);
    let expected = logits(&alone);
    let refused = alone.save(folder.path("saved")).unwrap_err().to_string();
    assert!(refused.contains("merge it first"), "{refused}");
    assert_eq!(alone.merge().unwrap(), 2);
    alone.save(folder.path("merged")).unwrap();
    let merged = TextModel::load(folder.path("merged")).unwrap();
    assert!(largest_difference(&logits(&merged), &expected) < 1e-5);
    // A run that was stopped and goes on gives the same bits.
    run("again", &[], 12);
    run("again", &[], 0);
    assert_eq!(tensors(&folder.path("again/model/adapter_model.safetensors")), own);
    // Another base is found out.
    folder.run("other", &["train.max_epochs=2"], 0).unwrap();
    let dir = ModelDir::open_with(&folder.path("other"), &folder.path("lora")).unwrap();
    let refused = TextModel::from_dir(&dir, Precision::F32).err().unwrap().to_string();
    assert!(refused.contains("was made for a model with contents"), "{refused}");
    assert!(TextModel::from_dir(&dir.of_any_base(), Precision::F32).is_ok());
}

#[test]
fn an_adapter_of_every_kind_learns() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    for (name, more) in [
        ("dora", &["lora.dora=true"][..]),
        ("int8", &["train.base_dtype=int8"]),
        ("nf4", &["train.base_dtype=nf4"]),
        ("int4", &["lora.dora=true", "train.base_dtype=int4"]),
        ("bf16", &["lora.dora=true", "train.base_dtype=bf16"]),
        ("principal", &["lora.start=pissa", "train.base_dtype=int8"]),
        ("all", &["lora.targets=[\"all-linear\"]", "lora.rank_stabilized=true", "lora.start=gaussian"]),
        ("some", &["lora.target_pattern=.*self\\.(query|key)", "lora.ranks=[\"key=4\"]", "lora.alphas=[\"key=1\"]"]),
        (
            "bias",
            &["lora.bias=all", "lora.dropout=0.1", "lora.up_rate=4", "lora.modules_to_save=[\"output.LayerNorm\"]"],
        ),
    ] {
        let settings = [&[from.as_str(), "train.method=lora", "lora.rank=2", "train.max_epochs=30"][..], more].concat();
        let summary = folder.run(name, &settings, 0).unwrap();
        assert_eq!(summary.metrics["valid_accuracy"], 1.0, "{name}");
        let loaded = TextModel::load(folder.path(name)).unwrap();
        let text = loaded.encode("it 9 is bad", None, TooLong::Refuse).unwrap();
        let labels = &loaded.model.config.labels;
        assert_eq!(labels[loaded.classify(&[&text]).unwrap()[0].labels[0]], "no", "{name}");
    }
    for (method, more, trainable) in [
        ("ia3", "seed=3", 32 + 32 + 32 + 64 + 66),
        ("bitfit", "seed=3", 0),
        ("prefix", "prompt.tokens=3", 3 * 2 * 32 + 66),
        ("prompt", "prompt.tokens=3", 3 * 32 + 66),
        ("houlsby", "houlsby.size=4", 2 * (2 * 4 * 32 + 4 + 32) + 66),
    ] {
        let method = format!("train.method={method}");
        let settings = [from.as_str(), &method, more, "train.max_epochs=60", "optimizer.lr=0.02"];
        let summary = folder.run(&method, &settings, 0).unwrap();
        assert_eq!(summary.metrics["valid_accuracy"], 1.0, "{method}");
        assert!(trainable == 0 || summary.trainable == trainable, "{method}: {}", summary.trainable);
        let loaded = TextModel::load(folder.path(&method)).unwrap();
        let text = loaded.encode("it 9 is bad", None, TooLong::Refuse).unwrap();
        let label = loaded.classify(&[&text]).unwrap()[0].labels[0];
        assert_eq!(loaded.model.config.labels[label], "no", "{method}");
    }
    let of_biases = tensors(&folder.path("train.method=bitfit/model/adapter_model.safetensors"));
    assert!(
        of_biases.keys().all(|name| name.ends_with(".bias") || name.ends_with("classifier.weight")),
        "{of_biases:?}"
    );
    // PEFT finds the bias of a module that has a pair below `base_layer`, and others where they are.
    let with_biases = tensors(&folder.path("bias/model/adapter_model.safetensors"));
    let layer = "base_model.model.bert.encoder.layer.0";
    for name in ["attention.self.query.base_layer.bias", "attention.self.key.bias", "output.LayerNorm.weight"] {
        assert!(with_biases.contains_key(&format!("{layer}.{name}")), "{name}: {:?}", with_biases.keys());
    }
    let keys = tensors(&folder.path("some/model/adapter_model.safetensors"));
    let of_key = |half: &str| {
        keys[&format!("base_model.model.bert.encoder.layer.0.attention.self.key.lora_{half}.weight")].len()
    };
    assert_eq!((of_key("A"), of_key("B")), (4 * 32, 32 * 4));
}

#[test]
fn settings_that_match_nothing_are_refused() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let refusal = |more: &[&str]| folder.refusal(&[&[from.as_str(), "train.method=lora"][..], more].concat());
    for (setting, expected) in [
        (
            "lora.targets=[\"query\", \"valeu\"]",
            "`lora.targets`: \"valeu\" matches no module of the model; the nearest is `value`",
        ),
        ("lora.target_pattern=query", "\"query\" matches no module of the model"),
        ("lora.target_pattern=(", "`lora.target_pattern`: it is no regular expression"),
        ("lora.rank=64", "`lora.rank`: it is 64, but `bert.encoder.layer.0.attention.self.query`"),
        ("lora.layers=[3]", "`lora.layers`: it leaves none of the 2 modules"),
        ("lora.exclude=[\"self.query\", \"self.value\"]", "`lora.exclude`: it leaves none of the 2 modules"),
        ("lora.ranks=[\"kye=3\"]", "`lora.ranks`: \"kye\" names none of the modules"),
        ("lora.ranks=[\"query\"]", "is no \"NAME=NUMBER\""),
        ("lora.modules_to_save=[\"poller\"]", "`lora.modules_to_save`: \"poller\" matches no module"),
    ] {
        let found = refusal(&[setting]);
        assert!(found.contains(expected), "{setting}: {found}");
    }
    for (settings, expected) in [
        (["train.method=prompt", "prompt.tokens=5000"], "`prompt.tokens`: they leave no room: the model has"),
        (["train.method=houlsby", "houlsby.targets=[\"dence\"]"], "`houlsby.targets`: \"dence\" matches no module"),
        (["train.method=houlsby", "houlsby.targets=[\"word_embeddings\"]"], "only low-rank pairs can stand on one"),
        (["train.method=ia3", "ia3.targets=[\"word_embeddings\"]"], "only low-rank pairs can stand on one"),
        (
            ["train.method=prefix", "prompt.modules_to_save=[\"poller\"]"],
            "`prompt.modules_to_save`: \"poller\" matches no",
        ),
    ] {
        let found = folder.refusal(&[&[from.as_str()][..], &settings].concat());
        assert!(found.contains(expected), "{settings:?}: {found}");
    }
    for setting in ["prompt.tokens=1000000000000", "houlsby.size=1000000000000"] {
        let found = folder.refusal(&[&from, setting]);
        assert!(found.contains("65536"), "{found}");
    }
    let found = folder.refusal(&["train.method=lora"]);
    assert!(found.contains("`train.method`: \"lora\" needs a model to put the adapter on"), "{found}");
    let found = folder.refusal(&[&from, "train.method=lora", "train.freeze=[\"bert\"]"]);
    assert!(found.contains("does not go with `train.freeze`"), "{found}");
}

#[test]
fn an_adapter_is_trained_further_from_where_it_stands() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let held = |run: &str| tensors(&folder.path(&format!("{run}/model/adapter_model.safetensors")));
    for (name, settings) in [
        ("lora", &["train.method=lora", "lora.rank=2", "lora.dora=true", "lora.bias=lora_only"][..]),
        ("ia3", &["train.method=ia3"]),
        ("bitfit", &["train.method=bitfit"]),
        ("prefix", &["train.method=prefix", "prompt.tokens=3"]),
        ("houlsby", &["train.method=houlsby", "houlsby.size=4"]),
    ] {
        let begun = folder.run(name, &[&[from.as_str(), "train.max_epochs=4"][..], settings].concat(), 0).unwrap();
        let further = format!("from={}", folder.path(name).display());
        // The recipe need not say what it is. An update that changes nothing leaves it as it was, output and all.
        let still = format!("{name}-still");
        let summary = folder.run(&still, &[&further, "optimizer.lr=1e-30", "train.max_steps=1"], 0).unwrap();
        assert_eq!((summary.trainable, held(&still)), (begun.trainable, held(name)), "{name}");
        let log = fs::read_to_string(folder.path(&format!("{still}/log.txt"))).unwrap();
        assert!(!log.contains("newly initialised"), "{log}");
    }
    let further = format!("from={}", folder.path("lora/model").display());
    let recipe = fs::read_to_string(folder.path("lora-still/config.toml")).unwrap();
    assert!(
        recipe.contains("method = \"lora\"") && recipe.contains("rank = 2") && recipe.contains("dora = true"),
        "{recipe}"
    );
    let settings = [&further, "lora.dropout=0.1", "lora.targets=[\"key\"]", "train.max_epochs=30"];
    let summary = folder.run("more", &settings, 0).unwrap();
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    assert!(held("more") != held("lora"));
    let log = fs::read_to_string(folder.path("more/log.txt")).unwrap();
    assert!(log.contains("`lora.targets` has no effect: the adapter is trained as it is"), "{log}");
    // It is of the same base, and a run that is stopped goes on.
    let loaded = TextModel::load(folder.path("more")).unwrap();
    let text = loaded.encode("it 9 is bad", None, TooLong::Refuse).unwrap();
    assert_eq!(loaded.model.config.labels[loaded.classify(&[&text]).unwrap()[0].labels[0]], "no");
    folder.run("again", &settings, 12).unwrap();
    folder.run("again", &settings, 0).unwrap();
    assert_eq!(held("again"), held("more"));
    for (setting, expected) in [
        ("lora.rank=4", "`lora.rank` is 4, but the adapter"),
        ("train.method=ia3", "or make it part of its model first"),
        ("train.method=full", "that is trained further has \"lora\""),
    ] {
        let refused = folder.refusal(&[&further, setting]);
        assert!(refused.contains(expected), "{setting}: {refused}");
    }
    // The recipe that the run was begun with goes on with it, though it does not say what the adapter is.
    folder.run("on", &[&further, "train.max_epochs=2"], 4).unwrap();
    let again = folder.run("on", &["train.max_epochs=2"], 0).unwrap();
    assert_eq!(again.trainable, summary.trainable);
    // Labels that the adapter does not know.
    fs::write(folder.path("t.tsv"), texts(["maybe", "no"])).unwrap();
    let refused = folder.refusal(&[&further]);
    assert!(refused.contains("the labels of the data (maybe, no) and those of the model (no, yes)"), "{refused}");
    let many = texts(["yes", "no"]) + "it is neither\tneither\n";
    fs::write(folder.path("t.tsv"), many).unwrap();
    let refused = folder.refusal(&[&further]);
    assert!(refused.contains("neither"), "{refused}");
    fs::write(folder.path("t.tsv"), texts(["yes", "no"])).unwrap();
    // Another model in the place of its base.
    let config = folder.path("base/model/config.json");
    let changed = fs::read_to_string(&config).unwrap().replacen('{', "{\n", 1);
    fs::write(&config, changed).unwrap();
    let refused = folder.refusal(&[&further]);
    assert!(refused.contains("was made for a model with contents"), "{refused}");
}

#[test]
fn pairs_that_begin_with_principal_directions_are_saved_as_what_has_changed() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let settings = [from.as_str(), "train.method=lora", "lora.rank=2", "lora.alpha=3", "lora.start=pissa"];
    let run = |name: &str, more: &[&str], stop_at: u64| {
        let summary = folder.run(name, &[&settings[..], more].concat(), stop_at).unwrap();
        (summary, tensors(&folder.path(&format!("{name}/model/adapter_model.safetensors"))))
    };
    // What is trained is pairs of the rank that was asked for; what is saved are two of them, which say nothing at first.
    let (summary, held) = run("still", &["optimizer.lr=1e-30", "train.max_steps=1"], 0);
    assert_eq!(summary.trainable, 2 * 2 * (32 + 32) + 2 * 32 + 2);
    let query = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_";
    let product = |held: &BTreeMap<String, Vec<f32>>| -> Vec<f32> {
        let (a, b) = (&held[&format!("{query}A.weight")], &held[&format!("{query}B.weight")]);
        assert_eq!((a.len(), b.len()), (4 * 32, 32 * 4));
        (0..32 * 32).map(|at| (0..4).map(|k| b[at / 32 * 4 + k] * a[k * 32 + at % 32]).sum()).collect()
    };
    assert!(product(&held).iter().all(|value| value.abs() < 1e-6));
    assert!(held[&format!("{query}B.weight")].iter().any(|value| value.abs() > 1e-2));
    let (summary, held) = run("whole", &["train.max_epochs=30"], 0);
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    assert!(product(&held).iter().any(|value| value.abs() > 1e-3));
    let said = fs::read_to_string(folder.path("whole/model/adapter_config.json")).unwrap();
    assert!(said.contains("\"init_lora_weights\": true"), "{said}");
    // It goes with the model as it is, computes what the run did, and the run goes on as it was.
    run("again", &["train.max_epochs=30"], 12);
    assert_eq!(run("again", &["train.max_epochs=30"], 0).1, held);
    let loaded = TextModel::load(folder.path("whole")).unwrap();
    let text = loaded.encode("it 9 is bad", None, TooLong::Refuse).unwrap();
    assert_eq!(loaded.model.config.labels[loaded.classify(&[&text]).unwrap()[0].labels[0]], "no");
    // Ranks and factors of some modules stay theirs.
    let patterns = ["lora.ranks=[\"query=4\"]", "lora.alphas=[\"query=8\"]", "lora.targets=[\"query\", \"value\"]"];
    let (_, held) = run("patterns", &[&patterns[..], &["train.max_epochs=10"]].concat(), 0);
    assert_eq!(held[&format!("{query}A.weight")].len(), 8 * 32);
    let adapter = Adapter::open(&folder.path("patterns/model")).unwrap();
    let AdapterConfig::Lora(said) = &adapter.config else { panic!() };
    let path = |name: &str| format!("bert.encoder.layer.0.attention.self.{name}");
    assert_eq!((said.rank_of(&path("query")), said.scale_of(&path("query"))), (8, 2.0));
    assert_eq!((said.rank_of(&path("value")), said.scale_of(&path("value"))), (4, 1.5));
    TextModel::load(folder.path("patterns")).unwrap();
    let refused = folder.refusal(&[&settings[..], &["lora.rank=17"]].concat());
    assert!(refused.contains("`lora.rank`: it is 17") && refused.contains("at most 16"), "{refused}");
    let refused = folder.refusal(&[&settings[..], &["lora.dora=true"]].concat());
    assert!(
        refused.contains("`lora.dora`: it does not go with pairs that begin as parts of their matrices"),
        "{refused}"
    );
}
