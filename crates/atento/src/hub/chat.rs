//! The chat template of a model: how a conversation is written for it.
//!
//! ```text
//! chat_template.jinja                       the template
//! tokenizer_config.json   chat_template     the template, or a list of {"name", "template"}, of which "default" counts
//!                         bos_token, …      what the template knows of special tokens
//! ```
//!
//! Templates are written for Jinja as `transformers` sets it up: blocks take no line of their own, and there are
//! `raise_exception`, `strftime_now`, `break` and `continue`, and the methods of Python's strings, lists and dictionaries.

mod answers;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value as Jinja, context};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Error;
use super::json::Keys;
use super::kept::Kept;
use super::model_dir::TOKENIZER_CONFIG;
use crate::{json, lfs, messages};

pub use answers::{ASSISTANT, Written};

/// The file of a template.
pub const FILE: &str = "chat_template.jinja";
const KEY: &str = "chat_template";

/// The most instructions that a template takes to write a conversation.
const MOST_STEPS: u64 = 20_000_000;

/// Who speaks in nearly every template.
const ROLES: [&str; 4] = ["system", "user", ASSISTANT, "tool"];

const SPECIAL_MAP: &str = "special_tokens_map.json";

/// What somebody says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who: "system", "user", "assistant" or another that the template knows.
    pub role: String,
    /// What.
    pub content: String,
    /// What else a template may ask for, such as a name.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Message {
    /// A message of this role.
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.to_owned(), content: content.to_owned(), more: Map::new() }
    }

    /// The messages of a conversation.
    ///
    /// # Errors
    /// What is wrong with them: no list, an empty one, or one of something else than messages.
    pub fn list(found: &Value) -> Result<Vec<Self>, String> {
        let Value::Array(found) = found else { return Err("\"messages\" is no list".to_owned()) };
        if found.is_empty() {
            return Err("\"messages\" is empty".to_owned());
        }
        let message = |(at, message): (usize, &Value)| {
            let wrong = || format!("message {} is no object with \"role\" and \"content\", both texts", at + 1);
            serde_json::from_value(message.clone()).ok().ok_or_else(wrong)
        };
        found.iter().enumerate().map(message).collect()
    }
}

/// How conversations are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    text: String,
    /// Special tokens by their roles, such as `eos_token`.
    special: Vec<(String, String)>,
    path: PathBuf,
}

/// A conversation that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the chat template: {detail}", path = path.display())]
pub struct ChatError {
    /// The file of the template.
    pub path: PathBuf,
    /// What is wrong, as the template says it.
    pub detail: String,
}

