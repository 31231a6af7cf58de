//! Training on conversations, as a person does it.

use serde_json::{Value, json};

use crate::support::{Folder, Ran};

const RECIPE: &str = r#"
task = "instruct"
[data]
train = { jsonl = "train.jsonl" }
valid = { jsonl = "valid.jsonl" }
chat_template = "chat.jinja"
[tokenizer]
kind = "char"
[model]
layers = 1
heads = 2
d_model = 32
max_positions = 96
dropout = 0.0
[train]
max_steps = 60
batch_tokens = 256
log_every = 20
eval_every = 20
[optimizer]
lr = 0.01
[schedule]
kind = "constant"
warmup_steps = 2
"#;

const TEMPLATE: &str = "{% for message in messages %}\n{{ message.role[0] }}: {{ message.content }}</s>{{ '\\n' }}{% endfor %}\n\
                        {% if add_generation_prompt %}\na: {% endif %}\n";

const COLOURS: [&str; 5] = ["red", "green", "blue", "grey", "black"];

/// A conversation about two colours.
fn talk(first: &str, second: &str) -> Value {
    let message = |role: &str, content: String| json!({ "role": role, "content": content });
    json!({ "messages": [
        message("system", "echo".into()),
        message("user", format!("say {first}")),
        message("assistant", first.into()),
        message("user", format!("say {second}")),
        message("assistant", second.into()),
    ] })
}

fn folder() -> Folder {
    let folder = Folder::new();
    let pairs = || COLOURS.iter().flat_map(|first| COLOURS.iter().map(move |second| talk(first, second)));
    let lines = |wanted: fn(usize) -> bool| -> String {
        pairs().enumerate().filter(|(i, _)| wanted(*i)).map(|(_, talk)| format!("{talk}\n")).collect()
    };
    folder.write("train.jsonl", lines(|i| i % 7 > 0));
    folder.write("valid.jsonl", lines(|i| i % 7 == 0));
    folder.write("chat.jinja", TEMPLATE);
    folder.write("r.toml", RECIPE);
    folder
}

fn train(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["train", "r.toml", "--quiet"], arguments].concat(), "")
}

#[test]
fn answers_are_learned_and_nothing_else() {
    let folder = folder();
    let shown = train(&folder, &["--show-masks"]).output();
    let first = "example 1, 53 tokens\ns: echo</s>\nu: say red</s>\na: ⟦red</s>⟧\nu: say green</s>\na: ⟦green</s>⟧\n\n";
    assert!(shown.starts_with(first), "{shown}");
    let found = train(&folder, &["--json", "--out", "run"]).objects().remove(0);
    let loss = found["metrics"]["valid_loss"].as_f64().unwrap();
    assert!(loss < 0.7, "{found}");
    // The template stays with the model.
    let said = folder.run(&["generate", "run", "--chat", "--prompt", "say red", "--max-new-tokens", "8"], "").output();
    assert!(!said.trim().is_empty() && !said.contains("</s>"), "{said}");
    let measured = folder.run(&["eval", "run", "--data", "valid.jsonl", "--json"], "").objects().remove(0);
    assert!((measured["loss"].as_f64().unwrap() - loss).abs() < 1e-6, "{measured} {loss}");
    // A run that goes on, and one that starts from its model, write as it did.
    folder.run(&["train", "r.toml", "--quiet", "--out", "run", "--resume", "--max-steps", "62"], "").output();
    folder.write("f.toml", "task = \"instruct\"\n[data.train]\njsonl = \"train.jsonl\"\n[train]\nmax_steps = 1\n");
    let further = folder.run(&["train", "f.toml", "--from", "run", "--show-masks"], "").output();
    assert_eq!(further, shown);
}

