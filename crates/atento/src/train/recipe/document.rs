//! What the schema says of recipes: a commented recipe of a task, a page with every key, and a JSON schema for editors.

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::check::{conflicts, idle, unfit, words_of};
use super::section::{Field, Kind, Range};
use super::settings::Recipe;
use super::validate::expected;
use super::{Error, Loaded, Method, Metric, Override, Task, Written, follow, place_of, schema};
use crate::{families, tasks};

/// The longest line of a comment.
const WIDTH: usize = 100;

/// What a model that is there says, where the recipe leaves it out.
const OF_THE_MODEL: [&str; 7] = [
    "model.dropout",
    "model.attention_dropout",
    "model.activation_dropout",
    "model.embedding_dropout",
    "data.max_length",
    "data.block_size",
    "data.stride",
];

impl Recipe {
    /// A recipe of a task with every key that means something for it: its meaning, what it accepts, and its value where it is left
    /// out, as a comment (`#key = value`), or `…` where there is none or the model says it. The data are an example's. The method is
    /// the task's usual one where it is left out, and a task that usually trains a model that is there starts from one, unless a
    /// family for a new one is named. So does every other method than "full".
    ///
    /// # Errors
    /// There is no such task, family or method, or they do not go together.
    pub fn documented(task: &str, arch: Option<&str>, method: Option<&str>) -> Result<String, Error> {
        let named_task = Task::named(task).unwrap_or_default();
        let is_part = method.is_some_and(|method| method != Method::Full.word());
        let starts = is_part || arch.is_none() && named_task.tunes();
        let from = if starts { "from = \"MODEL\"\n" } else { "" };
        let text = format!("{from}[data]\n{}", named_task.example());
        let named =
            [("TASK", "task", Some(task)), ("--arch", "model.arch", arch), ("--method", "train.method", method)];
        let named: Vec<Override> = named
            .iter()
            .filter_map(|(option, key, value)| {
                value.map(|value| Override::option(option, key, toml::Value::from(value)))
            })
            .collect();
        let Loaded { mut recipe, written, .. } = Self::parse(&text, "recipe", &named)?;
        follow::follow(&mut recipe, &|key| written.contains_key(key));
        conflicts(&recipe, &|key| written.contains_key(key), &|key| place_of(&written, key))?;
        let mut text = String::new();
        let about = format!(
            "{} Every key that means something here is below: `#key = value` is what it is when it is left out. Some follow others, \
             so take away the `#` of what you change and leave the rest.{} Paths are relative to this file.",
            recipe.task.about(),
            if starts { " Where there is `…`, the model says it." } else { "" }
        );
        comment(&mut text, &about);
        text.push('\n');
        let mut values = recipe.to_table()?;
        let mut idle = unfit(&recipe, starts);
        if starts {
            let (model, tokenizer) = (keys_of("model"), keys_of("tokenizer"));
            let decided = model.into_iter().filter(|key| !key.ends_with("dropout"));
            idle.extend(decided.chain(tokenizer.into_iter().filter(|key| key != "tokenizer.add_tokens")));
            for key in keys_of("search").iter().map(String::as_str).chain(OF_THE_MODEL) {
                let (table, name) = key.split_once('.').unwrap_or(("", key));
                values.get_mut(table).and_then(toml::Value::as_table_mut).and_then(|table| table.remove(name));
            }
        }
        let page = Page { idle, stated: Some(&written), task: Some(recipe.task) };
        page.table(&mut text, &schema(), Some(&values), "");
        Ok(text)
    }

    /// The whole recipe as TOML with the meaning of every setting; reading it gives an equal recipe. What does nothing in it and
    /// says nothing else than the default is left out.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn annotated(&self) -> Result<String, Error> {
        let stated = self.stated()?;
        let says = |key: &String| stated.contains_key(key);
        let page = Page { idle: idle(self).into_iter().filter(|key| !says(key)).collect(), stated: None, task: None };
        let mut text = String::new();
        comment(&mut text, "The recipe of this run with all its settings, those too that were left out.");
        text.push('\n');
        page.table(&mut text, &schema(), Some(&self.to_table()?), "");
        // What is left out may follow something else than it did.
        let again = Self::read_text(&text, "config.toml").map(|Loaded { recipe, written, .. }| {
            let mut followed = recipe.clone();
            follow::follow(&mut followed, &|key| written.contains_key(key));
            recipe == *self && followed == *self
        });
        if again.unwrap_or(false) { Ok(text) } else { self.to_toml() }
    }

    /// A page in Markdown with every key of a recipe, its default and what it accepts.
    ///
    /// # Errors
    /// None that a program can cause.
    pub fn reference() -> Result<String, Error> {
        let mut text = String::from(
            "# Keys of a recipe\n\n<!-- Written by `atento recipe --reference`. -->\n\n\
             `atento recipe TASK` prints the keys of one task alone, with its defaults. Where a default differs from task to task,\n\
             the one here is that of `translation`. Without a default, a key is left out.\n\n",
        );
        text.push_str("| task | |\n|---|---|\n");
        for task in tasks::ALL {
            let _ = writeln!(text, "| `{}` | {} |", task.name(), task.about());
        }
        let values = Self::default().to_table()?;
        reference_table(&mut text, &schema(), Some(&values), "");
        Ok(text)
    }

    /// What a recipe may hold as a JSON schema (draft 7), for editors that complete and check TOML.
    ///
    /// # Errors
    /// None that a program can cause.
    pub fn json_schema() -> Result<serde_json::Value, Error> {
        let values = Self::default().to_table()?;
        let mut root = object_schema(&schema(), Some(&values), "");
        root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        root.insert("title".into(), json!("A recipe of atento"));
        Ok(root.into())
    }
}

