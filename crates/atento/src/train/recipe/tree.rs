//! A recipe as written: keys and values, each with the place it came from.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{Error, Place};

/// A key's value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// A table or anything else.
#[derive(Debug, Clone)]
pub enum Value {
    Table(Tree),
    Leaf(toml::Value),
}

/// Keys and values in the order of the alphabet.
pub type Tree = BTreeMap<String, Node>;

/// Parses the text of a recipe.
pub fn parse(text: &str, path: &Path) -> Result<Tree, Error> {
    let place_of = |offset: usize| Place::Line(path.to_path_buf(), line_of(text.as_bytes(), offset));
    let syntax = |error: toml::de::Error| Error::Syntax {
        place: place_of(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', ", "),
    };
    let document = DeTable::parse(text).map_err(syntax)?;
    tree(document.into_inner(), &place_of).map_err(syntax)
}

/// The line, counted from 1, that holds the byte at `offset`.
pub fn line_of(text: &[u8], offset: usize) -> usize {
    text.iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
}

fn tree(table: DeTable<'_>, place_of: &dyn Fn(usize) -> Place) -> Result<Tree, toml::de::Error> {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let place = place_of(key.span().start);
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::Table(inner) => Value::Table(tree(inner, place_of)?),
            leaf => Value::Leaf(toml::Value::deserialize(ValueDeserializer::from(Spanned::new(span, leaf)))?),
        };
        Ok((key.into_owned(), Node { place, value }))
    };
    table.into_iter().map(entry).collect()
}

/// A setting that takes the place of what the recipe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// `dotted.key=value`.
    setting: String,
    /// What messages call it.
    name: String,
}

impl Override {
    /// A setting of the form `dotted.key=value`, which the command line gives with `--set`.
    pub fn set(setting: impl Into<String>) -> Self {
        let setting = setting.into();
        Self { name: format!("--set {setting}"), setting }
    }

    /// The setting at a dotted key that an option such as `--max-steps` has.
    pub fn option(option: &str, key: &str, value: impl Display) -> Self {
        Self { name: format!("{option} {value}"), setting: format!("{key}={value}") }
    }
}

/// Puts a setting into the tree, in place of what is there. The value is TOML, or else plain text, to the letter where no
/// space stands before the sign.
pub fn set(tree: &mut Tree, Override { setting: text, name }: &Override) -> Result<(), Error> {
    let malformed = || Error::Override { text: text.to_string() };
    let (key, value) = text.split_once('=').ok_or_else(malformed)?;
    let keys: Vec<_> = key.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(malformed());
    }
    let place = Place::Override(name.clone());
    let value = if key.ends_with(char::is_whitespace) { value.trim() } else { value };
    let mut node = override_value(value, &place);
    let (first, inner) = keys.split_first().ok_or_else(malformed)?;
    merge(tree, first, inner, &place, &mut node);
    Ok(())
}

fn override_value(text: &str, place: &Place) -> Node {
    let parsed = DeValue::parse(text.trim()).ok().map(|value| {
        let everywhere = |_: usize| place.clone();
        let table = DeTable::from_iter([(Spanned::new(0..0, "value".into()), value)]);
        tree(table, &everywhere)
    });
    let plain = || Node { place: place.clone(), value: Value::Leaf(toml::Value::String(text.to_string())) };
    match parsed {
        Some(Ok(mut table)) => table.remove("value").unwrap_or_else(plain),
        _ => plain(),
    }
}

fn merge(tree: &mut Tree, key: &str, inner: &[&str], place: &Place, node: &mut Node) {
    let Some((next, rest)) = inner.split_first() else {
        tree.insert(key.to_string(), node.clone());
        return;
    };
    let table = || Node { place: place.clone(), value: Value::Table(Tree::new()) };
    let entry = tree.entry(key.to_string()).or_insert_with(table);
    if matches!(entry.value, Value::Leaf(_)) {
        *entry = table();
    }
    if let Value::Table(child) = &mut entry.value {
        merge(child, next, rest, place, node);
    }
}

/// The node of a dotted key.
pub fn find<'a>(tree: &'a Tree, key: &str) -> Option<&'a Node> {
    match key.split_once('.') {
        None => tree.get(key),
        Some((first, rest)) => match &tree.get(first)?.value {
            Value::Table(inner) => find(inner, rest),
            Value::Leaf(_) => None,
        },
    }
}

