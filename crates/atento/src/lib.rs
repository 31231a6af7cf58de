//! Transformers, whole.
pub mod eval;
