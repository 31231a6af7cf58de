//! The weights on one page that needs nothing but itself and no network: a grid of heads, of which one is shown large.
//!
//! A head travels as one text: 16 bits a weight, `round(65535·weight)`, in base 64. The page's script draws it.

use minijinja::{Environment, Value, context};
use serde_json::json;

use super::{AttentionMaps, Between, Error, Layer, Stack};

impl AttentionMaps {
    /// Draws the page. The title is the model's name, say; the text and its translation are told below it.
    ///
    /// # Errors
    /// The template has a mistake.
    pub fn to_html(&self, title: &str, texts: &[&str]) -> Result<String, Error> {
        let mut environment = Environment::new();
        // The name's ending makes every value be escaped.
        environment.add_template("page.html.j2", include_str!("page.html.j2"))?;
        environment.add_template("style.css", include_str!("../train/report/style.css"))?;
        environment.add_template("page.css", include_str!("page.css"))?;
        environment.add_template("page.js", include_str!("page.js"))?;
        let stacks: Vec<_> = self.stacks.iter().filter(|stack| stack.heads() > 0).collect();
        let data = json!(stacks.iter().map(|stack| self.stack(stack)).collect::<Vec<_>>());
        // Within a script no reference to a character is read; JSON has a spelling of its own for what could end one.
        let data = Value::from_safe_string(data.to_string().replace('<', "\\u003c"));
        let names: Value = stacks.iter().map(|stack| Value::from(name(self, stack.between))).collect();
        let texts: Value = texts.iter().map(|text| Value::from(*text)).collect();
        let page = context! { title, texts, data, names, heads => self.heads() };
        Ok(environment.get_template("page.html.j2")?.render(page)?)
    }

    fn stack(&self, stack: &Stack) -> serde_json::Value {
        let layer = |layer: &Layer| {
            let head = |head: &super::Head| json!({ "number": head.number, "weights": packed(&head.weights) });
            json!({ "number": layer.number, "heads": layer.heads.iter().map(head).collect::<Vec<_>>() })
        };
        json!({
            "name": name(self, stack.between),
            "about": about(self, stack.between),
            "queries": self.queries(stack.between),
            "keys": self.keys(stack.between),
            "layers": stack.layers.iter().map(layer).collect::<Vec<_>>(),
        })
    }
}

/// What an attention is called.
pub(super) fn name(maps: &AttentionMaps, between: Between) -> &'static str {
    match between {
        Between::Text if maps.target.is_none() => "Self-attention",
        Between::Text => "Encoder",
        Between::Target => "Decoder",
        Between::Cross => "Cross-attention",
    }
}

fn about(maps: &AttentionMaps, between: Between) -> &'static str {
    match between {
        Between::Text if maps.target.is_none() => "A row is a token that looks, a column a token that it looks at.",
        Between::Text => "Each source token looks at all source tokens.",
        Between::Target => {
            "Each token that the decoder reads looks at itself and at those before it, to write the next one."
        }
        Between::Cross => "Each token that the decoder reads looks at the source, to write the next one.",
    }
}

/// Weights as a text, see the module.
fn packed(weights: &[f32]) -> String {
    let bytes: Vec<u8> =
        weights.iter().flat_map(|&weight| ((weight * 65_535.0).round() as u16).to_le_bytes()).collect();
    base64(&bytes)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_base_64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        // 0, a half rounded up, and 1, the lower byte first.
        assert_eq!(packed(&[0.0, 0.5, 1.0]), base64(&[0, 0, 0, 128, 255, 255]));
    }
}
