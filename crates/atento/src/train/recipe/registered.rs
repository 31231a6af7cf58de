//! Words that name an entry of a registry: `task` and `model.arch`.

use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::section::{Kind, Setting};
use crate::families::{self, Family};
use crate::tasks;

/// Declares a setting whose words are the names of a registry's entries; its default is the first.
macro_rules! registered {
    ($(#[doc = $about:literal])* $name:ident, $entry:path, $registry:path) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy)]
        pub struct $name(pub &'static dyn $entry);

        impl $name {
            /// The word that stands for it in a recipe.
            #[must_use]
            pub fn word(self) -> &'static str {
                self.0.name()
            }

            /// The one of that name.
            #[must_use]
            pub fn named(word: &str) -> Option<Self> {
                $registry.into_iter().find(|entry| entry.name() == word).map(Self)
            }
        }

        impl Deref for $name {
            type Target = dyn $entry;

            fn deref(&self) -> &Self::Target {
                self.0
            }
        }

        impl Default for $name {
            /// The first of the registry.
            fn default() -> Self {
                Self($registry[0])
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.word() == other.word()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.word())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                Self::named(&word).ok_or_else(|| serde::de::Error::custom(format!("nothing is called {word:?}")))
            }
        }

        impl Setting for $name {
            fn kind() -> Kind {
                static WORDS: LazyLock<Vec<&'static str>> =
                    LazyLock::new(|| $registry.iter().map(|entry| entry.name()).collect());
                Kind::Choice(&WORDS)
            }
        }
    };
}

registered! {
    /// The family of the model.
    Arch, Family, families::ALL
}

registered! {
    /// What the run trains.
    Task, tasks::Task, tasks::ALL
}

impl Arch {
    /// The family itself.
    #[must_use]
    pub fn family(self) -> &'static dyn Family {
        self.0
    }
}
