//! Conversations, a line each.

use anyhow::anyhow;
use atento::hub::Message;
use atento::json;

/// A conversation: a JSON object with its messages, or what a user says first. `system` stands before it.
///
/// # Errors
/// An object whose messages are none, or a message without a role or a text.
pub fn of(line: &str, system: Option<&str>) -> anyhow::Result<Vec<Message>> {
    let mut messages: Vec<Message> = system.map(|text| Message::new("system", text)).into_iter().collect();
    match line.trim_start().starts_with('{').then(|| json::parse(line.as_bytes())) {
        Some(Ok(object)) if object.get("messages").is_some() => {
            messages.extend(Message::list(&object["messages"]).map_err(|fault| anyhow!(fault))?);
        }
        _ => messages.push(Message::new("user", line)),
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_conversation_or_what_a_user_says() {
        let talk = |line: &str, system| of(line, system).map_err(|error| error.to_string());
        assert_eq!(talk("{x} hi", None).unwrap(), [Message::new("user", "{x} hi")]);
        let line = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
        let expected =
            [("system", "s"), ("user", "a"), ("assistant", "b")].map(|(role, text)| Message::new(role, text));
        assert_eq!(talk(line, Some("s")).unwrap(), expected);
        for (line, expected) in [
            (r#"{"messages": []}"#, "is empty"),
            (r#"{"messages": "x"}"#, "is no list"),
            (r#"{"messages": [{"role": "user"}]}"#, "message 1 is no object with"),
        ] {
            let found = talk(line, None).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }
}
