//! Transformers, whole.

pub mod data;
pub mod text;
