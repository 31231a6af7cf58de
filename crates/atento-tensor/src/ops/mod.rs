//! One file per differentiable op. Each is a method of [`Graph`](crate::Graph): forward, what is saved, backward, and
//! its checks in `tests`.

mod activation;
mod add;
mod attention;
mod concat;
mod cross_entropy;
mod dropout;
mod embedding;
mod gather;
mod layer_norm;
mod linear;
mod mean_pool;
mod mul;
mod residual_norm;
mod rms_norm;
mod scale;
mod swiglu;
#[cfg(test)]
mod testing;

pub use attention::{AttentionInput, AttentionSpec};
pub use cross_entropy::CrossEntropy;
pub use embedding::Positions;

pub use atento_kernels::activation::Activation;
pub use atento_kernels::attention::Segment;
pub use atento_kernels::linear::WeightLayout;
