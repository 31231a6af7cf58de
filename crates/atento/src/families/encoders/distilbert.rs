//! DistilBERT (Sanh et al. 2019): BERT's blocks without types of tokens and without a pooler, under other names.

use serde_json::json;

use super::{Dialect, HEADS, dense, words};
use crate::families::Head;
use crate::families::heads::{Output, Part, Reads};
use crate::models::encoder::{EncoderConfig, Kind};

/// Probability of dropping what a classifier reads, and what the ends of an answer read, where config.json does not say.
const CLASSIFIER_DROPOUT: f32 = 0.2;
const SPAN_DROPOUT: f32 = 0.1;

/// What DistilBERT calls things.
pub static DIALECT: Dialect = Dialect {
    name: "distilbert",
    model_types: &["distilbert"],
    kinds: &[(Kind::DistilBert, "DistilBert")],
    heads: HEADS,
    prefix: "distilbert.",
    defaults: || EncoderConfig {
        kind: Kind::DistilBert,
        token_types: 0,
        pad_id: Some(0),
        classifier_dropout: Some(CLASSIFIER_DROPOUT),
        ..EncoderConfig::new(30_522, 6, 768, 12, 512)
    },
    keys: [
        "dim",
        "n_layers",
        "n_heads",
        "hidden_dim",
        "activation",
        "dropout",
        "attention_dropout",
        "seq_classif_dropout",
    ],
    stored,
    parts,
    more: |_| vec![("sinusoidal_pos_embds", json!(false)), ("qa_dropout", json!(0.1))],
    skips_padding: false,
    shapes: &[("distilbert-base", [30_522, 6, 768, 12, 512])],
};

/// The path of a parameter of a block, of which the name alone differs.
const NAMES: [(&str, &str); 8] = [
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
];

fn stored(name: &str) -> String {
    let Some((layer, rest)) = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split_once('.')) else {
        return name.to_owned();
    };
    let renamed = NAMES.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", rest.strip_prefix(ours)?)));
    format!("transformer.layer.{layer}.{}", renamed.as_deref().unwrap_or(rest))
}

/// Labels and choices read the first token through a dense layer with ReLU.
fn parts(config: &EncoderConfig, head: Head, outputs: usize) -> Option<Vec<Part>> {
    Some(match head {
        Head::States => Vec::new(),
        Head::Words => {
            let output = ("vocab_projector.weight", "vocab_projector.bias");
            vec![words(config, "vocab_transform", "vocab_layer_norm", &config.activation, output)]
        }
        Head::Labels | Head::Choice => {
            let transform = Some(dense("pre_classifier", config.d_model, "relu", 0.0));
            let output = Some(Output::dense("classifier", outputs));
            vec![Part { reads: Reads::First, transform, dropout: config.head_dropout(), output }]
        }
        Head::Tags => vec![Part::plain(Reads::Tokens, config.dropout, Output::dense("classifier", outputs))],
        Head::Span => vec![Part::plain(Reads::Tokens, SPAN_DROPOUT, Output::dense("qa_outputs", outputs))],
        Head::Pretraining | Head::Translation | Head::Language => return None,
    })
}
