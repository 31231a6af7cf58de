//! Integration tests of the library, one binary.

mod adapter_gguf;
mod adapter_runs;
mod adapters;
mod attention;
mod causal;
mod conformance;
mod endings;
mod failures;
mod front_door;
mod heads;
mod invariants;
mod marian;
mod measures;
mod methods;
mod mixed;
mod probe;
mod recipes;
mod tables;
mod tuning;
