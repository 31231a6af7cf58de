//! `prompt_template.json`, a file of this project's own: how prompts and completions are written for a model that was
//! taught to answer.

use super::json::{Keys, pretty, read_object};
use super::{Error, atomic};
use crate::data::tokens::instruct::{CompletionTemplate, PromptTemplate, Templates};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

const FILE: &str = "prompt_template.json";
const PROMPT: &str = "prompt_template";
const COMPLETION: &str = "completion_template";

/// The templates in a model's directory, where there are some.
///
/// # Errors
/// The file is no JSON object, or a template cannot be meant.
pub fn read(root: &Path) -> Result<Option<Templates>, Error> {
    let path = root.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let object = read_object(&path)?;
    let keys = Keys::new(&path, &object);
    let (prompt, completion): (String, Option<String>) = (keys.required(PROMPT)?, keys.optional(COMPLETION)?);
    let prompt = PromptTemplate::parse(&prompt)
        .map_err(|_| keys.wrong(PROMPT, "a text with a place for the prompt, such as \"{prompt}\\n\""))?;
    let completion = completion.map_or(Ok(CompletionTemplate::default()), |text| CompletionTemplate::parse(&text));
    let completion = completion
        .map_err(|_| keys.wrong(COMPLETION, "a text with a place for the completion, such as \"{completion}<end>\""))?;
    Ok(Some(Templates { prompt, completion }))
}

/// Writes the templates into a model's directory, which is made if it is not there.
///
/// # Errors
/// The file cannot be written.
pub fn write(root: &Path, templates: &Templates) -> Result<(), Error> {
    fs::create_dir_all(root).map_err(Error::io(root, "create the directory"))?;
    let texts = [(PROMPT, templates.prompt.text()), (COMPLETION, templates.completion.text())];
    let object = Map::from_iter(texts.map(|(key, text)| (key.to_owned(), Value::from(text))));
    atomic::atomic_write(&root.join(FILE), &pretty(&object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_back_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let prompt = PromptTemplate::parse("Q: {question}\n{context}\n").unwrap();
        let templates = Templates { prompt, completion: CompletionTemplate::parse(" {completion}").unwrap() };
        write(dir.path(), &templates).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(templates));
        let message = |text: &str| {
            fs::write(dir.path().join(FILE), text).unwrap();
            read(dir.path()).unwrap_err().to_string()
        };
        let found = message(r#"{"prompt_template": "Q:"}"#);
        assert!(found.contains("prompt_template.json: key `prompt_template` is \"Q:\", expected"), "{found}");
        let found = message(r#"{"prompt_template": "{prompt}", "completion_template": "x"}"#);
        assert!(found.contains("prompt_template.json: key `completion_template` is \"x\", expected"), "{found}");
        fs::write(dir.path().join(FILE), r#"{"prompt_template": "{prompt}"}"#).unwrap();
        assert_eq!(read(dir.path()).unwrap().unwrap().completion, CompletionTemplate::default());
    }
}
