//! Integration tests of the library, one binary.

mod conformance;
mod endings;
mod failures;
mod gpt2;
mod gpt2_classifier;
mod invariants;
mod marian;
mod recipes;
