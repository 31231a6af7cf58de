//! The recipe that is drafted: tables of settings, each with its reason above it.

use std::fmt::Write as _;

use super::columns::Column;
use super::look::{File, Form};
use super::{Error, Sets, Wishes, key};
use crate::tasks::translation::size;
use crate::train::events::group_thousands;
use crate::train::recipe::{Norm, Recipe, Task, comment};

/// The share of pairs that is watched where there is no file of them.
const VALID_FRACTION: f64 = 0.05;

/// Names of columns that hold the two sides of a pair, one after the other.
const SIDES: (&[&str], &[&str]) = (&["source", "src"], &["target", "tgt", "trg"]);
/// Names of a second text beside one that is labelled.
const SECOND_TEXTS: &[&str] = &["sentence2", "text2", "question2", "hypothesis", "pair", "text_pair"];
/// Names of prompts and completions.
const PROMPTS: &[&str] = &["prompt", "instruction", "question", "input", "mr"];
const COMPLETIONS: &[&str] = &["completion", "response", "answer", "output", "ref"];
const LABELS: &[&str] = &["label", "labels", "gold_label", "class", "category", "sentiment", "score"];
const TEXTS: &[&str] = &["text", "sentence", "content", "body", "review"];

/// A recipe that is being written.
pub(super) struct Draft<'w> {
    wishes: &'w Wishes,
    /// What was seen, a line each.
    seen: Vec<String>,
    task: Option<Task>,
    tables: Vec<(String, Vec<Line>)>,
}

/// A setting with its reason.
struct Line {
    key: String,
    /// As TOML has it.
    value: String,
    why: String,
}

impl<'w> Draft<'w> {
    pub fn new(train: &[File], wishes: &'w Wishes) -> Self {
        let seen = train.iter().map(seen).collect();
        Self { wishes, seen, task: wishes.task, tables: Vec::new() }
    }

    fn set(&mut self, table: &str, key: &str, value: impl Into<toml::Value>, why: impl Into<String>) {
        self.set_as(table, key, value.into().to_string(), why.into());
    }

    fn set_as(&mut self, table: &str, key: &str, value: String, why: String) {
        let line = Line { key: key.to_owned(), value, why };
        match self.tables.iter_mut().find(|(name, _)| name == table) {
            Some((_, lines)) => lines.push(line),
            None => self.tables.push((table.to_owned(), vec![line])),
        }
    }

    /// Takes a task, unless another one was asked for.
    fn decide(&mut self, name: &str) -> Task {
        *self.task.get_or_insert_with(|| Task::named(name).unwrap_or_default())
    }

    /// Refuses a task that was asked for and that such data do not teach.
    fn require(&self, fits: &[&str], holds: &str) -> Result<(), Error> {
        match self.task {
            Some(task) if !fits.contains(&task.word()) => {
                let fits = fits.join(", ");
                Err(Error::Unfit(format!("these data hold {holds}: they are for {fits}, not for {task}")))
            }
            _ => Ok(()),
        }
    }

    /// Two files of which each line translates that of the other.
    pub fn two_files(&mut self, sets: &Sets) -> Result<(), Error> {
        self.require(&["translation"], "two files of lines")?;
        self.decide("translation");
        for (set, files) in sets.named() {
            let [source, target] = files else {
                let message =
                    format!("data.{set} is {} alone: name the file of its other side too", files[0].path.display());
                return Err(Error::Unfit(message));
            };
            let lines = |file: &File| file.rows + file.blank;
            if lines(source) != lines(target) {
                return Err(Error::Unfit(format!(
                    "{} has {} lines and {} has {}: lines of the same number belong together, so there are as many",
                    source.path.display(),
                    lines(source),
                    target.path.display(),
                    lines(target)
                )));
            }
            let table = format!("data.{set}");
            self.set(&table, "source", source.path.display().to_string(), "");
            self.set(&table, "target", target.path.display().to_string(), "");
        }
        let (source, target) = (&sets.train[0], &sets.train[1]);
        let (from, to) = (source.path.display(), target.path.display());
        self.seen
            .push(format!("{from} is translated into {to}: name them in the other order for the other direction."));
        self.pairs(sets, source.rows.min(target.rows), (&source.columns[0], &target.columns[0]));
        Ok(())
    }

