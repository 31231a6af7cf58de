//! What each task asks of its data, and the settings that go with some tasks only.

use super::check::conflict;
use super::choices::{OnTruncate, Task};
use super::error::{Error, Place};
use super::settings::{DataSettings, FileSettings, Recipe};

/// Settings, and the tasks that have them; those that are not here go with every task.
const OF_TASKS: [(&[Task], &[&str]); 5] = [
    (
        &[Task::Translation],
        &[
            "data.corpus",
            "data.max_length",
            "data.drop_identical",
            "data.max_ratio",
            "data.window",
            "train.bucket",
            "train.eval_beam",
            "train.eval_max_sentences",
            "search",
        ],
    ),
    (
        &[Task::Translation, Task::Instruct],
        &["data.train", "data.valid", "data.test", "data.on_truncate", "data.drop_duplicates", "train.max_sentences"],
    ),
    (
        &[Task::CausalLm],
        &[
            "data.text",
            "data.valid_text",
            "data.tokens",
            "data.text_key",
            "data.documents",
            "data.valid_fraction",
            "data.end_token",
            "data.document_attention",
            "data.sampling",
        ],
    ),
    (&[Task::CausalLm, Task::Instruct], &["data.block_size", "train.eval_batches"]),
    (&[Task::Instruct], &["data.prompt_template", "data.completion_template", "data.train_on_prompt"]),
];

/// The settings that a task does not have.
pub fn foreign_settings(task: Task) -> impl Iterator<Item = &'static str> {
    OF_TASKS.iter().filter(move |(tasks, _)| !tasks.contains(&task)).flat_map(|(_, keys)| keys.iter().copied())
}

/// Refuses data that the recipe's task cannot learn from; see [`conflicts`](super::check::conflicts).
pub fn conflicts(recipe: &Recipe, written: &dyn Fn(&str) -> bool, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    match recipe.task {
        Task::Translation => translation_conflicts(&recipe.data, place),
        Task::CausalLm => language_conflicts(recipe, place),
        Task::Instruct => instruct_conflicts(&recipe.data, written, place),
    }
}

fn translation_conflicts(data: &DataSettings, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let of_text = [("data.text", data.text.is_some()), ("data.tokens", data.tokens.is_some())];
    if data.corpus.is_none()
        && data.train.is_none()
        && let Some((key, _)) = of_text.into_iter().find(|(_, is_given)| *is_given)
    {
        return conflict(place(key), format!("`{key}` is for language models: add task = \"causal-lm\""));
    }
    if data.corpus.is_none() && data.train.is_none() {
        let forms = "`data.train` is missing: give it `source` and `target` files, or `tsv`, or `jsonl`; or set `data.corpus` to \"demo\"";
        return conflict(place("data"), forms);
    }
    if data.corpus.is_some()
        && let Some((key, _)) = parts(data).next()
    {
        return conflict(
            place(key),
            format!("`{key}` and `data.corpus` exclude each other: the corpus has its own parts; remove one"),
        );
    }
    let forms: [&[&str]; 3] = [&["source", "target"], &["tsv"], &["jsonl"]];
    for (key, files) in parts(data) {
        let given = given(files);
        if !forms.contains(&&given[..]) {
            let found = enumerate(&given);
            let message =
                format!("`{key}` must name either `source` and `target`, or `tsv`, or `jsonl`; it names {found}");
            return conflict(place(key), message);
        }
        key_conflicts(key, files, Task::Translation, ["source_key", "target_key"], &["jsonl"], place)?;
    }
    Ok(())
}

fn language_conflicts(recipe: &Recipe, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let Recipe { data, train, model, .. } = recipe;
    match (&data.text, &data.tokens) {
        (None, None) => {
            let forms = "`data.text` is missing: a file or a directory of text; or give `data.tokens` a directory with train.bin";
            return conflict(place("data"), forms);
        }
        (Some(_), Some(_)) => {
            return conflict(place("data.tokens"), "`data.text` and `data.tokens` exclude each other: remove one");
        }
        (None, Some(_)) if recipe.tokenizer.file.is_none() => {
            let message = "`data.tokens` needs `tokenizer.file`: the tokenizer.json that the tokens were made with";
            return conflict(place("data.tokens"), message);
        }
        _ => {}
    }
    let block = data.block_size.unwrap_or(model.max_positions);
    if block > model.max_positions {
        let message = format!(
            "`data.block_size` is {block}, but the model has {} positions (`model.max_positions`); lower one or raise the other",
            model.max_positions
        );
        return conflict(place("data.block_size"), message);
    }
    if train.batch_tokens < block {
        let message =
            format!("`train.batch_tokens` is {}, and a stretch of {block} tokens does not fit", train.batch_tokens);
        return conflict(place("train.batch_tokens"), message);
    }
    Ok(())
}

