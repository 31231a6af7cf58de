//! Training models with heads, as a person does it: labels of texts, masked words, BERT's pre-training.

use serde_json::Value;

use crate::support::{Folder, Ran, fixture};

/// A small encoder.
const MODEL: &str = r#"
[tokenizer]
vocab_size = 80
min_frequency = 1
[model]
arch = "bert"
layers = 1
heads = 2
d_model = 16
d_ff = 32
max_positions = 24
dropout = 0.1
"#;

/// A run of seconds.
const RUN: &str = r#"
[train]
batch_tokens = 96
max_epochs = 100
log_every = 5
eval_every = 10
[optimizer]
lr = 0.004
[schedule]
kind = "constant"
warmup_steps = 2
"#;

const LABELS: [&str; 3] = ["red", "green", "blue"];
const THINGS: [&str; 5] = ["cat", "dog", "hen", "fox", "cow"];

/// Rows of texts with the colour that each names.
fn rows() -> String {
    let pairs = THINGS.iter().flat_map(|thing| LABELS.iter().map(move |label| (thing, label)));
    pairs.map(|(thing, label)| format!("the {thing} is {label}\t{label}\n")).collect()
}

/// A folder with `r.toml`, for the task on these data, and `f.toml`, the same for a model that is there already.
fn folder(task: &str, data: &str) -> Folder {
    let folder = Folder::new();
    folder.write("r.toml", format!("task = \"{task}\"\nseed = 5\n[data]\n{data}\n{MODEL}{RUN}"));
    folder.write("f.toml", format!("task = \"{task}\"\nseed = 5\n[data]\n{data}\n{RUN}"));
    folder.write("texts.tsv", "sentence\tlabel\n".to_owned() + &rows().repeat(2));
    let document = |n: usize| {
        let line = |thing: &str| format!("The {thing} is {}. It runs {n} times.\n", LABELS[n % 3]);
        THINGS.map(line).concat()
    };
    folder.write("text.txt", (0..6).map(document).collect::<Vec<_>>().join("\n"));
    folder.write("valid.txt", (6..9).map(document).collect::<Vec<_>>().join("\n"));
    folder
}

const TEXTS: &str = "train = { tsv = \"texts.tsv\" }\nvalid = { tsv = \"texts.tsv\" }";
const TEXT: &str = "text = \"text.txt\"\nvalid_text = \"valid.txt\"\nblock_size = 20";

fn train(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["train", "r.toml", "--quiet"], arguments].concat(), "")
}

/// Two updates of a model that is there already.
fn further(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["train", "f.toml", "--max-steps", "2"], arguments].concat(), "")
}

/// The metrics of a run that succeeded.
fn metrics(ran: Ran) -> Value {
    ran.objects().remove(0)["metrics"].clone()
}

/// Trains in one go and in two, and compares the last checkpoints bit for bit.
#[track_caller]
fn resumes_to_the_same_bits(folder: &Folder, recipe: &[&str]) {
    let train = |more: &[&str]| folder.run(&[&["train", "--quiet"], recipe, more].concat(), "").output();
    train(&["--out", "whole", "--max-steps", "8"]);
    train(&["--out", "parts", "--max-steps", "3"]);
    let resume = ["train", recipe[0], "--quiet", "--out", "parts", "--resume", "--max-steps", "8"];
    folder.run(&resume, "").output();
    for file in ["values.f32", "first.f32", "second.f32"] {
        let bytes = |run: &str| std::fs::read(folder.path(run).join("checkpoints/step-8").join(file)).unwrap();
        assert!(bytes("whole") == bytes("parts"), "{file} of the resumed run differs");
    }
}

