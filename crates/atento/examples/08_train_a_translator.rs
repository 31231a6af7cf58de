//! 8. Train a translator.
//!
//! Trains a small Transformer on the built-in English–German sentences, from a recipe that is built in code, and translates a
//! sentence with it. A hundred updates show that it learns and not much more; `atento demo` trains a larger one to the end.
//!
//! Run it: cargo run --release --example 08_train_a_translator -- [UPDATES]

use std::path::PathBuf;

use atento::train::recipe::Corpus;
use atento::{Event, Model, Recipe, Reporter, StopFlag, TrainOptions, train};

/// Prints how the loss falls.
struct Lines;

impl Reporter for Lines {
    fn event(&mut self, event: &Event) {
        if let Event::Step(report) = event {
            println!("step {:4}: loss {:.3}, {:.0} tokens/s", report.step, report.loss, report.tokens_per_second);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let updates = std::env::args().nth(1).map_or(Ok(100), |given| given.parse())?;
    let mut recipe = Recipe::of_task("translation")?;
    recipe.out = Some(free_directory());
    recipe.data.corpus = Some(Corpus::Demo);
    recipe.tokenizer.vocab_size = 1000;
    let model = &mut recipe.model;
    (model.d_model, model.d_ff, model.heads) = (64, 256, 4);
    (model.encoder_layers, model.decoder_layers) = (1, 1);
    let train = &mut recipe.train;
    (train.max_steps, train.batch_tokens, train.log_every) = (Some(updates), 1024, 20);
    (train.eval_every, train.eval_max_sentences) = (0, 10);
    (recipe.optimizer.lr, recipe.schedule.warmup_steps) = (3e-3, Some(updates / 5));

    let summary = train::train(&recipe, &TrainOptions::default(), &StopFlag::new(), &mut Lines)?;
    println!("{} updates in {:.0} s, {:?}", summary.steps, summary.seconds, summary.metrics);
    let sentence = "Let's translate this sentence";
    println!("{sentence:?} is {:?}", Model::load(&summary.run)?.translate(sentence)?);
    println!("the run is in {}", summary.run.display());
    Ok(())
}

/// A run has a directory of its own.
fn free_directory() -> PathBuf {
    let named = |n: usize| std::env::temp_dir().join(format!("atento-translator-{n}"));
    (1..).map(named).find(|path| !path.exists()).unwrap_or_default()
}