fn instruct_conflicts(
    data: &DataSettings,
    written: &dyn Fn(&str) -> bool,
    place: &dyn Fn(&str) -> Place,
) -> Result<(), Error> {
    // What another task learns from, or how, would be taken for what this one does.
    if let Some(key) = foreign_settings(Task::Instruct).find(|key| written(key)) {
        return conflict(place(key), format!("`{key}` does not go with `task` \"instruct\": take it out"));
    }
    if data.train.is_none() {
        return conflict(
            place("data"),
            "`data.train` is missing: give it a `csv`, `jsonl` or `tsv` file of prompts and completions",
        );
    }
    if data.on_truncate == OnTruncate::Split {
        let problem = "`data.on_truncate` is \"split\", but a completion cannot be split from its prompt: use \"error\", \"warn\" (cut) or \"drop\"";
        return conflict(place("data.on_truncate"), problem);
    }
    for (key, files) in parts(data) {
        let given = given(files);
        if !matches!(given[..], ["csv"] | ["jsonl"] | ["tsv"]) {
            let message = format!("`{key}` must name one of `csv`, `jsonl` and `tsv`; it names {}", enumerate(&given));
            return conflict(place(key), message);
        }
        key_conflicts(key, files, Task::Instruct, ["prompt_key", "completion_key"], &["csv", "jsonl"], place)?;
    }
    Ok(())
}

/// The parts of the data that the recipe names, each with its key.
fn parts(data: &DataSettings) -> impl Iterator<Item = (&'static str, &FileSettings)> {
    let parts = [("data.train", &data.train), ("data.valid", &data.valid), ("data.test", &data.test)];
    parts.into_iter().filter_map(|(key, files)| Some((key, files.as_ref()?)))
}

/// The names of the files that are given.
fn given(files: &FileSettings) -> Vec<&'static str> {
    let FileSettings { source, target, tsv, jsonl, csv, .. } = files;
    [("source", source), ("target", target), ("tsv", tsv), ("jsonl", jsonl), ("csv", csv)]
        .into_iter()
        .filter_map(|(name, path)| path.as_ref().map(|_| name))
        .collect()
}

fn enumerate(names: &[&str]) -> String {
    if names.is_empty() { "none of them".to_string() } else { format!("`{}`", names.join("` and `")) }
}

/// Refuses keys of the two sides that another task has, or that go with another of the files in `with`.
fn key_conflicts(
    key: &str,
    files: &FileSettings,
    task: Task,
    own: [&str; 2],
    with: &[&str],
    place: &dyn Fn(&str) -> Place,
) -> Result<(), Error> {
    let [first, second] = own;
    let FileSettings { source_key, target_key, prompt_key, completion_key, .. } = files;
    let keys = [
        ("source_key", source_key),
        ("target_key", target_key),
        ("prompt_key", prompt_key),
        ("completion_key", completion_key),
    ];
    let stated = keys.into_iter().filter_map(|(name, value)| value.as_ref().map(|_| name));
    for name in stated {
        if !own.contains(&name) {
            let message =
                format!("`{key}.{name}` does not go with `task` \"{task}\": here they are `{first}` and `{second}`");
            return conflict(place(&format!("{key}.{name}")), message);
        }
        if !given(files).iter().any(|file| with.contains(file)) {
            let files = with.iter().map(|file| format!("`{key}.{file}`")).collect::<Vec<_>>().join(" and ");
            return conflict(place(key), format!("`{key}.{first}` and `{key}.{second}` go with {files} only"));
        }
    }
    Ok(())
}
