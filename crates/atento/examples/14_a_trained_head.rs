//! 14. A trained head.
//!
//! The heads of 03 and 05 were random or chosen by hand. Here a small Transformer learns to translate the built-in
//! sentences for half a minute, and the head of its decoder that is surest of itself shows what it looks at: nobody
//! told it which words of the two languages belong together. `atento attention` draws all heads of any model.
//!
//! Run it: cargo run --release --example 14_a_trained_head -- [UPDATES]

mod common;

use atento::explain::{AttentionMaps, Between, Head};
use atento::layers::mechanisms::Matrix;
use atento::train::recipe::Corpus;
use atento::{Event, Pretrained, Recipe, Reporter, StopFlag, TrainOptions, train};
use common::{check_rows_sum_to_one, print_matrix};

const SOURCE: &str = "Yesterday the women did not buy any bread.";
const TARGET: &str = "Gestern haben die Frauen kein Brot gekauft.";

/// Prints how the loss falls.
struct Lines;

impl Reporter for Lines {
    fn event(&mut self, event: &Event) {
        if let Event::Step(report) = event {
            println!("step {:4}: loss {:.3}", report.step, report.loss);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let updates = std::env::args().nth(1).map_or(Ok(1000), |given| given.parse())?;
    let folder = tempfile::tempdir()?;
    let mut recipe = Recipe::of_task("translation")?;
    recipe.out = Some(folder.path().join("run"));
    recipe.data.corpus = Some(Corpus::Demo);
    recipe.tokenizer.vocab_size = 1500;
    let model = &mut recipe.model;
    (model.d_model, model.d_ff, model.heads) = (64, 256, 4);
    (model.encoder_layers, model.decoder_layers) = (1, 1);
    let train = &mut recipe.train;
    (train.max_steps, train.batch_tokens, train.log_every) = (Some(updates), 1024, 100);
    (train.eval_every, train.eval_max_sentences) = (0, 10);
    (recipe.optimizer.lr, recipe.schedule.warmup_steps) = (3e-3, Some(updates / 5));
    let summary = train::train(&recipe, &TrainOptions::default(), &StopFlag::new(), &mut Lines)?;

    let translator = Pretrained::load(&summary.run)?;
    println!("{SOURCE:?} is {:?}", translator.translate(SOURCE)?);
    let maps = translator.attention(SOURCE, Some(TARGET))?;
    let head = surest(&maps).ok_or("a translator has heads")?;

    // The decoder reads a word to write the next one, so a row is named by what it helps to write.
    let read = maps.queries(Between::Cross);
    let written: Vec<&str> = read[1..].iter().map(String::as_str).chain(["(end)"]).collect();
    let keys = maps.keys(Between::Cross);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let weights = Matrix { rows: written.len(), cols: keys.len(), data: head.weights.clone() };
    print_matrix(&format!("Head {} of the decoder, α (written x source)", head.number), &written, &keys, &weights);
    check_rows_sum_to_one(&weights);
    for (i, word) in written.iter().enumerate() {
        let best = (0..keys.len()).max_by(|&a, &b| weights.at(i, a).total_cmp(&weights.at(i, b))).unwrap_or(0);
        println!("{word:>9} is written looking at {:9} ({:.2})", keys[best], weights.at(i, best));
    }
    Ok(())
}

/// The head on the source whose largest weights are the largest, in the mean over its queries.
fn surest(maps: &AttentionMaps) -> Option<&Head> {
    let keys = maps.keys(Between::Cross).len();
    let sureness =
        |head: &&Head| -> f32 { head.weights.chunks(keys).map(|row| row.iter().copied().fold(0.0, f32::max)).sum() };
    let stack = maps.stacks.iter().find(|stack| stack.between == Between::Cross)?;
    stack.layers.iter().flat_map(|layer| &layer.heads).max_by(|a, b| sureness(a).total_cmp(&sureness(b)))
}
