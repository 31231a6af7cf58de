//! The sentences of a document: its lines that are not blank, as in the original.
//!
//! A document of one line has one sentence, of which no two segments can be made. Where pairs are asked for, it is cut
//! after `.`, `!` or `?` before white space. That rule is wrong for abbreviations ("Mr. Smith") and knows no quotation
//! marks; texts with a sentence on each line need no rule.

/// The sentences of a piece of a document, without the white space around them. `by_ends` cuts lines too.
pub(super) fn sentences(text: &str, by_ends: bool) -> impl Iterator<Item = &str> {
    let lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(move |line| Ends { rest: line, by_ends })
}

/// Whether a piece has no line end inside its text.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.trim().contains('\n')
}

struct Ends<'a> {
    rest: &'a str,
    by_ends: bool,
}

impl<'a> Iterator for Ends<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let ends_here = |at: &usize| self.rest[at + 1..].starts_with(char::is_whitespace);
        let mut marks = self.rest.match_indices(['.', '!', '?']).map(|(at, _)| at);
        let end = if self.by_ends { marks.find(ends_here) } else { None };
        let (sentence, rest) = self.rest.split_at(end.map_or(self.rest.len(), |at| at + 1));
        self.rest = rest.trim_start();
        Some(sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sentences_and_a_line_is_cut_only_where_that_is_asked_for() {
        let of = |text: &'static str, by_ends| sentences(text, by_ends).collect::<Vec<_>>();
        assert_eq!(of(" a b. c\r\n\n \nd\n", false), ["a b. c", "d"]);
        assert_eq!(of("One two. Three!  Is 3.5 four? …\n", true), ["One two.", "Three!", "Is 3.5 four?", "…"]);
        assert_eq!(of("no end", true), ["no end"]);
        assert_eq!(of(" \n", true), [""; 0]);
        assert!(is_one_line("a. b.\n") && !is_one_line("a\nb"));
    }
}
