//! The nearest valid spelling of a name, for messages.

/// Names longer than this, and more of them than [`MOST_NAMES`], are not compared: they come from files that
/// may be hostile, and edit distance takes quadratic time.
const LONGEST_NAME: usize = 256;
const MOST_NAMES: usize = 10_000;

/// The candidate most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    candidates
        .into_iter()
        .take(MOST_NAMES)
        .filter(|candidate| candidate.len() <= LONGEST_NAME)
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.6)
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

/// A name from a file, quoted, control characters escaped, and cut where it is too long to print.
pub(crate) fn quoted(name: &str) -> String {
    const SHOWN: usize = 120;
    let cut: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if name.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{cut}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_name_and_nonsense_finds_none() {
        let names = ["model.safetensors", "config.json", "tokenizer.json"];
        assert_eq!(nearest("confg.json", names), Some("config.json"));
        assert_eq!(nearest("zzz", names), None);
    }

    #[test]
    fn hostile_names_are_escaped_and_cut() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert!(quoted(&"x".repeat(1_000_000)).len() < 200);
    }
}
