//! Data sets.

pub mod demo;
