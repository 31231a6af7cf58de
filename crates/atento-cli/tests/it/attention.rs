//! `atento attention`: what a model looks at.

use serde_json::{Value, json};

use crate::support::{Folder, fixture};

/// A model of the library's fixtures, as an argument.
fn model(name: &str) -> String {
    fixture(name).display().to_string()
}

fn object(arguments: &[&str]) -> Value {
    let objects = Folder::new().run(&[&["attention"][..], arguments, &["--json"]].concat(), "").objects();
    objects.into_iter().next().unwrap()
}

fn shape(value: &Value) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut at = value;
    while let Some(list) = at.as_array() {
        sizes.push(list.len());
        at = &list[0];
    }
    sizes
}

#[track_caller]
fn assert_rows_sum_to_one(value: &Value) {
    match value.as_array().unwrap()[0].is_number() {
        true => {
            let sum: f64 = value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{value}");
        }
        false => value.as_array().unwrap().iter().for_each(assert_rows_sum_to_one),
    }
}

#[test]
fn json_has_the_weights_of_every_layer_and_head() {
    let found = object(&[&model("llama-tiny"), "The red cat sees a dog."]);
    assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["tokens", "attentions"]);
    let tokens = found["tokens"].as_array().unwrap().len();
    assert_eq!(shape(&found["attentions"]), [2, 4, tokens, tokens]);
    assert_rows_sum_to_one(&found["attentions"]);
    assert_eq!(found["attentions"][1][3][0][1], 0.0);

    let found = object(&[&model("bert"), "The red cat\tsees a dog."]);
    assert_eq!(found["tokens"][0], "[CLS]");
    assert_eq!(found["tokens"].as_array().unwrap().iter().filter(|token| **token == "[SEP]").count(), 2);
    assert_rows_sum_to_one(&found["attentions"]);
}

#[test]
fn a_translator_looks_at_its_own_translation_or_at_one_that_is_given() {
    let (marian, source) = (model("marian-tiny"), "two dogs run");
    let given = object(&[&marian, source, "zwei hunde"]);
    let names = ["tokens", "target_tokens", "attentions", "decoder", "cross"];
    assert_eq!(given.as_object().unwrap().keys().collect::<Vec<_>>(), names);
    let [from, to] = ["tokens", "target_tokens"].map(|key| given[key].as_array().unwrap().len());
    assert_eq!(shape(&given["attentions"])[2..], [from, from]);
    assert_eq!(shape(&given["decoder"])[2..], [to, to]);
    assert_eq!(shape(&given["cross"])[2..], [to, from]);
    ["attentions", "decoder", "cross"].into_iter().for_each(|key| assert_rows_sum_to_one(&given[key]));

    let folder = Folder::new();
    let translated = folder.run(&["translate", &marian, source, "--json"], "").objects();
    let ids = translated[0]["translations"][0]["ids"].as_array().unwrap().len();
    let own = object(&[&marian, source]);
    assert_eq!(own["target_tokens"].as_array().unwrap().len(), ids, "the start token, and no last one");
}

#[test]
fn layers_and_heads_are_chosen() {
    let (llama, text) = (model("llama-tiny"), "a dog");
    let all = object(&[&llama, text]);
    let some = object(&[&llama, text, "--layer", "-1", "--head", "2", "--head", "0"]);
    assert_eq!(some["attentions"], json!([[all["attentions"][1][2], all["attentions"][1][0]]]));
    let refused = Folder::new().run(&["attention", &llama, text, "--layer", "2", "--json"], "").refusal();
    assert!(refused.contains("layer 2: the model has layers from 0 to 1"), "{refused}");
}

#[test]
fn a_page_and_a_drawing_are_written_where_they_are_asked_for() {
    let (folder, bert) = (Folder::new(), model("bert"));
    let ran = folder.run(&["attention", &bert, "The red cat"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("attention.html: 8 heads on 5 tokens"), "{}", ran.stderr);
    let page = std::fs::read_to_string(folder.path("attention.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("The red cat"));
    assert_eq!(folder.run(&["attention", &bert, "The red cat", "--quiet", "--out", "a.svg"], "").output(), "");
    let drawing = std::fs::read_to_string(folder.path("a.svg")).unwrap();
    assert_eq!(drawing.matches("class=\"frame\"").count(), 8);
    let printed = folder.run(&["attention", &bert, "The red cat", "--format", "svg", "--out", "-"], "").output();
    assert_eq!(printed, drawing);
    let refused = folder.run(&["attention", &bert, "The red cat", "--json", "--out", "a.svg"], "").refusal();
    assert!(refused.contains("JSON goes to standard output"), "{refused}");
    let refused = folder.run(&["attention", &bert, "The red cat", "--out", "none/a.html"], "").refusal();
    assert!(refused.contains("none/a.html"), "{refused}");
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let folder = Folder::new();
    let refused = |arguments: &[&str]| folder.run(&[&["attention"][..], arguments].concat(), "").refusal();
    let long = "cat ".repeat(99);
    for name in ["llama-tiny", "bert"] {
        let message = refused(&[&model(name), &long]);
        assert!(message.contains("the text has ") && message.contains("positions for"), "{message}");
    }
    let message = refused(&[&model("marian-tiny"), "a", &"dog ".repeat(200)]);
    assert!(message.contains("the target has ") && message.contains("positions for"), "{message}");
    let message = refused(&[&model("llama-tiny"), ""]);
    assert!(message.contains("the text has no tokens"), "{message}");
    let message = refused(&[&model("gpt2-tiny"), "a", "b"]);
    assert!(message.contains("only a translator has a TARGET (\"b\")"), "{message}");
    let message = refused(&[&model("bert"), "a\tb\tc"]);
    assert!(message.contains("there are 2 tabs"), "{message}");
    assert!(!folder.path("attention.html").exists());
}

#[test]
fn weights_that_are_no_numbers_fail_the_run() {
    let folder = Folder::new();
    folder.overflowing_models();
    for name in ["m", "lm"] {
        let ran = folder.run(&["attention", name, "x", "--json"], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    }
}

#[test]
fn an_adapter_is_put_on_the_model() {
    let (gpt2, text) = (model("gpt2-tiny"), "The red cat");
    let base = object(&[&gpt2, text]);
    let adapted = object(&[&gpt2, text, "--adapter", &model("gpt2-tiny.lora-dora")]);
    assert_eq!(shape(&adapted["attentions"]), shape(&base["attentions"]));
    assert_ne!(adapted["attentions"], base["attentions"]);
    let prefix = object(&[&gpt2, text, "--adapter", &model("gpt2-tiny.prefix")]);
    let [_, _, queries, keys] = shape(&prefix["attentions"])[..] else { panic!("{prefix}") };
    assert_eq!(keys - queries, prefix["virtual_tokens"].as_u64().unwrap() as usize);
}

#[test]
fn a_model_taught_with_a_template_reads_the_text_in_it() {
    let folder = Folder::new();
    let templates = json!({ "prompt_template": "Q: {prompt}\n" });
    let copy = folder.path("lm");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(fixture("gpt2-tiny")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(copy.join("prompt_template.json"), templates.to_string()).unwrap();
    let tokens = |arguments: &[&str]| {
        let found = folder.run(&[&["attention", "lm", "a cat", "--json"][..], arguments].concat(), "").objects();
        found[0]["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect::<String>()
    };
    assert_eq!(tokens(&[]), "Q:ĠaĠcatĊ");
    assert_eq!(tokens(&["--raw"]), "aĠcat");
}
