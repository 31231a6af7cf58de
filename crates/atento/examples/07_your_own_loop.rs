//! 7. A model of your own program.
//!
//! Loads a language model, lets it write, measures how well it predicts a text, and teaches it that text in a loop of our
//! own. Then the model is saved as a directory that atento and Hugging Face's transformers load.
//!
//! Run it: cargo run --release --example 07_your_own_loop -- [MODEL DIRECTORY]

use std::path::PathBuf;

use atento::data::tokens::CausalBatch;
use atento::train::recipe::OptimizerSettings;
use atento::train::step::{StepOptions, train_step};
use atento::{Grads, LanguageModel, Optimizer, Pool};

const TEXT: &str = "a red cat runs. a dog sees the red cat.";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/gpt2-tiny");
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from(tiny), PathBuf::from);
    let mut language = LanguageModel::load(&path)?;
    println!("{:?} goes on: {:?}", "a red", language.generate("a red")?);
    println!("perplexity of the text before: {:.2}", language.perplexity(TEXT)?);

    // One sequence is a batch here; a batch may hold many, one after the other, without padding.
    let batch = CausalBatch::of_sequences([language.tokenizer.encode_prompt(TEXT)?])?;
    let settings = OptimizerSettings::default();
    let mut optimizer = Optimizer::new(&settings, language.model.params());
    let (mut grads, pool) = (Grads::zeros(language.model.params()), Pool::new());
    for step in 1..=20 {
        let batches = std::slice::from_ref(&batch);
        let model = &mut language.model;
        let stats = train_step(model, &mut optimizer, &mut grads, &pool, batches, step, 1e-3, &StepOptions::default())?;
        if step % 5 == 0 {
            println!("step {step:2}: loss {:.4}, norm of the gradient {:.3}", stats.loss, stats.grad_norm);
        }
    }

    println!("perplexity of the text after: {:.2}", language.perplexity(TEXT)?);
    let out = std::env::temp_dir().join("atento-your-own-loop");
    std::fs::create_dir_all(&out)?;
    language.save(&out)?;
    println!("saved in {}", out.display());
    Ok(())
}
