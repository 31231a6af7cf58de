//! Checks a recipe as written against the schema: keys, types, words and ranges.

use super::error::{Error, Place};
use super::section::{Field, Kind};
use super::tree::{Node, Tree, Value};
use crate::messages;

/// Checks every key and value of `tree`, whose keys are those of `schema`.
pub fn validate(tree: &Tree, schema: &[Field]) -> Result<(), Error> {
    Validator { schema }.table(tree, schema, "")
}

struct Validator<'a> {
    schema: &'a [Field],
}

impl Validator<'_> {
    fn table(&self, tree: &Tree, fields: &[Field], prefix: &str) -> Result<(), Error> {
        for (name, node) in tree {
            let key = format!("{prefix}{name}");
            match fields.iter().find(|field| field.name == name) {
                Some(field) => self.value(node, field, &key)?,
                None => return Err(self.unknown(name, node, fields, prefix)),
            }
        }
        Ok(())
    }

    fn value(&self, node: &Node, field: &Field, key: &str) -> Result<(), Error> {
        match (&node.value, &field.kind) {
            (Value::Table(inner), Kind::Table(fields)) => self.table(inner, fields, &format!("{key}.")),
            (Value::Leaf(value), kind) if accepts(kind, value) && in_range(field, value) => Ok(()),
            (Value::Leaf(value), _) => Err(wrong_value(&node.place, key, value, field)),
            (Value::Table(_), _) => Err(Error::Value {
                place: node.place.clone(),
                key: key.to_string(),
                found: "a table".into(),
                expected: expected(field).into(),
                nearest: None,
            }),
        }
    }

    fn unknown(&self, name: &str, node: &Node, fields: &[Field], prefix: &str) -> Error {
        let here = fields.iter().map(|field| (format!("{prefix}{}", field.name), field.name));
        let mut elsewhere = Vec::new();
        dotted_keys(self.schema, "", &mut elsewhere);
        let is_here = |ours: &str| fields.iter().any(|field| field.name == ours);
        let of_peft = PEFT_NAMES.iter().find(|(theirs, ours)| *theirs == name && is_here(ours));
        // A key of the same table is likelier meant than one of another, which must fit more closely.
        let alike = || nearest(name, here, 0.6).or_else(|| nearest(name, elsewhere.into_iter(), 0.8));
        let nearest = of_peft.map(|(_, ours)| format!("{prefix}{ours}")).or_else(alike);
        let valid = fields.iter().map(|field| field.name).collect();
        Error::UnknownKey { place: node.place.clone(), key: format!("{prefix}{name}"), nearest, valid }
    }
}

/// Keys of adapters that have another name in PEFT.
const PEFT_NAMES: [(&str, &str); 9] = [
    ("r", "rank"),
    ("lora_alpha", "alpha"),
    ("lora_dropout", "dropout"),
    ("target_modules", "targets"),
    ("exclude_modules", "exclude"),
    ("layers_to_transform", "layers"),
    ("use_rslora", "rank_stabilized"),
    ("use_dora", "dora"),
    ("num_virtual_tokens", "tokens"),
];

fn dotted_keys(fields: &[Field], prefix: &str, keys: &mut Vec<(String, &'static str)>) {
    for field in fields {
        let key = format!("{prefix}{}", field.name);
        if let Kind::Table(inner) = &field.kind {
            dotted_keys(inner, &format!("{key}."), keys);
        }
        keys.push((key, field.name));
    }
}

/// The candidate whose last part is most like `name`, if any is more than `threshold` alike.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = (String, &'a str)>, threshold: f64) -> Option<String> {
    let candidates: Vec<_> = candidates.collect();
    let last = messages::nearest_above(threshold, name, candidates.iter().map(|(_, last)| *last))?;
    candidates.into_iter().find(|(_, of)| *of == last).map(|(key, _)| key)
}

fn accepts(kind: &Kind, value: &toml::Value) -> bool {
    let is_number = |value: &toml::Value| value.is_float() || value.is_integer();
    match kind {
        Kind::Boolean => value.is_bool(),
        Kind::Whole => value.as_integer().is_some_and(|number| number >= 0),
        Kind::Wholes => {
            let is_whole = |value: &toml::Value| value.as_integer().is_some_and(|number| number >= 0);
            value.as_array().is_some_and(|array| array.iter().all(is_whole))
        }
        Kind::Number => is_number(value),
        Kind::TwoNumbers => value.as_array().is_some_and(|array| array.len() == 2 && array.iter().all(is_number)),
        Kind::Text => value.is_str(),
        Kind::Texts => value.as_array().is_some_and(|array| array.iter().all(toml::Value::is_str)),
        Kind::Tokens => {
            let is_id = |value: &toml::Value| value.as_integer().is_some_and(|id| u32::try_from(id).is_ok());
            value.as_array().is_some_and(|array| array.iter().all(|value| value.is_str() || is_id(value)))
        }
        Kind::Path => value.as_str().is_some_and(|path| !path.is_empty()),
        Kind::Choice(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Kind::Table(_) => false,
    }
}

fn in_range(field: &Field, value: &toml::Value) -> bool {
    let Some(range) = field.range else {
        return true;
    };
    match value {
        toml::Value::Integer(number) => range.contains(*number as f64),
        toml::Value::Float(number) => range.contains(*number),
        toml::Value::Array(numbers) => numbers.iter().all(|number| in_range(field, number)),
        _ => true,
    }
}

fn wrong_value(place: &Place, key: &str, value: &toml::Value, field: &Field) -> Error {
    let nearest = match (&field.kind, value.as_str()) {
        (Kind::Choice(words), Some(word)) => nearest(word, words.iter().map(|word| (word.to_string(), *word)), 0.5),
        _ => None,
    };
    Error::Value {
        place: place.clone(),
        key: key.to_string(),
        found: found(value).into(),
        expected: expected(field).into(),
        nearest,
    }
}

fn found(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("the text \"{}\"", messages::cut(text)),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(truth) => truth.to_string(),
        toml::Value::Datetime(date) => format!("the date {date}"),
        toml::Value::Array(_) => format!("the list {}", messages::cut(&value.to_string())),
        toml::Value::Table(_) => "a table".to_string(),
    }
}

/// The values that a key accepts, in words.
pub fn expected(field: &Field) -> String {
    match field.range {
        Some(range) => format!("{} {range}", field.kind),
        None => field.kind.to_string(),
    }
}
