//! What a directory of sentence-transformers (Reimers & Gurevych 2019) says of vectors of texts.
//!
//! ```text
//! modules.json                        the steps: Transformer, Pooling, perhaps Normalize
//! 1_Pooling/config.json               which pooling
//! sentence_bert_config.json           the longest text
//! config_sentence_transformers.json   prompts, and which of them is used where none is named
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Error;
use super::json::{Keys, read_object};
use crate::pipelines::texts::embed::Pooling;
use crate::{encoding, json};

const MODULES: &str = "modules.json";
const SETTINGS: [&str; 6] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_electra_config.json",
];
const PROMPTS: &str = "config_sentence_transformers.json";

/// The poolings that can be taken, by their keys.
const POOLINGS: [(&str, Pooling); 4] = [
    ("pooling_mode_cls_token", Pooling::Cls),
    ("pooling_mode_mean_tokens", Pooling::Mean),
    ("pooling_mode_max_tokens", Pooling::Max),
    ("pooling_mode_lasttoken", Pooling::Last),
];

/// How a directory of sentence-transformers makes vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceSettings {
    /// What a vector is made of.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Whether texts are turned to lower case first.
    pub lowercase: bool,
    /// The longest text in tokens; longer ones are cut.
    pub max_length: Option<usize>,
    /// Texts that are set before others, by their names.
    pub prompts: BTreeMap<String, String>,
    /// The prompt that is used where none is named.
    pub default_prompt: Option<String>,
}

/// The names of the files that say how a directory makes vectors, those in folders with a `/`; none of a directory that is not one
/// of sentence-transformers. What is in the folder of a step behind the model belongs to it, whether it is known here or not.
pub(super) fn files(dir: &Path) -> Vec<String> {
    let Ok(steps) = steps(&dir.join(MODULES)) else { return Vec::new() };
    let mut names: Vec<String> = [MODULES, PROMPTS].into_iter().chain(SETTINGS).map(str::to_owned).collect();
    let folders =
        steps.iter().skip(1).filter_map(|step| step.get("path")?.as_str()).filter(|path| is_folder_name(path));
    for folder in folders {
        let entries = std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        let mut inside: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        inside.sort_unstable();
        names.extend(inside.into_iter().map(|name| format!("{folder}/{name}")));
    }
    names
}

/// Whether a path names one folder, and nothing outside.
fn is_folder_name(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('.') && !path.contains(['/', '\\'])
}

/// What a directory says of vectors, if it is one of sentence-transformers.
///
/// # Errors
/// A file that is no JSON, or a step or a pooling that is not here.
pub fn read(dir: &Path) -> Result<Option<SentenceSettings>, Error> {
    let path = dir.join(MODULES);
    if !path.exists() {
        return Ok(None);
    }
    let mut settings = SentenceSettings {
        pooling: Pooling::Mean,
        normalize: false,
        lowercase: false,
        max_length: None,
        prompts: BTreeMap::new(),
        default_prompt: None,
    };
    let steps = steps(&path)?;
    for (number, step) in steps.iter().enumerate() {
        let keys = Keys::new(&path, step);
        let kind: String = keys.required("type")?;
        let at: String = keys.or("path", String::new())?;
        match (number, kind.rsplit('.').next().unwrap_or("")) {
            (0, "Transformer") => {}
            (1, "Pooling") => settings.pooling = pooling(&dir.join(at).join("config.json"))?,
            (2, "Normalize") => settings.normalize = true,
            _ => return Err(keys.wrong("type", "a Transformer, a Pooling and perhaps a Normalize, in this order")),
        }
    }
    if steps.len() < 2 {
        let detail = format!("{} steps, expected a Transformer and a Pooling", steps.len());
        return Err(Error::Json { path, detail });
    }
    if let Some(path) = SETTINGS.map(|name| dir.join(name)).into_iter().find(|path| path.exists()) {
        let object = read_object(&path)?;
        let keys = Keys::new(&path, &object);
        settings.max_length = keys.optional("max_seq_length")?;
        settings.lowercase = keys.or("do_lower_case", false)?;
    }
    read_prompts(&dir.join(PROMPTS), &mut settings)?;
    Ok(Some(settings))
}

/// The steps of a modules.json.
fn steps(path: &Path) -> Result<Vec<Map<String, Value>>, Error> {
    let bytes = encoding::read_text(path).map_err(Error::io(path, "read"))?;
    let invalid = |detail: String| Error::Json { path: PathBuf::from(path), detail };
    let value = json::parse(&bytes).map_err(|error| invalid(error.to_string()))?;
    let steps = value.as_array().map(|steps| steps.iter().map(|step| step.as_object().cloned()).collect());
    steps.flatten().ok_or_else(|| invalid("expected a list of objects, the steps of the model".into()))
}

