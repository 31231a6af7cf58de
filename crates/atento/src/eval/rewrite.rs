//! The two moves all of sacreBLEU's tokenizers are made of, as scanners over characters.
//!
//! Both behave as Python's `re.sub`: matches are found from left to right and do not overlap, so a character
//! that ended one match cannot begin the next.

/// Where a matched pair `ab` receives its spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// `a b `: the second character stands alone.
    AroundSecond,
    /// ` a b`: the first character stands alone.
    AroundFirst,
}

/// Rewrites every non-overlapping pair of neighbours for which `matches` holds.
pub(crate) fn space_pairs(text: &str, spacing: Spacing, matches: impl Fn(char, char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        match characters.next_if(|&second| matches(first, second)) {
            Some(second) if spacing == Spacing::AroundSecond => {
                out.extend([first, ' ', second, ' ']);
            }
            Some(second) => out.extend([' ', first, ' ', second]),
            None => out.push(first),
        }
    }
    out
}

/// Puts a space on both sides of every character for which `matches` holds.
pub(crate) fn space_characters(text: &str, matches: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if matches(character) {
            out.extend([' ', character, ' ']);
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether Python's `str.split` and `str.rstrip` take the character for white space: Unicode's `White_Space`
/// and the four ASCII separators U+001C to U+001F, which Unicode and Rust leave out.
pub(crate) fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// The words between white space, as Python's `str.split()`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_python_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matched_pairs_do_not_overlap() {
        let commas = |a: char, b: char| !a.is_ascii_digit() && b == ',';
        assert_eq!(space_pairs("a,,,", Spacing::AroundSecond, commas), "a , , , ");
        assert_eq!(space_pairs(",,", Spacing::AroundFirst, commas), " , ,");
    }

    #[test]
    fn words_split_at_the_separators_python_knows() {
        let text = "a\u{1c}b\u{a0}c\u{3000}d\u{200b}e\u{85}f\t";
        assert_eq!(words(text).collect::<Vec<_>>(), ["a", "b", "c", "d\u{200b}e", "f"]);
    }
}
