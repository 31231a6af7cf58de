//! 5. Cross-attention.
//!
//! The bridge between two sentences: the decoder's words ask (queries), the encoder's words answer (keys, values).
//!
//!   α = softmax(Q Kᵀ / √d_k)   [target words, source words]
//!   z = α V                    for each target word, what it needs from the source
//!
//! It replaces the one fixed vector that a recurrent encoder had to squeeze the sentence into, and its matrix is a
//! soft word alignment.
//!
//! Run it: cargo run --release --example 05_cross

mod common;

use atento::layers::mechanisms::{Attention, MultiHeadAttention, scaled_dot_product};
use common::{AXES, SENTENCE, TRANSLATION, check_rows_sum_to_one, embed, print_matrix};

fn main() {
    let source = embed(&SENTENCE);
    let target = embed(&TRANSLATION);
    println!("source {} x {}, target {} x {}", source.rows, source.cols, target.rows, target.cols);

    // German and English words of one meaning have one vector here, so the alignment can be seen without training.
    // Tripled queries stand for maps that have learned to be sure.
    let Attention { weights, context } = scaled_dot_product(&target.scaled(3.0), &source, &source, None);

    print_matrix("Attention matrix α (target x source)", &TRANSLATION, &SENTENCE, &weights);
    check_rows_sum_to_one(&weights);
    for (i, word) in TRANSLATION.iter().enumerate() {
        let best = (0..SENTENCE.len()).max_by(|&a, &b| weights.at(i, a).total_cmp(&weights.at(i, b)));
        println!("{word:>9} looks most at {:?}", SENTENCE[best.expect("the source has words")]);
    }
    print_matrix("Context vectors z", &TRANSLATION, &AXES, &context);

    // The same with heads and random maps, as a decoder layer has it before training.
    let heads = MultiHeadAttention::init(source.cols, 2, 42).forward(&target, &source, None);
    for (n, head) in heads.heads.iter().enumerate() {
        print_matrix(&format!("Head {} of 2, untrained: α", n + 1), &TRANSLATION, &SENTENCE, &head.weights);
        check_rows_sum_to_one(&head.weights);
    }
    print_matrix("Output", &TRANSLATION, &[], &heads.output);
}
