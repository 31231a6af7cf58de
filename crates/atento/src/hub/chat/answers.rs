//! Which parts of a written conversation the assistant says.
//!
//! A template may say so itself, between `{% generation %}` and `{% endgeneration %}`, as `transformers` has it. Of any other
//! the conversation is written up to each answer and up to its end: what the second has beyond the first is the answer.

use std::ops::Range;

use minijinja::Environment;

use super::{ChatError, ChatTemplate, Message};

/// Who answers.
pub const ASSISTANT: &str = "assistant";

/// A conversation as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The whole, special tokens spelled out.
    pub text: String,
    /// Where the assistant speaks: bytes of the text, in order.
    pub answers: Vec<Range<usize>>,
}

/// Statements of a template, each with the name of what stands for it and the character that marks it: those are no
/// characters of any text (Unicode 16, section 23.7).
const MARKS: [(&str, &str, char); 2] =
    [("generation", "answer begins", '\u{FDD0}'), ("endgeneration", "answer ends", '\u{FDD1}')];

/// The template with the statements around answers as such that another template is included by, which keeps what they do to
/// the white space around them.
pub(super) fn with_marks(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        let (before, statement) = rest.split_at(at);
        found += before;
        rest = match mark(statement) {
            Some((replaced, length)) => {
                found += &replaced;
                &statement[length..]
            }
            None => {
                found += "{%";
                &statement[2..]
            }
        };
    }
    found + rest
}

/// What stands for a statement that begins a text, if it is one around answers, and the length of the statement.
fn mark(text: &str) -> Option<(String, usize)> {
    let inner = &text[2..2 + text[2..].find("%}")?];
    let is_sign = |c: char| matches!(c, '-' | '+');
    let (begin, end) = (inner.starts_with(is_sign) as usize, inner.ends_with(is_sign) as usize);
    let name = inner.get(begin..inner.len() - end)?.trim();
    let (_, part, _) = MARKS.iter().find(|(statement, _, _)| *statement == name)?;
    let (left, right) = (&inner[..begin], &inner[inner.len() - end..]);
    Some((format!("{{%{left} include {part:?} {right}%}}"), inner.len() + 4))
}

/// The templates that stand for the statements around answers: marks, or nothing.
pub(super) fn add_marks(environment: &mut Environment<'_>, is_marked: bool) -> Result<(), minijinja::Error> {
    MARKS.iter().try_for_each(|(_, name, mark)| {
        let text = if is_marked { mark.to_string() } else { String::new() };
        environment.add_template_owned(*name, text)
    })
}

impl ChatTemplate {
    /// A whole conversation, and where the assistant speaks in it.
    ///
    /// # Errors
    /// The template refuses the conversation, or writes an answer otherwise once others follow it.
    pub fn written(&self, messages: &[Message]) -> Result<Written, ChatError> {
        let fault = |detail: String| ChatError { path: self.path.clone(), detail };
        let [begins, ends] = MARKS.map(|(_, _, mark)| mark);
        if with_marks(&self.text) != self.text {
            let is_marked = |message: &Message| message.content.contains([begins, ends]);
            if let Some(at) = messages.iter().position(is_marked) {
                return Err(fault(format!("message {} has U+FDD0 or U+FDD1, which are no characters", at + 1)));
            }
            let written = unmarked(&self.render_with(messages, false, true)?, [begins, ends]).map_err(fault)?;
            // A statement that the template only speaks of marks nothing.
            if !written.answers.is_empty() {
                return Ok(written);
            }
        }
        let text = self.render(messages, false)?;
        let mut answers = Vec::new();
        for (at, _) in messages.iter().enumerate().filter(|(_, message)| message.role == ASSISTANT) {
            let (before, after) = (self.render(&messages[..at], true)?, self.render(&messages[..=at], false)?);
            if !after.starts_with(&before) || !text.starts_with(&after) {
                return Err(fault(format!(
                    "message {}, an answer, is not written alike with and without what follows it, so it cannot be told from \
                     the rest: a template that has {{% generation %}} around answers says where they are",
                    at + 1
                )));
            }
            answers.push(before.len()..after.len());
        }
        Ok(Written { text, answers })
    }
}

