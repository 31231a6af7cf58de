//! Transformers, whole.
