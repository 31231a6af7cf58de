//! What of a text the vocabulary does not have.

use std::collections::HashMap;
use std::fmt;

use tokenizers::ModelWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::{Error, Tokenizer};
use crate::messages::{self, group_thousands};

/// Examples and places that are kept.
const KEPT: usize = 5;

/// What of texts a model does not see as it is: characters and words that the vocabulary lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknowns {
    /// How many there are.
    pub count: u64,
    /// The places that have some.
    pub places: u64,
    /// The first of them that differ.
    pub examples: Vec<String>,
    /// The first places.
    pub first_places: Vec<String>,
}

impl Unknowns {
    /// Notes the parts of a text that are not known, as [`Tokenizer::unknown_parts`] finds them; `place` names the text. Texts
    /// of one place come one after another.
    pub fn add<S: AsRef<str>>(&mut self, parts: &[S], place: impl FnOnce() -> String) {
        if parts.is_empty() {
            return;
        }
        self.count += parts.len() as u64;
        let place = place();
        if self.first_places.last() != Some(&place) {
            self.places += 1;
            if self.first_places.len() < KEPT {
                self.first_places.push(place);
            }
        }
        for part in parts.iter().map(S::as_ref) {
            if self.examples.len() < KEPT && !self.examples.iter().any(|example| example == part) {
                self.examples.push(part.to_owned());
            }
        }
    }
}

impl fmt::Display for Unknowns {
    /// `12 characters or words, such as "€", "ß" (line 3; line 7, …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.places > self.first_places.len() as u64 { ", …" } else { "" };
        let examples: Vec<String> = self.examples.iter().map(|example| format!("{example:?}")).collect();
        let (examples, places) = (examples.join(", "), self.first_places.join("; "));
        write!(f, "{} characters or words, which the model does not see as they are: ", group_thousands(self.count))?;
        write!(f, "{examples} ({places}{more})")
    }
}