    /// Running text.
    pub fn text(&mut self, sets: &Sets) -> Result<(), Error> {
        self.require(&["causal-lm", "masked-lm", "bert-pretrain"], "text without answers")?;
        let task = self.decide("causal-lm");
        self.set("data", "text", sets.train[0].path.display().to_string(), "");
        for test in &sets.test {
            let path = test.path.display();
            self.seen
                .push(format!("{path} is left out: measure the model on it with `atento eval RUN --data {path}`."));
        }
        match sets.valid.first() {
            Some(valid) => self.set("data", "valid_text", valid.path.display().to_string(), ""),
            None => self.set(
                "data",
                "valid_fraction",
                0.1,
                "There is no text to watch the loss on but a share of this one.",
            ),
        }
        if task.word() == "causal-lm"
            && self.wishes.from.is_none()
            && let Some(bytes) = Some(sets.train[0].bytes).filter(|&bytes| bytes > 0)
        {
            let vocabulary = size::vocabulary(bytes as u64);
            let why = format!("{} bytes of text", group_thousands(bytes as u64));
            self.set("tokenizer", "vocab_size", vocabulary as i64, why);
        }
        Ok(())
    }

    /// Files whose form says all.
    pub fn files(&mut self, sets: &Sets, task: &str, form: &str) -> Result<(), Error> {
        self.require(&[task], "labels of words or answers")?;
        self.decide(task);
        for (set, files) in sets.named() {
            self.set(&format!("data.{set}"), form, files[0].path.display().to_string(), "");
        }
        Ok(())
    }

    /// Rows with columns.
    pub fn table(&mut self, sets: &Sets) -> Result<(), Error> {
        let file = &sets.train[0];
        let texts: Vec<usize> = (0..file.columns.len()).filter(|&at| file.columns[at].holds_texts()).collect();
        let wanted = self.task.map(Task::word);
        if file.named(&["messages"]).is_some() {
            self.require(&["instruct"], "conversations")?;
            self.decide("instruct");
            self.name_files(sets, &[]);
            return Ok(());
        }
        let prompts = file.named(PROMPTS).zip(file.named(COMPLETIONS));
        if let Some((prompt, completion)) = prompts.filter(|_| wanted.is_none_or(|wanted| wanted == "instruct")) {
            self.decide("instruct");
            self.name_files(sets, &[("prompt_key", prompt), ("completion_key", completion)]);
            return Ok(());
        }
        let named = file.named(SIDES.0).zip(file.named(SIDES.1));
        let label = file.named(LABELS).or_else(|| {
            (0..file.columns.len())
                .rev()
                .find(|&at| file.columns[at].labels().is_some() || file.columns[at].holds_values())
        });
        let is_pairs = wanted.is_none_or(|wanted| wanted == "translation" || wanted == "instruct");
        if let Some((left, right)) = named.filter(|_| is_pairs) {
            return self.sides(sets, left, right);
        }
        let text = file.named(TEXTS).or(texts.first().copied());
        if wanted == Some("translation") && texts.len() < 2 {
            // Words and their translations are texts too, where somebody says so.
            let is_side = |column: &Column| column.filled > 0 && !column.holds_credits() && !column.holds_numbers();
            let sides: Vec<usize> = (0..file.columns.len()).filter(|&at| is_side(&file.columns[at])).collect();
            if let [left, right, ..] = sides[..] {
                return self.sides(sets, left, right);
            }
        }
        if let (Some(label), Some(text)) = (label.filter(|_| wanted != Some("translation")), text) {
            return self.labelled(sets, text, label, &texts);
        }
        match texts[..] {
            [left, right, ..] if is_pairs => self.sides(sets, left, right),
            [text] if file.form == Form::Jsonl && wanted.is_none_or(|wanted| wanted != "translation") => {
                self.require(&["causal-lm", "masked-lm", "bert-pretrain"], "one text in each object")?;
                self.decide("causal-lm");
                self.set("data", "text", file.path.display().to_string(), "");
                self.set("data", "text_key", key(&file.columns, text), "");
                Ok(())
            }
            _ => Err(Error::Unfit(format!(
                "{}: of its columns {} hold texts: pairs need two, labels need one beside a column of few short values",
                self.seen.join(" "),
                texts.len()
            ))),
        }
    }

