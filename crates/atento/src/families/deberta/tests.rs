//! Checks of what DeBERTa is called and made of.

use serde_json::json;

use super::*;
use crate::families::heads::{Headed, Objective};
use crate::families::{self, parameter_count};

fn headed(trunk: DebertaConfig, head: Head) -> Headed {
    let labels = if head.has_labels() { vec!["no".into(), "yes".into(), "perhaps".into()] } else { Vec::new() };
    Headed::new(&(Arc::new(trunk) as Arc<dyn Config>), head, labels, Objective::Classification).unwrap()
}

fn small() -> DebertaConfig {
    DebertaConfig { buckets: Some(8), pad_id: Some(3), ..DebertaConfig::new(60, 2, 16, 2, 20) }
}

#[test]
fn what_is_written_is_read_back() {
    let second = DebertaConfig {
        embedding_size: 8,
        absolute_positions: true,
        token_types: 2,
        buckets: None,
        max_relative: 12,
        shares_projections: false,
        position_to_content: false,
        norms_relative: false,
        convolution: Some(Convolution { kernel: 3, activation: "tanh".into() }),
        pooler_activation: "tanh".into(),
        classifier_dropout: Some(0.25),
        legacy_head: false,
        ..small()
    };
    for trunk in [small(), second] {
        for head in DebertaFamily.heads() {
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
    // Counted by transformers 5.24 with the config.json files of the published models.
    for (name, expected) in
        [("deberta-v3-small", 141_304_320), ("deberta-v3-base", 183_831_552), ("deberta-v3-large", 434_012_160)]
    {
        let trunk = DebertaFamily.shape(name).unwrap();
        let config = Headed::new(&trunk, Head::States, Vec::new(), Objective::Classification).unwrap();
        assert_eq!(parameter_count(&config), expected, "{name}");
    }
}

#[test]
fn a_wrong_value_is_named_by_its_key() {
    let refused = |key: &str, value: Value| {
        let mut object = write_config(&small());
        object.insert(key.into(), value);
        read_config(Path::new("m/config.json"), &object).unwrap_err().to_string()
    };
    for (key, value, expected) in [
        ("relative_attention", json!(false), "expected true"),
        ("pos_att_type", json!("p2c|c2c"), "expected a list of \"c2p\" and \"p2c\""),
        ("position_buckets", json!(64), "`position_buckets` is 64, expected a whole number from 4"),
        ("conv_kernel_size", json!(4), "`conv_kernel_size` is 4, expected an odd number"),
        ("conv_groups", json!(2), "expected 1"),
        ("hidden_size", json!(15), "`num_attention_heads` is 2, expected a divisor of d_model = 15"),
    ] {
        let message = refused(key, value);
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn the_convolution_is_stored_as_pytorch_has_it() {
    let convolution = Some(Convolution { kernel: 3, activation: "gelu".into() });
    let config = headed(DebertaConfig { convolution, ..small() }, Head::Labels);
    assert_eq!(config.stored_shape(CONVOLUTION, &[16, 48]), [16, 16, 3]);
    assert_eq!(config.sources(CONVOLUTION)[0], "deberta.encoder.conv.conv.weight");
    assert_eq!(config.sources("pooler.dense.weight"), ["pooler.dense.weight"]);
}
