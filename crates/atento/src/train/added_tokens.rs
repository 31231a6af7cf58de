//! Tokens that a recipe adds to the tokenizer of the model that is trained further, and their rows in the model.

use super::Error;
use crate::families::Start;
use crate::hub::Kept;
use crate::models::grow::grow;
use crate::pipelines::Net;
use crate::text::Tokenizer;

const KEY: &str = "tokenizer.add_tokens";

/// Adds tokens to a tokenizer.
///
/// # Errors
/// A token is empty, or named twice.
pub(crate) fn add_to_tokenizer(tokenizer: &mut Tokenizer, tokens: &[String]) -> Result<(), Error> {
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

/// Adds tokens to a model and its tokenizer; says what was done.
///
/// # Errors
/// As [`add_to_tokenizer`].
pub(crate) fn add_to_model<M: Net>(
    model: &mut M,
    tokenizer: &mut Tokenizer,
    kept: &mut Kept,
    tokens: &[String],
) -> Result<Option<String>, Error> {
    let used = tokenizer.vocab_size();
    add_to_tokenizer(tokenizer, tokens)?;
    if tokenizer.vocab_size() == used {
        return Ok(None);
    }
    let before = model.config().sizes().vocab_size;
    let rows = before.max(tokenizer.vocab_size());
    let config = model.config().with_rows(rows);
    let build = |start| M::build(&config, start).expect("the same kind of model with more rows");
    if model.params().is_outline() {
        *model = build(Start::Outline);
        return Ok(Some(note(tokenizer, used, rows)));
    }
    let mut grown = build(Start::Unloaded);
    grow(model.params(), grown.params_mut(), used.min(before));
    *model = grown;
    for key in ["vocab_size", "decoder_vocab_size"] {
        if kept.config().contains_key(key) {
            kept.set(key, rows.into());
        }
    }
    Ok(Some(note(tokenizer, used, rows)))
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
