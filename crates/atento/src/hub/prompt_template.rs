//! `prompt_template.json`, a file of this project's own: how a prompt is written for a model that was taught to answer.

use super::json::{Keys, pretty, read_object};
use super::{Error, atomic};
use crate::data::tokens::instruct::PromptTemplate;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

const FILE: &str = "prompt_template.json";
const KEY: &str = "prompt_template";

/// The template in a model's directory, where there is one.
///
/// # Errors
/// The file is no JSON object, or its template cannot be meant.
pub fn read(root: &Path) -> Result<Option<PromptTemplate>, Error> {
    let path = root.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let object = read_object(&path)?;
    let keys = Keys::new(&path, &object);
    let text: String = keys.required(KEY)?;
    let refuse = |_| keys.wrong(KEY, "a text with a place for the prompt, such as \"{prompt}\\n\"");
    PromptTemplate::parse(&text).map(Some).map_err(refuse)
}

/// Writes the template into a model's directory, which is made if it is not there.
///
/// # Errors
/// The file cannot be written.
pub fn write(root: &Path, template: &PromptTemplate) -> Result<(), Error> {
    fs::create_dir_all(root).map_err(Error::io(root, "create the directory"))?;
    let object = Map::from_iter([(KEY.to_owned(), Value::from(template.text()))]);
    atomic::atomic_write(&root.join(FILE), &pretty(&object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_comes_back_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let template = PromptTemplate::parse("Q: {question}\n{context}\n").unwrap();
        write(dir.path(), &template).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(template));
        fs::write(dir.path().join(FILE), r#"{"prompt_template": "Q:"}"#).unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("prompt_template.json: key `prompt_template` is \"Q:\", expected"), "{message}");
    }
}
