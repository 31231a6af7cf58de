//! Where prompts and completions come from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InstructOptions;
use super::template::{CompletionTemplate, PROMPT, PromptTemplate};
use crate::data;
use crate::data::jsonl;
use crate::data::lines::{LineReader, MAX_RECORD_BYTES};
use crate::data::parallel::{ParallelReader, ParallelSource};
use crate::data::tokens::Error;
use crate::data::tokens::csv::CsvReader;
use crate::data::{Columns, LineError};
use crate::hub::Message;

/// The key of a conversation.
const MESSAGES: &str = "messages";

/// Files of prompts and completions, each plain or gzip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstructSource {
    /// Two files; line `i` of one completes line `i` of the other.
    Files {
        /// The file of prompts.
        prompt: PathBuf,
        /// The file of completions.
        completion: PathBuf,
    },
    /// Lines of tab-separated columns.
    Tsv {
        /// The file.
        path: PathBuf,
        /// Which columns are prompt and completion. `None` is the first and second of exactly two.
        columns: Option<Columns>,
    },
    /// A JSON object on each line.
    Jsonl {
        /// The file.
        path: PathBuf,
        /// The key of the prompt; a dot descends.
        prompt_key: String,
        /// The key of the completion.
        completion_key: String,
    },
    /// Conversations: a JSON object with `messages` on each line, which a chat template writes.
    Conversations {
        /// The file.
        path: PathBuf,
    },
    /// CSV with a header (RFC 4180).
    Csv {
        /// The file.
        path: PathBuf,
        /// The column of the prompt.
        prompt_column: String,
        /// The column of the completion.
        completion_column: String,
    },
}

/// A pair as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawExample {
    /// The line it begins at, from 1.
    pub(super) line: u64,
    pub(super) text: RawText,
    /// Whether it is longer than is read, so that its text was not kept.
    pub(super) too_long: bool,
}

/// What the model is to read and to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawText {
    Completion {
        /// What fills the places of the prompt's template, in their order.
        fields: Vec<String>,
        completion: String,
    },
    Conversation(Vec<Message>),
}

impl RawText {
    /// The texts in it, what the model is to write last.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Completion { fields, completion } => fields.iter().chain([completion]).map(String::as_str).collect(),
            Self::Conversation(messages) => {
                messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]).collect()
            }
        }
    }
}

impl RawExample {
    /// The texts of the fields and, last, of the completion.
    fn new(line: u64, mut texts: Vec<String>) -> Self {
        let completion = texts.pop().unwrap_or_default();
        RawExample { line, text: RawText::Completion { fields: texts, completion }, too_long: false }
    }
}

impl InstructSource {
    /// A single file by its name: `.jsonl`, `.ndjson`, `.json` (keys `prompt` and `completion`), `.csv` (columns
    /// of those names), anything else is TSV; a final `.gz` is looked through.
    pub fn from_path(path: impl Into<PathBuf>) -> Self {
        let (prompt, completion) = ("prompt".to_owned(), "completion".to_owned());
        match ParallelSource::from_path(path) {
            ParallelSource::Csv { path, .. } => {
                InstructSource::Csv { path, prompt_column: prompt, completion_column: completion }
            }
            ParallelSource::Jsonl { path, .. } => {
                InstructSource::Jsonl { path, prompt_key: prompt, completion_key: completion }
            }
            ParallelSource::Tsv { path, columns } => InstructSource::Tsv { path, columns },
            ParallelSource::Files { source, target } => InstructSource::Files { prompt: source, completion: target },
        }
    }

    /// Whether the first object of a file is a conversation.
    pub fn is_conversations(path: &Path) -> bool {
        let Ok(lines) = LineReader::open(path) else { return false };
        let mut lines = lines.with_limit(MAX_RECORD_BYTES).past_faults();
        matches!(jsonl::next_object(&mut lines), Ok(Some(object)) if object.get(MESSAGES).is_some())
    }

