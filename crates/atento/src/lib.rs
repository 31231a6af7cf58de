//! Transformers, whole.

pub mod data;
