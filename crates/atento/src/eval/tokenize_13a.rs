//! The tokenizer `13a`: that of NIST's `mteval-v13a.pl`, which WMT scores with, as sacreBLEU has it.
//!
//! After the entities of SGML are undone, four substitutions run one after the other over ` line `:
//!
//! 1. ASCII punctuation other than `'`, `,`, `-` and `.` stands alone,
//! 2. a period or comma stands alone unless a digit precedes it,
//! 3. a period or comma stands alone unless a digit follows it,
//! 4. a dash stands alone when a digit precedes it.

use super::rewrite::{Spacing, space_characters, space_pairs};

/// `line` with spaces wherever the tokenizer separates two tokens.
pub(crate) fn space_tokens(line: &str) -> String {
    let text = format!(" {} ", undo_markup(line));
    let text = space_characters(&text, is_separate);
    let text =
        space_pairs(&text, Spacing::AroundSecond, |before, mark| !before.is_ascii_digit() && is_period_or_comma(mark));
    let text =
        space_pairs(&text, Spacing::AroundFirst, |mark, after| is_period_or_comma(mark) && !after.is_ascii_digit());
    space_pairs(&text, Spacing::AroundSecond, |before, mark| before.is_ascii_digit() && mark == '-')
}

/// Joins hyphenated line ends and undoes the entities, in the order of the original: `&amp;lt;` becomes `<`.
fn undo_markup(line: &str) -> String {
    let text = line.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if !text.contains('&') {
        return text;
    }
    text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// ASCII punctuation and the space, without `'`, `,`, `-` and `.`.
fn is_separate(character: char) -> bool {
    matches!(character, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

fn is_period_or_comma(character: char) -> bool {
    matches!(character, '.' | ',')
}

#[cfg(test)]
mod tests {
    use crate::eval::Tokenizer;

    fn tokens(line: &str) -> String {
        Tokenizer::V13a.tokenize(line).join(" ")
    }

    #[test]
    fn decimal_points_stay_and_full_stops_leave() {
        assert_eq!(tokens("It cost 1,234.50, or 3.5."), "It cost 1,234.50 , or 3.5 .");
    }

    #[test]
    fn a_dash_leaves_only_after_a_digit() {
        assert_eq!(tokens("1990-95 well-known F-16"), "1990 - 95 well-known F-16");
    }

    #[test]
    fn entities_are_undone_once_in_order() {
        assert_eq!(tokens("&quot;a &amp;lt; b&quot; <skipped>&apos;"), "\" a < b \" & apos ;");
    }

    #[test]
    fn hyphenated_line_ends_are_joined() {
        assert_eq!(tokens("Über-\nraschung\nda"), "Überraschung da");
    }
}
