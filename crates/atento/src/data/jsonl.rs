//! Pairs and texts from lines of JSON objects.

use std::path::Path;

use serde_json::Value;

use super::Error;
use super::lines::LineReader;
use super::parallel::RawPair;
use crate::{json, messages};

/// The next pair of a file; blank lines are skipped.
pub(super) fn next(lines: &mut LineReader, source_key: &str, target_key: &str) -> Result<Option<RawPair>, Error> {
    let Some(mut texts) = next_texts(lines, &[source_key, target_key])? else { return Ok(None) };
    let (target, source) = (texts.pop().unwrap_or_default(), texts.pop().unwrap_or_default());
    Ok(Some(RawPair { line: lines.line() - 1, source, target, too_long: false }))
}

/// The texts at all keys of the next object of a file; blank lines are skipped.
pub(super) fn next_texts<S: AsRef<str>>(lines: &mut LineReader, keys: &[S]) -> Result<Option<Vec<String>>, Error> {
    let Some(value) = next_object(lines)? else { return Ok(None) };
    let text = |key: &S| text_at(&value, key.as_ref(), lines.path(), lines.line());
    keys.iter().map(text).collect::<Result<_, _>>().map(Some)
}

/// The text at a key of the next object of a file; blank lines are skipped.
pub(super) fn next_text(lines: &mut LineReader, key: &str) -> Result<Option<String>, Error> {
    next_object(lines)?.map(|value| text_at(&value, key, lines.path(), lines.line())).transpose()
}

/// What is wrong with one line, whose number the message has already.
fn in_line(error: &serde_json::Error) -> String {
    let message = error.to_string().replace(" at line 1 column ", " at column ");
    let half = ["hex escape", "surrogate"].iter().any(|words| message.contains(words));
    let hint = " (a \\u escape that is half of a character, a lone surrogate, is no text)";
    message + if half { hint } else { "" }
}

pub(super) fn next_object(lines: &mut LineReader) -> Result<Option<Value>, Error> {
    loop {
        let Some(text) = lines.next().transpose()? else {
            return Ok(None);
        };
        if text.trim().is_empty() {
            lines.pass_blank();
            continue;
        }
        let fault = |detail: String| Error::Json { path: lines.path().into(), line: lines.line(), detail };
        let value = json::parse(text.as_bytes()).map_err(|e| fault(in_line(&e)))?;
        return match value.is_object() {
            true => Ok(Some(value)),
            false => Err(fault(format!("found {}", type_name(&value)))),
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
    let keys = keys.iter().map(String::as_str);
    match messages::did_you_mean(key, keys.clone()) {
        hint if !hint.is_empty() => hint,
        _ if keys.len() == 0 => "; it has no key with text".to_owned(),
        _ => format!("; its keys with text are {}", messages::list(keys)),
    }
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
