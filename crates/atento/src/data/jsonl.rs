//! Pairs and texts from lines of JSON objects.

use std::path::Path;

use serde_json::Value;

use super::Error;
use super::lines::LineReader;
use super::parallel::RawPair;

/// The next pair of a file; blank lines are skipped.
pub(super) fn next(lines: &mut LineReader, source_key: &str, target_key: &str) -> Result<Option<RawPair>, Error> {
    let Some(value) = next_object(lines)? else {
        return Ok(None);
    };
    let (path, line) = (lines.path(), lines.line());
    let source = text_at(&value, source_key, path, line)?;
    let target = text_at(&value, target_key, path, line)?;
    Ok(Some(RawPair { line: line - 1, source, target }))
}

/// The text at a key of the next object of a file; blank lines are skipped.
pub(super) fn next_text(lines: &mut LineReader, key: &str) -> Result<Option<String>, Error> {
    next_object(lines)?.map(|value| text_at(&value, key, lines.path(), lines.line())).transpose()
}

/// The texts at all keys of the next object of a file; blank lines are skipped.
pub(super) fn next_texts(lines: &mut LineReader, keys: &[String]) -> Result<Option<Vec<String>>, Error> {
    let Some(value) = next_object(lines)? else { return Ok(None) };
    keys.iter().map(|key| text_at(&value, key, lines.path(), lines.line())).collect::<Result<_, _>>().map(Some)
}

fn next_object(lines: &mut LineReader) -> Result<Option<Value>, Error> {
    loop {
        let Some(text) = lines.next().transpose()? else {
            return Ok(None);
        };
        if text.trim().is_empty() {
            continue;
        }
        let json = |detail: String| Error::Json { path: lines.path().into(), line: lines.line(), detail };
        let value: Value = serde_json::from_str(&text).map_err(|e| json(e.to_string()))?;
        return match value.is_object() {
            true => Ok(Some(value)),
            false => Err(json(format!("found {}", type_name(&value)))),
        };
    }
}

/// The string at a key; the key as a whole is tried before its dots are taken as steps.
fn text_at(object: &Value, key: &str, path: &Path, line: u64) -> Result<String, Error> {
    let found = object.get(key).or_else(|| key.split('.').try_fold(object, |value, step| value.get(step)));
    match found {
        Some(Value::String(text)) => Ok(text.clone()),
        other => {
            let problem = other.map_or("no value".into(), |value| format!("{} instead of a string", type_name(value)));
            let hint = if other.is_none() { nearest_key(object, key) } else { String::new() };
            Err(Error::Key { path: path.into(), line, key: key.into(), problem, hint })
        }
    }
}

fn nearest_key(object: &Value, key: &str) -> String {
    let mut keys = Vec::new();
    dotted_keys(object, "", &mut keys);
    let nearest = keys.into_iter().min_by_key(|other| strsim::damerau_levenshtein(other, key));
    nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?"))
}

fn dotted_keys(value: &Value, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let key = format!("{prefix}{key}");
        match value {
            Value::String(_) => keys.push(key),
            _ => dotted_keys(value, &format!("{key}."), keys),
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
