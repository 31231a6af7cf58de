//! Special tokens that configurations name and the model's table does not have: GPT2Config's own 50256 beside a small
//! vocabulary, or a padding token of −1. Such a token can never occur, which is worth a note and hinders nothing.

use serde_json::{Map, Value};
use std::path::Path;

/// Keys of config.json and of generation_config.json that name tokens: one, several, or sequences of them.
const KEYS: [&str; 9] = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "suppress_tokens",
];

/// A sentence for each key of the file at `path` that names a token without a row in a table of `rows`.
pub(super) fn notes(path: &Path, object: &Map<String, Value>, rows: usize) -> Vec<String> {
    let note = |key: &&str| {
        let id = first_absent(object.get(*key)?, rows)?;
        let path = path.display();
        Some(format!("{path}: `{key}` names token {id}, but the model's table has {rows} rows: it can never occur"))
    };
    KEYS.iter().filter_map(note).collect()
}

fn first_absent(value: &Value, rows: usize) -> Option<i64> {
    match value {
        Value::Array(items) => items.iter().find_map(|item| first_absent(item, rows)),
        value => value.as_i64().filter(|&id| usize::try_from(id).map_or(true, |id| id >= rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_key_with_a_token_beyond_the_table_is_told_once() {
        let Value::Object(object) = json!({
            "eos_token_id": [1, 50256], "pad_token_id": -1, "bad_words_ids": [[0], [3, 900]], "bos_token_id": null,
            "suppress_tokens": [699], "n_head": 9000
        }) else {
            unreachable!()
        };
        let told = notes(Path::new("m/config.json"), &object, 700);
        assert_eq!(told.len(), 3);
        assert_eq!(
            told[0],
            "m/config.json: `eos_token_id` names token 50256, but the model's table has 700 rows: it can never occur"
        );
        assert!(
            told[1].contains("`pad_token_id` names token -1") && told[2].contains("`bad_words_ids` names token 900")
        );
    }
}
