//! What can be wrong with texts and their labels.

use std::path::PathBuf;

use crate::data;
use crate::data::lines::LineError;
use crate::data::tokens;
use crate::messages;
use crate::pipelines::texts;
use crate::text;

/// What can be wrong with a file of texts and labels.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read as lines.
    #[error(transparent)]
    Lines(#[from] LineError),
    /// A line that is no JSON.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// A CSV file, or a place in the data that is none.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A file without a row.
    #[error("{path}: there is no row in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A column that the file does not have.
    #[error("{path}: there is no column {}{hint}; the file has {found}", messages::text(column))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The nearest one.
        hint: String,
        /// Those that it has.
        found: String,
    },
    /// No column is asked for, and none has a usual name.
    #[error("{path}: no column for the {what} is named; the file has {found}: set {what}_key")]
    NotFound {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
        /// The columns that it has.
        found: String,
    },
    /// The number of a column that the file does not have.
    #[error("{path}: column {found} is asked for, and the first line has {columns} columns")]
    ColumnNumber {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        found: String,
        /// How many there are.
        columns: usize,
    },
    /// Some columns are numbered, and text or label are not.
    #[error("{path}: where columns are numbered, text_key and label_key are both to be numbers")]
    Unnamed {
        /// The file.
        path: PathBuf,
    },
    /// The first line of a TSV file seems to name the columns.
    #[error(
        "{path}, line {line}: no other line has the label {label:?}: if this line names the columns, set {named}, \
         else {numbered}"
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Its label.
        label: String,
        /// The keys of a recipe with what stands there.
        named: String,
        /// The keys of a recipe with the numbers of the columns.
        numbered: String,
    },
    /// A TSV file whose columns nobody has named.
    #[error(
        "{path}: {columns} columns, and nothing says which are text and label: set text_key and label_key to names of the \
         header, or to numbers from 1"
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// How many there are.
        columns: usize,
    },
    /// A line with too few columns.
    #[error("{path}, line {line}: {found} columns, expected at least {needed}")]
    Short {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Its columns.
        found: usize,
        /// Those needed.
        needed: usize,
    },
    /// A line with more or fewer columns than the first one.
    #[error("{path}, line {line}: {found} columns, expected {expected}, as line {first} has")]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Its columns.
        found: usize,
        /// Those of the first line.
        expected: usize,
        /// The number of the first line.
        first: u64,
    },
    /// A column without anything in it.
    #[error("{path}, line {line}: the {what} is empty")]
    Blank {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What should stand there.
        what: &'static str,
    },
    /// A column by name in a file whose columns have none.
    #[error("{path}: {key} is {}, expected the number of a column, from 1", messages::text(found))]
    Unnumbered {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: &'static str,
        /// What it is.
        found: String,
    },
    /// More words than labels, or fewer.
    #[error("{path}, line {line}: {words} words and {tags} labels, expected as many labels as words")]
    Uneven {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How many words.
        words: usize,
        /// How many labels.
        tags: usize,
    },
    /// An object without a list at a key.
    #[error("{path}, line {line}: {found} at key {}{hint}, expected a list of texts", messages::text(key))]
    NoList {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The key.
        key: String,
        /// What is there.
        found: String,
        /// The nearest key that exists.
        hint: String,
    },
    /// A question that cannot be used.
    #[error("{path}, line {line}: {fault}")]
    Question {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why, and what was expected.
        fault: String,
    },
    /// A place in a SQuAD file that cannot be used.
    #[error("{path}: {place}: {fault}")]
    Squad {
        /// The file.
        path: PathBuf,
        /// The place: `data[3].paragraphs[0]`.
        place: String,
        /// Why, and what was expected.
        fault: String,
    },
    /// An object without a text or number at a key.
    #[error("{path}, line {line}: {found} at key {}, expected a text or a number", messages::text(key))]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The key.
        key: String,
        /// What is there.
        found: String,
    },
    /// A label that training has not seen, or the model does not have.
    #[error("{path}, line {line}: the label {} is none of {whose}: {known}{hint}", messages::text(label))]
    UnknownLabel {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The label.
        label: String,
        /// Whose labels the known ones are.
        whose: &'static str,
        /// The known ones.
        known: String,
        /// The nearest one.
        hint: String,
    },
    /// Several labels where one is learned.
    #[error("{path}, line {line}: {found} labels, expected one; set data.multi_label = true for texts with any number")]
    SeveralLabels {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How many.
        found: usize,
    },
    /// A value that is no number.
    #[error("{path}, line {line}: the value {} is no number", messages::text(value))]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What stands there.
        value: String,
    },
    /// A row without a label.
    #[error("{path}, line {line}: the label is empty: name one, or leave the row out")]
    NoLabel {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// One label alone: nothing can be learned.
    #[error("{path}: every text has the label {}: there is nothing to tell apart", messages::text(label))]
    OneLabel {
        /// The file.
        path: PathBuf,
        /// The label.
        label: String,
    },
    /// More labels than anybody wants to tell apart.
    #[error(
        "{path}: more than {limit} labels; is {} one of them, or are these values (task = \"regress\")?",
        messages::text(example)
    )]
    ManyLabels {
        /// The file.
        path: PathBuf,
        /// The most.
        limit: usize,
        /// One of them.
        example: String,
    },
    /// A text that the model cannot read.
    #[error("{path}, line {line}: the text {fault}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why.
        fault: texts::Error,
    },
    /// A text longer than is read, where that is an error.
    #[error(
        "{path}, line {line}: the text has {tokens} tokens, the limit is {limit}; raise data.max_length, or set \
         data.on_truncate = {others}\"warn\" (cut) or \"drop\" (leave out)"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Its tokens.
        tokens: usize,
        /// The most.
        limit: usize,
        /// What else can be done with it.
        others: &'static str,
    },
    /// Every row was left out.
    #[error("{path}: every row was left out:\n{report}")]
    NothingLeft {
        /// The file.
        path: PathBuf,
        /// What became of them.
        report: String,
    },
}

impl Error {
    /// Whether the fault is that of a line or record that holds no row, after which others can be read.
    pub(super) fn is_of_bad_line(&self) -> bool {
        match self {
            Self::Lines(fault) => fault.is_of_one_line(),
            Self::Data(fault) => fault.is_of_one_line(),
            Self::Tokens(fault) => fault.is_of_bad_line(),
            Self::Short { .. } | Self::Ragged { .. } | Self::Cell { .. } | Self::Blank { .. } => true,
            Self::Uneven { .. } | Self::NoList { .. } | Self::Question { .. } => true,
            _ => false,
        }
    }

    /// Counts such a fault.
    pub(super) fn count_in(&self, lines: &mut data::LineReport) {
        match self {
            Self::Lines(fault) => lines.add_line(fault),
            Self::Data(fault) => lines.add(fault),
            Self::Tokens(fault) => fault.count_in(lines),
            Self::Cell { .. } | Self::NoList { .. } => lines.no_text_at_key += 1,
            Self::Blank { .. } | Self::Uneven { .. } | Self::Question { .. } => lines.unusable += 1,
            _ => lines.other_columns += 1,
        }
    }
}
