//! Checks of what encoders are called and made of.

use serde_json::json;

use super::*;
use crate::families::heads::{Headed, Objective};
use crate::families::{self, parameter_count};

const FAMILIES: [&EncoderFamily; 4] = [&BERT, &ROBERTA, &DISTILBERT, &ELECTRA];

fn headed(trunk: EncoderConfig, head: Head) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into(), "perhaps".into()] } else { Vec::new() };
    Headed::new(&(Arc::new(trunk) as Arc<dyn Config>), head, labels, Objective::Classification).unwrap()
}

/// A small model that differs from the defaults of its class in everything that it can.
fn small(family: &EncoderFamily, kind: Kind) -> EncoderConfig {
    let defaults = (family.0.defaults)();
    let is_narrow = defaults.embedding_size != defaults.d_model;
    EncoderConfig {
        kind,
        vocab_size: 60,
        embedding_size: if is_narrow { 8 } else { 16 },
        d_model: 16,
        layers: 2,
        heads: 2,
        d_ff: 24,
        activation: "gelu_new".into(),
        dropout: 0.2,
        attention_dropout: 0.3,
        classifier_dropout: Some(0.4),
        max_positions: 20,
        pad_id: Some(3),
        first_position: if family.0.skips_padding { 4 } else { 0 },
        tie_embeddings: false,
        ..defaults
    }
}

#[test]
fn what_is_written_is_read_back() {
    for family in FAMILIES {
        for (kind, _) in family.0.kinds {
            for head in family.heads() {
                let config = headed(small(family, *kind), *head);
                let written = config.to_json().unwrap();
                let read = families::read(Path::new("config.json"), &written, None).unwrap();
                assert_eq!((read.head(), read.to_json().unwrap()), (*head, written), "{kind:?}");
                assert_eq!(read.parameters(), config.parameters());
            }
        }
    }
}

#[test]
fn published_shapes_have_the_parameters_that_the_reference_counts() {
    // Counted by transformers 5.24.
    for (name, head, expected) in [
        ("bert-base", Head::States, 109_482_240),
        ("bert-base", Head::Words, 109_514_298),
        ("bert-base", Head::Pretraining, 110_106_428),
        ("bert-large", Head::States, 335_141_888),
        ("roberta-base", Head::States, 124_645_632),
        ("roberta-base", Head::Words, 124_697_433),
        ("distilbert-base", Head::States, 66_362_880),
        ("distilbert-base", Head::Words, 66_985_530),
        ("electra-small", Head::States, 13_483_008),
        ("electra-small", Head::Words, 13_546_682),
    ] {
        let trunk = FAMILIES.iter().find_map(|family| family.shape(name)).unwrap();
        let config = Headed::new(&trunk, head, Vec::new(), Objective::Classification).unwrap();
        assert_eq!(parameter_count(&config), expected, "{name} {head:?}");
    }
}

#[test]
fn files_may_have_the_prefix_or_not_and_the_first_names_of_norms() {
    let config = headed(small(&BERT, Kind::Bert), Head::Labels);
    let norm = "encoder.layer.0.output.LayerNorm";
    assert_eq!(
        config.sources(&format!("{norm}.weight")),
        [
            format!("bert.{norm}.weight"),
            format!("bert.{norm}.gamma"),
            format!("{norm}.weight"),
            format!("{norm}.gamma")
        ]
    );
    assert_eq!(config.sources("bert.pooler.dense.bias"), ["bert.pooler.dense.bias", "pooler.dense.bias"]);
    // Only the ending has other names.
    let table = "embeddings.word_embeddings.weight";
    assert_eq!(config.sources(table), [format!("bert.{table}"), table.to_owned()]);
    let bare = headed(small(&BERT, Kind::Bert), Head::States);
    assert_eq!(bare.sources(table), [table.to_owned(), format!("bert.{table}")]);
    let distilled = headed(small(&DISTILBERT, Kind::DistilBert), Head::Labels);
    assert_eq!(
        distilled.sources("encoder.layer.1.attention.output.LayerNorm.weight")[0],
        "distilbert.transformer.layer.1.sa_layer_norm.weight"
    );
}

#[test]
fn a_wrong_value_is_named_by_the_key_of_its_family() {
    let refused = |family: &EncoderFamily, key: &str, value: Value| {
        let mut object = write_config(family.0, &small(family, family.0.kinds[0].0));
        object.insert(key.into(), value);
        read_config(family.0, Path::new("m/config.json"), &object).unwrap_err().to_string()
    };
    for (family, key, value, expected) in [
        (&BERT, "hidden_size", json!(15), "`num_attention_heads` is 2, expected a divisor of d_model = 15"),
        (&DISTILBERT, "n_heads", json!(3), "`n_heads` is 3, expected a divisor"),
        (&DISTILBERT, "sinusoidal_pos_embds", json!(true), "expected false"),
        (&BERT, "is_decoder", json!(true), "expected false"),
        (&BERT, "position_embedding_type", json!("relative_key"), "expected \"absolute\""),
        (&ROBERTA, "max_position_embeddings", json!(4), "above 4, the padding token's id and one"),
        (&ELECTRA, "hidden_act", json!("gelu2"), "`hidden_act` is \"gelu2\", expected one of relu"),
    ] {
        let message = refused(family, key, value);
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn values_left_out_are_those_of_the_class() {
    let read = |family: &EncoderFamily, model_type: &str| {
        let object = json!({"model_type": model_type});
        read_config(family.0, Path::new("config.json"), object.as_object().unwrap()).unwrap()
    };
    let roberta = read(&ROBERTA, "roberta");
    assert_eq!((roberta.max_positions, roberta.first_position, roberta.token_types), (510, 2, 2));
    assert_eq!((roberta.norm_eps, roberta.vocab_size), (1e-12, 50_265));
    assert_eq!(read(&ROBERTA, "xlm-roberta").kind, Kind::XlmRoberta);
    assert_eq!(read(&DISTILBERT, "distilbert").head_dropout(), 0.2);
    assert_eq!((read(&ELECTRA, "electra").embedding_size, read(&BERT, "bert").pad_id), (128, Some(0)));
}
