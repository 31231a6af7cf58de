//! The `atento` program.
fn main() {}
