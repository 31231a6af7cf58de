//! Which labels there are, and what a row's label means.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ColumnNames, Error, Row, Sentences, Table, Target, WordColumns};
use crate::messages;

/// The most labels that a file may have.
const MOST_LABELS: usize = 10_000;
/// Whose labels those of a file are, for a message.
const OF_DATA: &str = "those of the training data";
/// Labels named in a message.
const NAMED: usize = 12;

/// What is learned of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// One label.
    Label,
    /// Any number of labels, in one column set apart by commas.
    ManyLabels,
    /// A value.
    Value,
}

/// The labels of a model, in the order of its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSet {
    /// What is learned.
    pub aim: Aim,
    /// The labels; of values, what the only output is called.
    pub names: Vec<String>,
    /// Whose they are, for a message.
    whose: &'static str,
}

impl LabelSet {
    /// The labels that a model has.
    #[must_use]
    pub fn of_model(aim: Aim, names: Vec<String>) -> Self {
        Self { aim, names, whose: "the model's" }
    }

    /// The labels of a file: whole numbers in their order, others by the alphabet.
    ///
    /// # Errors
    /// As [`Table::open`]; one label alone, or too many.
    pub fn find(aim: Aim, table: &Table, columns: &ColumnNames) -> Result<Self, Error> {
        let whose = OF_DATA;
        if aim == Aim::Value {
            return Ok(Self { aim, names: vec!["value".into()], whose });
        }
        let (mut first, mut rows) = (None, 0);
        let reader = table.open(columns)?;
        let is_plain = matches!(table, Table::Tsv(_)) && reader.found.is_none() && columns.label.is_none();
        let found = collect(
            table.path(),
            reader.map(|row| {
                let row = row?;
                let labels = labels_of(aim, &row);
                rows += 1;
                first.get_or_insert_with(|| (row.clone(), labels.clone()));
                match labels.iter().any(String::is_empty) {
                    true => Err(Error::NoLabel { path: table.path().into(), line: row.line }),
                    false => Ok(labels),
                }
            }),
        )?;
        if let Some((row, labels)) = first.filter(|_| is_plain) {
            refuse_header(table.path(), &row, &labels, &found, rows)?;
        }
        let mut names: Vec<String> = found.into_keys().collect();
        if names.iter().all(|name| name.parse::<i64>().is_ok()) {
            names.sort_by_key(|name| name.parse::<i64>().unwrap_or(0));
        }
        match (&names[..], aim) {
            ([label], Aim::Label) => Err(Error::OneLabel { path: table.path().into(), label: label.clone() }),
            ([], _) => Err(Error::Empty { path: table.path().into() }),
            _ => Ok(Self { aim, names, whose }),
        }
    }

    /// The labels of words: whole numbers in their order, else `O` first, then the others by kind, `B-` before `I-`.
    ///
    /// # Errors
    /// As [`Sentences::open`]; one label alone, or too many.
    pub fn of_words(file: &Sentences, columns: &WordColumns) -> Result<Self, Error> {
        let found = collect(file.path(), file.open(columns)?.map(|sentence| Ok(sentence?.tags)))?;
        let mut names: Vec<String> = found.into_keys().collect();
        let by_kind = |name: &String| {
            let (prefix, kind) = name.split_once('-').unwrap_or(("", name));
            (name != "O", kind.to_owned(), prefix.to_owned())
        };
        match names.iter().all(|name| name.parse::<u32>().is_ok()) {
            true => names.sort_by_key(|name| name.parse::<u32>().unwrap_or(0)),
            false => names.sort_by_key(by_kind),
        }
        match &names[..] {
            [label] => Err(Error::OneLabel { path: file.path().into(), label: label.clone() }),
            [] => Err(Error::Empty { path: file.path().into() }),
            _ => Ok(Self { aim: Aim::Label, names, whose: OF_DATA }),
        }
    }

    /// What a row's label means. A whole number that is no label stands for the output of that number, where labels are
    /// those of a model.
    ///
    /// # Errors
    /// A label that is not known, several where one is learned, a value that is no number.
    pub fn target(&self, table: &Table, row: &Row) -> Result<Target, Error> {
        let (path, line) = (table.path().to_path_buf(), row.line);
        match self.aim {
            Aim::Label => match &labels_of(self.aim, row)[..] {
                [label] => self.number(table.path(), line, label).map(Target::Label),
                several => Err(Error::SeveralLabels { path, line, found: several.len() }),
            },
            Aim::ManyLabels => {
                let numbers = labels_of(self.aim, row).into_iter().map(|label| self.number(table.path(), line, &label));
                let mut flags = vec![false; self.names.len()];
                numbers.collect::<Result<Vec<u32>, Error>>()?.into_iter().for_each(|at| flags[at as usize] = true);
                Ok(Target::Labels(flags))
            }
            Aim::Value => {
                let value = row.labels.first().cloned().unwrap_or_default();
                let number = value.trim().parse::<f32>().ok().filter(|number| number.is_finite());
                number.map(Target::Value).ok_or(Error::NoNumber { path, line, value })
            }
        }
    }

