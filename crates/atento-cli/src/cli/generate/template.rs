//! Prompts as the model was taught to read them.

use anyhow::{Context, anyhow};
use atento::data::tokens::instruct::PromptTemplate;
use atento::json;
use serde_json::{Map, Value};

/// A prompt written for the model. A template of one field takes the prompt as it is; one of several takes a JSON object
/// with a text for each.
///
/// # Errors
/// The prompt is no such object.
pub fn fill(template: Option<&PromptTemplate>, prompt: &str) -> anyhow::Result<String> {
    match template {
        None => Ok(prompt.to_owned()),
        Some(template) if template.fields().len() == 1 => Ok(template.fill(&[prompt])),
        Some(template) => {
            let fields = template.fields();
            let needed = || {
                let names: Vec<String> = fields.iter().map(|field| format!("{field:?}")).collect();
                format!("the model's prompt template needs a JSON object with {}", names.join(", "))
            };
            let value = json::parse(prompt.as_bytes()).map_err(|e| anyhow!("{e}")).with_context(needed)?;
            let Value::Object(object) = value else { return Err(anyhow!(needed())) };
            let values: Vec<&str> = fields.iter().map(|field| text(&object, field)).collect::<Result<_, _>>()?;
            Ok(template.fill(&values))
        }
    }
}

/// The text at a key; the key as a whole is tried before its dots are taken as steps.
fn text<'o>(object: &'o Map<String, Value>, field: &str) -> anyhow::Result<&'o str> {
    let mut steps = field.split('.');
    let first = steps.next().and_then(|step| object.get(step));
    let found = object.get(field).or_else(|| steps.try_fold(first?, |value, step| value.get(step)));
    let there = || object.keys().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(", ");
    match found {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(anyhow!("the prompt's {field:?} is {other}, expected a text in quotes")),
        None => {
            Err(anyhow!("the prompt has no {field:?}, which the model's prompt template needs; it has {}", there()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_of_several_fields_is_an_object_and_a_missing_field_is_named() {
        let template = PromptTemplate::parse("Q: {q}\nC: {c.text}\n").unwrap();
        let filled = |prompt| fill(Some(&template), prompt).map_err(|error| format!("{error:#}"));
        assert_eq!(filled(r#"{"q": "a", "c": {"text": "{q}"}, "x": 1}"#).unwrap(), "Q: a\nC: {q}\n");
        for (prompt, expected) in [
            (r#"{"q": "a"}"#, "the prompt has no \"c.text\", which the model's prompt template needs; it has \"q\""),
            (r#"{"q": 1, "c.text": "b"}"#, "the prompt's \"q\" is 1, expected a text in quotes"),
            ("a", "the model's prompt template needs a JSON object with \"q\", \"c.text\": "),
            ("[1]", "the model's prompt template needs a JSON object with \"q\", \"c.text\""),
            (r#"{"q": "a", "c.text": "b", "q": "c"}"#, "\"q\" stands twice"),
        ] {
            let message = filled(prompt).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(fill(Some(&PromptTemplate::parse("{x}!").unwrap()), "{}").unwrap(), "{}!");
    }
}
