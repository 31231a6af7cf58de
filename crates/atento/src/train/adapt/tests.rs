//! What recipes ask for beside what models can have.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::families;
use crate::families::heads::{Headed, Objective};
use crate::pipelines::outline;
use crate::tasks;
use crate::text::SpecialIds;
use crate::train::recipe::Preset;

/// A model that does what a task's models do.
fn usual(head: Head) -> Arc<dyn Config> {
    let read = |name: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name);
        ModelDir::open(&dir).unwrap().model_config().unwrap()
    };
    match head {
        Head::Translation => read("marian-tiny"),
        Head::Language => read("gpt2-tiny"),
        _ => {
            let labels = if head.has_labels() { vec!["no".to_owned(), "yes".to_owned()] } else { Vec::new() };
            let bert = read("bert-labels").without_output();
            Arc::new(Headed::new(&bert, head, labels, Objective::Classification).unwrap())
        }
    }
}

/// A recipe that is printed is one that trains: what no model of a task can have is refused with the recipe.
#[test]
fn the_adapter_of_every_printed_recipe_stands_on_a_usual_model() {
    for task in tasks::ALL {
        for method in Method::ALL.iter().filter(|method| method.is_adapter()) {
            let Ok(text) = Recipe::documented(task.name(), None, Some(method.word())) else {
                assert!(task.head() == Head::Translation, "{} {method}", task.name());
                continue;
            };
            let recipe = Recipe::read_text(&text, "r.toml").unwrap().recipe;
            let config = usual(task.head());
            let adapter = new_adapter(&recipe, &*config, &outline(&config), None);
            assert!(matches!(adapter, Ok(Some(_))), "{} {method}: {adapter:?}", task.name());
        }
    }
}

#[test]
fn families_say_whether_prefixes_stand_before_the_texts_of_their_models() {
    let special = SpecialIds { pad: Some(0), bos: Some(1), eos: Some(2), ..SpecialIds::default() };
    for family in families::ALL {
        let config = family.of_recipe(&family.preset(Preset::Tiny), 60, special).unwrap();
        assert_eq!(config.attention_shape().is_some(), family.takes_prefixes(), "{}", family.name());
    }
}

/// PEFT saves RoBERTa's output as one module, and finds nothing of it by the names of the layers in it.
#[test]
fn an_output_is_saved_as_the_module_that_peft_knows() {
    for (base, expected) in [
        ("roberta-labels", &["classifier"][..]),
        ("electra-labels", &["classifier"]),
        ("distilbert-labels", &["pre_classifier", "classifier"]),
        ("bert-span", &["qa_outputs"]),
        ("gpt2-classifier", &["score"]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(base);
        let config = ModelDir::open(&path).unwrap().model_config().unwrap();
        let mut recipe = Recipe::of_task("classify").unwrap();
        recipe.train.method = Method::Lora;
        let adapter = new_adapter(&recipe, &*config, &outline(&config), Some(&path)).unwrap().unwrap();
        assert_eq!(adapter.config.common().modules_to_save, expected, "{base}");
        let whole = adapter.whole.iter().filter(|name| expected.contains(&name.split('.').next().unwrap())).count();
        assert_eq!(whole, adapter.whole.len(), "{base}");
    }
}
