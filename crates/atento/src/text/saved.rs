//! The tokenizer.json that a tokenizer writes.

use std::path::Path;

use serde::Serialize;
use tokenizers::{
    AddedVocabulary, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper,
    PreTokenizerWrapper, TruncationParams,
};

use super::guard::guarded;
use super::{Error, Tokenizer};
use crate::hub::atomic;

/// The tokenizer of targets lies in a file of this name beside that of sources.
pub const TARGET_FILE: &str = "target_tokenizer.json";

/// The parts of a tokenizer.json that belong to whoever asks for a text to be tokenised.
#[derive(Clone, Debug, Default)]
pub(super) struct Sections {
    pub(super) truncation: Option<TruncationParams>,
    pub(super) padding: Option<PaddingParams>,
}

/// A tokenizer.json.
#[derive(Serialize)]
struct File<'t> {
    version: &'static str,
    truncation: &'t Option<TruncationParams>,
    padding: &'t Option<PaddingParams>,
    added_tokens: &'t AddedVocabulary,
    normalizer: Option<&'t NormalizerWrapper>,
    pre_tokenizer: Option<&'t PreTokenizerWrapper>,
    post_processor: Option<&'t PostProcessorWrapper>,
    decoder: Option<&'t DecoderWrapper>,
    model: &'t ModelWrapper,
}

impl Tokenizer {
    /// The bytes of its `tokenizer.json`: the same tokenizer always gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Engine`] if a part cannot be serialised.
    pub fn to_json_bytes(&self) -> Result<Vec<u8>, Error> {
        self.serialised(&self.sections)
    }

    /// Bytes that are equal where two tokenizers do the same.
    ///
    /// # Errors
    /// As [`Tokenizer::to_json_bytes`].
    pub(crate) fn identity(&self) -> Result<Vec<u8>, Error> {
        self.serialised(&Sections::default())
    }

    fn serialised(&self, sections: &Sections) -> Result<Vec<u8>, Error> {
        let file = File {
            version: "1.0",
            truncation: &sections.truncation,
            padding: &sections.padding,
            added_tokens: self.inner.get_added_vocabulary(),
            normalizer: self.inner.get_normalizer(),
            pre_tokenizer: self.inner.get_pre_tokenizer(),
            post_processor: self.inner.get_post_processor(),
            decoder: self.inner.get_decoder(),
            model: self.inner.get_model(),
        };
        guarded("serialise itself", || Ok(serde_json::to_vec_pretty(&file)?))
    }

    /// Writes its `tokenizer.json`, whole or not at all; before it that of its targets, where they have one.
    ///
    /// # Errors
    /// [`Error::Write`], naming the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.save_target(path.parent().unwrap_or(Path::new("")))?;
        self.save_alone(path)
    }

    /// Writes the tokenizer of its targets into a directory, where they have one of their own.
    ///
    /// # Errors
    /// As [`Tokenizer::save`].
    pub(crate) fn save_target(&self, directory: &Path) -> Result<(), Error> {
        let Some(target) = &self.of_target else { return Ok(()) };
        target.save_alone(&directory.join(TARGET_FILE))
    }

    fn save_alone(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.to_json_bytes()?;
        let written = atomic::write_named(path, |file| file.write_all(&bytes));
        written.map_err(|source| Error::Write { source: Box::new(source) })
    }
}
