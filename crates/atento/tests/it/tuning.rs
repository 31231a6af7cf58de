//! Fine-tuning from the first line of the data to the saved model: each task learns a trivial rule, and a run that was
//! stopped and resumed gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use atento::pipelines::TextModel;
use atento::pipelines::texts::TooLong;
use atento::pipelines::texts::answer::AnswerOptions;
use atento::train::recipe::Override;
use atento::train::{Error, Event, Recipe, Reporter, StopFlag, Summary, TrainOptions, plan, train};
use serde_json::{Value, json};

const SETTINGS: &str = r#"
    seed = 3
    [tokenizer]
    vocab_size = 60
    [model]
    arch = "bert"
    layers = 1
    heads = 2
    d_model = 32
    d_ff = 64
    dropout = 0.0
    max_positions = 48
    [train]
    max_epochs = 60
    max_sentences = 8
    eval_every = 20
    [optimizer]
    lr = 0.005
    [schedule]
    warmup_steps = 10
"#;

/// Raises a flag when a step has been logged.
struct StopAt(u64, StopFlag);

impl Reporter for StopAt {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Step(report) if report.step == self.0) {
            self.1.stop();
        }
    }
}

pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(task: &str, data: &str, files: &[(&str, &str)]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let settings = SETTINGS.replace("[tokenizer]", &format!("[data]\n{data}\n[tokenizer]"));
        fs::write(folder.path("r.toml"), format!("task = \"{task}\"\n{settings}")).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path(name), text).unwrap());
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::result_large_err, reason = "the error is that of the library")]
    pub fn run(&self, name: &str, settings: &[&str], stop_at: u64) -> Result<Summary, Error> {
        let settings: Vec<Override> = settings.iter().map(|&setting| Override::set(setting)).collect();
        let loaded = Recipe::load(&self.path("r.toml"), &settings)?;
        let recipe = Recipe { out: Some(self.path(name)), ..loaded.recipe };
        let options = TrainOptions { resume: self.path(name).exists(), written: loaded.written };
        let stop = StopFlag::new();
        train(&recipe, &options, &stop, &mut StopAt(stop_at, stop.clone()))
    }

    #[track_caller]
    pub fn refusal(&self, settings: &[&str]) -> String {
        let error = self.run("refused", settings, 0).unwrap_err();
        assert!(error.is_input(), "{error}");
        let _ = fs::remove_dir_all(self.path("refused"));
        error.to_string().replace(&self.0.path().display().to_string(), "")
    }

    /// Trains to the end; the measures of the finished model.
    fn measures(&self) -> BTreeMap<String, f64> {
        self.run("run", &[], 0).unwrap().metrics
    }

    fn model(&self) -> TextModel {
        TextModel::load(self.path("run/model")).unwrap()
    }

    /// A plan counts the examples of the data, and a run that is stopped twice makes the bytes of one that is not.
    fn assert_resumes(&self, examples: u64) {
        let loaded = Recipe::load(&self.path("r.toml"), &[]).unwrap();
        let recipe = Recipe { out: Some(self.path("planned")), ..loaded.recipe };
        let found = plan(&recipe, &TrainOptions { resume: false, written: loaded.written }).unwrap();
        assert_eq!(found.examples, examples);
        assert!(!self.path("planned").exists());
        let few = ["train.max_epochs=3", "train.log_every=1", "train.eval_every=4", "model.dropout=0.1"];
        self.run("whole", &few, 0).unwrap();
        for stop_at in [3, 7, 0] {
            self.run("parts", &few, stop_at).unwrap();
        }
        let weights = |name: &str| fs::read(self.path(name).join("model/model.safetensors")).unwrap();
        assert!(weights("whole") == weights("parts"));
    }
}

/// Names are persons, behind "in" they are places; a place may have two words.
fn sentences(count: usize, offset: usize) -> String {
    let names = ["ana", "bo", "cy", "di", "ed"];
    let mut text = String::from("-DOCSTART- O\n\n");
    for at in offset..offset + count {
        let (name, other) = (names[at % 5], names[(at / 5) % 5]);
        text += &format!("{name} B-PER\nlives O\nin O\n{other} B-LOC\n");
        text += if at.is_multiple_of(3) { "town I-LOC\n\n" } else { "\n" };
    }
    text
}

