//! The files that a recipe names: what they are, and what is told of what they lack.

use std::sync::Arc;

use crate::data::tokens;
use crate::data::tokens::instruct::template::PROMPT;
use crate::data::tokens::instruct::{InstructOptions, InstructSet, InstructSource};
use crate::data::{self, BadLines, Columns, OnBadLine};
use crate::text::Tokenizer;
use crate::train::Error;
use crate::train::recipe::FileSettings;

/// Where the files of a part of the data are; `None` if they are of no single kind, which loading a recipe refuses.
pub(super) fn source(files: &FileSettings) -> Option<InstructSource> {
    let named = |key: &Option<String>, usual: &str| key.clone().unwrap_or_else(|| usual.to_owned());
    let (prompt, completion) = (named(&files.prompt_key, "prompt"), named(&files.completion_key, "completion"));
    match (files.csv.clone(), files.jsonl.clone(), files.tsv.clone()) {
        (Some(path), None, None) => {
            Some(InstructSource::Csv { path, prompt_column: prompt, completion_column: completion })
        }
        (None, Some(path), None) if files.keys().is_empty() && InstructSource::is_conversations(&path) => {
            Some(InstructSource::Conversations { path })
        }
        (None, Some(path), None) => {
            Some(InstructSource::Jsonl { path, prompt_key: prompt, completion_key: completion })
        }
        (None, None, Some(path)) => {
            let keys = [&files.prompt_key, &files.completion_key].map(Option::as_deref);
            let columns = Columns::chosen(keys[0], keys[1], ["prompt", "completion"]);
            Some(InstructSource::Tsv { path, columns })
        }
        _ => None,
    }
}

/// Reads a part of the data. A column that is missing is told with the settings that name it, an example that is too long
/// with those that help.
pub(super) fn open(
    key: &'static str,
    files: &FileSettings,
    tokenizer: &Arc<Tokenizer>,
    options: InstructOptions,
    on_bad_line: OnBadLine,
    positions: usize,
) -> Result<InstructSet, Error> {
    let source = source(files).ok_or_else(no_data)?;
    let block_size = options.block_size;
    let (mut bad, mut is_advised) = (BadLines::default(), false);
    let found = InstructSet::open_past(&source, Arc::clone(tokenizer), options, &mut |fault| {
        if !fault.is_of_bad_line() {
            return Err(fault);
        }
        if on_bad_line == OnBadLine::Error {
            // The advice is the same for all lines.
            match advice_on(files, &fault).filter(|_| !is_advised) {
                Some(advice) => bad.add(&format!("{fault}; {advice}")),
                None => bad.add(&fault),
            }
            is_advised |= advice_on(files, &fault).is_some();
        }
        Ok(())
    });
    if matches!(found, Ok(_) | Err(tokens::Error::NothingLeft { .. }))
        && let Some(bad) = bad.error(source.to_string())
    {
        return match is_advised {
            true => Err(Error::Setting { key, problem: bad.to_string() }),
            false => Err(tokens::Error::from(bad).into()),
        };
    }
    found.map_err(|error| match error {
        tokens::Error::TooLong { place, tokens, limit } => {
            let room = match block_size < positions {
                true => format!("`data.block_size` {block_size} leaves room for {limit}: raise it, or set"),
                false => format!("the model has {positions} positions, room for {limit}: set"),
            };
            let problem = format!(
                "{place}: the example has {tokens} tokens; {room} data.on_truncate = \"warn\" (cut) or \"drop\" (leave out)"
            );
            Error::Setting { key, problem }
        }
        error => with_key(key, files, error),
    })
}

/// Tells a key or a column that is missing with the setting that names it.
pub(super) fn with_key(key: &'static str, files: &FileSettings, error: tokens::Error) -> Error {
    match advice_on(files, &error) {
        Some(advice) => Error::Setting { key, problem: format!("{error}; {advice}") },
        None => error.into(),
    }
}

/// The setting that names a key or a column that is missing: one of the two keys, or the prompt's template.
fn advice_on(files: &FileSettings, error: &tokens::Error) -> Option<String> {
    let missing = match error {
        tokens::Error::Column { column, .. } => column,
        tokens::Error::Data(data::Error::Key { key, .. }) => key,
        _ => return None,
    };
    let is = |key: &Option<String>, usual: &str| key.as_deref().unwrap_or(usual) == missing;
    Some(match is(&files.prompt_key, PROMPT) || is(&files.completion_key, "completion") {
        true => "name the two with `prompt_key` and `completion_key`".to_owned(),
        false => format!("`data.prompt_template` asks for {{{missing}}}: name there what the data have"),
    })
}

pub(super) fn no_data() -> Error {
    let problem = "no training data: name a csv, jsonl or tsv file of prompts and completions".into();
    Error::Setting { key: "data.train", problem }
}
