//! Recipes that are drafted for data, and what is computed where a recipe leaves it out.

use crate::support::{Folder, SENTENCES};

/// Pairs with numbers, so that they differ.
fn pairs(count: usize) -> String {
    let row = |i: usize| {
        let (source, target) = SENTENCES[i % SENTENCES.len()];
        format!("{source} {i}\t{target} {i}\tCC-BY 2.0 (France) Attribution: #{i}\r\n")
    };
    (0..count).map(row).collect()
}

#[test]
fn a_drafted_recipe_trains_as_it_is() {
    let folder = Folder::new();
    folder.write("messy.tsv", format!("\u{feff}{}\r\n{}", pairs(90), pairs(4)));
    let draft = folder.run(&["init", "messy.tsv", "--out", "my.toml"], "");
    assert_eq!(draft.stderr, "my.toml: check it with `atento train my.toml --dry-run`\n");
    draft.output();
    let text = std::fs::read_to_string(folder.path("my.toml")).unwrap();
    assert_eq!(folder.run(&["init", "messy.tsv"], "").output(), text);
    assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.starts_with('#')), "{text}");
    let plan = folder.run(&["train", "my.toml", "--dry-run", "--json"], "").objects().remove(0);
    let computed = plan["computed"].as_array().unwrap();
    let why = |key: &str| {
        let found = computed.iter().find(|computed| computed["key"] == key);
        found.map(|computed| computed["why"].as_str().unwrap().to_owned())
    };
    assert!(why("train.max_steps").unwrap().starts_with("90 passes over "), "{plan}");
    assert!(why("schedule.warmup_steps").unwrap().starts_with("the first 10 % of the run, "), "{plan}");
    assert!(
        why("train.eval_every").is_some() && why("model.preset").is_none(),
        "what the draft states is not computed"
    );
    let trained = ["train", "my.toml", "--out", "run", "-q", "--json", "--max-steps", "2", "--set", "model.d_model=16"];
    let summary = folder.run(&trained, "").objects().remove(0);
    assert_eq!((summary["steps"].as_u64(), summary["ending"].as_str()), (Some(2), Some("limit")));
    let refused = folder.run(&["init", "messy.tsv", "--out", "my.toml"], "");
    assert!(refused.code == Some(2) && refused.stderr.contains("my.toml is there already"), "{refused:?}");
    let refused = folder.run(&["init", "messy.tsv", "--task", "clasify"], "");
    assert!(refused.code == Some(2) && refused.stderr.contains("classify"), "{refused:?}");
}

#[test]
fn what_a_recipe_leaves_out_is_computed_and_told_with_its_reason() {
    let folder = Folder::new();
    folder.write("pairs.tsv", pairs(80).replace("\tCC-BY", " CC-BY"));
    folder.write(
        "r.toml",
        "[data]\ntrain = { tsv = \"pairs.tsv\" }\nvalid_fraction = 0.1\n[train]\nmax_minutes = 0.005\n",
    );
    let ran = folder.run(&["train", "r.toml", "--dry-run"], "");
    let plan = format!("{}{}", ran.stdout, ran.stderr);
    for told in [
        "model.preset = \"tiny\": ",
        "tokenizer.vocab_size = 1000: ",
        "train.batch_tokens = 1024: ",
        "schedule.warmup_steps = about ",
        "updates in 0.005 minutes",
        "train.keep_last = 5: ",
        "90 passes over ",
        "are enough: the run ends there, or after 0.005 minutes",
    ] {
        assert!(plan.contains(told), "{told} in\n{plan}");
    }
    let ran = folder.run(&["train", "r.toml", "--dry-run", "--set", "schedule.warmup_steps=90000000"], "");
    assert!(ran.stderr.contains("the learning rate still rises when training ends"), "{ran:?}");
}

/// What was computed when a run began stays when it goes on, also with another limit.
#[test]
fn a_run_that_goes_on_has_what_was_computed_at_its_beginning() {
    let folder = Folder::new();
    folder.write("pairs.tsv", pairs(80).replace("\tCC-BY", " CC-BY"));
    let recipe = "[data]\ntrain = { tsv = \"pairs.tsv\" }\nvalid_fraction = 0.1\n[model]\nd_model = 16\nheads = 2\n\
                  encoder_layers = 1\ndecoder_layers = 1\n[tokenizer]\nvocab_size = 300\n";
    folder.write("r.toml", recipe);
    folder.run(&["train", "r.toml", "--out", "run", "-q", "--set", "train.max_epochs=2"], "").output();
    let config = || std::fs::read_to_string(folder.path("run/config.toml")).unwrap();
    let line = |name: &str| config().lines().find(|line| line.starts_with(name)).map(str::to_owned);
    let before = ["warmup_steps", "eval_every", "batch_tokens", "keep_last"].map(line);
    assert!(before.iter().all(Option::is_some), "{}", config());
    folder.run(&["train", "r.toml", "--out", "run", "-q", "--resume", "--set", "train.max_epochs=4"], "").output();
    assert_eq!(["warmup_steps", "eval_every", "batch_tokens", "keep_last"].map(line), before);
}

/// Also sizes, which a recipe of data alone leaves open.
#[test]
fn a_recipe_of_data_alone_goes_on_with_the_sizes_of_its_run() {
    let folder = Folder::new();
    folder.write("pairs.tsv", pairs(80).replace("\tCC-BY", " CC-BY"));
    folder.write("r.toml", "[data]\ntrain = { tsv = \"pairs.tsv\" }\nvalid_fraction = 0.1\n");
    let train = |more: &[&str]| folder.run(&[&["train", "r.toml", "--out", "run", "-q", "--json"], more].concat(), "");
    let begun = train(&["--max-steps", "2"]).objects().remove(0);
    let more = train(&["--resume", "--max-steps", "3"]).objects().remove(0);
    assert_eq!((begun["steps"].as_u64(), more["steps"].as_u64()), (Some(2), Some(3)));
    let refused = train(&["--resume", "--set", "model.dropout=0.2"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("`model.dropout` was 0.3"), "{refused:?}");
}

#[test]
fn drafts_say_what_they_leave_out_and_where_files_lie() {
    let folder = Folder::new();
    let rows: String = (0..40).map(|i| format!("das {i}\tthe {i}\tsome more words {i}\n")).collect();
    folder.write("three.tsv", format!("de\ten\tdomain\n{}", rows.replace("das", "das ist").replace("the", "that is")));
    let draft = folder.run(&["init", "three.tsv"], "").output();
    assert!(
        draft.contains("source_key = \"de\"\ntarget_key = \"en\"") && draft.contains("Left out: domain."),
        "{draft}"
    );
    std::fs::create_dir(folder.path("sub")).unwrap();
    folder.run(&["init", "three.tsv", "--out", "sub/r.toml"], "").output();
    let draft = std::fs::read_to_string(folder.path("sub/r.toml")).unwrap();
    assert!(draft.contains(&folder.path("three.tsv").display().to_string()), "{draft}");
    folder.write("answers.csv", "question,answer\nwho is it,a dog\nwhat is it,a cat\n");
    assert!(folder.run(&["init", "answers.csv"], "").output().contains("\nfrom = \"MODEL\"\n"));
    folder.write("head.csv", "text,label\n");
    let refused = folder.run(&["init", "head.csv"], "");
    assert!(refused.code == Some(2) && refused.stderr.contains("head.csv holds nothing to learn"), "{refused:?}");
}
