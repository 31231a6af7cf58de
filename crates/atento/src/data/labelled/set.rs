//! Tokenised rows, what was left out of them, and their batches.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use atento_kernels::philox::Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::{ColumnNames, Error, Goal, LabelSet, Row, Table, Text, TextBatch};
use crate::data::OnTruncate;
use crate::data::hash::{add_ids, combine, hash};
use crate::data::tokens::{self, Cursor};
use crate::pipelines::texts;
use crate::text::{EncodedPair, Tokenizer, Truncation};

/// Rows that are tokenised at once.
const CHUNK: usize = 8192;
/// The random stream that orders are drawn from.
const ORDER: u64 = 0x6f72;

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
    examples: Arc<Vec<Example>>,
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
                examples.push(Example { line: row.line, text, target });
                kept_rows.push(row);
            }
        }
        report.kept = examples.len() as u64;
        if labels.aim != super::Aim::Value {
            report.labels = labels.names.iter().cloned().zip(counts).collect();
        }
        if examples.is_empty() {
            return Err(Error::NothingLeft { path: table.path().into(), report: report.to_string() });
        }
        Ok(Self { examples: Arc::new(examples), rows: Arc::new(kept_rows), report, hash: all })
    }

    /// The rows.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
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

    /// Batches of at most so many tokens and texts, every epoch in an order of its own that follows from the seed.
    /// `weights` are factors on the loss by label.
    ///
    /// # Errors
    /// The longest text does not fit into a batch; there is no such place.
    pub fn batches(
        &self,
        max_tokens: usize,
        max_texts: Option<usize>,
        seed: u64,
        weights: Arc<[f32]>,
        from: Cursor,
    ) -> Result<Batches, Error> {
        let longest = self.report.longest as usize;
        if max_tokens < longest {
            let problem = format!("the longest text has {longest} tokens and must fit into a batch");
            return Err(tokens::Error::option("batch_tokens", max_tokens, problem).into());
        }
        let length = self.examples.len() as u64;
        if from.index >= length {
            return Err(tokens::Error::Cursor { cursor: from, length }.into());
        }
        let examples = Arc::clone(&self.examples);
        let limits = (max_tokens, max_texts.unwrap_or(usize::MAX));
        Ok(Batches { examples, limits, seed, weights, cursor: from, order: None })
    }

    /// The examples in the order of the file, in batches.
    pub fn in_order(&self, max_tokens: usize) -> impl Iterator<Item = TextBatch> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let rest = &self.examples[next..];
            let mut tokens = 0;
            let fits = |example: &&Example| {
                tokens += example.text.ids.len();
                tokens <= max_tokens
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let chosen: Vec<usize> = (next..next + count).collect();
            next += count;
            (count > 0).then(|| pack(&self.examples, &chosen, &[]))
        })
    }
}

/// Batches without end, each with the place behind it.
#[derive(Clone)]
pub struct Batches {
    examples: Arc<Vec<Example>>,
    /// The most tokens and the most texts.
    limits: (usize, usize),
    seed: u64,
    weights: Arc<[f32]>,
    cursor: Cursor,
    /// The order of the epoch of the cursor, once it was needed.
    order: Option<(u64, Vec<usize>)>,
}

impl Batches {
    /// Batches of the first epoch, counted without packing them.
    #[must_use]
    pub fn per_epoch(&self) -> u64 {
        let mut counted = Self { cursor: Cursor::default(), order: None, ..self.clone() };
        let mut batches = 0;
        while counted.cursor.epoch == 0 {
            counted.choose();
            batches += 1;
        }
        batches
    }

    /// The numbers of the examples of the next batch.
    fn choose(&mut self) -> Vec<usize> {
        let epoch = self.cursor.epoch;
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order: Vec<usize> = (0..self.examples.len()).collect();
            Rng::new(self.seed, combine(ORDER, epoch)).shuffle(&mut order);
            self.order = Some((epoch, order));
        }
        let (_, order) = self.order.as_ref().expect("an order was just made");
        let (max_tokens, max_texts) = self.limits;
        let rest = &order[self.cursor.index as usize..];
        let mut tokens = 0;
        let fits = |at: &&usize| {
            tokens += self.examples[**at].text.ids.len();
            tokens <= max_tokens
        };
        let chosen: Vec<usize> = rest.iter().take(max_texts).take_while(fits).copied().collect();
        let index = self.cursor.index + chosen.len() as u64;
        self.cursor = match index < order.len() as u64 {
            true => Cursor { index, ..self.cursor },
            false => Cursor { epoch: epoch + 1, index: 0 },
        };
        chosen
    }
}

impl Iterator for Batches {
    type Item = (TextBatch, Cursor);

    fn next(&mut self) -> Option<Self::Item> {
        let chosen = self.choose();
        Some((pack(&self.examples, &chosen, &self.weights), self.cursor))
    }
}

/// The examples of these numbers as one batch; a label without a weight has the weight 1.
fn pack(examples: &[Example], chosen: &[usize], weights: &[f32]) -> TextBatch {
    let of = |at: &usize| &examples[*at];
    let goal = match &of(&chosen[0]).target {
        Target::Label(_) => {
            let label = |at: &usize| if let Target::Label(label) = of(at).target { label } else { 0 };
            let labels: Vec<u32> = chosen.iter().map(label).collect();
            let weight = |label: &u32| weights.get(*label as usize).copied().unwrap_or(1.0);
            Goal::Labels { weights: labels.iter().map(weight).collect(), labels }
        }
        Target::Labels(_) => {
            let flags =
                |at: &usize| if let Target::Labels(flags) = &of(at).target { flags.clone() } else { Vec::new() };
            Goal::ManyLabels(chosen.iter().flat_map(flags).map(f32::from).collect())
        }
        Target::Value(_) => {
            let value = |at: &usize| if let Target::Value(value) = of(at).target { value } else { 0.0 };
            Goal::Values(chosen.iter().map(value).collect())
        }
    };
    let samples = chosen.iter().map(|at| of(at).line - 1).collect();
    TextBatch::pack(chosen.iter().map(|at| &of(at).text), goal, samples)
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
                return Err(Error::TooLong { path: table.path().into(), line: row.line, tokens, limit });
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
        let mut part = |count: u64, what: &str| parts.extend((count > 0).then(|| format!("{count} {what}")));
        part(self.empty, "rows have no text");
        part(self.too_long, "rows are too long and left out");
        part(self.cut, &format!("rows are cut ({} tokens)", self.cut_tokens));
        part(if self.duplicates_dropped { self.duplicates } else { 0 }, "rows equal earlier ones and are left out");
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