/// A recipe that is being written.
struct Page<'r> {
    /// Keys and tables that do nothing in it.
    idle: Vec<String>,
    /// What is stated, where all else is a comment; without it everything is that has a value.
    stated: Option<&'r Written>,
    /// The task whose choices alone are shown, where it is one's.
    task: Option<Task>,
}

impl Page<'_> {
    fn table(&self, text: &mut String, fields: &[Field], values: Option<&toml::Table>, prefix: &str) {
        let path = |field: &Field| format!("{prefix}{}", field.name);
        let means = |field: &&Field| !self.idle.contains(&path(field));
        let is_table = |field: &&Field| matches!(field.kind, Kind::Table(_));
        for field in fields.iter().filter(means).filter(|field| !is_table(field)) {
            let value = values.and_then(|values| values.get(field.name)).map(in_a_line);
            let hash = match self.stated {
                None if value.is_none() => continue,
                Some(stated) if !stated.contains_key(&path(field)) => "#",
                _ => "",
            };
            comment(text, &self.sentence(field, &path(field)));
            let _ = writeln!(text, "{hash}{} = {}", field.name, value.as_deref().unwrap_or(placeholder(&field.kind)));
        }
        for field in fields.iter().filter(means).filter(is_table) {
            let Kind::Table(inner) = &field.kind else { continue };
            let path = path(field);
            if !inner.iter().any(|field| !self.idle.contains(&format!("{path}.{}", field.name))) {
                continue;
            }
            let values = values.and_then(|values| values.get(field.name)).and_then(toml::Value::as_table);
            if self.stated.is_none() && values.is_none() {
                continue;
            }
            text.push('\n');
            let (hash, hint) = match values {
                Some(_) => ("", ""),
                None => ("#", " (Take away the `#` of the next line too.)"),
            };
            comment(text, &format!("{}{hint}", field.about));
            let _ = writeln!(text, "{hash}[{path}]");
            self.table(text, inner, values, &format!("{path}."));
        }
    }

    fn sentence(&self, field: &Field, path: &str) -> String {
        let own = self.task.and_then(|task| choices(task, path));
        let expected = match own {
            Some(words) => {
                format!("one of {}", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
            }
            None if matches!(field.kind, Kind::Choice(_)) || field.range.is_some() => expected(field),
            None => return field.about.clone(),
        };
        let mut letters = expected.chars();
        let first = letters.next().map_or(String::new(), |letter| letter.to_uppercase().to_string());
        format!("{} {first}{}.", field.about, letters.as_str())
    }
}

/// The words of a key that a task takes, where these are not all.
fn choices(task: Task, path: &str) -> Option<Vec<&'static str>> {
    match path {
        "model.arch" => Some(families::with_heads(&[task.head()]).map(families::Family::name).collect()),
        "train.early_stopping.metric" => {
            let measures = task.measures(&super::DataSettings::default());
            Some(std::iter::once(Metric::Loss).chain(measures.iter().copied()).map(Metric::word).collect())
        }
        _ => words_of(&*task, path),
    }
}

/// Which words of a key which tasks do not take, as a sentence, where there are such tasks.
fn not_for(key: &str, kind: &Kind) -> String {
    let Kind::Choice(all) = kind else { return String::new() };
    let mut refused: Vec<(String, Vec<&str>)> = Vec::new();
    for task in tasks::ALL.into_iter().filter(|task| !tasks::foreign_keys(*task).contains(&key)) {
        let Some(words) = words_of(task, key) else { continue };
        let other: Vec<String> =
            all.iter().filter(|word| !words.contains(word)).map(|word| format!("{word:?}")).collect();
        if other.is_empty() {
            continue;
        }
        let other = other.join(", ");
        match refused.iter_mut().find(|(words, _)| *words == other) {
            Some((_, names)) => names.push(task.name()),
            None => refused.push((other, vec![task.name()])),
        }
    }
    refused.iter().map(|(words, names)| format!(" Not {words}: {}.", names.join(", "))).collect()
}

fn keys_of(table: &str) -> Vec<String> {
    let field = schema().into_iter().find(|field| field.name == table);
    let Some(Kind::Table(fields)) = field.map(|field| field.kind) else { return Vec::new() };
    fields.iter().map(|field| format!("{table}.{}", field.name)).collect()
}

