//! ELECTRA (Clark et al. 2020): BERT's blocks over embeddings of their own width. The generator finds masked words, the
//! discriminator is what is fine-tuned.

use serde_json::{Value, json};

use super::{BERT_KEYS, Dialect, HEADS, dense, words};
use crate::families::Head;
use crate::families::heads::{Output, Part, Reads};
use crate::models::encoder::{EncoderConfig, Kind};

/// Probability of dropping what a choice reads, where config.json does not say.
const SUMMARY_DROPOUT: f32 = 0.1;

/// What ELECTRA calls things.
pub static DIALECT: Dialect = Dialect {
    name: "electra",
    model_types: &["electra"],
    kinds: &[(Kind::Electra, "Electra")],
    heads: HEADS,
    prefix: "electra.",
    defaults: || EncoderConfig {
        kind: Kind::Electra,
        embedding_size: 128,
        pad_id: Some(0),
        ..EncoderConfig::new(30_522, 12, 256, 4, 512)
    },
    keys: BERT_KEYS,
    stored: str::to_owned,
    parts,
    more,
    skips_padding: false,
    shapes: &[("electra-small", [30_522, 12, 256, 4, 512])],
};

fn more(config: &EncoderConfig) -> Vec<(&'static str, Value)> {
    vec![
        ("embedding_size", json!(config.embedding_size)),
        ("summary_type", json!("first")),
        ("summary_use_proj", json!(true)),
        ("summary_activation", json!("gelu")),
        ("summary_last_dropout", json!(0.1)),
    ]
}

/// What reads the first token does so through a dense layer with GELU.
fn parts(config: &EncoderConfig, head: Head, outputs: usize) -> Option<Vec<Part>> {
    let dropout = config.head_dropout();
    let first = |path: &str, before: f32, after: f32, output: &str| {
        let transform = Some(dense(path, config.d_model, "gelu", before));
        Part { reads: Reads::First, transform, dropout: after, output: Some(Output::dense(output, outputs)) }
    };
    Some(match head {
        Head::States => Vec::new(),
        Head::Words => {
            let (dense, norm) = ("generator_predictions.dense", "generator_predictions.LayerNorm");
            let output = ("generator_lm_head.weight", "generator_lm_head.bias");
            vec![words(config, dense, norm, "gelu", output)]
        }
        Head::Labels => vec![first("classifier.dense", dropout, dropout, "classifier.out_proj")],
        Head::Choice => vec![first("sequence_summary.summary", 0.0, SUMMARY_DROPOUT, "classifier")],
        Head::Tags => vec![Part::plain(Reads::Tokens, dropout, Output::dense("classifier", outputs))],
        Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
        Head::Pretraining | Head::Translation | Head::Language => return None,
    })
}
