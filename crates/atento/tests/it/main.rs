//! Integration tests of the library, one binary.

mod invariants;
mod marian;
