//! Recipes that a program builds and nobody has checked.

use std::path::Path;

use atento::tasks;
use atento::train::recipe::{Arch, Corpus, FileSettings, Recipe, Task};
use atento::train::{Error, Event, Reporter, StopFlag, TrainOptions, plan, show_masks, train};

struct Silent;

impl Reporter for Silent {
    fn event(&mut self, _: &Event) {}
}

/// What each public function says of a recipe.
fn refusals(recipe: &Recipe) -> [String; 3] {
    let (options, stop) = (TrainOptions::default(), StopFlag::new());
    let message = |error: Option<Error>| {
        let error = error.expect("an impossible recipe");
        assert!(error.is_input(), "{error}");
        error.to_string()
    };
    [
        message(train(recipe, &options, &stop, &mut Silent).err()),
        message(plan(recipe, &options).err()),
        message(show_masks(recipe, &options, 1).err()),
    ]
}

#[test]
fn a_recipe_that_nobody_checked_is_refused_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let recipe = |task, change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe { task, out: Some(directory.path().join("run")), ..Recipe::default() };
        match task.name() {
            "translation" => recipe.data.corpus = Some(Corpus::Demo),
            "causal-lm" | "masked-lm" | "bert-pretrain" => recipe.data.text = Some("none.txt".into()),
            "tag" => recipe.data.train = Some(FileSettings { conll: Some("none".into()), ..FileSettings::default() }),
            "qa" => {
                recipe.data.train = Some(FileSettings { squad: Some("none".into()), ..FileSettings::default() });
                recipe.data.stride = 32;
            }
            _ => recipe.data.train = Some(FileSettings { tsv: Some("none.tsv".into()), ..FileSettings::default() }),
        }
        if task.name() != "translation" {
            let is_of_encoders = ["masked-lm", "bert-pretrain", "multiple-choice"].contains(&task.name());
            recipe.model.arch = Arch::named(if is_of_encoders { "bert" } else { "gpt2" }).unwrap();
        }
        change(&mut recipe);
        recipe
    };
    type Change = fn(&mut Recipe);
    let changes: [(&str, Change); 6] = [
        ("model.heads", |recipe| recipe.model.heads = 0),
        ("model.heads", |recipe| recipe.model.heads = 3),
        ("model.d_model", |recipe| recipe.model.d_model = usize::MAX >> 1),
        ("train.log_every", |recipe| recipe.train.log_every = 0),
        ("train.accumulate", |recipe| recipe.train.accumulate = 0),
        ("model.arch", |recipe| {
            let is_translation = recipe.task.name() == "translation";
            recipe.model.arch = Arch::named(if is_translation { "gpt2" } else { "rnn" }).unwrap();
        }),
    ];
    for task in tasks::ALL.into_iter().map(Task) {
        for (key, change) in changes {
            let [trained, planned, shown] = refusals(&recipe(task, &change));
            assert!(trained.contains(key) && planned.contains(key), "{key}: {trained} {planned}");
            assert!(task.name() != "instruct" || shown.contains(key), "{key}: {shown}");
        }
    }
    // Nothing says where the run is to be, or what it learns from.
    let nowhere = Recipe { out: None, ..recipe(Task::default(), &|_| ()) };
    let found = train(&nowhere, &TrainOptions::default(), &StopFlag::new(), &mut Silent).err().unwrap();
    assert!(found.to_string().contains("`out`"), "{found}");
    let without_text = recipe(Task::named("causal-lm").unwrap(), &|recipe| recipe.data.text = None);
    assert!(refusals(&without_text)[0].contains("`data.text` is missing"));
    assert!(!directory.path().join("run").exists());
}

/// The family is that of the model that is trained further, whatever the recipe's own default.
#[test]
fn settings_without_effect_are_those_of_the_model_that_is_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.txt"), "a red cat runs. a dog sees the red cat. ".repeat(20)).unwrap();
    let recipe = "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\nblock_size = 16\n[model]\nkv_heads = 2\n";
    std::fs::write(path("r.toml"), recipe).unwrap();
    for (model, is_noted) in [("llama-tiny", false), ("gpt2-tiny", true)] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(model);
        let mut loaded = Recipe::load_unsettled(&path("r.toml"), &[]).unwrap();
        assert_eq!(loaded.notes, Vec::<String>::new());
        loaded.recipe.from = Some(model);
        let options = TrainOptions { written: loaded.written, ..TrainOptions::default() };
        let notes = plan(&loaded.recipe, &options).unwrap().notes;
        let found = notes.iter().any(|note| note == "`model.kv_heads` has no effect with `model.arch` \"gpt2\"");
        assert_eq!(found, is_noted, "{notes:?}");
    }
}