impl ChatTemplate {
    /// The template that a file holds, without what a model says of special tokens.
    ///
    /// # Errors
    /// The file cannot be read as text.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let bytes = lfs::read(path).map_err(Error::io(path, "read"))?;
        Ok(Self::of(path, text_of(path, &bytes)?, Vec::new()))
    }

    /// The same, found at `path`, for messages.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The same with special tokens by their roles, such as `eos_token` of `config`, those aside that it has.
    #[must_use]
    pub fn with_special(mut self, config: &Map<String, Value>) -> Self {
        let new = special_tokens(&Map::new(), config).into_iter();
        let new: Vec<_> = new.filter(|(role, _)| self.special.iter().all(|(known, _)| known != role)).collect();
        self.special.extend(new);
        self
    }

    /// The template among the files of a model, where there is one.
    ///
    /// # Errors
    /// A file is no text or no JSON object, or has no template where it says so.
    pub fn of_kept(kept: &Kept) -> Result<Option<Self>, Error> {
        let (own, described, map_path) = (Path::new(FILE), Path::new(TOKENIZER_CONFIG), Path::new(SPECIAL_MAP));
        let wrong = |detail: String| Error::Json { path: map_path.into(), detail };
        let map = match kept.file(SPECIAL_MAP) {
            Some(bytes) => json::parse(bytes).map_err(|error| wrong(error.to_string()))?,
            None => Value::Object(Map::new()),
        };
        let map = map.as_object().ok_or_else(|| wrong("expected an object".into()))?;
        let empty = Map::new();
        let config = kept.tokenizer_config().unwrap_or(&empty);
        let special = special_tokens(map, config);
        if let Some(bytes) = kept.file(FILE) {
            return Ok(Some(Self::of(own, text_of(own, bytes)?, special)));
        }
        let wrong = || Keys::new(described, config).wrong(KEY, "a template, or a list of named ones");
        let text = match config.get(KEY) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(named)) => {
                let is_default = |entry: &&Value| entry["name"] == "default";
                let found = named.iter().find(is_default).or(named.first());
                found.and_then(|entry| entry["template"].as_str()).ok_or_else(wrong)?.to_owned()
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Some(Self::of(described, text, special)))
    }

    fn of(path: &Path, text: String, special: Vec<(String, String)>) -> Self {
        Self { text, special, path: path.into() }
    }

    /// The template itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A conversation as the model reads it; with `prompts_answer`, up to where it is to answer.
    ///
    /// # Errors
    /// The template refuses the conversation, or is none.
    pub fn render(&self, messages: &[Message], prompts_answer: bool) -> Result<String, ChatError> {
        self.render_with(messages, prompts_answer, false)
    }

    /// A role that is nearly a usual one and that the template does not name.
    fn misspelt(&self, talk: &[Message]) -> Option<String> {
        let is_known = |role: &str| ROLES.contains(&role) || self.text.contains(role);
        talk.iter().enumerate().filter(|(_, message)| !is_known(&message.role)).find_map(
            |(at, Message { role, .. })| {
                let meant = messages::nearest_above(0.7, role, ROLES)?;
                Some(format!(
                    "message {} has the role {role:?}, which the template does not name; {meant:?} is meant?",
                    at + 1
                ))
            },
        )
    }

    /// With marks around answers, where the template says where those are.
    fn render_with(&self, messages: &[Message], prompts_answer: bool, is_marked: bool) -> Result<String, ChatError> {
        let failed = |error: minijinja::Error| {
            let detail = match error.kind() {
                ErrorKind::OutOfFuel => {
                    format!("it takes more than {MOST_STEPS} steps: it has no end, or too long a conversation")
                }
                _ => error.detail().map_or_else(|| error.to_string(), str::to_owned),
            };
            ChatError { path: self.path.clone(), detail }
        };
        if let Some(detail) = self.misspelt(messages) {
            return Err(ChatError { path: self.path.clone(), detail });
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(MOST_STEPS));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", |value: Jinja| python_json(&serde_json::to_value(value).unwrap_or_default()));
        environment.add_function("raise_exception", |message: String| {
            Err::<Jinja, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| now(&format));
        answers::add_marks(&mut environment, is_marked).map_err(failed)?;
        environment.add_template_owned("chat", answers::with_marks(&self.text)).map_err(failed)?;
        let mut values: Map<String, Value> =
            self.special.iter().map(|(role, token)| (role.clone(), token.clone().into())).collect();
        values.insert("messages".into(), serde_json::to_value(messages).unwrap_or_default());
        values.insert("add_generation_prompt".into(), prompts_answer.into());
        let given = context! { tools => Jinja::from(()), documents => Jinja::from(()), ..Jinja::from(Serde(values)) };
        environment.get_template("chat").and_then(|template| template.render(given)).map_err(failed)
    }
}

/// The text of a template, without the byte-order mark that editors of Windows put at the beginning.
fn text_of(path: &Path, bytes: &[u8]) -> Result<String, Error> {
    let not_text = |fault| Error::io(path, "read")(io::Error::new(io::ErrorKind::InvalidData, fault));
    let text = std::str::from_utf8(bytes).map_err(not_text)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}

