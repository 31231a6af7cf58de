//! The family of the model, `model.arch`: one of those that are registered.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::section::{Kind, Setting};
use crate::families::{self, Family};

/// The family of the model.
#[derive(Clone, Copy)]
pub struct Arch(pub &'static dyn Family);

impl Arch {
    /// The word that stands for it in a recipe.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.0.name()
    }

    /// The family of that name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        families::named(word).map(Self)
    }

    /// The family itself.
    #[must_use]
    pub fn family(self) -> &'static dyn Family {
        self.0
    }
}

impl Default for Arch {
    /// The first of the registry.
    fn default() -> Self {
        Self(families::ALL[0])
    }
}

impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.word() == other.word()
    }
}

impl fmt::Debug for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arch({})", self.word())
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Arch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for Arch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::named(&word).ok_or_else(|| serde::de::Error::custom(format!("no family is called {word:?}")))
    }
}

impl Setting for Arch {
    fn kind() -> Kind {
        static WORDS: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| families::ALL.iter().map(|family| family.name()).collect());
        Kind::Choice(&WORDS)
    }
}
