//! How a table of the recipe is declared.
//!
//! Each key is written once, with its text, type, default and range. From that one declaration come the
//! public struct, its documentation, its `Default`, the schema that refuses unknown keys and wrong values,
//! and the commented default recipe; so they cannot drift apart. That is what the macro is for.

use std::fmt;
use std::path::PathBuf;

/// What one key of a table accepts.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key as written in the recipe, e.g. `d_model`.
    pub name: &'static str,
    /// What it means: its documentation, one line.
    pub about: String,
    /// The type of its value.
    pub kind: Kind,
    /// The numbers it accepts, where it is a number.
    pub range: Option<Range>,
}

/// The type of a value in a recipe.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number, not negative.
    Whole,
    /// Whole numbers in brackets.
    Wholes,
    /// A number, with or without a fraction.
    Number,
    /// Two numbers in brackets.
    TwoNumbers,
    /// A string.
    Text,
    /// Strings in brackets.
    Texts,
    /// Strings and whole numbers in brackets.
    Tokens,
    /// A string that names a file or directory.
    Path,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A table with these keys.
    Table(Vec<Field>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Boolean => f.write_str("true or false"),
            Kind::Whole => f.write_str("a whole number"),
            Kind::Wholes => f.write_str("a list of whole numbers"),
            Kind::Number => f.write_str("a number"),
            Kind::TwoNumbers => f.write_str("two numbers in brackets, each"),
            Kind::Text => f.write_str("text in quotes"),
            Kind::Texts => f.write_str("a list of texts in quotes"),
            Kind::Tokens => f.write_str("a list of tokens in quotes and of ids"),
            Kind::Path => f.write_str("a path in quotes"),
            Kind::Choice(words) => write!(f, "one of {}", quoted(words)),
            Kind::Table(fields) => {
                let names: Vec<_> = fields.iter().map(|field| field.name).collect();
                write!(f, "a table with keys from: {}", names.join(", "))
            }
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// An interval of numbers, each end open or closed or absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    min: f64,
    above_min: bool,
    max: f64,
    below_max: bool,
}

impl Range {
    /// Numbers from `min` on.
    pub fn from(min: f64) -> Self {
        Self { min, above_min: false, max: f64::INFINITY, below_max: false }
    }

    /// Numbers greater than `min`.
    pub fn above(min: f64) -> Self {
        Self { above_min: true, ..Self::from(min) }
    }

    /// The same interval, ending with `max`.
    pub fn up_to(self, max: f64) -> Self {
        Self { max, ..self }
    }

    /// The same interval, ending before `max`.
    pub fn below(self, max: f64) -> Self {
        Self { max, below_max: true, ..self }
    }

    /// Its ends, as a JSON schema calls them.
    pub fn limits(&self) -> Vec<(&'static str, f64)> {
        let lower = if self.above_min { "exclusiveMinimum" } else { "minimum" };
        let upper = if self.below_max { "exclusiveMaximum" } else { "maximum" };
        [(lower, self.min), (upper, self.max)].into_iter().filter(|(_, end)| end.is_finite()).collect()
    }

    /// Whether `value` lies in the interval; not-a-number and the infinities never do.
    pub fn contains(&self, value: f64) -> bool {
        let after = if self.above_min { value > self.min } else { value >= self.min };
        let before = if self.below_max { value < self.max } else { value <= self.max };
        value.is_finite() && after && before
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, above_min, max, below_max } = *self;
        match (above_min, max.is_finite(), below_max) {
            (true, false, _) => write!(f, "greater than {min}"),
            (false, false, _) => write!(f, "at least {min}"),
            (true, true, _) => {
                write!(f, "greater than {min} and {} {max}", if below_max { "less than" } else { "at most" })
            }
            (false, true, true) => write!(f, "from {min} up to but less than {max}"),
            (false, true, false) => write!(f, "from {min} to {max}"),
        }
    }
}

/// A token of a model's vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum TokenName {
    /// By its id.
    Id(u32),
    /// As the tokenizer writes it.
    Text(String),
}

/// A type that a key may have.
pub trait Setting {
    /// The kind that describes this type.
    fn kind() -> Kind;
}

macro_rules! setting {
    ($($type:ty => $kind:expr),* $(,)?) => {
        $(impl Setting for $type { fn kind() -> Kind { $kind } })*
    };
}
setting! {
    bool => Kind::Boolean,
    usize => Kind::Whole,
    u64 => Kind::Whole,
    Vec<usize> => Kind::Wholes,
    f64 => Kind::Number,
    [f64; 2] => Kind::TwoNumbers,
    String => Kind::Text,
    Vec<String> => Kind::Texts,
    Vec<TokenName> => Kind::Tokens,
    PathBuf => Kind::Path,
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }
}

/// Declares a table of the recipe: `key: Type = default, in range;` with the key's text above it.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident {
        $($(#[doc = $doc:literal])* $field:ident : $type:ty = $default:expr $(, in $range:expr)?;)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $(
                $(#[doc = $doc])*
                #[doc = ""]
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            /// Every key as if it was left out of a recipe; the fields say their defaults.
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::train::recipe::section::Setting for $name {
            fn kind() -> $crate::train::recipe::section::Kind {
                use $crate::train::recipe::section::{Field, Kind, Setting};
                Kind::Table(vec![$(Field {
                    name: stringify!($field),
                    about: concat!($($doc),*).trim().to_string(),
                    kind: <$type as Setting>::kind(),
                    range: [$($range)?].first().copied(),
                },)*])
            }
        }
    };
}
pub(crate) use section;

/// Declares a key's few accepted words as an enum: `Variant = "word"` with its text above it.
macro_rules! choice {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one, in the order of the words.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Every word, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word that stands for this in a recipe.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::train::recipe::section::Setting for $name {
            fn kind() -> $crate::train::recipe::section::Kind {
                $crate::train::recipe::section::Kind::Choice(Self::WORDS)
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_and_keep_their_ends() {
        let cases = [
            (Range::from(1.0), "at least 1", [(1.0, true), (0.5, false), (f64::NAN, false), (f64::INFINITY, false)]),
            (Range::above(0.0), "greater than 0", [(0.0, false), (1e-9, true), (-1.0, false), (9.0, true)]),
            (
                Range::from(0.0).below(1.0),
                "from 0 up to but less than 1",
                [(0.0, true), (1.0, false), (0.99, true), (-0.1, false)],
            ),
            (Range::from(0.0).up_to(1.0), "from 0 to 1", [(0.0, true), (1.0, true), (1.1, false), (f64::NAN, false)]),
            (
                Range::above(0.0).up_to(1.0),
                "greater than 0 and at most 1",
                [(0.0, false), (1.0, true), (1.1, false), (0.5, true)],
            ),
        ];
        for (range, text, values) in cases {
            assert_eq!(range.to_string(), text);
            for (value, inside) in values {
                assert_eq!(range.contains(value), inside, "{value} in {text}");
            }
        }
    }
}