/// Special tokens by their roles: those that tokenizer_config.json names, before those of special_tokens_map.json.
fn special_tokens(map: &Map<String, Value>, config: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().or(value["content"].as_str()).map(str::to_owned);
    let tokens = map.iter().chain(config).filter(|(key, _)| key.ends_with("_token"));
    tokens.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// JSON as Python's `json.dumps` writes it, in one line.
fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), python_json(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The present date as `strftime` writes it, in universal time: years, months and days.
fn now(format: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    date(seconds / 86_400, format)
}

/// The date so many days after 1 January 1970.
fn date(days: u64, format: &str) -> String {
    // Eras of 400 years from 1 March 0000 on (Hinnant, "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let name = MONTHS[month as usize - 1];
    let parts = [
        ("%Y", year.to_string()),
        ("%m", format!("{month:02}")),
        ("%d", format!("{day:02}")),
        ("%B", name.to_owned()),
        ("%b", name[..3].to_owned()),
    ];
    parts.iter().fold(format.to_owned(), |text, (place, value)| text.replace(place, value))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn template(text: &str) -> ChatTemplate {
        let special = vec![("bos_token".to_owned(), "<s>".to_owned()), ("eos_token".to_owned(), "</s>".to_owned())];
        ChatTemplate::of("t".as_ref(), text.to_owned(), special)
    }

    /// Unless the template has such a role.
    #[test]
    fn a_role_that_is_a_slip_is_told() {
        let plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
        let own = "{% for m in messages %}{% if m.role == 'User' %}{{ m.content }}{% endif %}{% endfor %}";
        let talk = |role: &str| [Message::new("user", "a"), Message::new("assistant", "b"), Message::new(role, "c")];
        let message = template(plain).render(&talk("assistent"), false).unwrap_err().to_string();
        assert!(
            message.contains("message 3 has the role \"assistent\"") && message.contains("\"assistant\" is meant"),
            "{message}"
        );
        for (text, role) in [(own, "User"), (plain, "developer"), (plain, "ipython")] {
            assert!(template(text).render(&talk(role), false).is_ok(), "{role}");
        }
        assert!(template(plain).render(&talk("User"), false).is_err());
    }

    #[test]
    fn conversations_are_written_as_transformers_writes_them() {
        let talk = [
            Message::new("system", "Be kind."),
            Message::new("user", " Hi \"you\" "),
            Message::new("assistant", "Yes"),
        ];
        // ChatML, as of SmolLM2 and Qwen.
        let chat = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' \
                    + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
        let found = template(chat).render(&talk[..2], true).unwrap();
        let expected =
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Hi \"you\" <|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(found, expected);
        assert!(!template(chat).render(&talk[..1], false).unwrap().contains("assistant"));
        // Blocks take no line, loops have indices, texts have methods.
        let chat = "{%- set ns = namespace(n=0) %}\n{% for m in messages %}\n    {% if loop.first %}\n{{ bos_token }}\n    \
                    {%- elif m.role == 'assistant' %}\n{% continue %}\n    {%- endif %}\n{%- set ns.n = ns.n + 1 %}\
                    [{{ m['content'].strip().upper() }}]{{ m | tojson }}\n{% endfor %}{{ ns.n }}{{ messages[1:] | length }}\
                    {{ tools is none }}{{ other is defined }}";
        let found = template(chat).render(&talk, true).unwrap();
        let expected = "<s>[BE KIND.]{\"role\": \"system\", \"content\": \"Be kind.\"}\n\
                        [HI \"YOU\"]{\"role\": \"user\", \"content\": \" Hi \\\"you\\\" \"}\n22Truefalse";
        assert_eq!(found.to_lowercase(), expected.to_lowercase());
    }

    #[test]
    fn what_a_template_refuses_is_told_in_its_words() {
        let found =
            template("{{ raise_exception('roles must alternate') }}").render(&[], true).unwrap_err().to_string();
        assert_eq!(found, "t: the chat template: roles must alternate");
        let found = template("{% for %}").render(&[], true).unwrap_err().to_string();
        assert!(found.starts_with("t: the chat template: "), "{found}");
    }

    #[test]
    fn templates_are_found_in_both_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let read = || ChatTemplate::of_kept(&Kept::read(dir.path(), &Map::new(), Map::new(), false).unwrap());
        assert_eq!(read().unwrap(), None);
        write("tokenizer_config.json", r#"{"bos_token": {"content": "<b>"}, "eos_token": "<e>"}"#);
        assert_eq!(read().unwrap(), None);
        let config = |template: &str| format!(r#"{{"bos_token": {{"content": "<b>"}}, "chat_template": {template}}}"#);
        let rendered = || read().unwrap().unwrap().render(&[], true).unwrap();
        write("tokenizer_config.json", &config(r#""{{ bos_token }}one""#));
        assert_eq!(rendered(), "<b>one");
        let named = r#"[{"name": "tools", "template": "t"}, {"name": "default", "template": "two"}]"#;
        write("tokenizer_config.json", &config(named));
        assert_eq!(rendered(), "two");
        write("chat_template.jinja", "\u{feff}three\n");
        assert_eq!(rendered(), "three");
        write("special_tokens_map.json", "{");
        assert!(read().unwrap_err().to_string().starts_with("special_tokens_map.json"));
        fs::remove_file(dir.path().join("special_tokens_map.json")).unwrap();
        fs::write(dir.path().join("chat_template.jinja"), b"\xff").unwrap();
        assert!(read().unwrap_err().to_string().contains("invalid utf-8"));
        fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
        write("tokenizer_config.json", &config("[]"));
        let refused = read().unwrap_err().to_string();
        assert!(refused.contains("key `chat_template` is []"), "{refused}");
    }

    #[test]
    fn days_have_dates() {
        for (days, expected) in
            [(0, "1970-01-01 Jan"), (59, "1970-03-01 Mar"), (11_016, "2000-02-29 Feb"), (20_785, "2026-11-28 Nov")]
        {
            assert_eq!(date(days, "%Y-%m-%d %b"), expected);
        }
        assert_eq!(date(20_785, "%d %B"), "28 November");
    }
}
