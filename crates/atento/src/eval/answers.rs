//! Exact match and F1 of answers to questions about a context, equal to the official scripts of SQuAD 1.1 and 2.0.
//!
//! Answers are compared in a normal form ([`normalized`]). Of several answers in the data the one that fits best counts.
//! Scores are shares, 0 to 1; the official scripts print them times 100. Sources: P. Rajpurkar et al., "SQuAD: 100,000+
//! Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1, and `evaluate-v1.1.py`; P. Rajpurkar, R. Jia and
//! P. Liang, "Know What You Don't Know: Unanswerable Questions for SQuAD", ACL 2018, and `evaluate-v2.0.py`.

use std::collections::HashMap;

use unicode_general_category::{GeneralCategory, get_general_category};

use super::ratio;

/// A question, its answers in the data, and what was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question<'a> {
    /// The answers in the data; none where the context has no answer (SQuAD 2.0).
    pub gold: Vec<&'a str>,
    /// The answer found; empty where it is that there is none.
    pub found: &'a str,
    /// How likely it is that there is no answer: any number that is larger where it is likelier. Only [`squad2`] reads it.
    pub no_answer: f64,
}

/// How right the answers to some questions are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// The share of answers that are one of those in the data.
    pub exact_match: f64,
    /// The mean F1 of the words.
    pub f1: f64,
    /// How many questions there are.
    pub count: usize,
}

/// The scores of SQuAD 2.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squad2 {
    /// Of all questions.
    pub overall: Scores,
    /// Of those with an answer, `HasAns_` in the official script; `None` where there are no such questions.
    pub has_answer: Option<Scores>,
    /// Of those without, `NoAns_`; `None` where there are no such questions.
    pub no_answer: Option<Scores>,
    /// The best exact match that a threshold gives, `best_exact` and `best_exact_thresh`.
    pub best_exact_match: Best,
    /// The best F1 that a threshold gives, `best_f1` and `best_f1_thresh`.
    pub best_f1: Best,
}

/// The score at the best threshold: questions whose [`Question::no_answer`] is above it count as not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Best {
    /// The score, 0 to 1.
    pub score: f64,
    /// The threshold; 0 where it is best to answer none.
    pub threshold: f64,
}

/// The scores of SQuAD 1.1: a question is right if what was found is one of its answers. A question without answers in the
/// data scores 0.
#[must_use]
pub fn squad1(questions: &[Question<'_>]) -> Scores {
    let best = |question: &Question<'_>, score: fn(&str, &str) -> f64| {
        question.gold.iter().map(|gold| score(gold, question.found)).fold(0.0, f64::max)
    };
    // The first script gives two answers without words an F1 of 0.
    let f1 = |gold: &str, found: &str| if normalized(gold).is_empty() { 0.0 } else { f1(gold, found) };
    let scores = questions.iter().map(|question| [best(question, exact_match), best(question, f1)]);
    mean(scores).unwrap_or_default()
}