/// A text without its marks, and the stretches between them.
///
/// # Errors
/// The marks are no pairs.
fn unmarked(marked: &str, [begins, ends]: [char; 2]) -> Result<Written, String> {
    let (mut text, mut answers, mut from) = (String::with_capacity(marked.len()), Vec::new(), None);
    for c in marked.chars() {
        match c {
            c if c == begins && from.is_none() => from = Some(text.len()),
            c if c == begins => return Err("{% generation %} stands inside another one".to_owned()),
            c if c == ends => match from.take() {
                Some(from) => answers.push(from..text.len()),
                None => return Err("{% endgeneration %} comes without {% generation %}".to_owned()),
            },
            c => text.push(c),
        }
    }
    match from {
        Some(_) => Err("{% generation %} is never closed".to_owned()),
        None => Ok(Written { text, answers }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> ChatTemplate {
        ChatTemplate::of("t".as_ref(), text.to_owned(), Vec::new())
    }

    fn talk() -> [Message; 5] {
        [("system", "Be kind."), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d e")]
            .map(|(role, text)| Message::new(role, text))
    }

    fn answers(written: &Written) -> Vec<&str> {
        written.answers.iter().map(|answer| &written.text[answer.clone()]).collect()
    }

    #[test]
    fn answers_are_what_stands_between_the_prompt_and_the_next_message() {
        let chat = template(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}\
             {% if add_generation_prompt %}<|assistant|>{% endif %}",
        );
        let written = chat.written(&talk()).unwrap();
        assert_eq!(written.text, chat.render(&talk(), false).unwrap());
        assert_eq!(answers(&written), ["b<|end|>\n", "d e<|end|>\n"]);
        assert!(chat.written(&talk()[..2]).unwrap().answers.is_empty());
    }

    #[test]
    fn a_template_may_say_itself_where_answers_are() {
        let text = "{%- for m in messages %}\n  {%- if m.role == 'assistant' -%}\n    A:{%- generation -%} {{ m.content }}.\
                    {%- endgeneration %}!\n  {%- else %}\n  {% generation %}\n{{ m.content }}{% endgeneration %}\n\n{%- endif %}\
                    {%- endfor %}";
        let written = template(text).written(&talk()).unwrap();
        assert_eq!(answers(&written)[2..4], ["b.", "c"]);
        // The statements are no text and take no more white space with them than others do.
        let blocks = text.replace("generation", "if true").replace("endif true", "endif");
        assert_eq!(written.text, template(&blocks).render(&talk(), false).unwrap());
        let marked = [Message::new("user", "\u{fdd0}")];
        let message = template(text).written(&marked).unwrap_err().to_string();
        assert_eq!(message, "t: the chat template: message 1 has U+FDD0 or U+FDD1, which are no characters");
    }

    #[test]
    fn statements_around_answers_are_pairs() {
        let refused = |text: &str| template(text).written(&talk()).unwrap_err().to_string();
        assert!(refused("{% generation %}a").ends_with("{% generation %} is never closed"));
        assert!(refused("a{% endgeneration %}").ends_with("comes without {% generation %}"));
        assert!(refused("{% generation %}{% generation %}").ends_with("stands inside another one"));
        // One that is only spoken of is none.
        let text = "{# {% generation %} #}{% for m in messages %}[{{ m.content }}]{% endfor %}";
        assert_eq!(answers(&template(text).written(&talk()).unwrap()), ["[b]", "[d e]"]);
    }

    #[test]
    fn a_template_without_an_end_is_stopped() {
        let text = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
        let message = template(text).render(&talk(), true).unwrap_err().to_string();
        assert!(
            message.starts_with("t: the chat template: ") && message.contains("more than 20000000 steps"),
            "{message}"
        );
    }

    #[test]
    fn answers_that_are_written_otherwise_later_are_not_guessed() {
        let text = "{% for m in messages %}{{ m.content if loop.last else m.content[:1] ~ '…' }}|{% endfor %}";
        let message = template(text).written(&talk()).unwrap_err().to_string();
        assert!(message.starts_with("t: the chat template: message 3, an answer, is not written alike"), "{message}");
    }
}
