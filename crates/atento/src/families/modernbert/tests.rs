//! Checks of what ModernBERT is called and made of.

use serde_json::json;

use super::files::{read_config, write_config};
use super::*;
use crate::families::heads::{Headed, Objective};
use crate::families::{self, parameter_count};

fn headed(trunk: ModernBertConfig, head: Head) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into(), "perhaps".into()] } else { Vec::new() };
    Headed::new(&(Arc::new(trunk) as Arc<dyn Config>), head, labels, Objective::Classification).unwrap()
}

fn small() -> ModernBertConfig {
    ModernBertConfig { pad_id: Some(3), ..ModernBertConfig::new(60, 4, 16, 2, 20) }
}

/// One that differs from the defaults in everything.
fn other() -> ModernBertConfig {
    ModernBertConfig {
        d_ff: 20,
        activation: "silu".into(),
        local_window: 7,
        local: vec![true, false, false, true],
        rope_theta: 500.0,
        local_rope_theta: 50.0,
        norm_eps: 1e-3,
        norm_bias: true,
        attention_bias: true,
        mlp_bias: true,
        embedding_dropout: 0.1,
        attention_dropout: 0.2,
        dropout: 0.3,
        mean_pooling: true,
        head_activation: "relu".into(),
        head_bias: true,
        head_transform: false,
        classifier_dropout: 0.4,
        output_bias: false,
        tie_embeddings: false,
        bos_id: Some(1),
        eos_id: Some(2),
        ..small()
    }
}

fn read(object: &Value) -> Result<ModernBertConfig, Error> {
    read_config(Path::new("m/config.json"), object.as_object().unwrap())
}

#[test]
fn what_is_written_is_read_back() {
    for trunk in [small(), other()] {
        assert_eq!(read(&write_config(&trunk).into()).unwrap(), trunk);
        for head in ModernBertFamily.heads() {
            let config = headed(trunk.clone(), *head);
            let written = config.to_json().unwrap();
            let read = families::read(Path::new("config.json"), &written, None).unwrap();
            assert_eq!((read.head(), read.to_json().unwrap()), (*head, written));
            assert_eq!(read.parameters(), config.parameters());
        }
    }
}

#[test]
fn published_shapes_have_the_parameters_that_the_reference_counts() {
    // Counted by transformers 5.24.
    for (name, head, expected) in [
        ("modernbert-base", Head::States, 149_014_272),
        ("modernbert-base", Head::Words, 149_655_232),
        ("modernbert-large", Head::States, 394_781_696),
        ("modernbert-large", Head::Words, 395_881_664),
    ] {
        let trunk = ModernBertFamily.shape(name).unwrap();
        let config = Headed::new(&trunk, head, Vec::new(), Objective::Classification).unwrap();
        assert_eq!(parameter_count(&config), expected, "{name} {head:?}");
    }
}

#[test]
fn older_files_say_blocks_and_positions_in_other_words() {
    let class = read(&json!({"model_type": "modernbert"})).unwrap();
    assert_eq!((class.global_every(), class.local_window, class.layers), (Some(3), 128, 22));
    assert_eq!((class.rope_theta, class.local_rope_theta), (160_000.0, 10_000.0));
    assert_eq!((class.pad_id, class.bos_id, class.eos_id), (Some(50_283), Some(50_281), Some(50_282)));
    let old = json!({
        "num_hidden_layers": 5,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 8000,
        "local_rope_theta": null,
        "vocab_size": 100,
    });
    let old = read(&old).unwrap();
    assert_eq!(old.local, [false, true, false, true, false]);
    assert_eq!((old.rope_theta, old.local_rope_theta, old.pad_id), (8000.0, 8000.0, None));
    // What newer files say counts.
    let new = json!({
        "num_hidden_layers": 2,
        "global_attn_every_n_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "global_rope_theta": 8000,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 900.0}},
    });
    let new = read(&new).unwrap();
    assert_eq!((new.local, new.rope_theta, new.local_rope_theta), (vec![true, false], 900.0, 10_000.0));
}

#[test]
fn a_wrong_value_is_named_by_its_key() {
    let refused = |key: &str, value: Value| {
        let mut object = write_config(&small());
        object.insert(key.into(), value);
        read(&object.into()).unwrap_err().to_string()
    };
    let without_types = |every: usize| {
        let mut object = write_config(&small());
        object.remove("layer_types");
        object.insert("global_attn_every_n_layers".into(), json!(every));
        read(&object.into())
    };
    assert!(without_types(2).is_ok());
    let message = without_types(0).unwrap_err().to_string();
    assert!(message.contains("`global_attn_every_n_layers` is 0, expected a whole number from 1"), "{message}");
    for (key, value, expected) in [
        ("layer_types", json!(["full_attention"]), "for each of the 4 layers"),
        ("layer_types", json!(["full_attention", "a", "b", "c"]), "\"full_attention\" or \"sliding_attention\""),
        ("classifier_pooling", json!("max"), "`classifier_pooling` is \"max\", expected \"cls\" or \"mean\""),
        ("rope_scaling", json!({"type": "linear"}), "expected null"),
        ("rope_parameters", json!(3), "`rope_parameters` is 3, expected an object"),
        ("rope_parameters", json!({"full_attention": {"rope_type": "yarn"}}), "`rope_type` is \"yarn\", expected"),
        (
            "rope_parameters",
            json!({"sliding_attention": {"rope_theta": 0.5}}),
            "`rope_theta` is 0.5, expected a number",
        ),
        ("local_rope_theta", json!(-1), "`local_rope_theta` is -1, expected a number above 1"),
        ("hidden_activation", json!("gelu2"), "`hidden_activation` is \"gelu2\", expected one of relu"),
        ("hidden_size", json!(6), "`num_attention_heads` is 2, expected a divisor of d_model = 6 into heads of even"),
        ("local_attention", json!(0), "`local_attention` is 0, expected a whole number from 1"),
        ("mlp_dropout", json!(1.0), "`mlp_dropout` is 1.0, expected a probability"),
    ] {
        let message = refused(key, value);
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn names_have_the_prefix_below_a_head_and_not_in_the_bare_model() {
    let norm = "layers.1.attn_norm.weight";
    let both = [format!("model.{norm}"), norm.to_owned()];
    assert_eq!(headed(small(), Head::Labels).sources(norm), both);
    let [with, without] = both;
    assert_eq!(headed(small(), Head::States).sources(norm), [without, with]);
    let words = headed(small(), Head::Words);
    assert_eq!(words.sources("head.dense.weight"), ["head.dense.weight"]);
    assert_eq!(words.extra(OUTPUT), Extra::CopyOf(TABLE));
    let own: Vec<String> = words.own_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(own, ["head.dense.weight", "head.norm.weight", "decoder.bias"]);
    let bare = headed(ModernBertConfig { head_transform: false, ..small() }, Head::Words);
    assert_eq!(bare.own_parameters(), [("decoder.bias".to_owned(), vec![60])]);
}

#[test]
fn a_recipe_describes_the_model_that_it_is_described_by() {
    let special = SpecialIds { pad: Some(3), ..SpecialIds::default() };
    let settings = ModelSettings {
        layers: 5,
        global_every: 2,
        local_window: 10,
        rope_theta: 700.0,
        local_rope_theta: 70.0,
        attention_bias: true,
        head_transform: false,
        dropout: 0.25,
        embedding_dropout: Some(0.125),
        ..ModernBertFamily.preset(Preset::Tiny)
    };
    let config = ModernBertFamily.of_recipe(&settings, 60, special).unwrap();
    assert_eq!(config.describe(&ModernBertFamily.preset(Preset::Tiny)), settings);
}