impl Tokenizer {
    /// The parts of a text, characters or words, that the model does not see as they are: they become the unknown token
    /// or, where there is none, nothing at all. A text that spells the unknown token out has nothing unknown in it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn unknown_parts<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, Error> {
        let ids = self.unknown.map_or(Ok(Vec::new()), |_| self.encode_ids(text, false))?;
        self.unknown_parts_among(text, &ids)
    }

    /// The same of a text that became some of these tokens, which spares making them again.
    pub(crate) fn unknown_parts_among<'t>(&self, text: &'t str, ids: &[u32]) -> Result<Vec<&'t str>, Error> {
        match self.unknown {
            Some(unknown) if ids.contains(&unknown) => {
                let (encoding, name) = (self.encode(text, false)?, self.id_to_token(unknown));
                let parts = encoding.ids.iter().zip(&encoding.offsets).filter(|(id, _)| **id == unknown);
                let parts = parts.filter_map(|(_, &(start, end))| text.get(start..end));
                Ok(parts.filter(|part| Some(*part) != name.as_deref()).collect())
            }
            None if self.drops_characters() => self.dropped(text),
            _ => Ok(Vec::new()),
        }
    }

    /// How many tokens of a text are the unknown token, in words. Where every character has tokens, the text spells it out.
    pub fn unknown_in_words(&self, count: u64) -> String {
        let spelled = self.unknown.filter(|_| !self.makes_unknown()).and_then(|id| self.id_to_token(id));
        let times = if count == 1 { "once".to_owned() } else { format!("{} times", group_thousands(count)) };
        match spelled {
            Some(token) => format!("the text spells the unknown token `{token}` {times}"),
            None => messages::count(count, "unknown token"),
        }
    }

    /// Whether a character outside the vocabulary becomes the unknown token: not where bytes stand for it.
    fn makes_unknown(&self) -> bool {
        let has = |token: &str| self.inner.token_to_id(token).is_some();
        let has_bytes = || (0..=255).all(|byte| has(&format!("<0x{byte:02X}>")));
        match self.inner.get_model() {
            ModelWrapper::BPE(model) => {
                let is_byte_level = || ByteLevel::alphabet().into_iter().all(|c| has(c.encode_utf8(&mut [0; 4])));
                !(is_byte_level() || model.byte_fallback && has_bytes())
            }
            ModelWrapper::Unigram(model) => !(model.byte_fallback() && has_bytes()),
            _ => true,
        }
    }

    /// Whether a character outside the vocabulary disappears.
    fn drops_characters(&self) -> bool {
        let ModelWrapper::BPE(model) = self.inner.get_model() else { return false };
        let has = |c: char| self.inner.token_to_id(c.encode_utf8(&mut [0; 4])).is_some();
        !model.byte_fallback && !ByteLevel::alphabet().into_iter().all(has)
    }

    /// The characters that become nothing, alone and in a word; white space and control characters may be tidied away on
    /// purpose. Offsets do not tell: those behind a character that disappears are too small.
    fn dropped<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, Error> {
        let mut known = HashMap::new();
        let mut parts = Vec::new();
        for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace() && !c.is_control()) {
            let part = &text[at..at + c.len_utf8()];
            let is_known = match known.get(&c) {
                Some(&is_known) => is_known,
                None => {
                    let has_ids = |text: &str| Ok::<_, Error>(!self.encode_ids(text, false)?.is_empty());
                    let is_known = has_ids(part)? || has_ids(&part.repeat(2))?;
                    known.insert(c, is_known);
                    is_known
                }
            };
            if !is_known {
                parts.push(part);
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{self, TrainOptions};

    fn learned(options: TrainOptions) -> Tokenizer {
        Tokenizer::train::<text::Error>(["the cat", "a dog"].map(|line| Ok(line.to_owned())), &options).unwrap()
    }

    #[test]
    fn characters_that_become_the_unknown_token_are_found_and_its_own_name_is_not_one() {
        let tokenizer = learned(TrainOptions::characters());
        assert_eq!(tokenizer.unknown_parts("the €at<unk>").unwrap(), ["€"]);
        assert!(tokenizer.unknown_parts("the cat").unwrap().is_empty());
    }

    #[test]
    fn unknown_parts_are_counted_and_the_first_of_them_shown() {
        let mut unknown = Unknowns::default();
        unknown.add::<&str>(&[], || unreachable!("nothing is unknown there"));
        unknown.add(&["€", "ß", "€"], || "line 3".to_owned());
        unknown.add(&["ß"], || "line 3".to_owned());
        for line in 4..2000 {
            unknown.add(&["ø"], || format!("line {line}"));
        }
        assert_eq!(
            unknown.to_string(),
            "2,000 characters or words, which the model does not see as they are: \"€\", \"ß\", \"ø\" (line 3; line 4; \
             line 5; line 6; line 7, …)"
        );
    }

    #[test]
    fn an_unknown_token_that_no_character_becomes_is_spelled_in_the_text() {
        let spelled = "the text spells the unknown token `<unk>` 3 times";
        let byte_level =
            TrainOptions { kind: text::train::Kind::ByteLevelBpe, vocab_size: 300, ..TrainOptions::default() };
        let falls_back = TrainOptions { byte_fallback: Some(true), ..TrainOptions::characters() };
        for options in [byte_level, falls_back] {
            assert_eq!(learned(options).unknown_in_words(3), spelled);
        }
        assert_eq!(learned(TrainOptions::characters()).unknown_in_words(3), "3 unknown tokens");
    }

    #[test]
    fn characters_that_disappear_are_found() {
        let vocab = serde_json::json!({"a": 0, "b": 1});
        let file = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "vocab": vocab, "merges": []}});
        let tokenizer = Tokenizer::from_json_bytes(file.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.unknown_parts("ab€ b").unwrap(), ["€"]);
    }
}
