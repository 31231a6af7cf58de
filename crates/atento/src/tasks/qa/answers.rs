//! How right an answer is: exact match and F1 of words, as SQuAD's script has them (Rajpurkar et al. 2016, §6.1; 2018).

use std::collections::HashMap;

/// The words of an answer: lower case, without ASCII punctuation and articles.
fn words(text: &str) -> Vec<String> {
    let bare: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // Articles end where a word does, also within what white space does not part ("a—b").
    let (mut kept, mut word) = (String::new(), String::new());
    for c in bare.chars().chain([' ']) {
        if c.is_alphanumeric() {
            word.push(c);
            continue;
        }
        match word.as_str() {
            "a" | "an" | "the" => kept.push(' '),
            _ => kept.push_str(&word),
        }
        word.clear();
        kept.push(c);
    }
    kept.split_whitespace().map(str::to_owned).collect()
}

/// Exact match and F1 of an answer, the best over several right ones; of a question without an answer, for `[""]`.
pub(super) fn scores<'a>(found: &str, right: impl Iterator<Item = &'a str>) -> [f64; 2] {
    let found = words(found);
    let score = |right: &str| {
        let right = words(right);
        [f64::from(u8::from(right == found)), f1(&right, &found)]
    };
    right.map(score).fold([0.0, 0.0], |[em, f1], [e, f]| [em.max(e), f1.max(f)])
}

fn f1(right: &[String], found: &[String]) -> f64 {
    if right.is_empty() || found.is_empty() {
        return f64::from(u8::from(right == found));
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    right.iter().for_each(|word| *counts.entry(word).or_default() += 1);
    let is_common = |word: &&String| match counts.get_mut(word.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let common = found.iter().filter(is_common).count();
    2.0 * common as f64 / (right.len() + found.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_without_case_articles_and_punctuation() {
        let of = |found: &str, right: &[&str]| scores(found, right.iter().copied());
        assert_eq!(of("The Cat's", &["cats"]), [1.0, 1.0]);
        assert_eq!(of("an  apple, a day", &["apple day"]), [1.0, 1.0]);
        assert_eq!(of("theatre", &["atre"]), [0.0, 0.0]);
        assert_eq!(of("big red dog", &["red dog", "cat"]), [0.0, 0.8]);
        assert_eq!(of("red red dog", &["red dog cat"]), [0.0, 4.0 / 6.0]);
        assert_eq!(of("", &[""]), [1.0, 1.0]);
        assert_eq!(of("dog", &[""]), [0.0, 0.0]);
        assert_eq!(of("", &["dog"]), [0.0, 0.0]);
        assert_eq!(of("The", &["a"]), [1.0, 1.0]);
    }
}
