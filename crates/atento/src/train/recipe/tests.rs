use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::tasks;

const DEMO: &str = "[data]\ncorpus = \"demo\"\n";

fn parse(text: &str) -> Result<Loaded, Error> {
    Recipe::parse(text, "r.toml", &[])
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_recipe_needs_only_data() {
    let loaded = parse(DEMO).unwrap();
    let mut expected = Recipe::default();
    expected.data.corpus = Some(Corpus::Demo);
    (expected.train.early_stopping.metric, expected.schedule.warmup_steps) = (Metric::Bleu, Some(1000));
    let written = [("data", 1), ("data.corpus", 2)];
    let written = written.map(|(key, line)| (key.to_string(), Place::Line("r.toml".into(), line))).into();
    assert_eq!(loaded, Loaded { recipe: expected, notes: vec![], written });
    assert!(message("").starts_with("recipe: `data.train` is missing: give it `source`"), "{}", message(""));
}

/// What a printed recipe says is what its task has where it is left out, and every key in it is one that means something: with
/// the `#` taken away it is the same recipe, and nothing is noted.
#[test]
fn the_recipe_of_every_task_says_what_is_left_out() {
    let plain = |name: &str| Recipe::of_task(name).unwrap().values().unwrap();
    for task in tasks::ALL {
        let taken = check::words_of(task, "train.method").unwrap();
        for method in std::iter::once(None).chain(Method::WORDS.iter().copied().map(Some)) {
            let text = Recipe::documented(task.name(), None, method);
            if let Some(method) = method.filter(|method| !taken.contains(method)) {
                let (message, start) = (text.unwrap_err().to_string(), format!("--method {method:?}: `train.method`"));
                assert!(message.starts_with(&start), "{}: {message}", task.name());
                continue;
            }
            let text = text.unwrap();
            assert!(text.starts_with(&format!("# {}", task.about())), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.starts_with("# ")), "{text}");
            let printed = Recipe::read_text(&text, "r.toml").unwrap();
            assert_eq!(printed.notes, Vec::<String>::new(), "{}", task.name());
            let defaults = plain(task.name());
            let keys =
                text.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with([' ', '[']));
            for line in keys {
                let key = line.split_once(" = ").unwrap().0;
                let live = format!("\n{line}\n");
                let uncommented = text.replacen(&format!("\n#{line}\n"), &live, 1);
                // A key without a default has a place for its value.
                let is_shown = live.contains('…') || !defaults.keys().any(|full| full.rsplit('.').next() == Some(key));
                match Recipe::read_text(&uncommented, "r.toml") {
                    Ok(found) => assert!(found.notes.is_empty() || is_shown, "{}: {:?}", task.name(), found.notes),
                    Err(error) => assert!(is_shown, "{}: {error}", task.name()),
                }
            }
        }
    }
    let text = Recipe::documented("classify", None, None).unwrap();
    assert!(
        text.contains("label_key = \"label\"") && text.contains("#[data.test]") && !text.contains("[lora]"),
        "{text}"
    );
    assert!(!text.contains("squad") && !text.contains("beam") && !text.contains("rope_theta"), "{text}");
    let text = Recipe::documented("causal-lm", Some("llama"), None).unwrap();
    assert!(text.contains("\narch = \"llama\"\n") && text.contains("#rope_theta = 10000.0\n"), "{text}");
    let text = Recipe::documented("instruct", None, Some("lora")).unwrap();
    assert!(
        text.contains("\nfrom = \"MODEL\"\n") && text.contains("#rank = 8\n") && !text.contains("d_model ="),
        "{text}"
    );
    let refused = |task, arch, method| Recipe::documented(task, arch, method).unwrap_err().to_string();
    let message = refused("clasify", None, None);
    assert!(message.contains("TASK \"clasify\"") && message.contains("\"classify\""), "{message}");
    let message = refused("classify", Some("transformer"), None);
    assert!(message.contains("--arch \"transformer\": `task` \"classify\" does not go with"), "{message}");
    let message = refused("translation", None, Some("prefix"));
    assert!(message.contains("before the texts of translators"), "{message}");
    let message = refused("classify", Some("modernbert"), Some("prefix"));
    assert!(message.contains("does not go with `model.arch` \"modernbert\""), "{message}");
}