    fn sides(&mut self, sets: &Sets, left: usize, right: usize) -> Result<(), Error> {
        let file = &sets.train[0];
        if self.task.is_some_and(|task| task.word() == "instruct") {
            self.name_files(sets, &[("prompt_key", left), ("completion_key", right)]);
            return Ok(());
        }
        self.decide("translation");
        self.name_files(sets, &[("source_key", left), ("target_key", right)]);
        let filled = file.columns[left].filled.min(file.columns[right].filled);
        self.pairs(sets, filled, (&file.columns[left], &file.columns[right]));
        Ok(())
    }

    fn labelled(&mut self, sets: &Sets, text: usize, label: usize, texts: &[usize]) -> Result<(), Error> {
        let file = &sets.train[0];
        let is_value = file.columns[label].holds_values();
        self.require(&["classify", "regress"], "texts with labels")?;
        self.decide(if is_value { "regress" } else { "classify" });
        // A third column is part of what is judged where it is called so, or where there is nothing else.
        let is_all = file.columns.len() == 3 && !file.has_header && file.form == Form::Tsv;
        let other = texts.iter().copied().find(|&other| other != text && other > text);
        let second = file.named(SECOND_TEXTS).or(other.filter(|_| is_all));
        let mut columns = vec![("text_key", text), ("label_key", label)];
        columns.extend(second.map(|second| ("pair_key", second)));
        self.name_files(sets, &columns);
        Ok(())
    }

    /// The files of all sets, with the columns of the first where the file does not make them plain.
    fn name_files(&mut self, sets: &Sets, columns: &[(&str, usize)]) {
        let file = &sets.train[0];
        let is_left_out = |at: &usize| !columns.is_empty() && columns.iter().all(|(_, used)| used != at);
        let left_out = (0..file.columns.len()).filter(is_left_out).filter(|&at| !file.columns[at].holds_credits());
        let names: Vec<String> = left_out.map(|at| key(&file.columns, at)).collect();
        if !names.is_empty() {
            self.seen.push(format!("Left out: {}.", names.join(", ")));
        }
        let all = || sets.named().flat_map(|(_, files)| files);
        let uneven: usize = all().map(|file| file.uneven).sum();
        let lacks = |file: &File| match file.form {
            Form::Jsonl => columns.iter().map(|(_, at)| file.rows - file.columns[*at].filled.min(file.rows)).max(),
            _ => None,
        };
        let lacking = lacks(file).unwrap_or(0);
        if uneven + lacking > 0 {
            let bad = group_thousands((uneven + lacking) as u64);
            let why =
                format!("{bad} rows have another number of columns than the first, or lack one: they are left out.");
            self.set("data", "on_bad_line", "skip", why);
        }
        for (set, files) in sets.named() {
            let file = &files[0];
            let form = match file.form {
                Form::Csv => "csv",
                Form::Jsonl => "jsonl",
                _ => "tsv",
            };
            let table = format!("data.{set}");
            self.set(&table, form, file.path.display().to_string(), "");
            let is_plain = file.form == Form::Tsv
                && !file.has_header
                && file.columns.len() == columns.len()
                && columns.iter().enumerate().all(|(place, (_, at))| place == *at);
            for (name, at) in columns.iter().filter(|_| !is_plain) {
                self.set(&table, name, key(&file.columns, *at), "");
            }
        }
    }

