//! What is wrong with an adapter, or with putting it on a model.

use std::path::PathBuf;

use crate::hub;

/// Why an adapter cannot be put on a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of its files.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// A tensor is of a module that the model does not have.
    #[error("{path}: tensor `{name}` is of no module of the model{hint}: the adapter is for another one")]
    NoModule {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The nearest module; begins with its own punctuation.
        hint: String,
    },
    /// A module that is adapted has no pair, or half of one.
    #[error("{path}: there is no `{name}`, though adapter_config.json adapts `{module}`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The module.
        module: String,
    },
    /// Neither the base nor the adapter has a parameter.
    #[error("{path}: there is no `{name}`, which the base does not have either")]
    Lacking {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The base is not the one that the adapter was made for.
    #[error("{path}: the adapter was made for a model with contents {expected}, but {base} has {found}; --any-base puts it on nevertheless", base = base.display())]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// The directory of the base.
        base: PathBuf,
        /// Its contents, in a few digits.
        found: String,
        /// Those of the base that it was made for.
        expected: String,
    },
    /// It is part of the model's weights already.
    #[error("{path}: this adapter has been merged into the model already", path = path.display())]
    Merged {
        /// The directory of the adapter.
        path: PathBuf,
    },
    /// It is not part of the model's weights.
    #[error("{path}: config.json of {model} does not say that this adapter was merged into it", path = path.display(), model = model.display())]
    NotMerged {
        /// The directory of the adapter.
        path: PathBuf,
        /// That of the model.
        model: PathBuf,
    },
    /// Another was made part of the model's weights after it.
    #[error(
        "{path}: another adapter was merged into {model} after this one: take out the last one first",
        path = path.display(), model = model.display()
    )]
    NotLast {
        /// The directory of the adapter.
        path: PathBuf,
        /// That of the model.
        model: PathBuf,
    },
    /// A weight that an adapter is merged into is no number any more.
    #[error("`{name}` with what the adapter adds is not finite at element {at}")]
    NotFinite {
        /// The parameter.
        name: String,
        /// The element.
        at: usize,
    },
    /// A weight that an adapter is to be merged into is rounded.
    #[error(
        "`{name}` is held in few bits, where what the adapter adds would be lost in the rounding: load the model in f32"
    )]
    Int8 {
        /// The parameter.
        name: String,
    },
    /// What an adapter does stands beside the weights.
    #[error("the adapter cannot become part of the weights: {what}; use it with --adapter")]
    Beside {
        /// What it is.
        what: &'static str,
    },
    /// What is not here.
    #[error("{path}: {what}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
}
