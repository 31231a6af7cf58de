//! Tokenised rows, what was left out of them, and their batches.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::{ColumnNames, Error, Examples, Goal, LabelSet, Packs, Row, Table, Text, TextBatch};
use crate::data::hash::{add_ids, combine, hash};
use crate::data::{LineReport, OnTruncate};
use crate::messages::group_thousands;
use crate::pipelines::texts;
use crate::text::{EncodedPair, Tokenizer, Truncation};

/// Rows that are tokenised at once.
const CHUNK: usize = 8192;

/// How rows become examples.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The most tokens of a text.
    pub max_length: usize,
    /// What to do with a longer one.
    pub on_truncate: OnTruncate,
    /// Leaves out every row equal to an earlier one, label included.
    pub drop_duplicates: bool,
    /// Types of tokens that the model has; `None` where it does not tell them apart.
    pub token_types: Option<usize>,
}

/// A tokenised row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The line that it begins at, from 1.
    pub line: u64,
    /// The tokens.
    pub text: Text,
    /// What should be made of it.
    pub target: Target,
    /// The factor on its loss, where it has one label.
    pub weight: f32,
}

/// What should be made of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The number of its label.
    Label(u32),
    /// Which labels it has.
    Labels(Vec<bool>),
    /// Its value.
    Value(f32),
}

/// What a set holds and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelledReport {
    /// Lines of the file that hold no row.
    pub lines: LineReport,
    /// Rows read.
    pub rows: u64,
    /// Rows kept.
    pub kept: u64,
    /// Rows without a text.
    pub empty: u64,
    /// Rows that were cut, and the tokens cut off.
    pub cut: u64,
    /// Tokens cut off.
    pub cut_tokens: u64,
    /// Rows left out since they are too long.
    pub too_long: u64,
    /// Rows equal to an earlier one.
    pub duplicates: u64,
    /// Whether those were left out.
    pub duplicates_dropped: bool,
    /// Tokens of the rows kept.
    pub tokens: u64,
    /// Tokens of the longest one.
    pub longest: u64,
    /// How often each label occurs.
    pub labels: Vec<(String, u64)>,
}

/// The rows of a file, tokenised.
#[derive(Clone, Debug)]
pub struct LabelledSet {
    examples: Examples<Example>,
    /// The texts as they stand in the file.
    rows: Arc<Vec<Row>>,
    report: LabelledReport,
    hash: u64,
}

impl LabelledSet {
    /// Reads and tokenises all rows of a file.
    ///
    /// # Errors
    /// A row that cannot be used; no row that can.
    pub fn read(
        table: &Table,
        columns: &ColumnNames,
        labels: &LabelSet,
        tokenizer: &Tokenizer,
        options: &ReadOptions,
    ) -> Result<Self, Error> {
        let mut report = LabelledReport { duplicates_dropped: options.drop_duplicates, ..LabelledReport::default() };
        let (mut examples, mut kept_rows) = (Vec::new(), Vec::new());
        let (mut seen, mut all) = (HashSet::new(), 0);
        let mut counts = vec![0; labels.names.len()];
        let mut reader = table.open(columns)?;
        loop {
            let rows: Vec<Row> = reader.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            if rows.is_empty() {
                break;
            }
            let read: Vec<_> = rows.par_iter().map(|row| encode(table, row, tokenizer, options)).collect();
            for (row, read) in rows.into_iter().zip(read) {
                report.rows += 1;
                let target = labels.target(table, &row)?;
                let (text, cut) = match read? {
                    Read::Empty => {
                        report.empty += 1;
                        continue;
                    }
                    Read::TooLong => {
                        report.too_long += 1;
                        continue;
                    }
                    Read::Text(text, cut) => (text, cut),
                };
                let own = combine(add_ids(hash(row.labels.join("\u{1f}").as_bytes()), &text.ids), 0);
                if !seen.insert(own) {
                    report.duplicates += 1;
                    if options.drop_duplicates {
                        continue;
                    }
                }
                all = combine(all, own);
                report.cut += u64::from(cut > 0);
                report.cut_tokens += cut as u64;
                report.tokens += text.ids.len() as u64;
                report.longest = report.longest.max(text.ids.len() as u64);
                match &target {
                    Target::Label(label) => counts[*label as usize] += 1,
                    Target::Labels(flags) => {
                        counts.iter_mut().zip(flags).for_each(|(count, flag)| *count += u64::from(*flag));
                    }
                    Target::Value(_) => {}
                }
                examples.push(Example { line: row.line, text, target, weight: 1.0 });
                kept_rows.push(row);
            }
        }
        report.lines = reader.report();
        report.kept = examples.len() as u64;
        if labels.aim != super::Aim::Value {
            report.labels = labels.names.iter().cloned().zip(counts).collect();
        }
        if examples.is_empty() {
            return Err(Error::NothingLeft { path: table.path().into(), report: report.to_string() });
        }
        Ok(Self { examples: Examples::new(examples), rows: Arc::new(kept_rows), report, hash: all })
    }