    /// Prompts and completions in turn, as the templates of the options write them: what a tokenizer is trained on.
    /// Examples that are too long to be read have no part in it, nor have lines that hold none, unless all lines are such.
    ///
    /// # Errors
    /// A template that cannot be meant, a file that cannot be opened; the items, those of reading.
    pub fn lessons(
        &self,
        options: &InstructOptions,
    ) -> Result<impl Iterator<Item = Result<String, Error>> + use<>, Error> {
        let prompt = PromptTemplate::parse(&options.prompt_template)?;
        let completion = CompletionTemplate::parse(&options.completion_template)?;
        let mut reader = self.open(prompt.fields(), true)?;
        let (mut has_example, mut fault) = (false, None);
        let reader = std::iter::from_fn(move || {
            loop {
                match reader.next() {
                    Some(Err(error)) if error.is_of_one_line() => {
                        if !has_example {
                            fault.get_or_insert(error);
                        }
                    }
                    None => return fault.take().map(Err),
                    example => {
                        (has_example, fault) = (true, None);
                        return example;
                    }
                }
            }
        });
        let (chat, source) = (options.chat.clone(), self.clone());
        let of_example = move |raw: Result<RawExample, Error>| match raw {
            Ok(raw) if raw.too_long => Vec::new(),
            Ok(raw) => match raw.text {
                RawText::Completion { fields, completion: text } => {
                    vec![Ok(prompt.fill(&fields)), Ok(completion.fill(&text))]
                }
                RawText::Conversation(messages) => match &chat {
                    Some(chat) => {
                        let place = || format!("{source}, line {}", raw.line);
                        let written = chat.render(&messages, false);
                        vec![written.map_err(|source| Error::Chat { place: place(), source })]
                    }
                    None => vec![Err(Error::NoChatTemplate { place: source.to_string() })],
                },
            },
            Err(error) => vec![Err(error)],
        };
        Ok(reader.flat_map(of_example))
    }

    /// Opens the files for a template with these fields. The field `prompt` is the prompt, whatever its column is called.
    /// With `leave_out`, an example that is too long to be read comes without its text; else it is an error that says what
    /// to do.
    pub(super) fn open(&self, fields: &[String], leave_out: bool) -> Result<InstructReader, Error> {
        let named = |prompt: &str| -> Vec<String> {
            let name = |field: &String| if field == PROMPT { prompt.to_owned() } else { field.clone() };
            fields.iter().map(name).collect()
        };
        let pairs = match self.clone() {
            InstructSource::Files { prompt, completion } => {
                ParallelSource::Files { source: prompt, target: completion }
            }
            InstructSource::Tsv { path, columns } => ParallelSource::Tsv { path, columns },
            InstructSource::Jsonl { path, prompt_key, completion_key } => {
                let keys = named(&prompt_key).into_iter().chain([completion_key]).collect();
                let lines = LineReader::open(path)?.with_limit(MAX_RECORD_BYTES).past_faults();
                return Ok(InstructReader::Jsonl { lines, keys, leave_out });
            }
            InstructSource::Conversations { path } => {
                let lines = LineReader::open(path)?.with_limit(MAX_RECORD_BYTES).past_faults();
                return Ok(InstructReader::Conversations { lines, leave_out });
            }
            InstructSource::Csv { path, prompt_column, completion_column } => {
                let reader = CsvReader::open(path)?;
                let names = named(&prompt_column).into_iter().chain([completion_column]);
                let columns = names.map(|name| reader.column(&name)).collect::<Result<_, _>>()?;
                return Ok(InstructReader::Csv { reader, columns, leave_out });
            }
        };
        if fields != [PROMPT] {
            let names: Vec<String> = fields.iter().map(|field| format!("{{{field}}}")).collect();
            let problem = "these prompts have no named columns, so {prompt} is the only name: use csv or jsonl";
            return Err(Error::option("prompt_template", names.join(", "), problem));
        }
        Ok(InstructReader::Pairs { pairs: pairs.open()?.past_faults(), leave_out })
    }
}

