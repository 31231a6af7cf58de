//! 7. A model of your own program.
//!
//! Loads a language model, lets it write, measures how well it predicts a text, and teaches it that text in a loop of our
//! own. Then the model is saved as a directory that atento and Hugging Face's transformers load.
//!
//! Run it: cargo run --release --example 07_your_own_loop -- [MODEL DIRECTORY]

use std::path::PathBuf;

use atento::{LanguageModel, Learner};

const TEXT: &str = "a red cat runs. a dog sees the red cat.";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/gpt2-tiny");
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from(tiny), PathBuf::from);
    let mut language = LanguageModel::load(&path)?;
    println!("{:?} goes on: {:?}", "a red", language.generate("a red")?);
    println!("perplexity of the text before: {:.2}", language.perplexity(TEXT)?);

    // One sequence is a batch here; a batch may hold many, one after the other, without padding.
    let batches = [language.batch(&[TEXT])?];
    let mut learner = Learner::new(language.model.params());
    for step in 1..=20 {
        let stats = learner.step(&mut language.model, &batches, 1e-3)?;
        if step % 5 == 0 {
            println!("step {step:2}: loss {:.4}, norm of the gradient {:.3}", stats.loss, stats.grad_norm);
        }
    }

    println!("perplexity of the text after: {:.2}", language.perplexity(TEXT)?);
    let out = std::env::temp_dir().join("atento-your-own-loop");
    language.save(&out)?;
    println!("saved in {}", out.display());
    Ok(())
}