fn pooling(path: &Path) -> Result<Pooling, Error> {
    let object = read_object(path)?;
    let keys = Keys::new(path, &object);
    if !keys.or("include_prompt", true)? {
        return Err(keys.wrong("include_prompt", "true: a mean without the tokens of the prompt is not supported"));
    }
    let mut wanted = Vec::new();
    for key in object.keys().filter(|key| key.starts_with("pooling_mode_")) {
        if keys.or(key, false)? {
            wanted.push(key.as_str());
        }
    }
    let known = POOLINGS.map(|(key, _)| key).join(", ");
    match wanted[..] {
        [key] => POOLINGS
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, pooling)| *pooling)
            .ok_or_else(|| keys.wrong(key, format!("false: the poolings here are {known}"))),
        [] => Err(keys.wrong("pooling_mode_mean_tokens", format!("true, or one of {known}"))),
        [_, second, ..] => Err(keys.wrong(second, "false: only one pooling can be taken")),
    }
}

fn read_prompts(path: &Path, settings: &mut SentenceSettings) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let object = read_object(path)?;
    let keys = Keys::new(path, &object);
    if let Some(prompts) = object.get("prompts").filter(|prompts| !prompts.is_null()) {
        let prompts = prompts.as_object().ok_or_else(|| keys.wrong("prompts", "an object: {\"name\": \"text\", …}"))?;
        for (name, prompt) in prompts {
            let prompt = prompt.as_str().ok_or_else(|| keys.wrong("prompts", "texts only"))?;
            settings.prompts.insert(name.clone(), prompt.to_owned());
        }
    }
    let default: Option<String> = keys.optional("default_prompt_name")?;
    if let Some(name) = &default {
        let found = settings.prompts.get(name);
        settings.default_prompt =
            Some(found.ok_or_else(|| keys.wrong("default_prompt_name", "the name of one of `prompts`"))?.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn directory(pooling: Value, prompts: Value) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let module =
            |kind: &str, path: &str| json!({"type": format!("sentence_transformers.models.{kind}"), "path": path});
        let modules =
            json!([module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize")]);
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        for (name, value) in [
            (MODULES, modules),
            ("1_Pooling/config.json", pooling),
            ("sentence_bert_config.json", json!({"max_seq_length": 256, "do_lower_case": false})),
            (PROMPTS, prompts),
        ] {
            std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        dir
    }

    #[test]
    fn a_directory_says_how_its_vectors_are_made() {
        let pooling =
            json!({"word_embedding_dimension": 8, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
        let prompts = json!({"prompts": {"query": "search: "}, "default_prompt_name": "query"});
        let found = read(directory(pooling, prompts).path()).unwrap().unwrap();
        assert_eq!((found.pooling, found.normalize, found.max_length), (Pooling::Cls, true, Some(256)));
        assert_eq!(found.default_prompt.as_deref(), Some("search: "));
        assert_eq!(read(tempfile::tempdir().unwrap().path()).unwrap(), None);
    }

    #[test]
    fn steps_are_those_that_are_taken_and_in_their_order() {
        let mean = json!({"pooling_mode_mean_tokens": true});
        let refused = |kinds: &[&str]| {
            let dir = directory(mean.clone(), json!({}));
            let step =
                |kind: &&str| json!({"type": format!("sentence_transformers.models.{kind}"), "path": "1_Pooling"});
            let steps: Vec<Value> = kinds.iter().map(step).collect();
            std::fs::write(dir.path().join(MODULES), json!(steps).to_string()).unwrap();
            read(dir.path()).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(refused(&["Transformer", "Pooling"]).is_ok());
        for kinds in [
            &["Transformer", "Normalize", "Pooling"][..],
            &["Transformer", "Pooling", "Pooling"],
            &["Transformer", "Pooling", "Dense"],
            &["Pooling"],
        ] {
            let message = refused(kinds).unwrap_err();
            assert!(message.contains("a Transformer, a Pooling and perhaps a Normalize, in this order"), "{message}");
        }
        assert!(refused(&["Transformer"]).unwrap_err().contains("1 steps, expected a Transformer and a Pooling"));
    }

    #[test]
    fn what_is_not_here_is_named() {
        let refused =
            |pooling: Value, prompts: Value| read(directory(pooling, prompts).path()).unwrap_err().to_string();
        let message = refused(json!({"pooling_mode_weightedmean_tokens": true}), json!({}));
        assert!(
            message.contains("`pooling_mode_weightedmean_tokens` is true, expected false: the poolings"),
            "{message}"
        );
        let both = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true});
        assert!(refused(both, json!({})).contains("only one pooling"));
        let mean = json!({"pooling_mode_mean_tokens": true});
        let message = refused(mean, json!({"default_prompt_name": "query"}));
        assert!(message.contains("`default_prompt_name` is \"query\", expected the name of one"), "{message}");
    }
}
