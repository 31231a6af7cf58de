//! One file per differentiable op. Each is a method of [`Graph`](crate::Graph): forward, what is saved, backward, and
//! its checks in `tests`.

mod activation;
mod add;
mod attention;
mod attentive_gru;
mod bottleneck;
mod columns;
mod concat;
mod cross_entropy;
mod disentangled_attention;
mod dropout;
mod embedding;
#[cfg(test)]
mod finite_differences;
mod gated;
mod gather;
mod group_losses;
mod gru_sequence;
mod layer_norm;
mod linear;
mod lookup_pair;
mod low_rank;
mod mean_pool;
mod mul;
mod projection;
mod qk_norm;
mod replaced_rows;
mod residual_norm;
mod residual_rms_norm;
mod rms_norm;
mod rope;
mod scale;
mod scale_columns;
mod scaled_linear;
mod squared_error;
#[cfg(test)]
mod testing;
mod time_steps;
mod unfold;

pub use attention::AttentionInput;
pub use attentive_gru::{AttentiveGru, Memory};
pub use cross_entropy::CrossEntropy;
pub use embedding::Positions;
pub use gru_sequence::GruRecurrence;
pub use rope::{Rope, RopeScaling, Turns};
pub use time_steps::{Direction, TimeSteps};

pub use crate::device::{AttentionSpec, DisentangledSpec};
pub use atento_kernels::activation::Activation;
pub use atento_kernels::attention::Segment;
pub use atento_kernels::attention::disentangled::Buckets;
pub use atento_kernels::group_losses::Group;
pub use atento_kernels::linear::WeightLayout;
pub use atento_kernels::rope::Pairing;
