//! Which tokens have which role: decided by what the files of a model declare, in this order, role by role:
//!
//! ```text
//! generation_config.json    eos_token_id, …       what a search ends at and begins with
//! config.json               eos_token_id, …
//! tokenizer_config.json     eos_token, …          by their text, as a string or as {"content": …}
//! special_tokens_map.json   eos_token, …
//! ```
//!
//! An id without a token, such as −1 or one beyond the vocabulary, declares nothing. Where several tokens end a text, the
//! one that tokenizer_config.json names is taught, if it is among them, else the first. What the files leave open is as the
//! class of an encoder's tokenizer has it (`[CLS]` of a BertTokenizer). Only where no file declares any role and no such
//! class are the usual names of tokens taken, and that is told. A run keeps what was decided in a file of its own
//! (`token_roles.json`), which comes before all.

use super::json::{pretty, read_object};
use super::model_dir::{CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG};
use super::{Error, atomic};
use crate::families;
use crate::text::vocabulary_files::{self, Class};
use crate::text::{Roles, SpecialIds, TargetStart, Tokenizer};
use serde_json::{Map, Value};
use std::path::Path;

/// The roles of a run's tokenizer, beside it.
pub const TOKEN_ROLES: &str = "token_roles.json";
const SPECIAL_MAP: &str = "special_tokens_map.json";

/// What the files beside a tokenizer declare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// The roles.
    pub roles: Roles,
    /// All tokens that end an output.
    pub eos_ids: Vec<u32>,
    /// What the user should know: contradictions, and roles that are a guess.
    pub notes: Vec<String>,
}

/// A tokenizer with the roles that the files of its directory declare: those of a model's directory, of a run's, or those
/// beside a tokenizer.json that is named by itself.
///
/// # Errors
/// A file of the directory is no JSON object.
pub fn declare(mut tokenizer: Tokenizer, root: &Path) -> Result<(Tokenizer, Declared), Error> {
    if let Some(roles) = read_roles(root)? {
        let eos_ids = roles.special.eos.into_iter().collect();
        return Ok((tokenizer.with_roles(roles), Declared { roles, eos_ids, notes: Vec::new() }));
    }
    let files = Files::read(root)?;
    for role in ROLES {
        let named = [&files.tokenizer, &files.map].into_iter().find_map(|file| text_of(file, role));
        if let Some(token) = named.filter(|token| tokenizer.token_to_id(token).is_some()) {
            tokenizer.make_special(token);
        }
    }
    let declared = files.resolve(&tokenizer, &root.display().to_string());
    Ok((tokenizer.with_roles(declared.roles), declared))
}

/// All tokens that end an output, by the files of a directory.
///
/// # Errors
/// A file is no JSON object.
pub fn ends(tokenizer: &Tokenizer, root: &Path) -> Result<Vec<u32>, Error> {
    Ok(Files::read(root)?.resolve(tokenizer, "").eos_ids)
}

/// Loads the tokenizer of a path. What is beside a file named as those of a model are declares its roles.
///
/// # Errors
/// The file is no tokenizer; one beside it is no JSON object.
pub fn load_tokenizer(path: &Path) -> Result<(Tokenizer, Vec<String>), crate::pipelines::LoadError> {
    let tokenizer = Tokenizer::load(path)?;
    let is_part_of_a_model = path.ends_with(TOKENIZER) || vocabulary_files::is_one(path);
    if !is_part_of_a_model {
        let notes = guessed(&tokenizer.special(), &tokenizer, &path.display().to_string());
        return Ok((tokenizer, notes));
    }
    let root = path.parent().unwrap_or(Path::new(""));
    let (tokenizer, declared) = declare(tokenizer, root)?;
    Ok((tokenizer, declared.notes))
}

/// Keeps the roles of a run's tokenizer beside it.
///
/// # Errors
/// The file cannot be written.
pub fn write_roles(root: &Path, roles: &Roles) -> Result<(), Error> {
    let Ok(Value::Object(object)) = serde_json::to_value(roles) else { return Ok(()) };
    atomic::atomic_write(&root.join(TOKEN_ROLES), &pretty(&object))
}

fn read_roles(root: &Path) -> Result<Option<Roles>, Error> {
    let path = root.join(TOKEN_ROLES);
    if !path.exists() {
        return Ok(None);
    }
    let object = Value::Object(read_object(&path)?);
    serde_json::from_value(object).map(Some).map_err(|e| Error::Json { path, detail: e.to_string() })
}

