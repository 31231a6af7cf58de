//! 12. Translate, and score translations that are given.
//!
//! Beam search with its best hypotheses, then the log-probability that the model gives to translations of our own: the higher,
//! the more it agrees.
//!
//! Run it: cargo run --release --example 12_score_and_translate -- [MODEL DIRECTORY]

use std::path::PathBuf;

use atento::{Pretrained, TranslateOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/marian-tiny");
    let translator = Pretrained::load(std::env::args().nth(1).map_or_else(|| PathBuf::from(tiny), PathBuf::from))?;

    let mut options = TranslateOptions { max_new_tokens: 12, ..translator.translate_options() };
    (options.search.beam, options.search.n_best) = (4, 2);
    let sentences = ["a dog runs", "a red cat"];
    for (sentence, translations) in sentences.iter().zip(translator.translate_all(&sentences, &options)?) {
        println!("{sentence:?}");
        for one in translations {
            println!("  {:?}, log-probability {:.2}", one.text, one.hypothesis.sum_logprob);
        }
    }

    let pairs = [("a dog runs", "ein Hund rennt"), ("a dog runs", "eine Katze")];
    for ((source, target), score) in pairs.iter().zip(translator.score(&pairs)?) {
        let (sum, perplexity) = (score.sum_logprob(), score.perplexity());
        println!("{source:?} as {target:?}: log-probability {sum:.2}, perplexity {perplexity:.1}");
    }
    Ok(())
}