/// What is said to be taken of a key's words is what is taken.
#[test]
fn a_task_takes_the_words_that_it_says() {
    for task in tasks::ALL {
        let text = Recipe::documented(task.name(), None, None).unwrap();
        let Some(line) = text.lines().find(|line| line.starts_with("#on_truncate = ")) else { continue };
        let taken = check::words_of(task, "data.on_truncate").unwrap_or(OnTruncate::WORDS.to_vec());
        let said = taken.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        // Comments are lines of limited length.
        assert!(text.replace("\n# ", " ").contains(&format!("One of {said}.\n#on_truncate")), "{text}");
        for word in OnTruncate::WORDS {
            let text = text.replace(line, &format!("on_truncate = {word:?}"));
            let Loaded { mut recipe, written, .. } = Recipe::read_text(&text, "r.toml").unwrap();
            let found = recipe.settle(&written);
            assert_eq!(found.is_ok(), taken.contains(word), "{} {word}: {found:?}", task.name());
        }
    }
    let text = Recipe::documented("causal-lm", None, None).unwrap();
    assert!(text.contains("One of \"byte_bpe\", \"char\".\n#kind = \"byte_bpe\"\n"), "{text}");
    let page = Recipe::reference().unwrap();
    assert!(page.contains("Not \"split\": translation, instruct, classify, regress, multiple-choice."), "{page}");
}

/// Also settings that do nothing, where somebody stated them.
#[test]
fn the_recipe_of_a_run_says_all_that_it_has() {
    for text in [
        DEMO.to_owned(),
        format!("{DEMO}[model]\narch = \"rnn\"\nheads = 8\n[schedule]\nkind = \"noam\"\n[lora]\nrank = 3\n"),
        "task = \"instruct\"\nfrom = \"m\"\n[data]\ntrain = { tsv = \"t\" }\n[train]\nmethod = \"lora\"\nmax_epochs = 2\n".to_owned(),
        "task = \"causal-lm\"\n[data]\ntext = \"t\"\n[model]\narch = \"llama\"\n[tokenizer]\nfile = \"f\"\n".to_owned(),
    ] {
        let Loaded { mut recipe, written, .. } = Recipe::read_text(&text, "r.toml").unwrap();
        follow::follow(&mut recipe, &|key| written.contains_key(key));
        let written = recipe.annotated().unwrap();
        assert!(written.starts_with("# The recipe of this run with all its settings"), "{text}");
        assert_eq!(Recipe::read_text(&written, "again.toml").unwrap().recipe, recipe, "{written}");
        assert!(!written.contains('…'), "{written}");
    }
}

#[test]
fn the_reference_and_the_schema_name_every_key() {
    fn names(fields: &[Field], all: &mut Vec<&'static str>) {
        for field in fields {
            assert!(!field.about.is_empty(), "{} has no text", field.name);
            all.push(field.name);
            if let Kind::Table(inner) = &field.kind {
                names(inner, all);
            }
        }
    }
    let mut all = Vec::new();
    names(&schema(), &mut all);
    assert!(all.len() > 80);
    let (page, json) = (Recipe::reference().unwrap(), Recipe::json_schema().unwrap().to_string());
    for name in all {
        assert!(page.contains(&format!("| `{name}` |")) || page.contains(&format!("{name}]`")), "{name}");
        assert!(json.contains(&format!("\"{name}\":{{")), "{name}");
    }
    let schema = Recipe::json_schema().unwrap();
    let dropout = &schema["properties"]["model"]["properties"]["dropout"];
    assert_eq!((&dropout["minimum"], &dropout["exclusiveMaximum"]), (&0.0.into(), &1.0.into()), "{dropout}");
    let tying = &schema["properties"]["model"]["properties"]["tie_embeddings"];
    assert_eq!(tying["enum"].to_string(), "[\"all\",\"decoder\",\"none\"]");
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let written = fs::read_to_string(recipes.join("recipes/KEYS.md")).unwrap();
    assert!(written == page, "recipes/KEYS.md is not what `atento recipe --reference` prints: write it anew");
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(recipes.join("recipes/schema.json")).unwrap()).unwrap();
    assert!(written == schema, "recipes/schema.json is not what `atento recipe --schema` prints: write it anew");
}