const ROLES: [&str; 7] = ["pad", "eos", "unk", "bos", "cls", "sep", "mask"];

/// The objects of the four files; empty where a file is not there.
struct Files {
    generation: Map<String, Value>,
    config: Map<String, Value>,
    tokenizer: Map<String, Value>,
    map: Map<String, Value>,
}

impl Files {
    fn read(root: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = root.join(name);
            if path.exists() { read_object(&path) } else { Ok(Map::new()) }
        };
        Ok(Self {
            generation: read(GENERATION)?,
            config: read(CONFIG)?,
            tokenizer: read(TOKENIZER_CONFIG)?,
            map: read(SPECIAL_MAP)?,
        })
    }

    fn resolve(&self, tokenizer: &Tokenizer, place: &str) -> Declared {
        let mut notes = Vec::new();
        let eos_ids = self.ends(tokenizer, &mut notes, place);
        let mut role = |name: &'static str| self.role(name, tokenizer, &mut notes, place);
        let mut special = SpecialIds {
            pad: role("pad").or(self.usual("pad", tokenizer)),
            eos: None,
            unk: role("unk").or(tokenizer.unknown_id()).or(self.usual("unk", tokenizer)),
            bos: role("bos").or(self.default_of("bos", tokenizer)),
            cls: role("cls").or(self.usual("cls", tokenizer)),
            sep: role("sep").or(self.usual("sep", tokenizer)),
            mask: role("mask").or(self.usual("mask", tokenizer)),
        };
        special.eos = self.taught_end(tokenizer, &eos_ids);
        let is_declared = ROLES.iter().any(|role| self.declares(role)) || self.encoder_class().is_some();
        if !is_declared {
            special = tokenizer.special();
            notes.extend(guessed(&special, tokenizer, place));
        }
        let eos_ids = if eos_ids.is_empty() { special.eos.into_iter().collect() } else { eos_ids };
        let roles = Roles { special, target_start: self.target_start(tokenizer) };
        Declared { roles, eos_ids, notes }
    }

    /// Whether a file says which token has a role, be it that none has.
    fn declares(&self, role: &str) -> bool {
        let says = |file: &Map<String, Value>, key: &str| file.get(key).is_some_and(|value| !value.is_null());
        let (id, text) = (format!("{role}_token_id"), format!("{role}_token"));
        says(&self.generation, &id) || says(&self.config, &id) || says(&self.tokenizer, &text) || says(&self.map, &text)
    }

    /// The ids that each file declares for a role, the strongest file first; those without a token are left out.
    fn declared(&self, role: &str, tokenizer: &Tokenizer) -> Vec<(&'static str, Vec<u32>)> {
        let by_id = |file: &Map<String, Value>| ids_of(file.get(&format!("{role}_token_id")), tokenizer);
        let by_text = |file| -> Vec<u32> {
            text_of(file, role).and_then(|token| tokenizer.token_to_id(token)).into_iter().collect()
        };
        let found = [
            (GENERATION, by_id(&self.generation)),
            (CONFIG, by_id(&self.config)),
            (TOKENIZER_CONFIG, by_text(&self.tokenizer)),
            (SPECIAL_MAP, by_text(&self.map)),
        ];
        found.into_iter().filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// The token of a role; a file that says otherwise is told.
    fn role(&self, role: &str, tokenizer: &Tokenizer, notes: &mut Vec<String>, place: &str) -> Option<u32> {
        let declared = self.declared(role, tokenizer);
        let (first, ids) = declared.first()?;
        if let Some((file, others)) = declared.iter().find(|(_, others)| others[0] != ids[0]) {
            notes.push(contradiction(place, role, tokenizer, (first, ids[0]), (file, others[0])));
        }
        Some(ids[0])
    }

    /// All tokens that end an output.
    fn ends(&self, tokenizer: &Tokenizer, notes: &mut Vec<String>, place: &str) -> Vec<u32> {
        let declared = self.declared("eos", tokenizer);
        let Some((first, ends)) = declared.first() else {
            return self.default_of("eos", tokenizer).into_iter().collect();
        };
        let other = declared.iter().find(|(_, others)| !others.iter().any(|id| ends.contains(id)));
        if let Some((file, others)) = other {
            notes.push(contradiction(place, "eos", tokenizer, (first, ends[0]), (file, others[0])));
        }
        ends.clone()
    }

    /// The end that training teaches: one that ends an output.
    fn taught_end(&self, tokenizer: &Tokenizer, ends: &[u32]) -> Option<u32> {
        let named = [&self.tokenizer, &self.map].into_iter().find_map(|file| text_of(file, "eos"));
        let named = named.and_then(|token| tokenizer.token_to_id(token)).filter(|id| ends.contains(id));
        named.or(ends.first().copied())
    }

    /// The token that the class of the model has to begin and to end a text, where config.json does not say.
    fn default_of(&self, role: &str, tokenizer: &Tokenizer) -> Option<u32> {
        if self.config.contains_key(&format!("{role}_token_id")) {
            return None;
        }
        let of_model = families::detect(Path::new(CONFIG), &self.config).ok().and_then(|(family, _)| {
            let model_type = self.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
            family.default_id(model_type, role).filter(|&id| tokenizer.id_to_token(id).is_some())
        });
        of_model.or_else(|| self.usual(role, tokenizer))
    }

    /// The class of an encoder's tokenizer. Others leave it to their files which tokens have a role.
    fn encoder_class(&self) -> Option<Class> {
        let class = Class::of(&self.tokenizer, &self.config)?;
        matches!(class, Class::Bert | Class::Roberta | Class::DebertaV2 | Class::XlmRoberta).then_some(class)
    }

    /// The token that the class of an encoder's tokenizer has for a role, where no file names one or says that there is none.
    fn usual(&self, role: &str, tokenizer: &Tokenizer) -> Option<u32> {
        let key = format!("{role}_token");
        if self.tokenizer.contains_key(&key) || self.map.contains_key(&key) {
            return None;
        }
        tokenizer.token_to_id(self.encoder_class()?.usual(role)?)
    }

    fn target_start(&self, tokenizer: &Tokenizer) -> TargetStart {
        let mut files = [&self.generation, &self.config].into_iter();
        let forced = files.find_map(|file| ids_of(file.get("forced_bos_token_id"), tokenizer).first().copied());
        let language = |key: &str| {
            let name = self.tokenizer.get(key)?.as_str()?;
            tokenizer.token_to_id(name).or_else(|| tokenizer.token_to_id(&format!("__{name}__")))
        };
        match (forced, language("src_lang"), language("tgt_lang")) {
            (Some(token), ..) => TargetStart::Forced(token),
            (None, Some(source), Some(target)) => TargetStart::Language { source, target },
            (None, Some(source), None) => TargetStart::Undeclared(source),
            (None, None, _) => TargetStart::AsSource,
        }
    }
}

