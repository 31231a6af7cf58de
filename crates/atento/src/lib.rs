//! Transformers, whole.

pub mod hub;
pub mod models;
