//! The tokenizer `intl`: the international mode of `mteval-v14.pl`, as sacreBLEU has it.
//!
//! Three substitutions over Unicode's general categories, N number, P punctuation, S symbol:
//!
//! 1. punctuation not preceded by a number stands alone,
//! 2. punctuation not followed by a number stands alone,
//! 3. a symbol stands alone.
//!
//! Each of the first two needs a neighbour to look at. The line is not padded with spaces, so punctuation at its
//! very start is split only from what follows, and a full stop that ends the line after a number stays with
//! the number. That is the original's behaviour and kept.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::rewrite::{Spacing, space_characters, space_pairs};

/// `line` with spaces wherever the tokenizer separates two tokens.
pub(crate) fn space_tokens(line: &str) -> String {
    let text = space_pairs(line, Spacing::AroundSecond, |before, mark| is_punctuation(mark) && !is_number(before));
    let text = space_pairs(&text, Spacing::AroundFirst, |mark, after| is_punctuation(mark) && !is_number(after));
    space_characters(&text, is_symbol)
}

fn is_number(character: char) -> bool {
    use GeneralCategory::*;
    matches!(get_general_category(character), DecimalNumber | LetterNumber | OtherNumber)
}

fn is_punctuation(character: char) -> bool {
    use GeneralCategory::*;
    matches!(
        get_general_category(character),
        ConnectorPunctuation
            | DashPunctuation
            | OpenPunctuation
            | ClosePunctuation
            | InitialPunctuation
            | FinalPunctuation
            | OtherPunctuation
    )
}

fn is_symbol(character: char) -> bool {
    use GeneralCategory::*;
    matches!(get_general_category(character), MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol)
}

#[cfg(test)]
mod tests {
    use crate::eval::Tokenizer;

    fn tokens(line: &str) -> String {
        Tokenizer::International.tokenize(line).join(" ")
    }

    #[test]
    fn quotes_dashes_and_currencies_of_any_script_stand_alone() {
        assert_eq!(tokens("„Wie bitte?“ – 5€, 東京。"), "„ Wie bitte ? “ – 5 € , 東京 。");
    }

    #[test]
    fn a_full_stop_that_ends_the_line_after_a_number_stays() {
        assert_eq!(tokens("Es war 1990."), "Es war 1990.");
        assert_eq!(tokens("Es war 1990. Nicht 1,5."), "Es war 1990 . Nicht 1,5.");
    }

    #[test]
    fn entities_are_left_alone() {
        assert_eq!(tokens("&amp;"), "& amp ;");
    }
}