impl fmt::Display for InstructSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstructSource::Files { prompt, completion } => {
                write!(f, "{} + {}", prompt.display(), completion.display())
            }
            InstructSource::Tsv { path, .. }
            | InstructSource::Jsonl { path, .. }
            | InstructSource::Conversations { path }
            | InstructSource::Csv { path, .. } => path.display().fmt(f),
        }
    }
}

/// Reads the pairs of a source. It goes past the fault of one line.
pub(super) enum InstructReader {
    Pairs {
        pairs: ParallelReader,
        leave_out: bool,
    },
    /// With the columns of the template's fields, and that of the completion.
    Csv {
        reader: CsvReader,
        columns: Vec<usize>,
        leave_out: bool,
    },
    /// With the keys of the template's fields, and that of the completion.
    Jsonl {
        lines: LineReader,
        keys: Vec<String>,
        leave_out: bool,
    },
    Conversations {
        lines: LineReader,
        leave_out: bool,
    },
}

impl InstructReader {
    /// Blank lines that were passed over.
    pub(super) fn blank_lines(&self) -> u64 {
        match self {
            InstructReader::Pairs { pairs, .. } => pairs.blank_lines(),
            InstructReader::Jsonl { lines, .. } | InstructReader::Conversations { lines, .. } => lines.blank_lines(),
            InstructReader::Csv { .. } => 0,
        }
    }
}

/// The messages of the next object; blank lines are skipped.
fn next_conversation(lines: &mut LineReader) -> Result<Option<RawExample>, data::Error> {
    let Some(object) = jsonl::next_object(lines)? else { return Ok(None) };
    let line = lines.line();
    let wrong = |detail| data::Error::Conversation { path: lines.path().into(), line, detail };
    let talk = Message::list(&object[MESSAGES]).map_err(wrong)?;
    Ok(Some(RawExample { line, text: RawText::Conversation(talk), too_long: false }))
}

/// An example that is too long to be read: without its text, or an error that says what to do.
fn too_long(fault: LineError, leave_out: bool) -> Result<RawExample, Error> {
    match fault {
        LineError::LineTooLong { line, .. } if leave_out => {
            Ok(RawExample { too_long: true, ..RawExample::new(line, Vec::new()) })
        }
        fault => Err(data::Error::RecordTooLong(fault).into()),
    }
}

impl Iterator for InstructReader {
    type Item = Result<RawExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            InstructReader::Pairs { pairs, leave_out } => Some(match pairs.next()? {
                Err(data::Error::Lines(fault @ LineError::LineTooLong { .. })) => too_long(fault, *leave_out),
                pair => {
                    pair.map(|pair| RawExample::new(pair.line + 1, vec![pair.source, pair.target])).map_err(Error::from)
                }
            }),
            InstructReader::Csv { reader, columns, leave_out } => Some(match reader.next()? {
                Err(Error::Lines(fault @ LineError::LineTooLong { .. })) => too_long(fault, *leave_out),
                record => record.map(|record| {
                    RawExample::new(record.line, columns.iter().map(|column| record.fields[*column].clone()).collect())
                }),
            }),
            InstructReader::Jsonl { lines, keys, leave_out } => match jsonl::next_texts(lines, keys) {
                Err(data::Error::Lines(fault @ LineError::LineTooLong { .. })) => Some(too_long(fault, *leave_out)),
                texts => {
                    let example = texts.map(|texts| texts.map(|texts| RawExample::new(lines.line(), texts)));
                    example.map_err(Error::from).transpose()
                }
            },
            InstructReader::Conversations { lines, leave_out } => match next_conversation(lines) {
                Err(data::Error::Lines(fault @ LineError::LineTooLong { .. })) => Some(too_long(fault, *leave_out)),
                found => found.map_err(Error::from).transpose(),
            },
        }
    }
}
