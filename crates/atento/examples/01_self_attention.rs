//! 1. Self-attention without parameters.
//!
//! Every word becomes a mixture of all words of its sentence, in proportion to how similar they are:
//!
//!   score_ij = x_i · x_j      how similar are word i and word j?
//!   α_i      = softmax(score_i)   similarities become weights that sum to 1
//!   z_i      = Σ_j α_ij x_j   the context vector of word i
//!
//! Run it: cargo run --release --example 01_self_attention

mod common;

use atento::layers::mechanisms::{Attention, self_attention};
use common::{AXES, SENTENCE, check_rows_sum_to_one, embed, print_favourite, print_matrix};

fn main() {
    // One row per word: 9 words, 6 numbers each.
    let x = embed(&SENTENCE);
    print_matrix("Word vectors x", &SENTENCE, &AXES, &x);

    let Attention { weights, context } = self_attention(&x);

    // Row i says where word i looks. Both "the" have the same vector, so their rows are the same.
    print_matrix("Attention matrix α", &SENTENCE, &SENTENCE, &weights);
    check_rows_sum_to_one(&weights);
    print_favourite(&SENTENCE, 6, &weights);

    // "it" has taken over some of "dog" and some of "angry".
    print_matrix("Context vectors z", &SENTENCE, &AXES, &context);
}
