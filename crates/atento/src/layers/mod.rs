//! The parts of models. Layers hold handles into a parameter arena and know no file format.

pub mod attention;
pub mod embedding;
pub mod feed_forward;
pub mod gru;
pub mod linear;
pub mod mechanisms;
pub mod norm;
pub mod time_major;

pub use attention::{CrossAttention, SelfAttention};
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use gru::{AttendingGru, BidirectionalGru, Gru};
pub use linear::Linear;
pub use norm::{LayerNorm, RmsNorm};
pub use time_major::TimeMajor;

use atento_tensor::ops::Activation;

/// The function that configurations call so.
#[must_use]
pub fn activation(name: &str) -> Activation {
    match name {
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        "silu" | "swish" => Activation::Silu,
        "tanh" => Activation::Tanh,
        // `gelu_new`, `gelu_fast` and `gelu_pytorch_tanh` are one function.
        _ => Activation::GeluTanh,
    }
}
