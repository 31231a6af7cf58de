//! `train`.

use crate::support::Folder;

#[test]
fn a_recipe_becomes_a_run_that_translates() {
    let folder = Folder::new();
    folder.recipe();
    let ran = folder.run(&["train", "r.toml", "--out", "run", "--json"], "");
    assert!(ran.stderr.contains("\nstep 6/6 | loss "), "{}", ran.stderr);
    assert!(ran.stderr.contains("step 3 | valid loss "), "{}", ran.stderr);
    let summary = ran.objects().remove(0);
    assert_eq!((&summary["steps"], &summary["ending"]), (&6.into(), &"limit".into()));
    for file in ["config.toml", "metrics.jsonl", "report.html", "log.txt", "model/model.safetensors"] {
        assert!(folder.path("run").join(file).is_file(), "{file}");
    }
    folder.run(&["translate", "run", "a dog runs"], "").output();
    let again = folder.run(&["train", "r.toml", "--out", "run"], "").refusal();
    assert!(again.contains("already holds a run: add --resume"), "{again}");
    let plan = folder.run(&["train", "r.toml", "--out", "run", "--dry-run"], "");
    assert!(plan.stderr.contains("would not start: run already holds a run"), "{}", plan.stderr);
    let more = folder.run(&["train", "run/config.toml", "--out", "run", "--resume", "--max-steps", "8"], "");
    assert!(more.stderr.contains("resumed at step 6 from "), "{}", more.stderr);
    assert!(more.output().contains("8 ("));
}

#[test]
fn a_recurrent_model_is_trained_inspected_and_used_alike() {
    let folder = Folder::new();
    folder.recipe();
    let recurrent = ["model.arch=\"rnn\"", "model.hidden=8", "model.embedding=8"];
    let recipe = std::fs::read_to_string(folder.path("r.toml")).unwrap();
    let of_transformer = |line: &&str| {
        ["d_model", "heads", "d_ff", "encoder_layers", "decoder_layers", "max_positions"]
            .iter()
            .any(|key| line.trim_start().starts_with(key))
    };
    let lines: Vec<&str> = recipe.lines().filter(|line| !of_transformer(line)).collect();
    folder.write("rnn.toml", lines.join("\n"));
    let settings = recurrent.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["train", "rnn.toml", "--out", "run", "-q"].into_iter().chain(settings).collect();
    folder.run(&arguments, "").output();
    let object = folder.run(&["inspect", "run", "--json"], "").objects().remove(0);
    assert_eq!(object["total"], object["trainable"]);
    assert_eq!(object["modules"][0]["tensors"][0]["dtype"], "F32");
    assert_eq!(folder.run(&["inspect", "plan", "run/model", "--json"], "").objects()[0]["total"], object["total"]);
    assert_eq!(folder.run(&["translate", "run", "a dog", "a cat"], "").output().lines().count(), 2);
    assert_eq!(folder.run(&["score", "run", "a dog\tein Hund"], "").output().lines().count(), 1);
}

/// The recipe without its lines about the model.
fn recipe_without_model(folder: &Folder) {
    let text = std::fs::read_to_string(folder.path("r.toml")).unwrap();
    let (before, rest) = text.split_once("[model]").unwrap();
    let (_, after) = rest.split_once("[train]").unwrap();
    folder.write("bare.toml", format!("{before}[train]{after}"));
}

