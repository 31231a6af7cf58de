//! 3. Multi-head attention.
//!
//! One attention matrix can express one relation. Several heads express several at once: each has its own U_q, U_k
//! and U_v into a smaller space, and W_O mixes what they found.
//!
//!   head_n = Attention(x W_Q⁽ⁿ⁾, x W_K⁽ⁿ⁾, x W_V⁽ⁿ⁾),   output = [head_1, …, head_h] W_O
//!
//! A head has d_model / h dimensions, so h heads cost what one large one would.
//!
//! Run it: cargo run --release --example 03_multi_head

mod common;

use atento::layers::mechanisms::MultiHeadAttention;
use common::{SENTENCE, check_rows_sum_to_one, embed, print_favourite, print_matrix};

fn main() {
    let x = embed(&SENTENCE);
    let (d_model, n_heads) = (x.cols, 3);

    let attention = MultiHeadAttention::init(d_model, n_heads, 42);
    println!("d_model {d_model} = {n_heads} heads x {} dimensions", d_model / n_heads);

    let result = attention.forward(&x, &x, None);

    for (n, head) in result.heads.iter().enumerate() {
        print_matrix(&format!("Head {}: attention matrix α", n + 1), &SENTENCE, &SENTENCE, &head.weights);
        check_rows_sum_to_one(&head.weights);
        print_favourite(&SENTENCE, 6, &head.weights);
        print_matrix(&format!("Head {}: context vectors z", n + 1), &SENTENCE, &[], &head.context);
    }

    // As large as the input, so that layers can be stacked.
    print_matrix("Output [head 1, head 2, head 3] W_O", &SENTENCE, &[], &result.output);
}
