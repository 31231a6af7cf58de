//! 13. Labels, masked words and vectors of texts.
//!
//! Models with a head answer many texts at a time. Texts are packed, never padded: an answer does not depend on the texts
//! beside it.
//!
//! Run it: cargo run --release --example 13_labels_words_vectors -- [A CLASSIFIER] [A MODEL OF MASKED WORDS]

use std::path::PathBuf;

use atento::TextModel;
use atento::pipelines::texts::TooLong;
use atento::pipelines::texts::embed::{EmbedOptions, Pooling};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let tiny = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name);
    let mut model = |name: &str| TextModel::load(args.next().map_or_else(|| tiny(name), PathBuf::from));

    // A label of each text; `probabilities` has those of all labels.
    let classifier = model("bert-labels")?;
    let texts = ["the cat is red", "a dog runs"].map(|text| classifier.encode(text, None, TooLong::Refuse));
    let [first, second] = texts;
    let texts = [&first?, &second?];
    for judged in classifier.classify(&texts)? {
        let labels: Vec<&str> = judged.labels.iter().map(|&at| classifier.model.config.labels[at].as_str()).collect();
        println!("{labels:?} {:?}", judged.probabilities);
    }

    // A vector of each text: the mean of the last states, of length 1.
    let how = EmbedOptions { pooling: Pooling::Mean, normalize: true, ..EmbedOptions::default() };
    let vectors = classifier.embed(&texts, &how)?;
    let cosine: f32 = vectors[0].layers[0].iter().zip(&vectors[1].layers[0]).map(|(x, y)| x * y).sum();
    println!("the texts are alike by {cosine:.3}");

    // The three likeliest words for each mask.
    let words = model("bert-words")?;
    let text = words.encode(&format!("the {} is red", words.mask()?), None, TooLong::Refuse)?;
    for word in &words.fill_mask(&[&text], 3)?[0][0] {
        println!("{:12} {:.3}", words.tokenizer.decode(&[word.id], false)?, word.probability);
    }
    Ok(())
}
