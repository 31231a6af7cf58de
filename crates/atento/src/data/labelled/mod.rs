//! Texts with labels, values, answers or choices: from files to packed batches for a model with a head.
//!
//! | file | is read by | becomes |
//! |---|---|---|
//! | rows with a label or value | [`Table`], [`LabelSet`] | [`LabelledSet`] |
//! | sentences with a label for each word | [`Sentences`], [`LabelSet`] | [`TagSet`] |
//! | questions about a context | [`squad`] | [`SpanSet`] |
//! | questions with choices | [`ChoiceFile`] | [`ChoiceSet`] |
//!
//! A set holds its [`Examples`], tokenised, which deal out batches.

mod batch;
mod choices;
mod error;
mod examples;
mod labels;
mod past;
pub mod questions;
pub mod sentences;
mod set;
mod spans;
pub mod squad;
pub mod table;
mod tags;

pub use batch::{Goal, Text, TextBatch};
pub use choices::{ChoiceExample, ChoiceReport, ChoiceSet};
pub use error::Error;
pub use examples::{Batches, Examples, Packs};
pub use labels::{Aim, LabelSet};
pub use questions::{ChoiceFile, ChoiceKeys, ChoiceReader, ChoiceRow};
pub use sentences::{Sentence, SentenceReader, Sentences, WordColumns};
pub use set::{Example, LabelledReport, LabelledSet, ReadOptions, Target};
pub use spans::{SpanExample, SpanReport, SpanSet, WindowOptions};
pub use squad::{GoldAnswer, Question};
pub use table::{ColumnNames, Row, Table};
pub use tags::{TagExample, TagReport, TagSet};
