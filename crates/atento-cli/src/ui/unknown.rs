//! What of the texts a model does not see as it is, counted and told once.

use atento::text::{self, Tokenizer};

use super::lines::Line;
use super::options::Options;

/// Examples and places that are shown.
const SHOWN: usize = 5;

/// Characters and words that the vocabulary lacks.
#[derive(Debug, Default)]
pub struct Unknowns {
    count: u64,
    texts: u64,
    examples: Vec<String>,
    places: Vec<String>,
}

impl Unknowns {
    /// Looks at a text; `place` names it.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn look(
        &mut self,
        tokenizer: &Tokenizer,
        text: &str,
        place: impl FnOnce() -> String,
    ) -> Result<(), text::Error> {
        let parts = tokenizer.unknown_parts(text)?;
        if parts.is_empty() {
            return Ok(());
        }
        self.count += parts.len() as u64;
        let place = place();
        if self.places.last() != Some(&place) {
            self.texts += 1;
            if self.places.len() < SHOWN {
                self.places.push(place);
            }
        }
        for part in parts {
            let part = format!("{part:?}");
            if self.examples.len() < SHOWN && !self.examples.contains(&part) {
                self.examples.push(part);
            }
        }
        Ok(())
    }

    /// Looks at the lines that can be used. The two sides of a pair are tokenised each by itself.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn look_at_lines<T>(&mut self, tokenizer: &Tokenizer, lines: &[Line<T>]) -> Result<(), text::Error> {
        for line in lines.iter().filter(|line| line.ready.is_ok()) {
            self.look_at_parts(tokenizer, line.text.as_deref().unwrap_or_default(), &line.place)?;
        }
        Ok(())
    }

    /// Looks at a line that can be used, part by part between its tabs.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn look_at_parts(&mut self, tokenizer: &Tokenizer, line: &str, place: &str) -> Result<(), text::Error> {
        line.split('\t').try_for_each(|part| self.look(tokenizer, part, || place.to_owned()))
    }

    /// Tells what was found, if anything was.
    pub fn tell(&self, options: &Options) {
        if self.count == 0 {
            return;
        }
        let more = if self.texts > self.places.len() as u64 { ", …" } else { "" };
        let (examples, places) = (self.examples.join(", "), self.places.join("; "));
        options.note(format_args!(
            "the tokenizer does not know {} characters or words, which the model does not see as they are: {examples} ({places}{more})",
            self.count
        ));
    }
}