#[test]
fn the_defaults_lie_within_their_ranges() {
    validate::validate(&tree::parse(&Recipe::default().to_toml().unwrap(), Path::new("r.toml")).unwrap(), &schema())
        .unwrap();
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    assert_eq!(
        message("seed = 1\n[search]\nbeem = 4\n"),
        "r.toml:3: unknown key `search.beem`; did you mean `search.beam`?; valid keys in [search]: \
         beam, length_penalty, max_length, max_length_ratio, min_length, no_repeat_ngram"
    );
    assert!(
        message("[train]\ndropout = 0.1\n")
            .starts_with("r.toml:2: unknown key `train.dropout`; did you mean `model.dropout`?")
    );
    assert!(message("[lora]\nr = 4\n").starts_with("r.toml:2: unknown key `lora.r`; did you mean `lora.rank`?"));
    assert!(message("[modle]\nheads = 1\n").starts_with(
        "r.toml:1: unknown key `modle`; did you mean `model`?; valid keys at the top of the recipe: task, seed,"
    ));
    assert!(
        message("[train]\nzzz = 1\n")
            .starts_with("r.toml:2: unknown key `train.zzz`; valid keys in [train]: max_steps,")
    );
    assert!(
        message("data.train = {scource = \"x\"}")
            .starts_with("r.toml:1: unknown key `data.train.scource`; did you mean `data.train.source`?")
    );
}

