//! Texts with labels, values or choices: from files of rows to packed batches for a model with a head.
//!
//! [`Table`] reads rows, [`LabelSet`] says what their labels are, [`LabelledSet`] holds them tokenised, and deals out batches.

mod batch;
mod error;
mod labels;
mod set;
pub mod table;

pub use batch::{Goal, Text, TextBatch};
pub use error::Error;
pub use labels::{Aim, LabelSet};
pub use set::{Batches, Example, LabelledReport, LabelledSet, ReadOptions, Target};
pub use table::{ColumnNames, Row, Table};
