//! Transformers from raw text to a trained and evaluated model.

pub mod continue_text;
pub mod data;
pub mod demo;
pub mod encoding;
pub mod eval;
pub mod generate;
pub mod hub;
pub mod json;
pub mod language_model;
pub mod layers;
pub mod lfs;
pub mod memory;
pub mod messages;
pub mod models;
pub mod pretrained;
pub mod score;
pub mod text;
pub mod text_classifier;
pub mod train;
pub mod translate;
