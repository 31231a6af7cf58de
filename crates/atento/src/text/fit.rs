//! Texts cut to the room that a model has for them.
//!
//! `fits` says whether a piece has room; whoever calls tokenizes it. A longer piece is taken to have more tokens, which
//! is nearly true: a piece that is returned always fits, though a slightly longer one might too.

/// A part of a text that was split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'t> {
    /// The part, without white space around it.
    pub text: &'t str,
    /// Whether white space stood before it.
    pub spaced: bool,
}

/// The longest beginning of a text that fits; `None` where not even its first character does.
pub fn longest_start(text: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    longest(text, &char_ends(text), &fits)
}

/// The longest end of a text that fits; `None` where not even its last character does.
pub fn longest_end(text: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    let begins: Vec<usize> = text.char_indices().rev().map(|(at, _)| at).collect();
    let count = most(begins.len(), |count| fits(&text[begins[count - 1]..]));
    (count > 0).then(|| &text[begins[count - 1]..])
}

/// Splits a text into parts that fit: after as many whole sentences as do, else after as many words, else within a word.
/// `None` where a single character does not fit. The time that it takes grows with the length of the text.
pub fn parts<'t>(text: &'t str, fits: impl Fn(&str) -> bool) -> Option<Vec<Part<'t>>> {
    let text = text.trim();
    let mut cuts = [sentence_ends(text), word_ends(text)].map(Vec::into_iter).map(Iterator::peekable);
    let (mut parts, mut at, mut spaced) = (Vec::new(), 0, false);
    while at < text.len() {
        let rest = &text[at..];
        // Nothing longer than this is looked at.
        let reach = &rest[..reach(rest, &fits)];
        let mut whole = cuts.iter_mut().map(|ends| {
            while ends.next_if(|&end| end <= at).is_some() {}
            ends.clone().map(|end| end - at).take_while(|&end| end <= reach.len()).collect()
        });
        let found = whole.find_map(|ends: Vec<usize>| longest(rest, &ends, &fits));
        let part = found.or_else(|| longest(rest, &char_ends(reach), &fits))?.trim_end();
        parts.push(Part { text: part, spaced });
        let behind = &rest[part.len()..];
        let next = behind.trim_start();
        spaced = next.len() < behind.len();
        at = text.len() - next.len();
    }
    Some(parts)
}

/// The length of a beginning that is longer than what fits, and not by much. That is twice a beginning without room, as a
/// piece that ends within a word may have more tokens than one that ends behind it.
fn reach(text: &str, fits: &impl Fn(&str) -> bool) -> usize {
    let length = |count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let mut count = 1;
    while length(count) < text.len() && fits(&text[..length(count)]) {
        count *= 2;
    }
    length(2 * count)
}

fn longest<'t>(text: &'t str, ends: &[usize], fits: &impl Fn(&str) -> bool) -> Option<&'t str> {
    let count = most(ends.len(), |count| fits(&text[..ends[count - 1]]));
    (count > 0).then(|| &text[..ends[count - 1]])
}

/// The largest count up to `limit` that fits, if larger ones fit less well; 0 if 1 does not. Counts are doubled until one
/// is too many, so that no piece is looked at that is much longer than the answer.
fn most(limit: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut good, mut next) = (0, 1);
    while next <= limit && fits(next) {
        good = next;
        next = if good < limit { (2 * good).min(limit) } else { limit + 1 };
    }
    let mut bad = next;
    while good + 1 < bad {
        let middle = good + (bad - good) / 2;
        match fits(middle) {
            true => good = middle,
            false => bad = middle,
        }
    }
    good
}

/// Where sentences end: behind their last mark and quotes that close there, before white space; behind a line; at the end.
fn sentence_ends(text: &str) -> Vec<usize> {
    let (mut ends, mut is_ended) = (Vec::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '\n' => ends.push(at),
            _ if is_ended && c.is_whitespace() => ends.push(at),
            // These scripts write no space between sentences.
            '。' | '！' | '？' => ends.push(at + c.len_utf8()),
            _ => {}
        }
        is_ended = matches!(c, '.' | '!' | '?' | '…') || (is_ended && "\"'”’»)]".contains(c));
    }
    ends.push(text.len());
    ends
}

fn word_ends(text: &str) -> Vec<usize> {
    let mut before = ' ';
    let mut ends = Vec::new();
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && !before.is_whitespace() {
            ends.push(at);
        }
        before = c;
    }
    ends.push(text.len());
    ends
}

fn char_ends(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, c)| at + c.len_utf8()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str, limit: usize) -> Vec<&str> {
        parts(text, |part| part.chars().count() <= limit).unwrap().into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn a_text_is_split_after_sentences_else_after_words_else_within_one() {
        assert_eq!(split("One. Two! Three?", 9), ["One. Two!", "Three?"]);
        assert_eq!(split("He said: \"No.\" Then he left.", 14), ["He said: \"No.\"", "Then he left."]);
        assert_eq!(split("one two three", 8), ["one two", "three"]);
        assert_eq!(split("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(split("一二。三四。", 4), ["一二。", "三四。"]);
        assert_eq!(split("3.14 is pi. So it is.", 11), ["3.14 is pi.", "So it is."]);
        assert_eq!(parts("x", |_| false), None);
    }

    #[test]
    fn a_long_line_is_looked_at_a_few_times_over_and_not_once_for_each_of_its_parts() {
        for text in ["x".repeat(100_000), "word ".repeat(20_000), "One. ".repeat(20_000), "grüße".repeat(20_000)] {
            let looked_at = std::cell::Cell::new(0);
            let fits = |part: &str| {
                looked_at.set(looked_at.get() + part.len());
                part.chars().count() <= 50
            };
            let parts = parts(&text, fits).unwrap();
            assert!(parts.iter().all(|part| part.text.chars().count() > 40 || part.text == parts.last().unwrap().text));
            assert!(looked_at.get() < 40 * text.len(), "{} of {}", looked_at.get(), text.len());
        }
    }

    #[test]
    fn a_part_knows_whether_white_space_stood_before_it() {
        let spaced = |text| parts(text, |part| part.len() <= 3).unwrap().into_iter().map(|part| part.spaced).collect();
        assert_eq!((spaced("abcdef"), spaced("abc  def")), (vec![false, false], vec![false, true]));
    }

    #[test]
    fn the_longest_start_and_end_fit_and_no_more_would() {
        let fits = |text: &str| text.chars().count() <= 3;
        assert_eq!((longest_start("grüße", fits), longest_end("grüße", fits)), (Some("grü"), Some("üße")));
        assert_eq!((longest_start("ab", fits), longest_start("ab", |_| false)), (Some("ab"), None));
    }

    proptest! {
        #[test]
        fn no_character_but_white_space_is_lost(text in "[ab .!。\n]{0,60}", limit in 1_usize..20) {
            let joined: String = split(&text, limit).concat();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(bare(&joined), bare(&text));
            prop_assert!(split(&text, limit).iter().all(|part| part.chars().count() <= limit));
        }
    }
}
