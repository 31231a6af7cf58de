//! Transformers, whole.

pub mod train;