/// The scores of SQuAD 2.0: a question without an answer is right if what was found is empty.
///
/// Answers in the data without words, such as "the", are left out; a question has an answer if the data has one at all, as in
/// the official script. What was found counts as empty where [`Question::no_answer`] is above `threshold`; the official
/// script's default is 1, and 0 everywhere if it is given no such numbers.
#[must_use]
pub fn squad2(questions: &[Question<'_>], threshold: f64) -> Squad2 {
    let raw: Vec<[f64; 2]> = questions.iter().map(raw_scores).collect();
    let has_answer = |question: &Question<'_>| !question.gold.is_empty();
    let kept = questions.iter().zip(&raw).map(|(question, raw)| match question.no_answer > threshold {
        true => (has_answer(question), [f64::from(u8::from(!has_answer(question))); 2]),
        false => (has_answer(question), *raw),
    });
    let kept: Vec<(bool, [f64; 2])> = kept.collect();
    let part = |wanted: bool| mean(kept.iter().filter(|(has, _)| *has == wanted).map(|(_, scores)| *scores));
    Squad2 {
        overall: mean(kept.iter().map(|(_, scores)| *scores)).unwrap_or_default(),
        has_answer: part(true),
        no_answer: part(false),
        best_exact_match: best(questions, raw.iter().map(|[exact, _]| *exact)),
        best_f1: best(questions, raw.iter().map(|[_, f1]| *f1)),
    }
}

/// Exact match and F1 of SQuAD 2.0, before a threshold.
fn raw_scores(question: &Question<'_>) -> [f64; 2] {
    let with_words = question.gold.iter().copied().filter(|gold| !normalized(gold).is_empty());
    let mut gold: Vec<&str> = with_words.collect();
    if gold.is_empty() {
        gold.push("");
    }
    let best = |score: fn(&str, &str) -> f64| gold.iter().map(|gold| score(gold, question.found)).fold(0.0, f64::max);
    [best(exact_match), best(f1)]
}

/// The best share over all thresholds. With the lowest every question counts as not answered, and those without an answer
/// are right; then the questions are answered one by one, the ones that are likeliest to have an answer first.
fn best(questions: &[Question<'_>], scores: impl Iterator<Item = f64>) -> Best {
    let mut order: Vec<(&Question<'_>, f64)> = questions.iter().zip(scores).collect();
    // Adding 0 makes the two zeros one.
    order.sort_by(|(a, _), (b, _)| (a.no_answer + 0.0).total_cmp(&(b.no_answer + 0.0)));
    let mut sum = questions.iter().filter(|question| question.gold.is_empty()).count() as f64;
    let (mut highest, mut threshold) = (sum, 0.0);
    for (question, score) in order {
        sum += match (question.gold.is_empty(), question.found.is_empty()) {
            (false, _) => score,
            (true, false) => -1.0,
            (true, true) => 0.0,
        };
        if sum > highest {
            (highest, threshold) = (sum, question.no_answer);
        }
    }
    Best { score: ratio(highest, questions.len() as f64), threshold }
}

/// The means of exact matches and F1; `None` of none.
fn mean(scores: impl Iterator<Item = [f64; 2]>) -> Option<Scores> {
    let add = |(sum, count): ([f64; 2], usize), score: [f64; 2]| ([sum[0] + score[0], sum[1] + score[1]], count + 1);
    let ([exact, f1], count) = scores.fold(([0.0; 2], 0), add);
    let n = count as f64;
    (count > 0).then(|| Scores { exact_match: exact / n, f1: f1 / n, count })
}

/// 1 if both answers have the same normal form, else 0.
#[must_use]
pub fn exact_match(gold: &str, found: &str) -> f64 {
    f64::from(u8::from(normalized(gold) == normalized(found)))
}

/// F1 of the words of two answers in their normal forms, `2·common / (words of one + words of the other)`: a word is common
/// as often as both have it. Where one has no words, 1 if neither has, else 0 (the rule of SQuAD 2.0).
#[must_use]
pub fn f1(gold: &str, found: &str) -> f64 {
    let (gold, found) = (normalized(gold), normalized(found));
    if gold.is_empty() || found.is_empty() {
        return f64::from(u8::from(gold == found));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    gold.split(' ').for_each(|word| *left.entry(word).or_default() += 1);
    let mut common = 0;
    for word in found.split(' ') {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    let words = gold.split(' ').count() + found.split(' ').count();
    2.0 * f64::from(common) / words as f64
}

/// The normal form of an answer: lower case, without the punctuation of ASCII, without the words "a", "an" and "the", and with
/// one space between words.
///
/// A word ends, as for Python's regular expressions, where letters and digits do, so that the "a" in "a–b" is one. White space
/// is that of Python, which counts the four separators of ASCII (U+001C to U+001F).
#[must_use]
pub fn normalized(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let plain: Vec<char> = lower.chars().filter(|letter| !letter.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(lower.len());
    for run in plain.chunk_by(|a, b| is_of_word(*a) == is_of_word(*b)) {
        match run {
            ['a'] | ['a', 'n'] | ['t', 'h', 'e'] => kept.push(' '),
            run => kept.extend(run),
        }
    }
    let is_space = |letter: char| letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter);
    let words: Vec<&str> = kept.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Whether a letter is one of those that Python's `\w` matches, the underscore apart: it is punctuation here.
fn is_of_word(letter: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LowercaseLetter, ModifierLetter, OtherLetter, OtherNumber, TitlecaseLetter,
        UppercaseLetter,
    };
    matches!(
        get_general_category(letter),
        UppercaseLetter
            | LowercaseLetter
            | TitlecaseLetter
            | ModifierLetter
            | OtherLetter
            | DecimalNumber
            | LetterNumber
            | OtherNumber
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_without_case_punctuation_articles_and_spaces() {
        assert_eq!(normalized("  The U.S.\tArmy's  an_swer, a–b\u{1f}Áé "), "us armys answer –b áé");
        assert_eq!(normalized("A the, an."), "");
        // The article goes before white space is looked at, and punctuation before the article.
        assert_eq!(normalized("t.h.e a-n theatre"), "theatre");
    }

    #[test]
    fn a_word_is_common_as_often_as_both_have_it() {
        assert!((f1("to be or not to be", "to be to be to") - 8.0 / 11.0).abs() < 1e-12);
        assert_eq!((f1("the", "an"), f1("the", "cat"), f1("cat", "dog")), (1.0, 0.0, 0.0));
    }

    #[test]
    fn scores_of_no_questions_are_zero() {
        assert_eq!(squad1(&[]), Scores::default());
        assert_eq!(squad2(&[], 1.0), Squad2::default());
    }
}
