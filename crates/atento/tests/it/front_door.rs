//! The library as its users meet it: through paths that begin with `atento::` alone, over a model of every family.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use atento::train::recipe::FileSettings;
use atento::{
    CausalBatch, ContinueOptions, Error, Graph, LanguageModel, Learner, Method, Model, OptimizerSettings, PackedBatch,
    Pair, Pool, Pretrained, Recipe, SampleOptions, StepOptions, StopFlag, TrainOptions, TranslateOptions,
    WarperOptions, train,
};

const LANGUAGE: [&str; 5] = ["gpt2-tiny", "llama-tiny", "mistral-tiny", "qwen2-tiny", "qwen3-tiny"];
const TRANSLATORS: [&str; 2] = ["marian-tiny", "m2m100-tiny"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)
}

fn language(name: &str) -> LanguageModel {
    LanguageModel::load(fixture(name)).unwrap()
}

fn translator(name: &str) -> Pretrained {
    Pretrained::load(fixture(name)).unwrap()
}

/// The message of what must fail.
#[track_caller]
fn refusal<T, E: Display>(found: Result<T, E>) -> String {
    match found {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn a_language_model_is_used_saved_and_loaded_back() {
    for name in LANGUAGE {
        let (model, folder) = (Model::load(fixture(name)).unwrap(), tempfile::tempdir().unwrap());
        model.save(folder.path().join("model")).unwrap();
        let again = Model::load(folder.path().join("model")).unwrap();
        assert_eq!(model.generate("a cat").unwrap(), again.generate("a cat").unwrap(), "{name}");
        let perplexity = model.perplexity("a red cat runs").unwrap();
        assert!(perplexity > 1.0 && perplexity == again.perplexity("a red cat runs").unwrap(), "{name}: {perplexity}");
        let texts = ["a red cat runs", "a dog"];
        assert_eq!(language(name).score(&texts).unwrap().len(), 2);
    }
}

#[test]
fn a_translator_is_used_saved_and_loaded_back() {
    for name in TRANSLATORS {
        let (model, folder) = (Model::load(fixture(name)).unwrap(), tempfile::tempdir().unwrap());
        model.save(folder.path()).unwrap();
        let again = Model::load(folder.path()).unwrap();
        assert_eq!(model.translate("a dog runs").unwrap(), again.translate("a dog runs").unwrap(), "{name}");
        let translator = translator(name);
        let mut options = TranslateOptions { max_new_tokens: 6, ..translator.translate_options() };
        (options.search.beam, options.search.n_best) = (3, 2);
        let found = translator.translate_all(&["a dog", "a red cat"], &options).unwrap();
        assert!(found.len() == 2 && found.iter().all(|list| list.len() == 2), "{name}");
        assert!(translator.translate_all::<&str>(&[], &options).unwrap().is_empty());
    }
}

#[test]
fn the_methods_of_generating_are_one_line_each_and_end_where_the_model_says() {
    for name in LANGUAGE {
        let language = language(name);
        let warpers = WarperOptions { top_k: 5, ..WarperOptions::default() };
        let methods = [
            ContinueOptions::of(&language).unwrap(),
            ContinueOptions::greedy(&language),
            ContinueOptions::sampled(&language, warpers, 3),
            ContinueOptions::beam(&language, 3),
        ];
        for options in methods {
            let ends = match &options.method {
                Method::Sample(how) => how.processors.eos_ids.clone(),
                Method::Beam(search) => search.eos_ids.clone(),
                _ => continue,
            };
            assert_eq!(ends, language.generation.eos_ids, "{name}");
            let options = ContinueOptions { max_new_tokens: Some(6), ..options };
            let found = language.generate_all(&["a cat", "a red dog"], &options).unwrap();
            assert_eq!(found, language.generate_all(&["a cat", "a red dog"], &options).unwrap(), "{name}");
            assert!(found.iter().flatten().all(|one| (1..=6).contains(&one.ids.len())), "{name}");
        }
        assert!(language.generate_all::<&str>(&[], &ContinueOptions::greedy(&language)).unwrap().is_empty());
    }
}

#[test]
fn a_loop_of_ones_own_trains_what_is_not_frozen() {
    for name in LANGUAGE {
        let mut language = language(name);
        let before = language.model.params().clone();
        let first = before.entries()[0].name.clone();
        language.model.params_mut().freeze(|entry| entry.name == first);
        let batches = [language.batch(&["a red cat runs", "a dog sees the cat"]).unwrap()];
        let mut learner = Learner::new(language.model.params());
        let losses = [1, 2].map(|_| learner.step(&mut language.model, &batches, 1e-3).unwrap().loss);
        assert!(losses[1] < losses[0] && learner.steps() == 2, "{name}: {losses:?}");
        let after = language.model.params();
        for (old, new) in before.entries().iter().zip(after.entries()) {
            let is_same = before.get(old.weight) == after.get(new.weight);
            assert_eq!(is_same, old.name == first, "{name}: {}", old.name);
        }
    }
    for name in TRANSLATORS {
        let mut translator = translator(name);
        let batches = [translator.batch(&[("a dog", "a cat"), ("a red cat", "a dog runs")]).unwrap()];
        let mut learner = Learner::new(translator.model.params());
        let losses = [1, 2].map(|_| learner.step(&mut translator.model, &batches, 1e-3).unwrap().loss);
        assert!(losses[1] < losses[0], "{name}: {losses:?}");
    }
}

#[test]
fn parameters_are_found_by_name_and_logits_computed() {
    let mut language = language("gpt2-tiny");
    let bias = language.model.params().entry("ln_f.bias").unwrap().weight;
    language.model.params_mut().get_mut(bias).fill(0.5);
    assert!(language.model.params().get(bias).iter().all(|&value| value == 0.5));
    let ids = language.tokenizer.encode_text("a cat").unwrap();
    let pool = Pool::new();
    let g = &mut Graph::infer(language.model.params(), &pool);
    let logits = language.model.logits(g, &ids, &[0, ids.len() as u32]);
    assert_eq!(logits.dims(), [ids.len(), language.model.vocab_size()]);
}

#[test]
fn what_a_model_cannot_do_is_said() {
    let message = refusal(Model::load(fixture("gpt2-classifier")).unwrap().generate("a"));
    assert_eq!(
        message,
        "this model gives whole texts labels or values: generate is for a model that goes on with a text"
    );
    assert_says(
        &refusal(LanguageModel::load(fixture("marian-tiny"))),
        &["config.json", "marian", "goes on with a text"],
    );
    assert_says(&refusal(Model::load("/nowhere")), &["/nowhere: not found"]);
    for name in LANGUAGE {
        let language = language(name);
        let long = "a cat ".repeat(4000);
        assert!(language.perplexity(&long).unwrap() > 1.0, "{name}");
        let greedy = ContinueOptions::greedy(&language);
        assert_says(&refusal(language.generate(&long)), &["prompt 1 has", "positions for", "shorten it"]);
        assert_says(&refusal(language.generate_all(&["a", ""], &greedy)), &["prompt 2 is empty"]);
        assert_says(&refusal(language.score(&["a cat", &long])), &["text 2 has", "positions for"]);
        assert_says(&refusal(language.batch(&["a cat", &long])), &["text 2 has", "positions for"]);
        assert_says(&refusal(language.batch::<&str>(&[])), &["the batch: there are no tokens"]);
    }
    for name in TRANSLATORS {
        let translator = translator(name);
        let long = "a cat ".repeat(4000);
        assert_says(&refusal(translator.translate(&long)), &["sentence 1 has", "positions for"]);
        assert_says(&refusal(translator.score(&[("a", &long[..])])), &["pair 1: the target has", "positions for"]);
        assert_says(&refusal(translator.batch::<&str>(&[])), &["there are no pairs"]);
        let own = translator.translate_options();
        let options = TranslateOptions { max_new_tokens: 0, ..own.clone() };
        assert_says(&refusal(translator.translate_all(&["a"], &options)), &["max_new_tokens 0"]);
        let options = TranslateOptions { max_length_ratio: Some(f64::INFINITY), ..own };
        translator.translate_all(&["a"], &options).unwrap();
    }
}

#[test]
fn a_draft_helps_one_prompt() {
    let language = language("gpt2-tiny");
    let method = Method::Speculative { options: SampleOptions::default(), draft: &language, draft_tokens: 2 };
    let options = ContinueOptions { method, max_new_tokens: Some(4), ..ContinueOptions::greedy(&language) };
    assert_eq!(language.generate_all(&["a"], &options).unwrap().len(), 1);
    assert_says(&refusal(language.generate_all(&["a", "b"], &options)), &["1 prompt at a time", "there are 2"]);
}

#[test]
fn a_step_that_cannot_be_made_changes_nothing() {
    for name in LANGUAGE {
        let mut language = language(name);
        let before = language.model.params().values().to_vec();
        let good = language.batch(&["a red cat runs"]).unwrap();
        let of = |ids: Vec<u32>| CausalBatch::of_sequences([vec![1, 2], ids]).unwrap();
        let positions = language.model.max_positions();
        let mut fewer = good.clone();
        fewer.targets.pop();
        let mut torn = good.clone();
        torn.cu_seqlens.push(99);
        let mut learner = Learner::new(language.model.params());
        let model = &mut language.model;
        let mut step = |batches: &[CausalBatch], lr: f64| refusal(learner.step(model, batches, lr));
        assert_says(&step(&[], 1e-3), &["none of 0 batches has a target"]);
        assert_says(&step(&[good.clone(), of(vec![1, 2, 99_999])], 1e-3), &["batch 1", "sequence 1", "99999"]);
        assert_says(&step(&[of(vec![1, 99_999, 2])], 1e-3), &["batch 0", "has token id 99999"]);
        assert_says(&step(&[of(vec![1; positions + 2])], 1e-3), &["batch 0", "positions for"]);
        assert_says(&step(&[fewer], 1e-3), &["targets, expected as many"]);
        assert_says(&step(&[torn], 1e-3), &["cumulative lengths"]);
        for lr in [f64::NAN, -1.0, f64::INFINITY] {
            assert_says(&step(std::slice::from_ref(&good), lr), &["lr is", "0 or more"]);
        }
        assert_eq!((learner.steps(), language.model.params().values()), (0, &before[..]));

        let smooth = StepOptions { smoothing: 1.5, ..StepOptions::default() };
        let mut other = Learner::with(language.model.params(), &OptimizerSettings::default(), smooth);
        let good = [good];
        assert_says(
            &refusal(other.step(&mut language.model, &good, 1e-3)),
            &["smoothing is 1.5: expected 0 (none) to 1"],
        );
        language.model.params_mut().freeze(|entry| entry.name.contains('0'));
        assert_says(&refusal(learner.step(&mut language.model, &good, 1e-3)), &["make them anew"]);
        language.model.params_mut().freeze(|_| true);
        let mut idle = Learner::new(language.model.params());
        assert_says(&refusal(idle.step(&mut language.model, &good, 1e-3)), &["every parameter of the model is frozen"]);
    }
    let mut translator = translator("marian-tiny");
    let pair =
        |target: Vec<u32>| PackedBatch::new(&[Pair { id: 0, source: vec![3, 1], target }], translator.start_id());
    let (unknown, long) = (pair(vec![9999, 1]), pair(vec![3; 500]));
    let mut learner = Learner::new(translator.model.params());
    let mut step = |batch| refusal(learner.step(&mut translator.model, &[batch], 1e-3));
    assert_says(&step(unknown), &["target 0", "has token id 9999"]);
    assert_says(&step(long), &["target 0", "positions for 20"]);
}

#[test]
fn a_recipe_is_built_in_code_and_what_it_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.txt"), "a red cat runs. a dog sees the red cat. ".repeat(20)).unwrap();
    let mut recipe = Recipe::of_task("causal-lm").unwrap();
    recipe.data.text = Some(folder.path().join("text.txt"));
    recipe.data.block_size = Some(16);
    recipe.tokenizer.vocab_size = 270;
    (recipe.model.d_model, recipe.model.d_ff, recipe.model.layers, recipe.model.heads) = (16, 32, 1, 2);
    (recipe.train.max_steps, recipe.train.batch_tokens) = (Some(2), 64);
    let run =
        |recipe: &Recipe| train::train(recipe, &TrainOptions::default(), &StopFlag::new(), &mut ()).map_err(Box::new);
    assert_says(&refusal(run(&recipe)), &["there is no run directory"]);
    recipe.out = Some(folder.path().join("run"));
    let summary = run(&recipe).unwrap();
    assert_eq!(summary.steps, 2);
    assert!(Model::load(&summary.run).unwrap().perplexity("a red cat").unwrap() > 1.0);
    assert_says(&refusal(run(&recipe)), &["run"]);

    recipe.out = Some(folder.path().join("further"));
    (recipe.from, recipe.train.train_only) = (Some(fixture("gpt2-tiny")), vec!["h.1".into()]);
    // What is stated of a model that exists must be so.
    assert_says(&refusal(run(&recipe)), &["`model.d_ff` is 32", "is trained further has 64"]);
    recipe.model = Recipe::of_task("causal-lm").unwrap().model;
    assert_eq!(run(&recipe).unwrap().steps, 2);
    (recipe.model.d_model, recipe.model.heads, recipe.out) = (16, 3, Some(folder.path().join("wrong")));
    recipe.from = None;
    recipe.train.train_only.clear();
    assert_says(&refusal(run(&recipe)), &["heads"]);
    assert_says(&refusal(Recipe::of_task("causallm")), &["causal-lm"]);
}

#[test]
fn a_recipe_built_in_code_describes_its_model_itself() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.tsv"), "What runs?\tThe cat.\nWho sees the cat?\tThe dog.\n").unwrap();
    let mut recipe = Recipe::of_task("instruct").unwrap();
    recipe.out = Some(folder.path().join("run"));
    recipe.data.train = Some(FileSettings { tsv: Some(folder.path().join("pairs.tsv")), ..FileSettings::default() });
    recipe.tokenizer.vocab_size = 270;
    (recipe.model.d_model, recipe.model.d_ff, recipe.model.layers, recipe.model.heads) = (16, 32, 1, 2);
    (recipe.train.max_steps, recipe.schedule.warmup_steps) = (Some(2), Some(0));
    let summary = train::train(&recipe, &TrainOptions::default(), &StopFlag::new(), &mut ()).unwrap();
    Model::load(&summary.run).unwrap().generate("What runs?").unwrap();
}

#[test]
fn errors_of_every_part_are_one_type() -> Result<(), Error> {
    let language = LanguageModel::load(fixture("gpt2-tiny"))?;
    language.tokenizer.encode_text("a")?;
    language.generate("a")?;
    language.perplexity("a cat")?;
    language.score(&["a cat"])?;
    language.batch(&["a cat"])?;
    language.save(tempfile::tempdir().unwrap().path())?;
    let translator = Pretrained::load(fixture("marian-tiny"))?;
    translator.translate_all(&["a"], &translator.translate_options())?;
    translator.score(&[("a", "b")])?;
    Ok(())
}
