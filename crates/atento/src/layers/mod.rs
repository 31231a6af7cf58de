//! The parts of a Transformer. Layers hold handles into a parameter arena and know no file format.

pub mod attention;
pub mod embedding;
pub mod feed_forward;
pub mod linear;
pub mod mechanisms;
pub mod norm;

pub use attention::{CrossAttention, SelfAttention};
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub use norm::LayerNorm;
