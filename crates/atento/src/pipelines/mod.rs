//! From a directory to an answer: load a model once, use it many times.
//!
//! [`Model`] is the short way; [`translate`] and [`continue_text`] have every option of the program's verbs. [`Loaded`] is a
//! model of one kind with its tokenizer and settings.

mod ask;
mod attention;
mod continue_options;
pub mod continue_text;
mod language;
mod loaded;
mod model;
pub mod texts;
pub mod translate;
mod translator;

use crate::models::Headed;

pub use continue_text::{Continuation, ContinueOptions, LanguageModel, Method};
pub(crate) use loaded::load_frozen;
pub use loaded::{Error as LoadError, Loaded, Net, outline};
pub use model::{Error, Model};
pub use translate::{Pretrained, TranslateOptions, Translation};

/// A model that judges texts or tokens, or finds masked words, ready to use.
pub type TextModel = Loaded<Headed>;
