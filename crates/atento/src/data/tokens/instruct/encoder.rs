//! From what a source has to tokens, and which examples are used.

use std::collections::HashSet;
use std::ops::Range;

use super::examples::{Example, InstructOptions, InstructReport};
use super::source::{InstructSource, RawExample, RawText};
use super::template::{CompletionTemplate, PromptTemplate};
use crate::data::OnTruncate;
use crate::data::hash::{combine, hash};
use crate::data::tokens::Error;
use crate::hub::Message;
use crate::hub::chat::{ASSISTANT, ChatError};
use crate::text::{self, Encoding, Tokenizer};

/// Why an example has no tokens.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Text(#[from] text::Error),
    #[error(transparent)]
    Chat(#[from] ChatError),
}

impl Fault {
    pub(super) fn at(self, place: String) -> Error {
        match self {
            Self::Text(source) => Error::Encode { place, source },
            Self::Chat(source) => Error::Chat { place, source },
        }
    }
}

/// What makes tokens of examples.
pub(super) struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    options: &'a InstructOptions,
    pub(super) prompt: PromptTemplate,
    completion: CompletionTemplate,
    end: Option<u32>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(
        source: &InstructSource,
        tokenizer: &'a Tokenizer,
        options: &'a InstructOptions,
    ) -> Result<Self, Error> {
        if options.chat.is_none() && matches!(source, InstructSource::Conversations { .. }) {
            return Err(Error::NoChatTemplate { place: source.to_string() });
        }
        let prompt = PromptTemplate::parse(&options.prompt_template)?;
        let completion = CompletionTemplate::parse(&options.completion_template)?;
        if options.block_size == 0 {
            return Err(Error::option("block_size", 0, "a sequence needs at least one token"));
        }
        if options.on_truncate == OnTruncate::Split {
            let problem = "a completion cannot be split from its prompt; use \"error\", \"warn\" (cut) or \"drop\"";
            return Err(Error::option("on_truncate", "\"split\"", problem));
        }
        let end = match (completion.end, tokenizer.special().eos) {
            (true, None) => return Err(Error::NoEndToken { key: "completion_template" }),
            (wanted, eos) => eos.filter(|_| wanted),
        };
        Ok(Encoder { tokenizer, options, prompt, completion, end })
    }

    /// All tokens of an example, and which of them are answers.
    pub(super) fn encode(&self, raw: &RawExample) -> Result<(Vec<u32>, Vec<Range<usize>>), Fault> {
        match &raw.text {
            RawText::Completion { fields, completion } => {
                let mut ids = self.tokenizer.encode_prompt(&self.prompt.fill(fields))?;
                let prompt_tokens = ids.len();
                ids.extend(self.tokenizer.encode_ids(&self.completion.fill(completion), false)?);
                ids.extend(self.end);
                let answer = prompt_tokens..ids.len();
                Ok((ids, vec![answer]))
            }
            RawText::Conversation(messages) => {
                let template = self.options.chat.as_ref().expect("a source of conversations comes with a template");
                let written = template.written(messages)?;
                let found = self.tokenizer.encode(&written.text, false)?;
                let tokens = |answer: &Range<usize>| self.tokens_of(answer, &found, &written.text);
                let answers = written.answers.iter().map(tokens).collect();
                Ok((found.ids, answers))
            }
        }
    }

    /// What of an example that has these tokens is not known.
    pub(super) fn unknown_parts<'t>(&self, raw: &'t RawExample, ids: &[u32]) -> Vec<&'t str> {
        // They could be made into tokens, so they can be again.
        let parts = |text| self.tokenizer.unknown_parts_among(text, ids).unwrap_or_default();
        raw.text.texts().into_iter().flat_map(parts).collect()
    }

    /// The tokens of an answer: all that have a part in it, but for white space behind the token that ends it, which the model
    /// never gets to write.
    fn tokens_of(&self, answer: &Range<usize>, found: &Encoding, text: &str) -> Range<usize> {
        let begin = found.offsets.partition_point(|&(_, end)| end <= answer.start);
        let mut end = found.offsets.partition_point(|&(start, _)| start < answer.end).max(begin);
        let is_blank = |at: usize| {
            let (start, end) = found.offsets[at];
            text.get(start..end).is_some_and(|text| text.trim().is_empty())
        };
        let is_special = |at: usize| self.tokenizer.is_added(found.ids[at]);
        let blank = (begin..end).rev().take_while(|&at| is_blank(at) && !is_special(at)).count();
        if end - blank > begin && is_special(end - blank - 1) {
            end -= blank;
        }
        begin..end
    }

    /// What the text alone decides.
    pub(super) fn is_wanted(&self, raw: &RawExample, seen: &mut HashSet<u64>, report: &mut InstructReport) -> bool {
        if raw.too_long {
            report.too_long_dropped += 1;
            return false;
        }
        let is_empty = |text: &String| text.trim().is_empty();
        let (no_prompt, no_completion) = match &raw.text {
            RawText::Completion { fields, completion } => (fields.iter().all(is_empty), is_empty(completion)),
            RawText::Conversation(messages) => {
                let answers = |message: &&Message| message.role == ASSISTANT && !is_empty(&message.content);
                (false, !messages.iter().any(|message| answers(&message)))
            }
        };
        if no_prompt || no_completion {
            report.empty_prompt += u64::from(no_prompt);
            report.empty_completion += u64::from(!no_prompt);
            return false;
        }
        let texts = raw.text.texts().into_iter();
        let is_new = seen.insert(texts.map(|text| hash(text.as_bytes())).fold(0, combine));
        report.duplicates += u64::from(!is_new);
        let dropped = !is_new && self.options.drop_duplicates;
        report.duplicates_dropped += u64::from(dropped);
        !dropped
    }

    /// What the length decides.
    pub(super) fn fit(
        &self,
        mut example: Example,
        report: &mut InstructReport,
        place: impl Fn() -> String,
    ) -> Result<Option<Example>, Error> {
        // The last token is only ever a target.
        let limit = self.options.block_size + 1;
        let lost = example.ids.len().saturating_sub(limit);
        if lost > 0 && self.options.on_truncate == OnTruncate::Drop {
            report.too_long_dropped += 1;
            return Ok(None);
        }
        if lost > 0 && self.options.on_truncate != OnTruncate::Warn {
            return Err(Error::TooLong { place: place(), tokens: example.ids.len(), limit });
        }
        example.ids.truncate(limit);
        example.answers.iter_mut().for_each(|answer| answer.end = answer.end.min(limit));
        example.answers.retain(|answer| !answer.is_empty());
        let learned = |at: &usize| example.is_learned(*at, self.options.train_on_prompt);
        let learned_tokens = (0..example.ids.len()).filter(learned).count() as u64;
        if example.answers.is_empty() || learned_tokens == 0 {
            report.nothing_learned_dropped += 1;
            return Ok(None);
        }
        let unknown = self.tokenizer.unknown_id();
        report.kept += 1;
        report.truncated += u64::from(lost > 0);
        report.truncated_tokens += lost as u64;
        report.tokens += example.ids.len() as u64;
        report.learned_tokens += learned_tokens;
        report.unknown_tokens += example.ids.iter().filter(|&&id| Some(id) == unknown).count() as u64;
        report.longest = report.longest.max(example.ids.len() as u64);
        Ok(Some(example))
    }
}
