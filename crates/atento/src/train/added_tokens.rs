//! Tokens that a recipe adds to the tokenizer of the model that is trained further, and their rows in the model.

use super::Error;
use crate::hub::Kept;
use crate::models::grow::grow;
use crate::models::{Gpt2, Translator, TranslatorConfig};
use crate::text::Tokenizer;

const KEY: &str = "tokenizer.add_tokens";

/// Adds tokens to a tokenizer.
///
/// # Errors
/// A token is empty, or named twice.
pub(super) fn add_to_tokenizer(tokenizer: &mut Tokenizer, tokens: &[String]) -> Result<(), Error> {
    for (at, token) in tokens.iter().enumerate() {
        let problem = match token {
            token if token.is_empty() => "it holds an empty token: leave that out".to_owned(),
            token if tokens[..at].contains(token) => format!("it holds {token:?} twice: leave one of the two out"),
            _ => continue,
        };
        return Err(Error::Setting { key: KEY, problem });
    }
    tokenizer.add_tokens(tokens);
    Ok(())
}

/// Adds tokens to a language model; says what was done.
///
/// # Errors
/// As [`add_to_tokenizer`].
pub(super) fn add_to_language_model(
    model: &mut Gpt2,
    tokenizer: &mut Tokenizer,
    kept: &mut Kept,
    tokens: &[String],
) -> Result<Option<String>, Error> {
    let used = tokenizer.vocab_size();
    add_to_tokenizer(tokenizer, tokens)?;
    if tokenizer.vocab_size() == used {
        return Ok(None);
    }
    let (mut config, rows) = (model.config.clone(), model.config.vocab_size);
    config.vocab_size = rows.max(tokenizer.vocab_size());
    if model.params.is_outline() {
        *model = Gpt2::outline(config);
        return Ok(Some(note(tokenizer, used, model.config.vocab_size)));
    }
    let mut grown = Gpt2::unloaded(config);
    grow(&model.params, &mut grown.params, used.min(rows));
    *model = grown;
    kept.set("vocab_size", model.config.vocab_size.into());
    Ok(Some(note(tokenizer, used, model.config.vocab_size)))
}

/// Adds tokens to a translator; says what was done.
///
/// # Errors
/// As [`add_to_tokenizer`].
pub(super) fn add_to_translator(
    model: &mut Translator,
    tokenizer: &mut Tokenizer,
    kept: &mut Kept,
    tokens: &[String],
) -> Result<Option<String>, Error> {
    let used = tokenizer.vocab_size();
    add_to_tokenizer(tokenizer, tokens)?;
    if tokenizer.vocab_size() == used {
        return Ok(None);
    }
    let filled = used.min(model.vocab_size());
    let mut config = model.config();
    let rows = match &mut config {
        TranslatorConfig::Transformer(config) => &mut config.vocab_size,
        TranslatorConfig::Recurrent(config) => &mut config.vocab_size,
    };
    *rows = (*rows).max(tokenizer.vocab_size());
    if model.params().is_outline() {
        *model = Translator::outline(config);
        return Ok(Some(note(tokenizer, used, model.vocab_size())));
    }
    let mut grown = Translator::init(config, 0);
    grow(model.params(), grown.params_mut(), filled);
    *model = grown;
    for key in ["vocab_size", "decoder_vocab_size"] {
        if kept.config().contains_key(key) {
            kept.set(key, model.vocab_size().into());
        }
    }
    Ok(Some(note(tokenizer, used, model.vocab_size())))
}

fn note(tokenizer: &Tokenizer, used: usize, rows: usize) -> String {
    let ids = used..tokenizer.vocab_size();
    let named = |id| Some(format!("{:?} ({id})", tokenizer.id_to_token(id as u32)?));
    let named: Vec<String> = ids.filter_map(named).collect();
    format!(
        "tokens were added: {}; the model's table has {rows} rows, the new ones are the mean of those before",
        named.join(", ")
    )
}