#[test]
fn a_classifier_made_from_nothing_learns_labels_and_is_used() {
    let folder = folder("classify", TEXTS);
    let found = metrics(train(&folder, &["--json", "--out", "run", "--max-steps", "120"]));
    let accuracy = found["valid_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.6, "{found}");
    let input: String = rows().lines().map(|row| row.split('\t').next().unwrap().to_owned() + "\n").collect();
    let said = folder.run(&["classify", "run"], &input).output();
    let is_right = |(line, row): &(&str, &str)| line.split('\t').next() == row.split('\t').nth(1);
    let right = said.lines().zip(rows().lines()).filter(is_right).count();
    assert!((right as f64 / 15.0 - accuracy).abs() < 1e-6, "{right} of 15 and {accuracy}");
    let config = std::fs::read_to_string(folder.path("run/model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    let mut names: Vec<&str> = config["label2id"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["blue", "green", "red"]);
    resumes_to_the_same_bits(&folder, &["r.toml"]);
}

#[test]
fn a_classifier_begins_from_a_model_with_labels_or_without() {
    let folder = folder("classify", TEXTS);
    let path = |name: &str| fixture(name).display().to_string();
    // A model that knows these labels keeps their order.
    further(&folder, &["--out", "known", "--from", &path("bert-labels"), "--quiet"]).output();
    let config = std::fs::read_to_string(folder.path("known/model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["id2label"]["0"], &config["id2label"]["2"]), (&"red".into(), &"blue".into()));
    // A model of masked words gets outputs that are new, which is told.
    let words = path("bert-words");
    let ran = further(&folder, &["--out", "new", "--from", &words]);
    assert!(ran.stderr.contains("newly initialised") && ran.stderr.contains("classifier.weight"), "{}", ran.stderr);
    ran.output();
    for run in ["known", "new"] {
        let object = folder.run(&["classify", run, "the dog is red", "--json"], "").objects().remove(0);
        assert!(LABELS.contains(&object["label"].as_str().unwrap()), "{object}");
    }
    resumes_to_the_same_bits(&folder, &["f.toml", "--from", &words]);
}

#[test]
fn data_that_cannot_be_learned_from_are_refused() {
    let folder = folder("classify", TEXTS);
    let refused = |expected: &str| {
        let message = train(&folder, &["--out", "run"]).refusal();
        assert!(message.contains(expected), "{message}");
    };
    folder.write("texts.tsv", "sentence\tcolour\tsource\na\tred\tx\nb\tblue\tx\n");
    let recipe = std::fs::read_to_string(folder.path("r.toml")).unwrap();
    let keyed = "train = { tsv = \"texts.tsv\", text_key = \"sentence\", label_key = \"label\" }";
    folder.write("r.toml", recipe.replace(TEXTS, keyed));
    let message = train(&folder, &["--out", "run"]).refusal();
    assert!(message.contains("there is no column \"label\""), "{message}");
    assert!(["sentence", "colour", "source"].iter().all(|column| message.contains(column)), "{message}");
    folder.write("r.toml", recipe.replace("valid = { tsv = \"texts.tsv\" }", "valid = { tsv = \"valid.tsv\" }"));
    folder.write("texts.tsv", "sentence\tlabel\na dog\tred\na cat\tred\n");
    folder.write("valid.tsv", "sentence\tlabel\na dog\tred\n");
    refused("texts.tsv: every text has the label \"red\": there is nothing to tell apart");
    folder.write("texts.tsv", "sentence\tlabel\na dog\tred\na cat\tblue\n");
    folder.write("valid.tsv", "sentence\tlabel\na dog\tred\na cat\tblau\n");
    refused("valid.tsv, line 3: the label \"blau\" is none of");
    folder.write("texts.tsv", "sentence\tlabel\n");
    refused("texts.tsv: there is no row in it");
}

#[test]
fn masked_words_are_learned_and_found() {
    let folder = folder("masked-lm", TEXT);
    let found = metrics(train(&folder, &["--json", "--out", "run", "--max-steps", "120"]));
    let (loss, chance) = (found["valid_word_loss"].as_f64().unwrap(), found["valid_unigram_loss"].as_f64().unwrap());
    assert!(loss < chance, "{found}");
    let object = folder.run(&["fill-mask", "run", "The [MASK] is red.", "--json"], "").objects().remove(0);
    assert_eq!(object["masks"][0].as_array().unwrap().len(), 5, "{object}");
    resumes_to_the_same_bits(&folder, &["r.toml"]);
}

#[test]
fn a_model_of_masked_words_is_trained_further() {
    let folder = folder("masked-lm", TEXT);
    for name in ["roberta-words", "xlm-roberta-words", "electra-words", "bert-words"] {
        let (path, run) = (fixture(name).display().to_string(), format!("run-{name}"));
        further(&folder, &["--out", &run, "--from", &path, "--quiet"]).output();
        let mask = if name.contains("roberta") { "<mask>" } else { "[MASK]" };
        let text = format!("The {mask} is red.");
        assert_eq!(folder.run(&["fill-mask", &run, &text, "--top-k", "2"], "").output().split('\t').count(), 4);
    }
}

#[test]
fn bert_is_pre_trained_and_its_words_and_states_are_used() {
    pre_trained_and_used("bert");
}

#[test]
fn modernbert_is_pre_trained_and_its_words_and_states_are_used() {
    pre_trained_and_used("modernbert");
}

#[track_caller]
fn pre_trained_and_used(arch: &str) {
    let folder = folder("bert-pretrain", TEXT);
    let recipe = std::fs::read_to_string(folder.path("r.toml")).unwrap();
    folder.write("r.toml", recipe.replace("arch = \"bert\"", &format!("arch = \"{arch}\"")));
    let found = metrics(train(&folder, &["--json", "--out", "run", "--max-steps", "20"]));
    for key in ["valid_loss", "valid_word_loss", "valid_word_accuracy", "valid_next_accuracy"] {
        assert!(found[key].as_f64().is_some_and(f64::is_finite), "{key}: {found}");
    }
    let words = folder.run(&["fill-mask", "run", "The [MASK] is red.", "--top-k", "1"], "").output();
    assert_eq!(words.split('\t').count(), 2, "{words}");
    let object = folder.run(&["embed", "run", "The dog is red.", "--json"], "").objects().remove(0);
    assert_eq!(object["embedding"].as_array().unwrap().len(), 16);
    resumes_to_the_same_bits(&folder, &["r.toml"]);
    // What was pre-trained is given labels.
    let pretrained = folder.path("run").display().to_string();
    folder.write("c.toml", format!("task = \"classify\"\n[data]\n{TEXTS}\n[train]\nmax_steps = 2\n"));
    folder.run(&["train", "c.toml", "--from", &pretrained, "--out", "labels", "--quiet"], "").output();
    let said = folder.run(&["classify", "labels", "the dog is red"], "").output();
    assert!(LABELS.contains(&said.split('\t').next().unwrap()), "{said}");
}

#[test]
fn one_document_has_no_other_to_take_a_text_from() {
    let folder = folder("bert-pretrain", "text = \"text.txt\"\nvalid_fraction = 0.0\nblock_size = 20");
    let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
    folder.write("text.txt", text.replace("\n\n", "\n"));
    let message = train(&folder, &["--out", "run"]).refusal();
    assert!(message.contains("text.txt: there is one document, so no segment of another"), "{message}");
    // Whether two texts are in order is learned from one document.
    train(&folder, &["--out", "order", "--max-steps", "2", "--set", "data.second=\"order\""]).output();
}

#[test]
fn a_model_of_masked_words_of_every_family_knows_its_mask() {
    for arch in ["bert", "roberta", "distilbert", "electra", "deberta", "modernbert"] {
        let folder = folder("masked-lm", TEXT);
        let arch = format!("model.arch=\"{arch}\"");
        train(&folder, &["--out", "run", "--max-steps", "2", "--set", &arch]).output();
        let words = folder.run(&["fill-mask", "run", "The cat is [MASK]"], "").output();
        assert!(words.split('\t').count() > 4, "{arch}: {words}");
        let config = std::fs::read_to_string(folder.path("run/model/tokenizer_config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let named = [&config["cls_token"], &config["sep_token"], &config["mask_token"]];
        assert_eq!(named, ["[CLS]", "[SEP]", "[MASK]"]);
    }
}

#[test]
fn a_classifier_trained_on_from_one_with_other_labels_has_those_of_the_data() {
    let folder = folder("classify", TEXTS);
    let others = rows().replace("red", "warm").replace("green", "cold").replace("blue", "grey");
    folder.write("texts.tsv", "sentence\tlabel\n".to_owned() + &others.repeat(2) + "the cat is there\tnone\n");
    let labels = fixture("bert-labels").display().to_string();
    further(&folder, &["--out", "run", "--from", &labels, "--quiet"]).output();
    let config = std::fs::read_to_string(folder.path("run/model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let mut names: Vec<&str> = config["label2id"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!((names, config["id2label"].as_object().unwrap().len()), (vec!["cold", "grey", "none", "warm"], 4));
    let object = folder.run(&["classify", "run", "the dog is warm", "--json"], "").objects().remove(0);
    assert_eq!(object["scores"].as_object().unwrap().len(), 4);
    // From there to labels of tokens: nothing of the old head is left.
    folder.write("tags.conll", "the O\ndog B-X\n\nthe O\ncat B-X\n");
    let data = "train = { conll = \"tags.conll\" }";
    folder.write("t.toml", format!("task = \"tag\"\nseed = 5\n[data]\n{data}\n{RUN}"));
    folder.run(&["train", "t.toml", "--max-steps", "2", "--out", "tags", "--from", "run", "--quiet"], "").output();
    folder.run(&["tag", "tags", "the dog", "--json"], "").objects();
}

#[test]
fn tokens_are_added_to_encoders_of_every_family() {
    let folder = folder("classify", TEXTS);
    for model in ["bert-words", "roberta-words", "electra-words", "distilbert-labels", "modernbert-words"] {
        let from = fixture(model).display().to_string();
        let add = "tokenizer.add_tokens=[\"<new>\"]";
        further(&folder, &["--out", model, "--from", &from, "--quiet", "--set", add]).output();
        folder.run(&["classify", model, "the <new> is red", "--json"], "").objects();
    }
}

#[test]
fn dropout_is_the_choice_of_a_run_and_not_of_the_model_it_starts_from() {
    let folder = folder("classify", TEXTS);
    train(&folder, &["--out", "first", "--max-steps", "2", "--set", "model.initializer_range=0.5"]).output();
    let config = |run: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.path(run).join("model/config.json")).unwrap()).unwrap()
    };
    assert_eq!(
        (&config("first")["hidden_dropout_prob"], &config("first")["initializer_range"]),
        (&0.1.into(), &0.5.into())
    );
    further(&folder, &["--out", "other", "--from", "first", "--set", "model.dropout=0.3"]).output();
    let other = config("other");
    assert_eq!((&other["hidden_dropout_prob"], &other["attention_probs_dropout_prob"]), (&0.3.into(), &0.1.into()));
    assert_eq!(other["initializer_range"], 0.5);
    // What the weights say cannot be chosen.
    let ran = further(&folder, &["--out", "none", "--from", "first", "--set", "model.heads=4"]);
    let message = ran.refusal();
    assert!(message.contains("`model.heads` is 4, but the model that is trained further has 2"), "{message}");
    // A run's own settings say nothing of families that are not its own.
    let notes = folder.run(&["train", "first/config.toml", "--out", "again", "--max-steps", "2"], "");
    assert!(!notes.stderr.contains("has no effect"), "{}", notes.stderr);
}

#[test]
fn a_run_is_measured_on_its_own_data_label_by_label() {
    let folder = folder("classify", TEXTS);
    let trained = metrics(train(&folder, &["--json", "--out", "run", "--max-steps", "40"]));
    let found = folder.run(&["eval", "run", "--json", "--mistakes", "3"], "").objects().remove(0);
    let accuracy = found["accuracy"].as_f64().unwrap();
    assert!((accuracy - trained["valid_accuracy"].as_f64().unwrap()).abs() < 1e-6, "{found} {trained}");
    let labels = found["labels"].as_object().unwrap();
    assert_eq!(labels.keys().map(String::as_str).collect::<Vec<_>>(), ["blue", "green", "red"]);
    let mean = labels.values().map(|label| label["f1"].as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((mean - found["f1_macro"].as_f64().unwrap()).abs() < 1e-9, "{found}");
    let wrong = found["mistakes"].as_array().unwrap();
    assert_eq!(wrong.len(), if accuracy < 1.0 { 3 } else { 0 }, "{found}");
    let differ =
        |mistake: &Value| !mistake["found"].as_str().unwrap().starts_with(mistake["expected"].as_str().unwrap());
    assert!(wrong.iter().all(differ), "{found}");
    // Of its files only those that it is measured on are needed.
    folder
        .write("f.toml", format!("task = \"classify\"\n[data]\n{TEXTS}\n{RUN}").replacen("texts.tsv", "train.tsv", 1));
    folder.write("train.tsv", "sentence\tlabel\n".to_owned() + &rows());
    further(&folder, &["--out", "other", "--from", "run"]).output();
    std::fs::remove_file(folder.path("train.tsv")).unwrap();
    folder.run(&["eval", "other"], "").output();
    let message = folder.run(&["eval", "run/model"], "").refusal();
    assert!(message.contains("name the data with --data"), "{message}");
}

#[test]
fn a_roberta_made_from_nothing_reads_pairs() {
    let folder = folder("classify", "train = { tsv = \"pairs.tsv\" }");
    folder.write("pairs.tsv", rows().replace(" is ", "\tis ").repeat(2));
    train(&folder, &["--out", "run", "--max-steps", "2", "--set", "model.arch=roberta"]).output();
    let said = folder.run(&["classify", "run"], "the cat\tis red\n").output();
    assert_eq!(said.lines().count(), 1, "{said}");
}
