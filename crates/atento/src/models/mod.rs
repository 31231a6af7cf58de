//! The models: what they are made of and what their parameters are called.

pub mod config;
pub mod parameters;
pub mod sinusoid;
