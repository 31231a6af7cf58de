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
pub use norm::LayerNorm;
pub use time_major::TimeMajor;
