//! Typed keys of a JSON object, with errors that name file, key, value found and value expected.

use super::Error;
use super::nearest::hint;
use crate::{encoding, json};
use serde_json::{Map, Value};
use std::path::Path;

/// Reads a file that must hold one JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let bytes = encoding::read_text(path).map_err(Error::io(path, "read"))?;
    let invalid = |detail: String| Error::Json { path: path.to_path_buf(), detail };
    match json::parse(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("the file must hold one object, {…}".into())),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// The bytes of a JSON file as people like to read it.
pub(crate) fn pretty(object: &Map<String, Value>) -> Vec<u8> {
    let mut text = format!("{:#}", Value::Object(object.clone()));
    text.push('\n');
    text.into_bytes()
}

/// A number as it is written, not as its nearest `f32` reads in `f64`: 0.1, not 0.10000000149011612.
pub(crate) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// An object together with the file it came from.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    path: &'a Path,
    object: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(path: &'a Path, object: &'a Map<String, Value>) -> Self {
        Self { path, object }
    }

    /// The value of a key; absent and `null` are the same.
    pub(crate) fn optional<T: FromJson>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match T::from_json(value) {
                Some(typed) => Ok(Some(typed)),
                None => Err(self.wrong(key, T::EXPECTED)),
            },
        }
    }

    /// Ids of special tokens, one or several. A negative one stands for none, as in `"pad_token_id": -1`.
    pub(crate) fn special(&self, key: &str) -> Result<Option<Vec<u32>>, Error> {
        let ids: Option<Vec<i64>> = self.optional(key)?;
        Ok(ids.map(|ids| ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()))
    }

    /// The id of a special token; nothing where it is negative.
    pub(crate) fn special_one(&self, key: &str) -> Result<Option<u32>, Error> {
        match self.special(key)?.as_deref() {
            None | Some([]) => Ok(None),
            Some([token]) => Ok(Some(*token)),
            Some(_) => Err(self.wrong(key, u32::EXPECTED)),
        }
    }

    pub(crate) fn required<T: FromJson>(&self, key: &str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| Error::MissingKey {
            path: self.path.to_path_buf(),
            key: key.into(),
            hint: hint(key, self.object.keys().map(String::as_str)),
        })
    }

    pub(crate) fn or<T: FromJson>(&self, key: &str, default: T) -> Result<T, Error> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The error that the value of `key` is not what it should be.
    pub(crate) fn wrong(&self, key: &str, expected: impl Into<String>) -> Error {
        let value = self.object.get(key).map_or("absent".into(), Value::to_string);
        let found = match value.char_indices().nth(100) {
            Some((cut, _)) => format!("{}…", &value[..cut]),
            None => value,
        };
        Error::WrongValue { path: self.path.to_path_buf(), key: key.into(), found, expected: expected.into() }
    }
}

/// A type that a JSON value can be, without conversion from other types.
pub(crate) trait FromJson: Sized {
    const EXPECTED: &'static str;
    fn from_json(value: &Value) -> Option<Self>;
}

impl FromJson for usize {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl FromJson for u32 {
    const EXPECTED: &'static str = "a token id (a whole number, 0 or more)";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl FromJson for f32 {
    const EXPECTED: &'static str = "a number";
    fn from_json(value: &Value) -> Option<Self> {
        Some(value.as_f64()? as f32)
    }
}

impl FromJson for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl FromJson for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromJson for String {
    const EXPECTED: &'static str = "a string";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(Into::into)
    }
}

/// One text or several: `"a"` and `["a"]` are the same.
impl FromJson for Vec<String> {
    const EXPECTED: &'static str = "a text or a list of texts";
    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(String::from_json).collect(),
            single => Some(vec![String::from_json(single)?]),
        }
    }
}

/// One token or several: `2` and `[2]` are the same.
impl FromJson for Vec<i64> {
    const EXPECTED: &'static str = "a token id or a list of token ids";
    fn from_json(value: &Value) -> Option<Self> {
        let id = |value: &Value| value.as_i64().filter(|&id| id <= i64::from(u32::MAX));
        match value {
            Value::Array(items) => items.iter().map(id).collect(),
            single => Some(vec![id(single)?]),
        }
    }
}

impl FromJson for Vec<Vec<i64>> {
    const EXPECTED: &'static str = "a list of lists of token ids";
    fn from_json(value: &Value) -> Option<Self> {
        let list = |item: &Value| item.is_array().then(|| Vec::from_json(item)).flatten();
        value.as_array()?.iter().map(list).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    #[test]
    fn a_wrong_or_missing_value_is_named_with_what_was_expected() {
        let Value::Object(object) = json!({"d_modle": 4, "dropout": "0.1", "eos": [1, 2], "bos": null}) else {
            unreachable!()
        };
        let keys = Keys::new(Path::new("config.json"), &object);
        let missing = keys.required::<usize>("d_model").unwrap_err().to_string();
        assert_eq!(missing, "config.json: key `d_model` is missing; the nearest there is `d_modle`");
        let wrong = keys.or("dropout", 0.0f32).unwrap_err().to_string();
        assert_eq!(wrong, "config.json: key `dropout` is \"0.1\", expected a number");
        assert_eq!(keys.optional::<Vec<i64>>("eos").unwrap(), Some(vec![1, 2]));
        assert_eq!(keys.optional::<u32>("bos").unwrap(), None);
        assert!(keys.optional::<Vec<Vec<i64>>>("eos").is_err());
    }

    #[test]
    fn a_file_that_is_not_an_object_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in ["", "[]", "{\"a\": NaN}", "\u{0}", "{\"a\": 1, \"a\": 2}"] {
            fs::write(&path, text).unwrap();
            let message = read_object(&path).unwrap_err().to_string();
            assert!(message.contains("config.json: not valid JSON: "), "{message}");
        }
        let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&path, utf16).unwrap();
        assert!(read_object(&path).unwrap_err().to_string().contains("the file is UTF-16 text, expected UTF-8"));
        fs::write(&path, "\u{feff}{\"a\": 1}").unwrap();
        assert_eq!(read_object(&path).unwrap()["a"], 1);
    }
}
