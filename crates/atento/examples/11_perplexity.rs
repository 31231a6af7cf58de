//! 11. The perplexity of a text.
//!
//! How well a language model predicts a text of any length: the whole of it over windows that overlap, then a sentence
//! token by token.
//!
//! Run it: cargo run --release --example 11_perplexity -- [MODEL DIRECTORY] [TEXT FILE]

use std::path::PathBuf;

use atento::LanguageModel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/llama-tiny");
    let language = LanguageModel::load(args.next().map_or_else(|| PathBuf::from(tiny), PathBuf::from))?;
    let text = match args.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => "a red cat runs. a dog sees the red cat. ".repeat(20),
    };
    let tokens = language.tokenizer.encode_text(&text)?.len();
    println!("{tokens} tokens, of {} that the model can see at once", language.model.max_positions());
    println!("perplexity {:.2}", language.perplexity(&text)?);

    let sentence = "a red cat runs";
    let score = &language.score(&[sentence])?[0];
    println!("{sentence:?}: log-probability {:.2} behind its first token", score.sum_logprob());
    for (&id, logprob) in score.ids[1..].iter().zip(&score.logprobs) {
        println!("  {:12} {logprob:8.3}", format!("{:?}", language.tokenizer.decode(&[id], false)?));
    }
    Ok(())
}
