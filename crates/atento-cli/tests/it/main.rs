//! The program as a person meets it: commands, exit codes, messages.

mod bad_input;
mod convert;
mod demo;
mod endings;
mod generate;
mod help;
mod instruct;
mod language;
mod perplexity;
mod resume;
mod scoring;
mod support;
mod tokenizer;
mod tokens;
mod train;
mod translate;
