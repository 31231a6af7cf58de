//! What messages say of names and values that users wrote: short, printable, and with the spelling that was meant.

use std::borrow::Cow;

/// Names longer than this, and more of them than [`MOST_NAMES`], are not compared: they come from files that
/// may be hostile, and edit distance takes quadratic time.
const LONGEST_NAME: usize = 256;
const MOST_NAMES: usize = 10_000;

/// Two spellings are near if their likeness, 1 less the share of letters that differ, is above this.
const NEAR: f64 = 0.6;

/// Characters of a value that a message shows.
const SHOWN: usize = 120;

/// The longest run of characters without a space that a message holds: longer than almost every path.
const LONGEST_WORD: usize = 400;

/// How much two spellings are alike, from 0 to 1. Upper and lower case are the same.
fn likeness(left: &str, right: &str) -> f64 {
    match left.len().max(right.len()) > LONGEST_NAME {
        true => 0.0,
        false => strsim::normalized_damerau_levenshtein(&left.to_lowercase(), &right.to_lowercase()),
    }
}

/// The candidate most like `name`, if one is near it.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_above(NEAR, name, candidates)
}

/// The candidate most like `name`, if its likeness is above `threshold`.
pub(crate) fn nearest_above<'a>(
    threshold: f64,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .take(MOST_NAMES)
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > threshold)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// "; the nearest there is `x`", or nothing.
pub(crate) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // A key that is there without a value is no other spelling of itself.
    match nearest(name, candidates.into_iter().filter(|candidate| *candidate != name)) {
        Some(candidate) => format!("; the nearest there is `{candidate}`"),
        None => String::new(),
    }
}

/// " (did you mean "x"?)", or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or(String::new(), |candidate| format!(" (did you mean {candidate:?}?)"))
}

/// Digits in groups of three: `31,412`.
pub fn group_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// "1 file" or "2,000 files": a number of things.
pub fn count(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", group_thousands(number), if number == 1 { "" } else { "s" })
}

/// A value as a message shows it: whole, or its beginning and an ellipsis.
pub fn cut(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
    }
}

/// A name from a file, quoted, control characters escaped, and cut where it is too long to print.
pub(crate) fn quoted(name: &str) -> String {
    let start: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if name.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{start}{more}`")
}

/// A text in double quotes, control characters escaped, and cut where it is too long to print.
pub(crate) fn text(value: &str) -> String {
    format!("{:?}", cut(value))
}

/// Names in a row, cut where they are too many or too long to print.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<_> = names.iter().take(20).map(|name| cut(name)).collect();
    let more =
        if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    shown.join(", ") + &more
}

/// A whole message, in which every run of characters without a space that is too long to print, such as a path of ten
/// thousand, is cut in its middle.
pub fn printable(message: &str) -> Cow<'_, str> {
    if message.len() <= LONGEST_WORD {
        return Cow::Borrowed(message);
    }
    Cow::Owned(message.split_inclusive(char::is_whitespace).map(printable_word).collect())
}

fn printable_word(word: &str) -> Cow<'_, str> {
    let (count, ends) = (word.chars().count(), SHOWN);
    if count <= LONGEST_WORD {
        return Cow::Borrowed(word);
    }
    let start: String = word.chars().take(ends).collect();
    let end: String = word.chars().skip(count - ends).collect();
    Cow::Owned(format!("{start}…{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_name_and_nonsense_finds_none() {
        let names = ["model.safetensors", "config.json", "tokenizer.json"];
        assert_eq!(nearest("confg.json", names), Some("config.json"));
        assert_eq!(nearest("CONFIG.JSON", names), Some("config.json"));
        assert_eq!(nearest("zzz", names), None);
    }

    #[test]
    fn another_word_is_no_spelling_of_the_word_meant() {
        for (name, other) in
            [("prompt", "answer"), ("completion", "answer"), ("text", "title"), ("en", "de"), ("mr", "id")]
        {
            assert_eq!(nearest(name, [other]), None, "{name} {other}");
        }
        assert_eq!(nearest("txt", ["text"]), Some("text"));
    }

    #[test]
    fn hostile_names_are_escaped_and_cut() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert!(quoted(&"x".repeat(1_000_000)).len() < 200);
        assert_eq!(text("a\nb"), "\"a\\nb\"");
        assert!(text(&"ü".repeat(1_000_000)).len() < 300);
        assert!(list(std::iter::repeat_n("name", 5000)).ends_with(" and 4980 more"));
    }

    #[test]
    fn a_message_keeps_its_words_and_the_ends_of_a_path_without_end() {
        let path = format!("/{}/end.txt", "x".repeat(10_000));
        let message = format!("{path}: cannot open: File name too long");
        let printed = printable(&message);
        assert!(printed.len() < 500 && printed.starts_with("/xxx"), "{printed}");
        assert!(printed.ends_with("xx/end.txt: cannot open: File name too long"), "{printed}");
        assert_eq!(printable("short"), "short");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (31_412, "31,412"), (1_234_567, "1,234,567")] {
            assert_eq!(group_thousands(number), text);
        }
        assert_eq!([count(1, "file"), count(2000, "file")], ["1 file", "2,000 files"]);
    }
}