/// The place of a dotted key, or of the nearest table around it that was written.
pub fn place(tree: &Tree, key: &str) -> Place {
    match (find(tree, key), key.rsplit_once('.')) {
        (Some(node), _) => node.place.clone(),
        (None, Some((table, _))) => place(tree, table),
        (None, None) => Place::Default,
    }
}

/// All dotted keys of the tree, those of tables too, each with its place.
pub fn places(tree: &Tree) -> BTreeMap<String, Place> {
    let mut all = BTreeMap::new();
    for (key, node) in tree {
        all.insert(key.clone(), node.place.clone());
        if let Value::Table(inner) = &node.value {
            all.extend(places(inner).into_iter().map(|(inner_key, place)| (format!("{key}.{inner_key}"), place)));
        }
    }
    all
}

/// Lays the tree over a table of defaults.
pub fn lay_over(table: &mut toml::Table, tree: &Tree) {
    for (key, node) in tree {
        match &node.value {
            Value::Leaf(value) => {
                table.insert(key.clone(), value.clone());
            }
            Value::Table(inner) => {
                let entry = table.entry(key.clone()).or_insert_with(|| toml::Table::new().into());
                if let toml::Value::Table(entry) = entry {
                    lay_over(entry, inner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(tree: &Tree, key: &str) -> toml::Value {
        match &find(tree, key).unwrap().value {
            Value::Leaf(value) => value.clone(),
            Value::Table(_) => panic!("{key} is a table"),
        }
    }

    #[test]
    fn keys_remember_their_lines() {
        let tree =
            parse("seed = 3\n\n[model]\nheads = 8\n[train]\nearly_stopping = { patience = 1 }\n", Path::new("r.toml"))
                .unwrap();
        for (key, line) in
            [("seed", 1), ("model", 3), ("model.heads", 4), ("train.early_stopping.patience", 6), ("model.dropout", 3)]
        {
            assert_eq!(place(&tree, key), Place::Line("r.toml".into(), line), "{key}");
        }
        assert_eq!(place(&tree, "out"), Place::Default);
    }

    #[test]
    fn overrides_are_toml_or_plain_text() {
        let mut tree = parse("[model]\nheads = 8\n", Path::new("r.toml")).unwrap();
        for text in [
            "model.heads=4",
            "out=runs/a b",
            "search.length_penalty = 0.6",
            "data.prompt_template= Q: {prompt} ",
            "tokenizer.kind = char",
            "data.valid={tsv=\"x\"}",
            "optimizer.betas=[0.9, 0.99]",
        ] {
            set(&mut tree, &Override::set(text)).unwrap();
        }
        assert_eq!(leaf(&tree, "model.heads"), toml::Value::Integer(4));
        assert_eq!(leaf(&tree, "out"), toml::Value::String("runs/a b".into()));
        assert_eq!(leaf(&tree, "search.length_penalty"), toml::Value::Float(0.6));
        assert_eq!(leaf(&tree, "data.prompt_template"), toml::Value::String(" Q: {prompt} ".into()));
        assert_eq!(leaf(&tree, "tokenizer.kind"), toml::Value::String("char".into()));
        assert_eq!(leaf(&tree, "data.valid.tsv"), toml::Value::String("x".into()));
        assert_eq!(place(&tree, "model.heads"), Place::Override("--set model.heads=4".into()));
    }

    #[test]
    fn overrides_without_key_or_value_are_refused() {
        for text in ["model.heads", "=3", "model..heads=3", ".heads=3"] {
            assert!(matches!(set(&mut Tree::new(), &Override::set(text)), Err(Error::Override { .. })), "{text}");
        }
    }

    #[test]
    fn syntax_errors_name_the_line() {
        let error = parse("seed = 1\nmodel = = 2\n", Path::new("r.toml")).unwrap_err();
        assert!(error.to_string().starts_with("r.toml:2: not valid TOML"), "{error}");
        let error = parse("seed = 1\nseed = 2\n", Path::new("r.toml")).unwrap_err();
        assert!(error.to_string().starts_with("r.toml:2: not valid TOML"), "{error}");
        let error = parse("a = 1\nseed = 99999999999999999999\n", Path::new("r.toml")).unwrap_err();
        assert!(error.to_string().starts_with("r.toml:2: "), "{error}");
    }
}
