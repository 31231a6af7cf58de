//! 2. Queries, keys and values.
//!
//! In example 1 a word plays three parts with one vector: it asks, it is asked, and it is what is passed on. Three
//! learned maps give it a vector for each part:
//!
//!   q_i = x_i U_q    what am I looking for?
//!   k_j = x_j U_k    what do I have to offer?
//!   v_j = x_j U_v    what do I pass on?
//!
//!   α_i = softmax(q_i · k_j / √d_k),   z_i = Σ_j α_ij v_j
//!
//! The maps are random here, from a fixed seed: this is attention before training. The scores are no
//! longer symmetric: "it" may look at "dog" without "dog" looking back.
//!
//! Run it: cargo run --release --example 02_query_key_value

mod common;

use atento::layers::mechanisms::{Attention, Matrix, scaled_dot_product};
use common::{SENTENCE, check_rows_sum_to_one, embed, print_favourite, print_matrix};

fn main() {
    let x = embed(&SENTENCE);
    let (d_model, d_k, d_value) = (x.cols, 4, 3);

    let u_q = Matrix::random(d_model, d_k, 1);
    let u_k = Matrix::random(d_model, d_k, 2);
    let u_v = Matrix::random(d_model, d_value, 3);

    // Queries and keys must have one size, since they are multiplied; values may have another.
    let query = x.matmul(&u_q);
    let key = x.matmul(&u_k);
    let value = x.matmul(&u_v);
    print_matrix("Queries q = x U_q", &SENTENCE, &[], &query);
    print_matrix("Keys k = x U_k", &SENTENCE, &[], &key);
    print_matrix("Values v = x U_v", &SENTENCE, &[], &value);

    let Attention { weights, context } = scaled_dot_product(&query, &key, &value, None);

    print_matrix("Attention matrix α", &SENTENCE, &SENTENCE, &weights);
    check_rows_sum_to_one(&weights);
    print_favourite(&SENTENCE, 6, &weights);
    print_matrix("Context vectors z", &SENTENCE, &[], &context);
}