    /// The same examples, the loss of each multiplied by the factor of its label.
    #[must_use]
    pub fn weighted(self, weights: &[f32]) -> Self {
        let weigh = |example: &Example| match example.target {
            Target::Label(label) => Example { weight: weights[label as usize], ..example.clone() },
            _ => example.clone(),
        };
        Self { examples: Examples::new(self.examples.all().iter().map(weigh).collect()), ..self }
    }

    /// The rows.
    #[must_use]
    pub fn examples(&self) -> &Examples<Example> {
        &self.examples
    }

    /// What stands in the file of the example of this number.
    #[must_use]
    pub fn row(&self, number: usize) -> &Row {
        &self.rows[number]
    }

    /// What the set holds.
    #[must_use]
    pub fn report(&self) -> &LabelledReport {
        &self.report
    }

    /// Equal for equal rows in the same order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl Packs for Example {
    fn tokens(&self) -> usize {
        self.text.ids.len()
    }

    fn pack(chosen: &[&Self]) -> TextBatch {
        let goal = match &chosen[0].target {
            Target::Label(_) => {
                let label = |of: &&Self| if let Target::Label(label) = of.target { label } else { 0 };
                let weights = chosen.iter().map(|of| of.weight).collect();
                Goal::Labels { labels: chosen.iter().map(label).collect(), weights }
            }
            Target::Labels(_) => {
                let flags =
                    |of: &&Self| if let Target::Labels(flags) = &of.target { flags.clone() } else { Vec::new() };
                Goal::ManyLabels(chosen.iter().flat_map(flags).map(f32::from).collect())
            }
            Target::Value(_) => {
                let value = |of: &&Self| if let Target::Value(value) = of.target { value } else { 0.0 };
                Goal::Values(chosen.iter().map(value).collect())
            }
        };
        let samples = chosen.iter().map(|of| of.line - 1).collect();
        TextBatch::pack(chosen.iter().map(|of| &of.text), goal, samples)
    }
}

/// What became of a row's text.
enum Read {
    Empty,
    TooLong,
    /// With the tokens cut off.
    Text(Text, usize),
}

fn encode(table: &Table, row: &Row, tokenizer: &Tokenizer, options: &ReadOptions) -> Result<Read, Error> {
    if row.text.trim().is_empty() && row.pair.as_ref().is_none_or(|pair| pair.trim().is_empty()) {
        return Ok(Read::Empty);
    }
    let (limit, pair) = (options.max_length, row.pair.as_deref());
    let mut found = tokenizer.encode_pair(&row.text, pair, None, Truncation::LongestFirst)?;
    let tokens = found.ids.len();
    if tokens > limit {
        match options.on_truncate {
            OnTruncate::Drop => return Ok(Read::TooLong),
            OnTruncate::Warn => {
                found = tokenizer.encode_pair(&row.text, pair, Some(limit), Truncation::LongestFirst)?;
            }
            OnTruncate::Error | OnTruncate::Split => {
                let (path, line) = (table.path().into(), row.line);
                return Err(Error::TooLong { path, line, tokens, limit, others: "" });
            }
        }
    }
    let EncodedPair { ids, type_ids, .. } = found;
    if let (Some(types), Some(&found)) = (options.token_types, type_ids.iter().max())
        && found as usize >= types
    {
        let fault = texts::Error::NoType { found, types };
        return Err(Error::Unusable { path: table.path().into(), line: row.line, fault });
    }
    let cut = tokens - ids.len();
    Ok(if ids.is_empty() { Read::Empty } else { Read::Text(Text { ids, type_ids }, cut) })
}

impl fmt::Display for LabelledReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  rows read: {}", self.rows)?;
        writeln!(f, "  rows kept: {}", self.kept)?;
        write!(f, "{}", self.lines)?;
        let left_out = [
            ("rows without text", self.empty),
            ("rows too long, left out", self.too_long),
            (if self.duplicates_dropped { "equal rows, left out" } else { "equal rows, kept" }, self.duplicates),
            ("rows cut", self.cut),
            ("tokens cut off", self.cut_tokens),
        ];
        for (name, count) in left_out.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(f, "  tokens: {} (longest text {})", self.tokens, self.longest)?;
        for (label, count) in &self.labels {
            writeln!(f, "  label {label:?}: {count}")?;
        }
        Ok(())
    }
}

impl LabelledReport {
    /// What of the rows is not learned or not measured as it stands there, in one sentence, if anything is.
    #[must_use]
    pub fn losses(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |count: u64, what: &str| {
            parts.extend((count > 0).then(|| format!("{} {what}", group_thousands(count))));
        };
        part(self.empty, "rows have no text");
        part(self.too_long, "rows are too long and left out");
        part(self.cut, &format!("rows are cut ({} tokens)", self.cut_tokens));
        part(if self.duplicates_dropped { self.duplicates } else { 0 }, "rows equal earlier ones and are left out");
        parts.extend(self.lines.told().map(|lines| format!("{lines} left out")));
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