#[test]
fn wrong_types_name_the_value_and_the_type() {
    for (text, expected) in [
        ("model.heads = \"8\"", "r.toml:1: `model.heads` is the text \"8\", expected a whole number from 1 to 1024"),
        ("model.heads = 2.5", "r.toml:1: `model.heads` is 2.5, expected a whole number from 1 to 1024"),
        ("seed = -1", "r.toml:1: `seed` is -1, expected a whole number at least 0"),
        ("data.drop_duplicates = 1", "r.toml:1: `data.drop_duplicates` is 1, expected true or false"),
        (
            "optimizer.betas = [0.9]",
            "r.toml:1: `optimizer.betas` is the list [0.9], expected two numbers in brackets, each from 0 up to but less than 1",
        ),
        ("out = 3", "r.toml:1: `out` is 3, expected a path in quotes"),
        ("out = \"\"", "r.toml:1: `out` is the text \"\", expected a path in quotes"),
        ("model = 3", "r.toml:1: `model` is 3, expected a table with keys from: arch, preset, d_model,"),
        ("seed = {a = 1}", "r.toml:1: `seed` is a table, expected a whole number at least 0"),
        ("seed = 2020-01-01", "r.toml:1: `seed` is the date 2020-01-01, expected a whole number at least 0"),
        (
            "model.arch = \"Transfomer\"",
            "r.toml:1: `model.arch` is the text \"Transfomer\", expected one of \"transformer\", \"rnn\", \"gpt2\", \"llama\", \"bert\", \"roberta\", \"distilbert\", \"electra\", \"deberta\", \"modernbert\"; did you mean `transformer`?",
        ),
        (
            "data.train = \"train.en\"",
            "r.toml:1: `data.train` is the text \"train.en\", expected a table with keys from: source, target, tsv, jsonl, source_key, target_key",
        ),
    ] {
        assert!(message(text).starts_with(expected), "{}\n{expected}", message(text));
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for text in [
        "model.dropout = 1",
        "model.dropout = 1.0",
        "model.dropout = -0.1",
        "model.dropout = nan",
        "optimizer.lr = -1e-3",
        "optimizer.lr = 0",
        "optimizer.lr = inf",
        "train.max_steps = 0",
        "train.max_minutes = 0",
        "train.batch_tokens = 0",
        "train.accumulate = 0",
        "train.label_smoothing = 1",
        "optimizer.betas = [0.9, 1.0]",
        "optimizer.eps = 0",
        "schedule.min_lr = 1.1",
        "threads = 0",
        "data.window = 0",
        "search.beam = 0",
        "train.log_every = 0",
        "train.keep_last = 0",
        "model.encoder_layers = 0",
        "tokenizer.vocab_size = 3",
    ] {
        let (key, _) = text.split_once(" = ").unwrap();
        let error = message(text);
        assert!(error.contains(&format!("`{key}` is ")) && error.contains("expected"), "{text}: {error}");
    }
}

#[test]
fn settings_that_contradict_are_refused() {
    for (text, expected) in [
        (
            "model.heads = 3\nmodel.d_model = 256",
            "r.toml:1: `model.heads` is 3, which does not divide `model.d_model` 256; heads that do: 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            "train.batch_tokens = 100\ndata.max_length = 128",
            "r.toml:1: `train.batch_tokens` is 100, and a sentence of `data.max_length` 128 tokens does not fit",
        ),
        (
            "data.max_length = 600\nmodel.max_positions = 512",
            "r.toml:1: `data.max_length` is 600, but the model has 512 positions",
        ),
        (
            "train.average_last = 9\ntrain.keep_last = 3",
            "r.toml:1: `train.average_last` is 9, but only `train.keep_last` 3",
        ),
        ("train.average_last = 2\ntrain.ema = 0.9", "r.toml:1: `train.average_last` and `train.ema` both"),
        ("search.min_length = 300\nsearch.max_length = 256", "r.toml:1: `search.min_length` 300 is more than"),
        (
            "train.early_stopping.patience = 2\ntrain.eval_every = 0",
            "r.toml:1: `train.early_stopping` needs evaluations",
        ),
        (
            "train.early_stopping.metric = \"bleu\"\ntrain.eval_beam = 0",
            "r.toml:1: `train.early_stopping.metric` is \"bleu\"",
        ),
        ("data.train = {tsv = \"x\"}", "r.toml:1: `data.train` and `data.corpus` exclude each other"),
    ] {
        let error = message(&format!("{text}\ndata.corpus = \"demo\""));
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    for (text, expected) in [
        ("{}", "names none of them"),
        ("{source = \"a\"}", "names `source`"),
        ("{source = \"a\", target = \"b\", tsv = \"c\"}", "names `source` and `target` and `tsv`"),
        (
            "{source = \"a\", target = \"b\", source_key = \"en\"}",
            "go with `data.train.jsonl` and `data.train.csv` and `data.train.tsv` only",
        ),
    ] {
        let error = message(&format!("data.train = {text}"));
        assert!(error.starts_with("r.toml:1: ") && error.ends_with(expected), "{error}");
    }
    let stretches = "task = \"causal-lm\"\ndata.text = \"x\"\ntrain.batch_tokens = 15\ndata.block_size = 16";
    let expected = "r.toml:3: `train.batch_tokens` is 15, and a stretch of 16 tokens does not fit";
    assert!(message(stretches).starts_with(expected), "{}", message(stretches));
    let plateau = message("data.train = {tsv = \"x\"}\nschedule.kind = \"plateau\"");
    assert!(plateau.starts_with("r.toml:2: `schedule.kind` needs evaluations"), "{plateau}");
}

#[test]
fn settings_that_are_left_out_follow_those_that_are_stated() {
    let all = |text: &str| parse(&format!("data.corpus = \"demo\"\n{text}")).unwrap().recipe;
    let recipe = all("model.max_positions = 64");
    assert_eq!((recipe.data.max_length, recipe.search.max_length), (64, 64));
    let recipe = all("data.max_length = 5000");
    assert_eq!((recipe.model.max_positions, recipe.train.batch_tokens), (5000, 5000));
    assert_eq!(all("train.batch_tokens = 100").data.max_length, 100);
    assert_eq!(all("search.min_length = 300").search.max_length, 300);
    assert_eq!(all("train.average_last = 9").train.keep_last, 9);
    assert_eq!((all("model.d_model = 90").model.heads, all("model.heads = 3").model.d_model), (3, 258));
    let warmup = |text: &str| all(text).schedule.warmup_steps;
    assert_eq!(
        (warmup(""), warmup("train.max_steps = 10"), warmup("train.max_epochs = 3")),
        (Some(1000), Some(1), None)
    );
    assert_eq!((warmup("train.max_minutes = 3"), warmup("train.max_steps = 900_000")), (None, Some(4000)));
    assert_eq!(warmup("schedule.kind = \"cosine\"\nschedule.decay_steps = 100"), Some(10));
    let metric = |text: &str| all(text).train.early_stopping.metric;
    assert_eq!((metric(""), metric("train.eval_beam = 0")), (Metric::Bleu, Metric::Loss));
    assert_eq!(all("train.max_steps = 50\ntrain.early_stopping.patience = 2").train.eval_every, 5);

    let text = |text: &str| parse(&format!("task = \"causal-lm\"\ndata.text = \"x\"\n{text}")).unwrap().recipe;
    let recipe = text("train.batch_tokens = 100");
    assert_eq!((recipe.data.block_size, recipe.model.max_positions), (Some(100), 256));
    let recipe = text("data.block_size = 9000");
    assert_eq!((recipe.model.max_positions, recipe.train.batch_tokens), (9000, 9000));
    // What has followed once is stated in config.toml, and stays.
    for recipe in [all("model.max_positions = 64"), all("train.max_steps = 10"), text("train.batch_tokens = 100")] {
        assert_eq!(parse(&recipe.to_toml().unwrap()).unwrap().recipe, recipe);
    }
}

#[test]
fn presets_lie_under_what_is_written() {
    let model = |text: &str| parse(&format!("{DEMO}[model]\n{text}")).unwrap().recipe.model;
    let base = model("preset = \"base\"\nencoder_layers = 4\n");
    assert_eq!((base.d_model, base.encoder_layers, base.decoder_layers, base.heads, base.d_ff), (512, 4, 6, 8, 2048));
    assert_eq!(model("preset = \"big\"").dropout, 0.3);
    let rnn = model("arch = \"rnn\"\npreset = \"base\"");
    assert_eq!((rnn.hidden, rnn.embedding, rnn.layers), (1000, 620, 1));
}

#[test]
fn the_default_limit_yields_to_others() {
    let limits = |text: &str| {
        let train = parse(&format!("{DEMO}[train]\n{text}")).unwrap().recipe.train;
        (train.max_steps, train.max_epochs, train.max_minutes)
    };
    assert_eq!(limits(""), (Some(10_000), None, None));
    assert_eq!(limits("max_minutes = 3"), (None, None, Some(3.0)));
    assert_eq!(limits("max_epochs = 3\nmax_steps = 5"), (Some(5), Some(3), None));
}

#[test]
fn settings_without_effect_are_noted() {
    let notes = |text: &str| parse(&format!("{DEMO}{text}")).unwrap().notes;
    assert_eq!(
        notes("[model]\narch = \"rnn\"\nheads = 8\n"),
        ["`model.heads` has no effect with `model.arch` \"rnn\""]
    );
    assert_eq!(notes("[model]\nhidden = 8\n"), ["`model.hidden` has no effect with `model.arch` \"transformer\""]);
    assert_eq!(
        notes("[optimizer]\nkind = \"sgd\"\neps = 1e-3\n"),
        ["`optimizer.eps` has no effect with `optimizer.kind` \"sgd\""]
    );
    assert_eq!(
        notes("[optimizer]\nlr = 1\n[schedule]\nkind = \"noam\"\n"),
        ["`optimizer.lr` has no effect with `schedule.kind` \"noam\"; use `schedule.scale`"]
    );
    assert_eq!(notes("[train]\nmax_steps = 10\n[schedule]\nwarmup_steps = 11\n").len(), 1);
}

#[test]
fn overrides_win_and_are_named() {
    let overrides = |texts: &[&str]| {
        Recipe::parse(DEMO, "r.toml", &texts.iter().map(|text| Override::set(*text)).collect::<Vec<_>>())
    };
    let recipe =
        overrides(&["model.preset=tiny", "seed=7", "seed=8", "optimizer.lr=1e-3", "model.norm=pre"]).unwrap().recipe;
    assert_eq!((recipe.model.d_model, recipe.seed, recipe.optimizer.lr, recipe.model.norm), (128, 8, 1e-3, Norm::Pre));
    let error = overrides(&["model.dropuot=0.2"]).unwrap_err().to_string();
    assert!(
        error.starts_with("--set model.dropuot=0.2: unknown key `model.dropuot`; did you mean `model.dropout`?"),
        "{error}"
    );
    let steps = [Override::option("--max-steps", "train.max_steps", 0)];
    let error = Recipe::parse(DEMO, "r.toml", &steps).unwrap_err().to_string();
    assert!(error.starts_with("--max-steps 0: `train.max_steps` is 0, expected"), "{error}");
    let error = overrides(&["model.dropout=high"]).unwrap_err().to_string();
    assert!(
        error.starts_with("--set model.dropout=high: `model.dropout` is the text \"high\", expected a number"),
        "{error}"
    );
}

#[test]
fn files_are_found_from_the_recipe_and_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    let recipe_path = dir.path().join("multi30k.toml");
    fs::write(dir.path().join("train.tsv"), "a\tb\n").unwrap();
    fs::write(&recipe_path, "data.train = {tsv = \"train.tsv\"}\n").unwrap();
    let recipe = Recipe::load(&recipe_path, &[]).unwrap().recipe;
    let path = &dir.path().join("train.tsv");
    let found = Some(DataFiles::Tsv { path, source_key: None, target_key: None });
    assert_eq!(recipe.data.train.as_ref().unwrap().form(), found);
    assert_eq!(recipe.out.as_deref(), Some(Path::new("runs/multi30k")));
    // What is resolved can be read again from another directory.
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("config.toml"), recipe.to_toml().unwrap()).unwrap();
    assert_eq!(Recipe::load(&run.join("config.toml"), &[]).unwrap().recipe, recipe);
    // The package's directory is the working directory of tests.
    fs::write(&recipe_path, "data.train = {tsv = \"Cargo.toml\"}\n").unwrap();
    assert!(Recipe::load(&recipe_path, &[]).is_ok());
    fs::write(&recipe_path, "\ndata.train = {tsv = \"missing.tsv\"}\n").unwrap();
    let error = Recipe::load(&recipe_path, &[]).unwrap_err().to_string();
    let tried = [dir.path().join("missing.tsv"), std::path::absolute("missing.tsv").unwrap()];
    assert!(error.contains(":2: `data.train.tsv` names missing.tsv, and there is no such file"), "{error}");
    assert!(tried.iter().all(|path| error.contains(&path.display().to_string())), "{error}");
}

