//! RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020): BERT's blocks, positions
//! that begin behind the padding token's id, one type of tokens, and heads of their own.

use super::{BERT_KEYS, Dialect, HEADS, dense, words};
use crate::families::Head;
use crate::families::heads::{Output, Part, Reads};
use crate::models::encoder::{EncoderConfig, Kind};

/// What RoBERTa calls things.
pub static DIALECT: Dialect = Dialect {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    kinds: &[(Kind::Roberta, "Roberta"), (Kind::XlmRoberta, "XLMRoberta"), (Kind::Camembert, "Camembert")],
    heads: HEADS,
    prefix: "roberta.",
    defaults: || EncoderConfig {
        kind: Kind::Roberta,
        token_types: 1,
        first_position: 2,
        pad_id: Some(1),
        bos_id: Some(0),
        eos_id: Some(2),
        norm_eps: 1e-5,
        ..EncoderConfig::new(50_265, 12, 768, 12, 512)
    },
    keys: BERT_KEYS,
    stored: str::to_owned,
    parts,
    more: |_| Vec::new(),
    skips_padding: true,
    shapes: &[("roberta-base", [50_265, 12, 768, 12, 512]), ("roberta-large", [50_265, 24, 1024, 16, 512])],
};

/// Labels of texts have a dense layer of their own; a choice reads the pooler.
fn parts(config: &EncoderConfig, head: Head, outputs: usize) -> Option<Vec<Part>> {
    let dropout = config.head_dropout();
    let first = |path: &str, before: f32, after: f32, output: Option<Output>| {
        let transform = dense(path, config.d_model, "tanh", before);
        Part { reads: Reads::First, transform: Some(transform), dropout: after, output }
    };
    Some(match head {
        Head::States => vec![first("pooler.dense", 0.0, 0.0, None)],
        Head::Words => {
            // The function between is GELU whatever the blocks have.
            let output = ("lm_head.decoder.weight", "lm_head.bias");
            vec![words(config, "lm_head.dense", "lm_head.layer_norm", "gelu", output)]
        }
        Head::Labels => {
            let output = Output::dense("classifier.out_proj", outputs);
            vec![first("classifier.dense", dropout, dropout, Some(output))]
        }
        Head::Choice => {
            let output = Output::dense("classifier", outputs);
            vec![first("roberta.pooler.dense", 0.0, config.dropout, Some(output))]
        }
        Head::Tags => vec![Part::plain(Reads::Tokens, dropout, Output::dense("classifier", outputs))],
        Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
        Head::Pretraining | Head::Translation | Head::Language => return None,
    })
}
