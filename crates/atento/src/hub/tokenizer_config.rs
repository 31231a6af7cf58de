//! tokenizer_config.json, as transformers 5 writes it for a tokenizer that tokenizer.json describes whole.

use serde_json::{Map, Value, json};

/// The special tokens of a tokenizer, by their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// The longest text in tokens, the model's positions.
    pub model_max_length: usize,
    /// The padding token, where there is one.
    pub pad_token: Option<String>,
    /// The token that ends a text, where there is one.
    pub eos_token: Option<String>,
    /// The token that begins a text, where there is one.
    pub bos_token: Option<String>,
    /// The token of what the vocabulary lacks, where there is one.
    pub unk_token: Option<String>,
    /// The token that begins the texts of an encoder, where there is one.
    pub cls_token: Option<String>,
    /// The token that ends a text of an encoder or stands between two, where there is one.
    pub sep_token: Option<String>,
    /// The token that stands for a masked word, where there is one.
    pub mask_token: Option<String>,
    /// Whether the model tells first texts from second ones, and must be told.
    pub has_token_types: bool,
}

impl TokenizerConfig {
    /// The object that tokenizer_config.json is to hold.
    pub fn to_json(&self) -> Map<String, Value> {
        let special = [
            ("bos_token", self.bos_token.as_ref()),
            ("eos_token", self.eos_token.as_ref()),
            ("pad_token", self.pad_token.as_ref()),
            ("unk_token", self.unk_token.as_ref()),
            ("cls_token", self.cls_token.as_ref()),
            ("sep_token", self.sep_token.as_ref()),
            ("mask_token", self.mask_token.as_ref()),
        ];
        let special = special.into_iter().filter_map(|(key, token)| Some((key, json!(token?))));
        let fixed = [
            ("backend", json!("tokenizers")),
            ("model_max_length", json!(self.model_max_length)),
            ("tokenizer_class", json!("TokenizersBackend")),
            // The decoder of tokenizer.json is the whole truth: no spaces are tidied away after it.
            ("clean_up_tokenization_spaces", json!(false)),
        ];
        let inputs = ["input_ids", "token_type_ids", "attention_mask"];
        let inputs = self.has_token_types.then(|| ("model_input_names", json!(inputs)));
        fixed.into_iter().chain(inputs).chain(special).map(|(key, value)| (key.to_string(), value)).collect()
    }
}
