//! 10. Generate with options.
//!
//! The model's own settings, the likeliest tokens, beam search, and draws from the twenty likeliest tokens: three samples of
//! each prompt, at a temperature, with a text that ends them. The same seed gives the same texts.
//!
//! Run it: cargo run --release --example 10_generate -- [MODEL DIRECTORY] [PROMPT...]

use std::path::PathBuf;

use atento::{Continuation, ContinueOptions, LanguageModel, Method, WarperOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conformance/gpt2-tiny");
    let language = LanguageModel::load(args.next().map_or_else(|| PathBuf::from(tiny), PathBuf::from))?;
    let mut prompts: Vec<String> = args.collect();
    if prompts.is_empty() {
        prompts = vec!["a cat".into(), "a red dog".into()];
    }

    let mut own = ContinueOptions::of(&language)?;
    own.max_new_tokens = Some(12);
    print("the model's own settings", &prompts, &language.generate_all(&prompts, &own)?);

    let greedy = ContinueOptions { max_new_tokens: Some(12), ..ContinueOptions::greedy(&language) };
    print("the likeliest token each time", &prompts, &language.generate_all(&prompts, &greedy)?);

    let beam = ContinueOptions { max_new_tokens: Some(12), ..ContinueOptions::beam(&language, 4) };
    print("beam search over 4 hypotheses", &prompts, &language.generate_all(&prompts, &beam)?);

    let warpers = WarperOptions { temperature: 0.8, top_k: 20, ..WarperOptions::default() };
    let mut drawn = ContinueOptions { max_new_tokens: Some(12), ..ContinueOptions::sampled(&language, warpers, 7) };
    drawn.stops.push(".".into());
    if let Method::Sample(how) = &mut drawn.method {
        how.n = 3;
        how.processors.repetition_penalty = 1.2;
    }
    print("three draws from the 20 likeliest", &prompts, &language.generate_all(&prompts, &drawn)?);
    Ok(())
}

fn print(title: &str, prompts: &[String], found: &[Vec<Continuation>]) {
    println!("{title}");
    for (prompt, continuations) in prompts.iter().zip(found) {
        for one in continuations {
            println!("  {prompt:?} + {:?} ({}, {} tokens)", one.text, one.finish_reason, one.ids.len());
        }
    }
}
