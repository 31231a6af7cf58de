//! The program as a person meets it: commands, exit codes, messages.

mod bad_input;
mod convert;
mod data_files;
mod demo;
mod endings;
mod further;
mod generate;
mod help;
mod instruct;
mod kills;
mod language;
mod lines;
mod notes;
mod perplexity;
mod prepare;
mod resume;
mod scoring;
mod sizes;
mod support;
mod tokenizer;
mod tokens;
mod train;
mod translate;
mod updates;