#[test]
fn words_are_tagged_by_their_places() {
    let data = "train = { conll = \"train.txt\" }\nvalid = { conll = \"valid.txt\" }";
    let folder = Folder::new("tag", data, &[("train.txt", &sentences(40, 0)), ("valid.txt", &sentences(10, 40))]);
    let report = folder.measures();
    assert!(report["valid_f1"] > 0.99 && report["valid_accuracy"] > 0.99, "{report:?}");
    let model = folder.model();
    assert_eq!(model.model.config.labels, ["O", "B-LOC", "I-LOC", "B-PER"]);
    let text = model.encode("cy lives in ana town", None, TooLong::Refuse).unwrap();
    let entities: Vec<(String, usize, usize)> =
        model.tag(&[&text]).unwrap().remove(0).entities.into_iter().map(|e| (e.label, e.start, e.end)).collect();
    assert_eq!(entities, [("PER".to_owned(), 0, 2), ("LOC".to_owned(), 12, 20)]);
    // A model that has these labels keeps them; a new label of other data is refused.
    fs::write(folder.path("other.txt"), "ana B-PER\nsees O\nbo B-PER\n").unwrap();
    let from = format!("from={}", folder.path("run/model").display());
    folder.run("again", &[&from, "data.train.conll=other.txt", "train.max_epochs=1"], 0).unwrap();
    let again = TextModel::load(folder.path("again/model")).unwrap();
    assert_eq!(again.model.config.labels, model.model.config.labels);
    fs::write(folder.path("valid.txt"), "ana B-PER\n\nsees O\nbo B-ORG\n").unwrap();
    let message = folder.refusal(&[]);
    assert!(
        message.contains("/valid.txt, line 4: the label \"B-ORG\" is none of those of the training data"),
        "{message}"
    );
}

#[test]
fn a_stopped_run_of_tags_goes_on_as_if_it_had_not_been() {
    Folder::new("tag", "train = { conll = \"t.txt\" }\nvalid = { conll = \"t.txt\" }", &[("t.txt", &sentences(24, 0))])
        .assert_resumes(24);
}

/// The answer to "who NAME" is the word behind NAME; in a second kind of question nobody is asked for.
fn squad(count: usize, offset: usize, unanswerable: bool) -> String {
    let (keys, words) = (["ana", "bo", "cy"], ["red", "blue", "green", "white"]);
    let question = |at: usize| {
        let parts: Vec<(String, String)> =
            (0..3).map(|i| (keys[(at + i) % 3].to_owned(), words[(at * 7 + i * 5 + at / 3) % 4].to_owned())).collect();
        let context: String = parts.iter().map(|(key, word)| format!("{key} {word} . ")).collect();
        let (key, word) = &parts[at / 2 % 3];
        let start = context.find(&format!("{key} ")).unwrap() + key.len() + 1;
        let answer = json!([{"text": word, "answer_start": start}]);
        let qa = match unanswerable && at.is_multiple_of(4) {
            true => json!({"id": at.to_string(), "question": "who zed", "is_impossible": true, "answers": []}),
            false => json!({"id": at.to_string(), "question": format!("who {key}"), "answers": answer}),
        };
        json!({"context": context, "qas": [qa]})
    };
    let paragraphs: Vec<Value> = (offset..offset + count).map(question).collect();
    json!({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}).to_string()
}

