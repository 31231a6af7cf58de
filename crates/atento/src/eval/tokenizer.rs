//! The tokenizers BLEU is computed on, by their sacreBLEU names.

use std::fmt;
use std::str::FromStr;

use super::rewrite::words;
use super::{Error, tokenize_13a, tokenize_intl};

/// How a line becomes the tokens that BLEU counts.
///
/// Scores on different tokenizers are not comparable; the signature names the one used. See M. Post,
/// "A Call for Clarity in Reporting BLEU Scores" (WMT 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tokenizer {
    /// `13a`: NIST's `mteval-v13a.pl`, the tokenizer of WMT and the default.
    #[default]
    V13a,
    /// `none`: the words between white space, for text that is tokenized already.
    None,
    /// `intl`: `mteval-v14.pl` with Unicode's punctuation and symbols.
    International,
    /// `char`: every character that is not white space.
    Character,
}

impl Tokenizer {
    /// The names [`Tokenizer::from_str`] takes.
    pub const NAMES: [&'static str; 4] = ["13a", "none", "intl", "char"];

    /// The name in signatures and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tokenizer::V13a => "13a",
            Tokenizer::None => "none",
            Tokenizer::International => "intl",
            Tokenizer::Character => "char",
        }
    }

    /// The tokens of one segment. White space at its end is dropped first, as sacreBLEU does.
    pub fn tokenize(self, segment: &str) -> Vec<String> {
        words(&self.space_tokens(segment)).map(str::to_owned).collect()
    }

    /// `segment` with white space between any two tokens.
    pub(crate) fn space_tokens(self, segment: &str) -> String {
        let segment = segment.trim_end_matches(super::rewrite::is_python_space);
        match self {
            Tokenizer::V13a => tokenize_13a::space_tokens(segment),
            Tokenizer::None => segment.to_owned(),
            Tokenizer::International => tokenize_intl::space_tokens(segment),
            Tokenizer::Character => super::rewrite::space_characters(segment, |_| true),
        }
    }
}

impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tokenizer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "13a" => Ok(Tokenizer::V13a),
            "none" => Ok(Tokenizer::None),
            "intl" => Ok(Tokenizer::International),
            "char" => Ok(Tokenizer::Character),
            _ => Err(Error::unknown_name("tokenizer", name, &Self::NAMES)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in Tokenizer::NAMES {
            assert_eq!(name.parse::<Tokenizer>().unwrap().name(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let message = "int".parse::<Tokenizer>().unwrap_err().to_string();
        assert_eq!(message, "unknown tokenizer `int`; did you mean `intl`?; known: 13a, none, intl, char");
    }

    #[test]
    fn characters_are_code_points_and_white_space_is_none() {
        assert_eq!(Tokenizer::Character.tokenize(" ä b🙂 "), ["ä", "b", "🙂"]);
    }
}