/// The ids of a value, one or a list, that have a token.
fn ids_of(value: Option<&Value>, tokenizer: &Tokenizer) -> Vec<u32> {
    let id = |value: &Value| {
        let id = u32::try_from(value.as_u64()?).ok()?;
        tokenizer.id_to_token(id).map(|_| id)
    };
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(id).collect(),
        Some(single) => id(single).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The text of the token that a file names for a role.
fn text_of<'f>(file: &'f Map<String, Value>, role: &str) -> Option<&'f str> {
    match file.get(&format!("{role}_token"))? {
        Value::String(text) => Some(text),
        Value::Object(token) => token.get("content")?.as_str(),
        _ => None,
    }
}

fn spelled(tokenizer: &Tokenizer, id: u32) -> String {
    tokenizer.id_to_token(id).map_or_else(|| id.to_string(), |token| format!("{token:?} ({id})"))
}

fn contradiction(
    place: &str,
    role: &str,
    tokenizer: &Tokenizer,
    (used, id): (&str, u32),
    (other, other_id): (&str, u32),
) -> String {
    let (id, other_id) = (spelled(tokenizer, id), spelled(tokenizer, other_id));
    format!("{place}: the {role} token is {id} in {used} and {other_id} in {other}; {used} decides")
}

/// That the roles of a tokenizer are a guess.
fn guessed(special: &SpecialIds, tokenizer: &Tokenizer, place: &str) -> Vec<String> {
    let found =
        special.named().into_iter().filter_map(|(role, id)| Some(format!("{role} {}", spelled(tokenizer, id?))));
    let found: Vec<String> = found.collect();
    match found.len() {
        0 => Vec::new(),
        _ => {
            vec![format!("{place}: no file declares special tokens; taken by their usual names: {}", found.join(", "))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{self, TrainOptions};

    fn tokenizer() -> Tokenizer {
        let lines = ["the cat", "a dog"].map(|line| Ok(line.to_owned()));
        let special = ["<eot>", "<|im_end|>", "en", "__de__"].map(str::to_owned).to_vec();
        let options = TrainOptions { special_tokens: special, ..TrainOptions::characters() };
        Tokenizer::train::<text::Error>(lines, &options).unwrap()
    }

    fn declared(files: &[(&str, &str)]) -> Declared {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        declare(tokenizer(), dir.path()).unwrap().1
    }

    // <pad> 0, </s> 1, <unk> 2, <eot> 3, <|im_end|> 4, en 5, __de__ 6.

    #[test]
    fn a_declared_token_has_its_role_whatever_it_is_called() {
        for files in [
            &[("tokenizer_config.json", r#"{"eos_token": "<eot>", "pad_token": {"content": "<eot>"}}"#)][..],
            &[("special_tokens_map.json", r#"{"eos_token": {"content": "<eot>"}, "pad_token": "<eot>"}"#)],
            &[("config.json", r#"{"eos_token_id": [3], "pad_token_id": 3, "bos_token_id": null}"#)],
            &[("generation_config.json", r#"{"eos_token_id": 3}"#), ("config.json", r#"{"pad_token_id": 3}"#)],
        ] {
            let found = declared(files);
            let SpecialIds { pad, eos, bos, .. } = found.roles.special;
            assert_eq!((pad, eos, bos, &found.eos_ids[..]), (Some(3), Some(3), None, &[3][..]), "{files:?}");
            assert!(found.notes.is_empty(), "{:?}", found.notes);
        }
    }

    #[test]
    fn the_stronger_file_decides_and_a_contradiction_is_told() {
        let files = [
            ("generation_config.json", r#"{"eos_token_id": [4, 1]}"#),
            ("config.json", r#"{"eos_token_id": 3, "pad_token_id": -1}"#),
            ("tokenizer_config.json", r#"{"eos_token": "</s>", "pad_token": "<pad>"}"#),
        ];
        let found = declared(&files);
        let SpecialIds { pad, eos, .. } = found.roles.special;
        // The end that is taught is the tokenizer's, which is among those that end an output.
        assert_eq!((pad, eos, &found.eos_ids[..]), (Some(0), Some(1), &[4, 1][..]));
        let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
        let expected = "the eos token is \"<|im_end|>\" (4) in generation_config.json and \"<eot>\" (3) in config.json; \
            generation_config.json decides";
        assert!(note.ends_with(expected), "{note}");
        let found = declared(&[files[1], ("tokenizer_config.json", r#"{"eos_token": "<|im_end|>"}"#)]);
        assert_eq!((found.roles.special.eos, found.notes.len()), (Some(3), 1));
    }

    #[test]
    fn names_decide_only_where_no_file_declares_a_token_and_that_is_told() {
        let found = declared(&[]);
        assert_eq!((found.roles.special.eos, &found.eos_ids[..]), (Some(1), &[1][..]));
        assert!(
            found.notes[0].contains("taken by their usual names: pad \"<pad>\" (0), eos \"</s>\" (1)"),
            "{found:?}"
        );
        let found = declared(&[("tokenizer_config.json", r#"{"pad_token": "<pad>"}"#)]);
        assert_eq!((found.roles.special.eos, found.notes.len()), (None, 0));
    }

    #[test]
    fn what_a_target_begins_with_is_declared_too() {
        let start = |files: &[(&str, &str)]| declared(files).roles.target_start;
        let languages = ("tokenizer_config.json", r#"{"src_lang": "en", "tgt_lang": "de"}"#);
        assert_eq!(start(&[languages]), TargetStart::Language { source: 5, target: 6 });
        assert_eq!(start(&[("config.json", r#"{"forced_bos_token_id": 6}"#), languages]), TargetStart::Forced(6));
        assert_eq!(start(&[("tokenizer_config.json", r#"{"src_lang": "en"}"#)]), TargetStart::Undeclared(5));
    }

    #[test]
    fn a_run_keeps_the_roles_of_its_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let special = SpecialIds { eos: Some(4), ..SpecialIds::default() };
        let roles = Roles { special, target_start: TargetStart::Language { source: 5, target: 6 } };
        write_roles(dir.path(), &roles).unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"eos_token_id": 1}"#).unwrap();
        assert_eq!(declare(tokenizer(), dir.path()).unwrap().0.roles(), roles);
    }
}
