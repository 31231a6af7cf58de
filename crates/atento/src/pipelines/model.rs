//! A model of either kind, ready to use: the short way into the library.

use std::path::Path;

use super::continue_text::{self, LanguageModel};
use super::translate::{self, Pretrained};
use super::{LoadError, TextModel, texts};
use crate::data::tokens;
use crate::families::Head;
use crate::score::{self, causal, perplexity};
use crate::{hub, text};

/// A model with its tokenizer and its settings.
pub enum Model {
    /// It goes on with a text.
    Language(Box<LanguageModel>),
    /// It translates.
    Translator(Box<Pretrained>),
    /// It judges texts or tokens, or finds masked words.
    Text(Box<TextModel>),
}

/// What can go wrong between a model's directory and its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or one of its files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A setting of the model's own that its search cannot have.
    #[error(transparent)]
    Settings(#[from] hub::Error),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The prompt, or its continuation.
    #[error(transparent)]
    Continue(#[from] continue_text::Error),
    /// The sentence, or its translation.
    #[error(transparent)]
    Translate(#[from] translate::Error),
    /// The texts that are scored or learned from.
    #[error(transparent)]
    Texts(#[from] causal::Error),
    /// The pairs that are scored or learned from.
    #[error(transparent)]
    Pairs(#[from] score::Error),
    /// The text that is measured.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// The model's answer to it.
    #[error(transparent)]
    Perplexity(#[from] perplexity::Error),
    /// The text that a model with a head is asked about, or its answer.
    #[error(transparent)]
    Ask(#[from] texts::Error),
    /// The model was taught with a template of several fields.
    #[error("the model was taught with a template of several fields ({fields}): fill it and use `continue_text`")]
    Fields {
        /// Their names.
        fields: String,
    },
    /// The model does something else.
    #[error("this model {does}: {asked} is for a model that {expected}")]
    OtherKind {
        /// What it does.
        does: &'static str,
        /// What was asked of it.
        asked: &'static str,
        /// What a model for that does.
        expected: &'static str,
    },
}

impl Model {
    /// Loads a Hugging Face model directory or a run directory.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(match hub::ModelDir::open(path)?.head() {
            Head::Translation => Self::Translator(Box::new(Pretrained::load(path)?)),
            Head::Language => Self::Language(Box::new(LanguageModel::load(path)?)),
            _ => Self::Text(Box::new(TextModel::load(path)?)),
        })
    }

    /// What it does.
    #[must_use]
    pub fn head(&self) -> Head {
        match self {
            Self::Translator(_) => Head::Translation,
            Self::Language(_) => Head::Language,
            Self::Text(text) => text.model.config.head,
        }
    }

    /// What follows a prompt, by the model's own settings; see [`LanguageModel::generate`].
    ///
    /// # Errors
    /// As there; the model translates.
    pub fn generate(&self, prompt: &str) -> Result<String, Error> {
        self.language("generate")?.generate(prompt)
    }

    /// How well a text is predicted; see [`LanguageModel::perplexity`].
    ///
    /// # Errors
    /// As there; the model translates.
    pub fn perplexity(&self, text: &str) -> Result<f64, Error> {
        self.language("perplexity")?.perplexity(text)
    }

    /// The best translation of a sentence; see [`Pretrained::translate`].
    ///
    /// # Errors
    /// As there; the model does not translate.
    pub fn translate(&self, sentence: &str) -> Result<String, Error> {
        match self {
            Self::Translator(translator) => translator.translate(sentence),
            _ => Err(self.other_kind("translate", Head::Translation)),
        }
    }

    /// Writes a complete model directory; see [`Loaded::save`](super::Loaded::save).
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        Ok(match self {
            Self::Translator(translator) => translator.save(dir),
            Self::Language(language) => language.save(dir),
            Self::Text(text) => text.save(dir),
        }?)
    }

    fn language(&self, asked: &'static str) -> Result<&LanguageModel, Error> {
        match self {
            Self::Language(language) => Ok(language),
            _ => Err(self.other_kind(asked, Head::Language)),
        }
    }

    pub(super) fn other_kind(&self, asked: &'static str, expected: Head) -> Error {
        Error::OtherKind { does: self.head().does(), asked, expected: expected.does() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokens::Strided;
    use crate::score::perplexity::text_loss;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)
    }

    #[test]
    fn a_model_answers_what_its_kind_can_and_names_what_it_cannot() {
        let language = Model::load(fixture("gpt2-tiny")).unwrap();
        assert_eq!(language.generate("a cat").unwrap(), language.generate("a cat").unwrap());
        assert!(language.perplexity("a red cat runs").unwrap() > 1.0);
        // As `eval` measures a file, also of a text longer than the model's positions.
        let Model::Language(inner) = &language else { unreachable!() };
        let dir = tempfile::tempdir().unwrap();
        for text in ["a red cat runs".to_owned(), "a red cat runs ".repeat(50)] {
            let path = dir.path().join("text");
            std::fs::write(&path, &text).unwrap();
            let whole = tokens::Whole::open(&path, "text", &inner.tokenizer, &mut Err).unwrap();
            let (rows, positions) = (inner.model.vocab_size(), inner.model.max_positions());
            let windows = Strided::new(whole.tokens, rows, positions, positions / 2);
            let expected = text_loss(&*inner.model, windows.unwrap(), 64, |_| ()).unwrap().perplexity();
            let found = language.perplexity(&text).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-6, "{found}, by `eval` {expected}");
        }
        for text in ["", "a"] {
            assert!(language.perplexity(text).is_err(), "{text:?}");
        }
        assert!(language.generate("").unwrap_err().to_string().contains("is empty"));
        let message = language.translate("a dog").unwrap_err().to_string();
        assert_eq!(message, "this model goes on with a text: translate is for a model that translates");
        let translator = Model::load(fixture("marian-tiny")).unwrap();
        translator.translate("a dog runs").unwrap();
        let message = translator.generate("a dog").unwrap_err().to_string();
        assert_eq!(message, "this model translates: generate is for a model that goes on with a text");
        assert!(Model::load(fixture("none")).is_err());
    }
}
