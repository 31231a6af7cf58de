//! 4. Masked self-attention.
//!
//! A decoder writes a sentence from left to right, so a word must not look at words that are not written yet. Adding
//! −∞ to a score makes its weight exp(−∞) = 0:
//!
//!   α_i = softmax(q_i · k_j / √d_k + mask_ij),   mask_ij = 0 for j ≤ i, −∞ for j > i
//!
//! Thanks to the mask, all positions of a known sentence are trained at once, each as if the rest were unknown.
//!
//! Run it: cargo run --release --example 04_masked

mod common;

use atento::layers::mechanisms::{Attention, causal_mask, scaled_dot_product};
use common::{AXES, SENTENCE, check_rows_sum_to_one, embed, print_matrix};

fn main() {
    let x = embed(&SENTENCE);
    let mask = causal_mask(SENTENCE.len());
    print_matrix("Mask", &SENTENCE, &SENTENCE, &mask);

    let Attention { weights, context } = scaled_dot_product(&x, &x, &x, Some(&mask));

    // A triangle: the first word has only itself, the last one has them all.
    print_matrix("Attention matrix α", &SENTENCE, &SENTENCE, &weights);
    check_rows_sum_to_one(&weights);
    for i in 0..SENTENCE.len() {
        assert!(weights.row(i)[i + 1..].iter().all(|&weight| weight == 0.0), "{} sees the future", SENTENCE[i]);
    }
    println!("No word looks at a later one.");
    print_matrix("Context vectors z", &SENTENCE, &AXES, &context);

    // What the mask promises: the beginning does not change when the end does.
    let beginning = embed(&SENTENCE[..5]);
    let alone = scaled_dot_product(&beginning, &beginning, &beginning, Some(&causal_mask(5)));
    assert_eq!(alone.context.data[..], context.data[..5 * AXES.len()]);
    println!("\nThe first five context vectors are the same without the rest of the sentence.");
}
