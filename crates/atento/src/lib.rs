//! Transformers, whole.

pub mod generate;
pub mod layers;
