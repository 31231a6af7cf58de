//! How a prompt or a completion is written for the model.

use crate::data::tokens::Error;

/// What stands for the end token, at the end of a completion's template.
const END: &str = "<end>";

/// A text with a place for another, such as `{prompt}\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    placeholder: String,
    /// Whether the end token follows.
    pub(super) end: bool,
}

impl Template {
    /// The template of a prompt, with `{prompt}` once.
    pub(super) fn prompt(text: &str) -> Result<Self, Error> {
        Self::parse("prompt_template", text, "prompt", false)
    }

    /// The template of a completion, with `{completion}` once and perhaps `<end>` at its end.
    pub(super) fn completion(text: &str) -> Result<Self, Error> {
        Self::parse("completion_template", text, "completion", true)
    }

    fn parse(key: &'static str, text: &str, name: &str, may_end: bool) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::option(key, format!("{text:?}"), problem));
        let placeholder = format!("{{{name}}}");
        let body = text.strip_suffix(END).filter(|_| may_end);
        let end = body.is_some();
        let body = body.unwrap_or(text);
        if body.contains(END) {
            return refuse(format!("{END}, the end token, can only stand at the end of the completion"));
        }
        if body.matches(&placeholder).count() != 1 {
            return refuse(format!("must hold {placeholder} exactly once"));
        }
        match other_placeholder(&body.replace(&placeholder, "")) {
            Some(other) => refuse(format!("{{{other}}} is not known here, only {placeholder} is")),
            None => Ok(Template { text: body.into(), placeholder, end }),
        }
    }

    /// The text with its place filled.
    pub(super) fn fill(&self, with: &str) -> String {
        self.text.replace(&self.placeholder, with)
    }
}

/// A name in braces: what somebody took for a placeholder. Other braces are text.
fn other_placeholder(text: &str) -> Option<&str> {
    let inner = text.split('{').skip(1).filter_map(|after| after.split_once('}')).map(|(inner, _)| inner);
    inner.into_iter().find(|inner| {
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_filled_and_the_end_token_is_no_text() {
        assert_eq!(Template::prompt("Q: {prompt}\n{\"a\": 1}").unwrap().fill("{prompt}?"), "Q: {prompt}?\n{\"a\": 1}");
        let completion = Template::completion(" {completion}<end>").unwrap();
        assert_eq!((completion.fill("x").as_str(), completion.end), (" x", true));
        assert!(!Template::completion("{completion}").unwrap().end);
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused() {
        for (template, problem) in [
            (Template::prompt("hello"), "prompt_template = \"hello\": must hold {prompt} exactly once"),
            (Template::prompt("{prompt}{prompt}"), "exactly once"),
            (Template::prompt("{input} {prompt}"), "{input} is not known here, only {prompt} is"),
            (Template::prompt("{prompt}<end>"), "<end>, the end token, can only stand at the end of the completion"),
            (Template::completion("<end>{completion}"), "can only stand at the end"),
            (Template::completion("{prompt}"), "must hold {completion} exactly once"),
        ] {
            let message = template.unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
