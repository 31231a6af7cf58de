//! What of the texts a model does not see as it is, counted and told once.

use atento::text::{self, Tokenizer};

use super::lines::Line;
use super::options::Options;

/// Characters and words that the vocabulary lacks.
#[derive(Debug, Default)]
pub struct Unknowns(text::Unknowns);

impl From<text::Unknowns> for Unknowns {
    fn from(found: text::Unknowns) -> Self {
        Self(found)
    }
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
        self.0.add(&tokenizer.unknown_parts(text)?, place);
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
        if self.0.count > 0 {
            options.note(format_args!("the tokenizer does not know {}", self.0));
        }
    }
}
