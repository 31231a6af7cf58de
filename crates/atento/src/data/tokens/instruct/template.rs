//! How a prompt or a completion is written for the model.

use crate::data::tokens::Error;

/// What stands for the end token, at the end of a completion's template.
const END: &str = "<end>";
/// The field that is the prompt itself, whatever its column is called.
pub const PROMPT: &str = "prompt";

/// A text with places for others, such as `{prompt}\n` or `Q: {question}\nC: {context}\nA:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTemplate {
    text: String,
    parts: Vec<Part>,
    fields: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The place of a field, by its number.
    Field(usize),
}

impl PromptTemplate {
    /// A template with at least one name in braces, each once. A name is letters, digits, `_`, `-` and `.`, and begins
    /// with a letter; other braces are text.
    ///
    /// # Errors
    /// There is no name, or one twice; the end token stands in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::option("prompt_template", format!("{text:?}"), problem));
        if text.contains(END) {
            return refuse(format!("{END}, the end token, can only stand at the end of the completion"));
        }
        let (mut parts, mut fields) = (Vec::new(), Vec::<String>::new());
        let mut rest = text;
        while let Some((before, name, after)) = next_name(rest) {
            if fields.iter().any(|field| field == name) {
                return refuse(format!("must hold {{{name}}} exactly once"));
            }
            parts.extend([Part::Text(before.into()), Part::Field(fields.len())]);
            fields.push(name.into());
            rest = after;
        }
        if fields.is_empty() {
            return refuse("must hold {prompt} exactly once, or the names of columns in braces".into());
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self { text: text.into(), parts, fields })
    }

    /// The template as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in it, in their order.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The text with its places filled: a value for each of the [`fields`](Self::fields).
    ///
    /// # Panics
    /// If there are fewer values than fields.
    #[must_use]
    pub fn fill<S: AsRef<str>>(&self, values: &[S]) -> String {
        let part = |part: &'_ Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(at) => values[*at].as_ref().to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

/// The first name in braces, with the text before it and after it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(open, _)| {
        let (name, after) = text[open + 1..].split_once('}')?;
        is_name(name).then_some((&text[..open], name, after))
    })
}

fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    text.starts_with(char::is_alphabetic) && text.chars().all(is_inner)
}

/// A completion's template: a text with `{completion}` once and perhaps `<end>` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionTemplate {
    text: String,
    before: String,
    after: String,
    /// Whether the end token follows.
    pub(crate) end: bool,
}

/// How prompts and completions are written for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    /// The prompt's.
    pub prompt: PromptTemplate,
    /// The completion's.
    pub completion: CompletionTemplate,
}

impl Default for CompletionTemplate {
    /// `{completion}<end>`.
    fn default() -> Self {
        Self::parse("{completion}<end>").expect("it holds its place once")
    }
}

impl CompletionTemplate {
    /// A template with `{completion}` once.
    ///
    /// # Errors
    /// There is no such place, or another one; the end token stands anywhere but at the end.
    pub fn parse(text: &str) -> Result<Self, Error> {
        const PLACE: &str = "{completion}";
        let refuse = |problem: String| Err(Error::option("completion_template", format!("{text:?}"), problem));
        let (body, end) = text.strip_suffix(END).map_or((text, false), |body| (body, true));
        if body.contains(END) {
            return refuse(format!("{END}, the end token, can only stand at the end of the completion"));
        }
        let Some((before, after)) = body.split_once(PLACE).filter(|(_, after)| !after.contains(PLACE)) else {
            return refuse(format!("must hold {PLACE} exactly once"));
        };
        match [before, after].into_iter().find_map(next_name) {
            Some((_, other, _)) => refuse(format!("{{{other}}} is not known here, only {PLACE} is")),
            None => Ok(Self { text: text.into(), before: before.into(), after: after.into(), end }),
        }
    }

    /// The template as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn fill(&self, completion: &str) -> String {
        [&self.before, completion, &self.after].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_filled_and_the_end_token_is_no_text() {
        let template = PromptTemplate::parse("Q: {prompt}\n{\"a\": 1}").unwrap();
        assert_eq!(template.fill(&["{prompt}?"]), "Q: {prompt}?\n{\"a\": 1}");
        let two = PromptTemplate::parse("{ {question}{}\nC: {the.context}\n").unwrap();
        assert_eq!(two.fields(), ["question", "the.context"]);
        assert_eq!(two.fill(&["{the.context}", "b"]), "{ {the.context}{}\nC: b\n");
        let completion = CompletionTemplate::parse(" {completion}<end>").unwrap();
        assert_eq!((completion.fill("x").as_str(), completion.end), (" x", true));
        assert!(!CompletionTemplate::parse("{completion}").unwrap().end);
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused() {
        let prompt = |text| PromptTemplate::parse(text).map(|_| ());
        let completion = |text| CompletionTemplate::parse(text).map(|_| ());
        for (template, problem) in [
            (prompt("hello"), "prompt_template = \"hello\": must hold {prompt} exactly once, or the names of columns"),
            (prompt("{prompt}{prompt}"), "must hold {prompt} exactly once"),
            (prompt("{prompt}<end>"), "<end>, the end token, can only stand at the end of the completion"),
            (completion("<end>{completion}"), "can only stand at the end"),
            (completion("{prompt}"), "must hold {completion} exactly once"),
            (completion("{prompt} {completion}"), "{prompt} is not known here, only {completion} is"),
        ] {
            let message = template.unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