#[test]
fn answers_are_found_or_known_to_be_missing() {
    let data = "train = { squad = \"train.json\" }\nvalid = { squad = \"valid.json\" }";
    let files = [("train.json", squad(96, 0, true)), ("valid.json", squad(24, 96, true))];
    let folder = Folder::new("qa", data, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    let report = folder.measures();
    assert!(report["valid_exact_match"] > 0.9 && report["valid_f1"] >= report["valid_exact_match"], "{report:?}");
    let (model, context) = (folder.model(), "bo green . cy blue . ana red . ");
    let options = AnswerOptions { null_threshold: Some(0.0), ..AnswerOptions::default() };
    let answers: Vec<String> = ["who ana", "who zed"]
        .map(|question| {
            let windows = model.encode_question(question, context, &options).unwrap();
            let answer = model.answer(&[&windows], &options).unwrap().remove(0);
            context[answer.start..answer.end].to_owned()
        })
        .into();
    assert_eq!(answers, ["red", ""]);
    let message = folder.refusal(&["data.stride=48"]);
    assert!(message.contains("`data.stride` is 48, but windows have at most `data.max_length` 48 tokens"), "{message}");
    let message = folder.refusal(&["data.on_truncate=drop"]);
    assert!(message.contains("`data.on_truncate` does not go with `task` \"qa\""), "{message}");
}

#[test]
fn a_stopped_run_of_answers_goes_on_as_if_it_had_not_been() {
    let data = "train = { squad = \"t.json\" }\nvalid = { squad = \"t.json\" }\nmax_length = 12\nstride = 2";
    let folder = Folder::new("qa", data, &[("t.json", &squad(12, 0, false))]);
    let log = |name: &str| fs::read_to_string(folder.path(name).join("log.txt")).unwrap_or_default();
    folder.assert_resumes(24);
    assert!(!log("whole").contains("left out"));
}

/// The right choice is an animal; there are two, three or four.
fn choices(count: usize, offset: usize) -> String {
    let row = |at: usize| {
        let right = ["cat", "dog"][at % 2];
        let number = 2 + at % 3;
        let label = (at / 2) % number;
        let mut others = (0..3).map(|other| ["hat", "cup", "pen"][(at + other) % 3]);
        let choices: Vec<&str> = (0..number).map(|i| if i == label { right } else { others.next().unwrap() }).collect();
        let label = match at % 3 {
            0 => json!(label),
            1 => json!(right),
            _ => json!(["A", "B", "C", "D"][label]),
        };
        json!({"prompt": "an animal is a", "choices": choices, "label": label}).to_string() + "\n"
    };
    (offset..offset + count).map(row).collect()
}

#[test]
fn the_choice_that_goes_with_the_prompt_is_found() {
    let data = "train = { jsonl = \"train.jsonl\" }\nvalid = { jsonl = \"valid.jsonl\" }";
    let files = [("train.jsonl", choices(90, 0)), ("valid.jsonl", choices(30, 90))];
    let folder = Folder::new("multiple-choice", data, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    let report = folder.measures();
    assert!(report["valid_accuracy"] > 0.95, "{report:?}");
    let model = folder.model();
    let list = ["cup", "dog"].map(|choice| model.encode("an animal is a", Some(choice), TooLong::Refuse).unwrap());
    assert_eq!(model.choose(&[&list]).unwrap()[0].choice, 1);
    let message = folder.refusal(&["data.on_truncate=split"]);
    assert!(message.contains("a text has one answer"), "{message}");
    let data = "train = { tsv = \"t.tsv\" }";
    let folder = Folder::new("multiple-choice", data, &[("t.tsv", "i see\tcat\tdog\t1\ni see\tcat\tdog\t2\n")]);
    let message = folder.refusal(&[]);
    assert!(
        message.contains("/t.tsv, line 2: the label \"2\" is none of the choices: expected a number from 0 to 1"),
        "{message}"
    );
    let folder = Folder::new("multiple-choice", "train = { csv = \"t.csv\" }", &[("t.csv", "a\n")]);
    let message = folder.refusal(&[]);
    assert!(message.contains("`data.train` must name one file, `tsv` or `jsonl`; it names `csv`"), "{message}");
}

#[test]
fn a_stopped_run_of_choices_goes_on_as_if_it_had_not_been() {
    let data = "train = { jsonl = \"t.jsonl\" }\nvalid = { jsonl = \"t.jsonl\" }";
    Folder::new("multiple-choice", data, &[("t.jsonl", &choices(24, 0))]).assert_resumes(24);
}

#[test]
fn texts_are_classified_and_a_stopped_run_goes_on() {
    let texts: String =
        (0..40).map(|at| format!("it is {}\t{}\n", ["good", "bad"][at % 2], ["pos", "neg"][at % 2])).collect();
    let data = "train = { tsv = \"t.tsv\" }\nvalid = { tsv = \"t.tsv\" }";
    let folder = Folder::new("classify", data, &[("t.tsv", &texts)]);
    let report = folder.measures();
    assert_eq!(report["valid_accuracy"], 1.0);
    folder.assert_resumes(40);
}