#[test]
fn files_that_are_no_recipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Recipe::load(&dir.path().join("none.toml"), &[]).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
    let binary = dir.path().join("binary.toml");
    fs::write(&binary, b"seed = 1\n\xff\xfe\0").unwrap();
    let error = Recipe::load(&binary, &[]).unwrap_err().to_string();
    assert!(error.contains("binary.toml:2: the recipe is not UTF-8"), "{error}");
    let folder = Recipe::load(dir.path(), &[]).unwrap_err();
    assert!(matches!(folder, Error::Read { .. }), "{folder}");
}

#[test]
fn recipes_built_by_a_program_are_checked_too() {
    let mut recipe = parse(DEMO).unwrap().recipe;
    recipe.validate().unwrap();
    recipe.model.dropout = 2.0;
    assert!(matches!(recipe.validate(), Err(Error::Value { .. })));
    recipe.seed = u64::MAX;
    assert!(recipe.validate().is_err());
}

proptest! {
    #[test]
    fn a_written_recipe_loads_as_itself(
        seed in 0..=i64::MAX as u64,
        lr in prop::num::f64::POSITIVE,
        dropout in 0.0..1.0f64,
        rnn in any::<bool>(),
        minutes in prop::option::of(0.001..1e9f64),
        threads in prop::option::of(1..64usize),
        out in prop::option::of("[^\0]{1,20}"),
    ) {
        let mut recipe = Recipe { seed, threads, out: out.map(Into::into), ..Recipe::default() };
        recipe.data.train = Some(FileSettings { jsonl: Some("a \"b\"\\.jsonl".into()), source_key: Some("en".into()), ..FileSettings::default() });
        recipe.model = Arch::named(if rnn { "rnn" } else { "transformer" }).unwrap().family().preset(Preset::Tiny);
        recipe.model.dropout = dropout;
        recipe.optimizer.lr = lr;
        recipe.train.max_minutes = minutes;
        recipe.train.max_epochs = Some(3);
        recipe.train.max_steps = None;
        let text = recipe.to_toml().unwrap();
        prop_assert_eq!(parse(&text).unwrap().recipe, recipe);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "([a-z_.\\[\\]={}\"0-9,\n -]|model|data|train|tsv){0,60}") {
        let _ = parse(&text);
        let _ = Recipe::parse(DEMO, "r.toml", &[Override::set(text)]);
    }
}