#[test]
fn a_template_stays_with_what_was_trained_with_it() {
    let folder = folder();
    // The end token by its role, which a model made here says only in the files that are written.
    folder.write("chat.jinja", TEMPLATE.replace("</s>", "{{ eos_token }}"));
    let shown = train(&folder, &["--show-masks"]).output();
    assert!(shown.contains("a: ⟦red</s>⟧"), "{shown}");
    let losses = |run: &str, trained: Ran| {
        let trained = trained.objects().remove(0)["metrics"]["valid_loss"].as_f64().unwrap();
        let eval = folder.run(&["eval", run, "--data", "valid.jsonl", "--json"], "").objects().remove(0);
        assert!((eval["loss"].as_f64().unwrap() - trained).abs() < 1e-5, "{run}: {eval} and {trained}");
    };
    losses("run", train(&folder, &["--json", "--out", "run"]));
    // An adapter with another template than its base.
    folder.write("chat.jinja", TEMPLATE.replace(": ", ":  "));
    let data = "[data]\ntrain = { jsonl = \"train.jsonl\" }\nvalid = { jsonl = \"valid.jsonl\" }\nchat_template = \"chat.jinja\"\n";
    folder.write(
        "l.toml",
        format!("task = \"instruct\"\n{data}[train]\nmethod = \"lora\"\nmax_steps = 3\neval_every = 3\n"),
    );
    losses("lora", folder.run(&["train", "l.toml", "--quiet", "--json", "--from", "run", "--out", "lora"], ""));
    folder.run(&["adapter", "merge", "run", "lora", "--out", "merged"], "").output();
    let read = |path: &str| std::fs::read_to_string(folder.path(path)).unwrap();
    assert_eq!(read("merged/chat_template.jinja"), read("chat.jinja"));
    // What is saved whole is not rounded.
    let rounded = ["--set", "train.base_dtype=nf4", "--set", "train.method=partial", "--set", "train.freeze=[\"h.0\"]"];
    let message =
        folder.run(&[&["train", "l.toml", "--from", "run", "--out", "p"], &rounded[..]].concat(), "").refusal();
    assert!(message.contains("`train.base_dtype` is \"nf4\", but with `train.method` \"partial\""), "{message}");
}

#[test]
fn conversations_that_cannot_be_learned_are_told() {
    let folder = folder();
    let without = RECIPE.replace("chat_template = \"chat.jinja\"\n", "");
    folder.write("without.toml", without);
    let message = folder.run(&["train", "without.toml", "--quiet"], "").refusal();
    assert!(message.contains("train.jsonl has conversations, and the model has no chat template"), "{message}");
    assert!(message.contains("data.chat_template"), "{message}");
    let refused = |line: &str| {
        folder.write("train.jsonl", format!("{}\n{line}\n", talk("red", "red")));
        train(&folder, &["--show-masks"]).refusal()
    };
    let message = refused("{\"messages\": [{\"role\": \"user\"}]}");
    assert!(message.contains("train.jsonl, line 2: message 1 is no object with \"role\" and \"content\""), "{message}");
    assert!(refused("{\"text\": \"a\"}").contains("line 2: \"messages\" is no list"));
    let message = refused(r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistent", "content": "b"}]}"#);
    assert!(
        message.contains(
            "message 2 has the role \"assistent\", which the template does not name; \"assistant\" is meant?"
        ),
        "{message}"
    );
    folder.write("chat.jinja", "{{ raise_exception('speak first') }}");
    let message = refused("");
    assert!(
        message.contains("train.jsonl, line 1: ") && message.contains("the chat template: speak first"),
        "{message}"
    );
    // What nobody answers is left out and counted.
    folder.write("chat.jinja", TEMPLATE);
    folder.write(
        "train.jsonl",
        format!("{}\n{}\n", talk("red", "red"), json!({"messages": [{"role": "user", "content": "hm"}]})),
    );
    let plan = train(&folder, &["--dry-run", "--json"]).objects().remove(0);
    assert_eq!((&plan["data"]["train"]["kept"], &plan["data"]["train"]["empty_completion"]), (&1.into(), &1.into()));
}