#[test]
fn a_run_that_starts_from_a_model_says_what_it_trains_and_resumes_without_that_model() {
    let folder = Folder::new();
    folder.recipe();
    recipe_without_model(&folder);
    let model = folder.model();
    folder.run(&["train", "bare.toml", "--from", "m", "--out", "run", "-q"], "").output();
    let config = std::fs::read_to_string(folder.path("run/config.toml")).unwrap();
    for line in ["d_model = 16", "heads = 2", "d_ff = 32", "encoder_layers = 1", "dropout = 0.3", "max_positions = 32"]
    {
        assert!(config.contains(&format!("\n{line}\n")), "{line}: {config}");
    }
    assert!(config.contains("\nfile = \"tokenizer.json\"\n"), "{config}");
    std::fs::rename(model, folder.path("gone")).unwrap();
    for recipe in ["run/config.toml", "bare.toml"] {
        let more = folder.run(&["train", recipe, "--out", "run", "--resume", "--max-steps", "7"], "");
        assert!(more.stderr.contains("resumed at step "), "{}", more.stderr);
        more.output();
    }
    folder.run(&["translate", "run", "a dog"], "").output();
}

#[test]
fn a_recipe_that_states_another_model_than_it_starts_from_is_refused_and_nothing_is_left() {
    let folder = Folder::new();
    folder.recipe();
    folder.model();
    let run = |arguments: &[&str]| {
        let message = folder.run(&[&["train", "r.toml", "--out", "new/run"], arguments].concat(), "").refusal();
        assert!(!folder.path("new").exists(), "{message}");
        message
    };
    let message = run(&["--from", "m", "--set", "model.d_model=32"]);
    assert!(message.contains("`model.d_model` is 32, but the model that is trained further has 16"), "{message}");
    let message = run(&["--from", "none"]);
    assert!(message.contains("none: not found"), "{message}");
    folder.write("m/model.safetensors", "not weights");
    let message = run(&["--from", "m"]);
    assert!(message.contains("not a usable safetensors file"), "{message}");
}

#[test]
fn a_tokenizer_that_leaves_out_an_id_is_refused() {
    let folder = Folder::new();
    folder.recipe();
    let path = folder.model().join("tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let largest = vocabulary.values().map(|id| id.as_u64().unwrap()).max().unwrap();
    vocabulary.values_mut().filter(|id| id.as_u64() == Some(largest)).for_each(|id| *id = (largest + 1).into());
    folder.write("gap.json", tokenizer.to_string());
    let message = folder.run(&["train", "r.toml", "--set", "tokenizer.file=gap.json"], "").refusal();
    assert!(message.contains("gap.json has no token of id ") && message.contains(&largest.to_string()), "{message}");
}

#[test]
fn a_wrong_recipe_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    folder.recipe();
    let message = folder.run(&["train", "r.toml", "--set", "model.droput=0.3"], "").refusal();
    assert!(message.contains("unknown key `model.droput`; did you mean `model.dropout`?"), "{message}");
    let message = folder.run(&["train", "r.toml", "--max-steps", "0"], "").refusal();
    assert!(message.contains("train.max_steps"), "{message}");
    let message = folder.run(&["train", "none.toml"], "").refusal();
    assert!(message.contains("cannot read the recipe none.toml"), "{message}");
    folder.write("pairs.tsv", "a b\n");
    let message = folder.run(&["train", "r.toml"], "").refusal();
    assert!(message.contains("pairs.tsv, line 1: 1 tab-separated columns"), "{message}");
    let message = folder.run(&["train", "r.toml", "--resume"], "").refusal();
    assert!(message.contains("holds no run to resume") || message.contains("pairs.tsv"), "{message}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_tells_how_to_go_on() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    let folder = Folder::new();
    folder.recipe();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["train", "r.toml", "--out", "run", "--max-steps", "1000000"]).current_dir(folder.path(""));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("step 2/") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it was interrupted");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    let told = "stopping: this step is being finished and a checkpoint saved; press Ctrl-C again to end at once\n";
    assert!(rest.contains(told), "{rest}");
    assert!(rest.ends_with("to go on: atento train run/config.toml --out run --resume\n"), "{rest}");
    let more = folder.run(&["train", "run/config.toml", "--out", "run", "--resume", "--max-steps", "1"], "");
    assert!(more.stderr.contains("resumed at step "), "{}", more.stderr);
    more.output();
}