    /// What pairs of sentences are learned with.
    fn pairs(&mut self, sets: &Sets, pairs: usize, (source, target): (&Column, &Column)) {
        if sets.valid.is_empty() {
            let why = "There is no file of pairs to watch: a share of these is watched and not learned.";
            self.set("data", "valid_fraction", VALID_FRACTION, why);
        }
        if source.letters.has_no_spaces() || target.letters.has_no_spaces() {
            self.set("tokenizer", "kind", "unigram", "One side is written without spaces between words.");
            self.set("tokenizer", "character_coverage", 0.9995, "Rare characters become bytes.");
        }
        if self.wishes.from.is_some() {
            return;
        }
        let corpus = size::Corpus { pairs: pairs as u64, bytes: (source.bytes + target.bytes) as u64 };
        for computed in size::sizes(&corpus, Norm::Pre) {
            let (table, name) = computed.key.split_once('.').unwrap_or(("", computed.key));
            self.set_as(table, name, computed.value.clone(), computed.why.clone());
        }
    }

    /// The text, which reads as a recipe.
    pub fn finish(mut self) -> Result<String, Error> {
        let task = self.task.unwrap_or_default();
        if let Some(minutes) = self.wishes.minutes {
            self.set("train", "max_minutes", minutes, "");
        }
        let mut text = String::new();
        comment(&mut text, &format!("{} Drafted by `atento init`.", task.about()));
        comment(
            &mut text,
            "What is not here follows from the data and the limits: `atento train THIS --dry-run` says what and why.",
        );
        comment(&mut text, &format!("`atento recipe {task}` prints every key with its meaning."));
        text.push_str("#\n");
        self.seen.iter().for_each(|line| comment(&mut text, line));
        let _ = writeln!(text, "\ntask = \"{task}\"");
        match &self.wishes.from {
            Some(from) => {
                let _ = writeln!(text, "from = {}", toml::Value::from(from.display().to_string()));
            }
            // As in the recipe that `atento recipe` prints.
            None if task.tunes() => {
                comment(
                    &mut text,
                    "The model that is trained further: a directory, or org/name on the Hugging Face Hub.",
                );
                text.push_str("from = \"MODEL\"\n");
            }
            None => {}
        }
        self.tables.sort_by_key(|(name, _)| order(name));
        for (name, lines) in &self.tables {
            let _ = writeln!(text, "\n[{name}]");
            for Line { key, value, why } in lines {
                if !why.is_empty() {
                    comment(&mut text, why);
                }
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        // What is drafted can be read, whatever the data were.
        Recipe::read_text(&text, "the draft")?;
        Ok(text)
    }
}

/// The place of a table in a recipe.
fn order(table: &str) -> usize {
    let tables =
        ["data", "data.train", "data.valid", "data.test", "tokenizer", "model", "train", "optimizer", "schedule"];
    tables.iter().position(|name| *name == table).unwrap_or(tables.len())
}

/// What a look at a file has shown.
fn seen(file: &File) -> String {
    let path = file.path.display();
    if matches!(file.form, Form::Folder | Form::Squad | Form::Conll) {
        return format!("{path}.");
    }
    let count = |count: usize| group_thousands(count as u64);
    let mut text = format!("{path}: {} {}", count(file.rows), if file.columns.len() > 1 { "rows" } else { "lines" });
    if file.blank > 0 {
        let _ = write!(text, ", {} blank ones", count(file.blank));
    }
    text.push('.');
    for (at, column) in file.columns.iter().enumerate() {
        let name = match &column.name {
            Some(name) => format!(" \"{name}\":"),
            None if file.columns.len() > 1 => format!(" Column {}:", at + 1),
            None => String::new(),
        };
        let holds = if column.holds_credits() {
            "where rows come from, left out".to_owned()
        } else if let Some(labels) = column.labels() {
            format!("{labels} labels")
        } else if column.holds_values() {
            "values".to_owned()
        } else {
            let words = column.words as f64 / column.filled.max(1) as f64;
            format!(
                "{}, {words:.1} words a text, the longest {} characters",
                column.letters.in_words(),
                count(column.longest)
            )
        };
        let empty = file.rows - file.uneven - column.filled.min(file.rows - file.uneven);
        let empty =
            if empty > 0 && file.columns.len() > 1 { format!(", {} empty", count(empty)) } else { String::new() };
        let _ = write!(text, "{name} {holds}{empty}.");
    }
    text
}
