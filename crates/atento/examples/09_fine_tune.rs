//! 9. Fine-tune a language model, with part of it frozen.
//!
//! A recipe names the model to start from and what of it trains. Patterns are those of `train.train_only` and `train.freeze`:
//! a parameter, or a module with everything in it. What is frozen costs no gradient and no moments.
//!
//! Run it: cargo run --release --example 09_fine_tune -- [MODEL DIRECTORY] [TEXT FILE] [PATTERN...]

use std::path::PathBuf;

use atento::{LanguageModel, Recipe, StopFlag, TrainOptions, train};

const TEXT: &str = "a red cat runs. a dog sees the red cat. ";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/gpt2-tiny");
    let base = args.next().map_or_else(|| PathBuf::from(tiny), PathBuf::from);
    let folder = tempfile::tempdir()?.keep();
    let text = match args.next() {
        Some(given) => PathBuf::from(given),
        None => {
            std::fs::write(folder.join("text.txt"), TEXT.repeat(50))?;
            folder.join("text.txt")
        }
    };
    let patterns: Vec<String> = args.collect();

    let mut recipe = Recipe::of_task("causal-lm")?;
    (recipe.from, recipe.out) = (Some(base.clone()), Some(folder.join("run")));
    recipe.data.text = Some(text.clone());
    recipe.data.block_size = Some(32);
    // The last block and the norm behind it, of a GPT-2 of two blocks.
    recipe.train.train_only = if patterns.is_empty() { vec!["h.1".into(), "ln_f".into()] } else { patterns };
    (recipe.train.max_steps, recipe.train.batch_tokens, recipe.optimizer.lr) = (Some(40), 256, 3e-3);
    let summary = train::train(&recipe, &TrainOptions::default(), &StopFlag::new(), &mut ())?;

    let (before, after) = (LanguageModel::load(base)?, LanguageModel::load(&summary.run)?);
    println!("{} of {} values trained", summary.trainable, after.model.params().count());
    for (old, new) in before.model.params().entries().iter().zip(after.model.params().entries()) {
        let is_same = before.model.params().get(old.weight) == after.model.params().get(new.weight);
        println!("{:30} {}", new.name, if is_same { "as it was" } else { "trained" });
    }
    let text = std::fs::read_to_string(text)?;
    println!("perplexity before {:.2}, after {:.2}", before.perplexity(&text)?, after.perplexity(&text)?);
    println!("the model is in {}", summary.run.join("model").display());
    Ok(())
}
