//! Attention weights beside those that `transformers` gives.

use std::path::{Path, PathBuf};

use atento::explain::{AttentionMaps, Between, Tokens};
use atento::hub::ModelDir;
use atento::hub::safetensors::SafeTensors;
use atento::models::Precision;
use atento::pipelines::texts::TooLong;
use atento::{LanguageModel, Pretrained, TextModel};

use crate::conformance::{json, largest_difference};

/// How far weights may be from the recorded ones.
const TOLERANCE: f32 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The weights of a text on a model without its head.
fn of_text(dir: &Path, text: &str) -> AttentionMaps {
    let model = TextModel::states(&ModelDir::open(dir).unwrap(), Precision::F32).unwrap();
    model.attention(&model.encode(text, None, TooLong::Refuse).unwrap()).unwrap()
}

/// The first case of a fixture.
fn case(dir: &Path) -> serde_json::Value {
    json(&dir.join("expected.json"))["cases"][0].clone()
}

/// Checks a model's attentions against the recorded ones, and that what has no weight there has none here.
fn check(dir: &Path, maps: &AttentionMaps) {
    let recorded = SafeTensors::open(&dir.join("attention.safetensors")).unwrap();
    assert_eq!(maps.stacks.len(), recorded.names().len(), "{}", dir.display());
    for stack in &maps.stacks {
        let name = match stack.between {
            Between::Text => "attentions",
            Between::Target => "decoder",
            Between::Cross => "cross",
        };
        let (queries, keys) = (maps.queries(stack.between).len(), maps.keys(stack.between).len());
        let shape = [stack.layers.len(), stack.layers[0].heads.len(), queries, keys];
        let expected = recorded.read_f32(name, &shape).unwrap();
        let heads = stack.layers.iter().flat_map(|layer| &layer.heads);
        let found: Vec<f32> = heads.flat_map(|head| &head.weights).copied().collect();
        let difference = largest_difference(&found, &expected);
        assert!(difference <= TOLERANCE, "{}: {name}: {difference}", dir.display());
        let is_masked = |(found, expected): (&f32, &f32)| (*found == 0.0) == (*expected == 0.0);
        assert!(found.iter().zip(&expected).all(is_masked), "{}: {name}: what is masked", dir.display());
        for row in found.chunks(keys) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{}: {name}: {row:?}", dir.display());
        }
    }
}

#[test]
fn weights_of_language_models_are_those_of_transformers() {
    // Of one head a group and of several, with windows in all layers, normalised queries and keys.
    for name in ["gpt2-tiny", "llama-tiny", "mistral-tiny", "qwen3-tiny"] {
        let dir = fixture("conformance").join(name);
        let language = LanguageModel::load(&dir).unwrap();
        let maps = language.attention(case(&dir)["text"].as_str().unwrap()).unwrap();
        check(&dir, &maps);
        for (i, row) in maps.head(Between::Text, 1, 1).unwrap().weights.chunks(maps.text.shown.len()).enumerate() {
            assert!(row[i + 1..].iter().all(|weight| *weight == 0.0), "{name}: a token sees what follows it");
        }
    }
}

#[test]
fn weights_of_encoders_are_those_of_transformers() {
    for name in ["bert", "roberta-words", "distilbert-labels", "electra-words", "modernbert-words"] {
        let dir = fixture("conformance").join(name);
        check(&dir, &of_text(&dir, case(&dir)["text"].as_str().unwrap()));
    }
    let dir = fixture("attention/deberta");
    check(&dir, &of_text(&dir, case(&dir)["text"].as_str().unwrap()));
}

#[test]
fn weights_of_translators_are_those_of_transformers() {
    for name in ["marian-tiny", "m2m100-tiny"] {
        let dir = fixture("conformance").join(name);
        let case = case(&dir);
        let pretrained = Pretrained::load(&dir).unwrap();
        let texts = ["text", "target"].map(|key| case[key].as_str().unwrap());
        check(&dir, &pretrained.attention(texts[0], Some(texts[1])).unwrap());
        // Of its own translation the decoder reads all but the last token.
        let own = pretrained.attention(texts[0], None).unwrap().target.unwrap();
        let found = pretrained.translate_all(&texts[..1], &pretrained.translate_options()).unwrap();
        let ids = &found[0][0].hypothesis.ids;
        let read = Tokens::of(&pretrained.tokenizer, &ids[..ids.len() - 1]).unwrap();
        assert_eq!(own.spelled[1..], read.spelled, "{name}");
    }
}

#[test]
fn virtual_tokens_are_keys_of_every_layer() {
    for adapter in ["gpt2-tiny.prefix", "gpt2-tiny.prompt"] {
        let adapter = fixture("conformance").join(adapter);
        let count = json(&adapter.join("adapter_config.json"))["num_virtual_tokens"].as_u64().unwrap() as usize;
        let mut language = LanguageModel::load(fixture("conformance/gpt2-tiny")).unwrap();
        let without = language.attention("The red cat").unwrap();
        language.adapt(&adapter).unwrap();
        let maps = language.attention("The red cat").unwrap();
        assert_eq!((maps.virtual_tokens, &maps.text), (count, &without.text));
        let (tokens, keys) = (maps.text.shown.len(), maps.keys(Between::Text).len());
        assert_eq!(keys, count + tokens);
        for head in maps.stacks[0].layers.iter().flat_map(|layer| &layer.heads) {
            assert_eq!(head.weights.len(), tokens * keys);
            for (i, row) in head.weights.chunks(keys).enumerate() {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(row[..=count + i].iter().all(|weight| *weight > 0.0));
                assert!(row[count + i + 1..].iter().all(|weight| *weight == 0.0));
            }
        }
    }
}

#[test]
fn a_text_beyond_the_positions_or_without_a_token_is_refused() {
    let language = LanguageModel::load(fixture("conformance/llama-tiny")).unwrap();
    let refused = language.attention(&"cat ".repeat(80)).unwrap_err().to_string();
    assert!(refused.starts_with("the text has ") && refused.contains("positions for 64"), "{refused}");
    assert!(language.attention("").unwrap_err().to_string().contains("no tokens"));
    let translator = Pretrained::load(fixture("conformance/marian-tiny")).unwrap();
    let refused = translator.attention("a dog", Some(&"hund ".repeat(200))).unwrap_err().to_string();
    assert!(refused.starts_with("the target has "), "{refused}");
}
