//! Integration tests of the library, one binary.

mod conformance;
mod gpt2;
mod invariants;
mod marian;