    /// The number of a label.
    pub(super) fn number(&self, path: &Path, line: u64, label: &str) -> Result<u32, Error> {
        let by_name = self.names.iter().position(|name| name == label);
        // A number stands for an output only where it can be no name.
        let is_number = |text: &str| text.parse::<usize>().is_ok();
        let has_numbers = || self.whose != "the model's" || self.names.iter().any(|name| is_number(name));
        let by_number = || label.parse::<usize>().ok().filter(|&at| at < self.names.len() && !has_numbers());
        by_name.or_else(by_number).map(|at| at as u32).ok_or_else(|| {
            let names = || self.names.iter().map(String::as_str);
            let more = if self.names.len() > NAMED { ", …" } else { "" };
            Error::UnknownLabel {
                path: path.into(),
                line,
                label: label.into(),
                whose: self.whose,
                known: names().take(NAMED).collect::<Vec<_>>().join(", ") + more,
                hint: messages::did_you_mean(label, names()),
            }
        })
    }
}

/// Rows from which on a label that the first row alone has is taken for the name of a column.
const ROWS_OF_DATA: u64 = 5;
/// What a recipe calls the columns of a file without a header.
const NUMBERS: [&str; 3] = ["1", "2", "3"];

/// Refuses a first line that names columns in a file whose columns are found by their places: it has a label that no other
/// line has, where all others are numbers or each of them occurs again.
fn refuse_header(
    path: &Path,
    row: &Row,
    labels: &[String],
    found: &BTreeMap<String, u64>,
    rows: u64,
) -> Result<(), Error> {
    let [label] = labels else { return Ok(()) };
    let is_number = |label: &str| label.parse::<f64>().is_ok();
    let mut others = found.iter().filter(|(name, _)| *name != label).peekable();
    let is_alone = found.get(label) == Some(&1) && others.peek().is_some();
    let is_other = others.clone().all(|(name, _)| is_number(name)) && !is_number(label);
    let is_rare = rows >= ROWS_OF_DATA && others.all(|(_, &count)| count > 1);
    let pair = row.pair.as_deref().map(|pair| ("pair_key", pair));
    let columns: Vec<(&str, &str)> = [Some(("text_key", row.text.as_str())), pair, Some(("label_key", label.as_str()))]
        .into_iter()
        .flatten()
        .collect();
    let keys = |columns: &mut dyn Iterator<Item = (&str, &str)>| {
        columns.map(|(key, column)| format!("{key} = {column:?}")).collect::<Vec<_>>().join(" and ")
    };
    match is_alone && (is_other || is_rare) {
        true => Err(Error::Header {
            path: path.into(),
            line: row.line,
            label: label.clone(),
            named: keys(&mut columns.iter().copied()),
            numbered: keys(&mut columns.iter().enumerate().map(|(at, (key, _))| (*key, NUMBERS[at]))),
        }),
        false => Ok(()),
    }
}

/// All labels of a file with their numbers of rows; too many are refused.
fn collect(
    path: &Path,
    rows: impl Iterator<Item = Result<Vec<String>, Error>>,
) -> Result<BTreeMap<String, u64>, Error> {
    let mut found = BTreeMap::new();
    for labels in rows {
        labels?.into_iter().for_each(|label| *found.entry(label).or_insert(0) += 1);
        if found.len() > MOST_LABELS {
            let example = found.pop_first().map(|(label, _)| label).unwrap_or_default();
            return Err(Error::ManyLabels { path: path.into(), limit: MOST_LABELS, example });
        }
    }
    Ok(found)
}

/// The labels of a row, without the white space around them.
fn labels_of(aim: Aim, row: &Row) -> Vec<String> {
    match (aim, &row.labels[..]) {
        (Aim::ManyLabels, [one]) => {
            one.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect()
        }
        (_, labels) => labels.iter().map(|label| label.trim().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, aim: Aim) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.tsv");
        std::fs::write(&path, text).unwrap();
        let found = LabelSet::find(aim, &Table::Tsv(path), &ColumnNames::default());
        let message = |error: Error| error.to_string().replace(&dir.path().display().to_string(), "");
        found.map(|labels| labels.names).map_err(message)
    }

    #[test]
    fn a_first_line_that_names_columns_is_no_example() {
        let message = find("review\tstars\na\t1\nb\t2\n", Aim::Label).unwrap_err();
        let expected = "/t.tsv, line 1: no other line has the label \"stars\": if this line names the columns, set \
                        text_key = \"review\" and label_key = \"stars\", else text_key = \"1\" and label_key = \"2\"";
        assert_eq!(message, expected);
        let many: String = (0..20).map(|i| format!("text {i}\t{}\n", ["good", "bad"][i % 2])).collect();
        assert!(find(&format!("review\tverdict\n{many}"), Aim::Label).is_err());
        // One of a kind among few, and a rare one among others as rare.
        assert_eq!(find("a\tx\nb\ty\n", Aim::Label).unwrap(), ["x", "y"]);
        assert_eq!(find(&format!("a\tugly\nb\tfine\n{many}"), Aim::Label).unwrap().len(), 4);
    }

    #[test]
    fn labels_are_in_order_and_none_is_empty() {
        assert_eq!(find("a\t10\nb\t9\n", Aim::Label).unwrap(), ["9", "10"]);
        assert_eq!(find("a\tyes\nb\tno\n", Aim::Label).unwrap(), ["no", "yes"]);
        assert_eq!(find("a\tx, y\nb\t\n", Aim::ManyLabels).unwrap(), ["x", "y"]);
        let message = find("a\t1\nb\t \n", Aim::Label).unwrap_err();
        assert_eq!(message, "/t.tsv, line 2: the label is empty: name one, or leave the row out");
        assert_eq!(
            find("a\t1\nb\t1\n", Aim::Label).unwrap_err(),
            "/t.tsv: every text has the label \"1\": there is nothing to tell apart"
        );
    }
}
