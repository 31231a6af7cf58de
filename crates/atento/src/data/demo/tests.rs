//! Tests of the corpus: its promises as properties, its morphology as full tables, and its German
//! as a list of pairs checked by hand.

mod build;
mod corpus;
mod morphology;
mod pairs;