/// A value as TOML, in one line whatever it holds: basic strings of TOML have the escapes of JSON, and one character more.
fn in_a_line(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => json!(text).to_string().replace('\u{7f}', "\\u007f"),
        value => value.to_string(),
    }
}

/// What stands for the value of a key that has none.
fn placeholder(kind: &Kind) -> &'static str {
    match kind {
        Kind::Choice(_) | Kind::Text | Kind::Path => "\"…\"",
        _ => "…",
    }
}

/// Adds `about` as comments of TOML, in lines that are not too long.
pub(crate) fn comment(text: &mut String, about: &str) {
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn reference_table(text: &mut String, fields: &[Field], values: Option<&toml::Table>, prefix: &str) {
    let cell = |text: &str| text.replace('|', "\\|");
    text.push_str("\n| key | default | accepts | |\n|---|---|---|---|\n");
    for field in fields.iter().filter(|field| !matches!(field.kind, Kind::Table(_))) {
        let value = values.and_then(|values| values.get(field.name));
        let value = value.map_or_else(String::new, |value| format!("`{}`", cell(&in_a_line(value))));
        let path = format!("{prefix}{}", field.name);
        let about = cell(&format!("{}{}", field.about, not_for(&path, &field.kind)));
        let only = only_for(&path);
        let _ = writeln!(text, "| `{}` | {value} | {} | {about}{only} |", field.name, cell(&expected(field)));
    }
    for field in fields {
        let Kind::Table(inner) = &field.kind else { continue };
        let path = format!("{prefix}{}", field.name);
        let _ = writeln!(text, "\n## `[{path}]`\n\n{}{}", field.about, only_for(&path));
        let values = values.and_then(|values| values.get(field.name)).and_then(toml::Value::as_table);
        reference_table(text, inner, values, &format!("{path}."));
    }
}

/// Which tasks, or which families, a key is for, where it is not for all.
fn only_for(key: &str) -> String {
    let names: Vec<&str> = match key.strip_prefix("model.") {
        Some(own) if !super::check::COMMON.contains(&own) => families::ALL
            .into_iter()
            .filter(|family| family.keys().contains(&own))
            .map(families::Family::name)
            .collect(),
        Some(_) => return String::new(),
        None => {
            let means = |task: &&dyn tasks::Task| !tasks::foreign_keys(*task).contains(&key);
            tasks::ALL.into_iter().filter(means).map(tasks::Task::name).collect()
        }
    };
    let all = if key.starts_with("model.") { families::ALL.len() } else { tasks::ALL.len() };
    match names.len() == all {
        true => String::new(),
        false => format!(" *Only {}.*", names.join(", ")),
    }
}

fn object_schema(fields: &[Field], values: Option<&toml::Table>, prefix: &str) -> Map<String, serde_json::Value> {
    let property = |field: &Field| {
        let value = values.and_then(|values| values.get(field.name));
        let path = format!("{prefix}{}", field.name);
        let mut schema = match &field.kind {
            Kind::Table(inner) => object_schema(inner, value.and_then(toml::Value::as_table), &format!("{path}.")),
            kind => type_schema(kind, field.range),
        };
        schema.insert("description".into(), json!(format!("{}{}", field.about, not_for(&path, &field.kind))));
        if let (Some(value), false) = (value, matches!(field.kind, Kind::Table(_))) {
            schema.insert("default".into(), json!(value));
        }
        (field.name.to_owned(), schema.into())
    };
    let properties: Map<_, serde_json::Value> = fields.iter().map(property).collect();
    let object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    object.as_object().cloned().unwrap_or_default()
}

fn type_schema(kind: &Kind, range: Option<Range>) -> Map<String, serde_json::Value> {
    let number = |name: &str| {
        let mut schema = Map::from_iter([("type".to_owned(), json!(name))]);
        for (key, limit) in range.iter().flat_map(Range::limits) {
            schema.insert(key.to_owned(), json!(limit));
        }
        schema
    };
    let list =
        |items: serde_json::Value| Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), items)]);
    let text = || Map::from_iter([("type".to_owned(), json!("string"))]);
    match kind {
        Kind::Boolean => Map::from_iter([("type".to_owned(), json!("boolean"))]),
        Kind::Whole => number("integer"),
        Kind::Number => number("number"),
        Kind::Wholes => list(json!({ "type": "integer", "minimum": 0 })),
        Kind::TwoNumbers => {
            let mut pair = list(number("number").into());
            pair.extend([("minItems".to_owned(), json!(2)), ("maxItems".to_owned(), json!(2))]);
            pair
        }
        Kind::Text | Kind::Path => text(),
        Kind::Texts => list(json!({ "type": "string" })),
        Kind::Tokens => list(json!({ "type": ["string", "integer"] })),
        Kind::Choice(words) => Map::from_iter([("enum".to_owned(), json!(words))]),
        Kind::Table(inner) => object_schema(inner, None, ""),
    }
}
