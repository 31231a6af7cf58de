//! BERT (Devlin et al. 2019): config.json and names of `BertModel` and what stands on it.

use super::{BERT_KEYS, Dialect, dense, words};
use crate::families::Head;
use crate::families::heads::{Output, Part, Reads};
use crate::models::encoder::{EncoderConfig, Kind};

/// What BERT calls things.
pub static DIALECT: Dialect = Dialect {
    name: "bert",
    model_types: &["bert"],
    kinds: &[(Kind::Bert, "Bert")],
    heads: &[Head::States, Head::Words, Head::Pretraining, Head::Labels, Head::Tags, Head::Span, Head::Choice],
    prefix: "bert.",
    defaults: || EncoderConfig { pad_id: Some(0), ..EncoderConfig::new(30_522, 12, 768, 12, 512) },
    keys: BERT_KEYS,
    stored: str::to_owned,
    parts,
    more: |_| Vec::new(),
    skips_padding: false,
    shapes: &[("bert-base", [30_522, 12, 768, 12, 512]), ("bert-large", [30_522, 24, 1024, 16, 512])],
};

/// Pooled outputs read the first token through a dense layer with tanh.
fn parts(config: &EncoderConfig, head: Head, outputs: usize) -> Option<Vec<Part>> {
    let pooled = |prefix: &str, dropout: f32, output: Option<Output>| {
        let transform = dense(&format!("{prefix}pooler.dense"), config.d_model, "tanh", 0.0);
        Part { reads: Reads::First, transform: Some(transform), dropout, output }
    };
    let words = || {
        let (transform, norm) = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm");
        let output = ("cls.predictions.decoder.weight", "cls.predictions.bias");
        words(config, transform, norm, &config.activation, output)
    };
    let classifier = || Output::dense("classifier", outputs);
    Some(match head {
        Head::States => vec![pooled("", 0.0, None)],
        Head::Words => vec![words()],
        Head::Pretraining => vec![pooled("bert.", 0.0, Some(Output::dense("cls.seq_relationship", 2))), words()],
        Head::Labels | Head::Choice => vec![pooled("bert.", config.head_dropout(), Some(classifier()))],
        Head::Tags => vec![Part::plain(Reads::Tokens, config.head_dropout(), classifier())],
        Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
        Head::Translation | Head::Language => return None,
    })
}
