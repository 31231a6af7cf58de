//! Integration tests of the library, one binary.

mod causal;
mod classifier;
mod conformance;
mod endings;
mod failures;
mod front_door;
mod invariants;
mod marian;
mod recipes;
