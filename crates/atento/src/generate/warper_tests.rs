//! Logits in, probabilities out: against what Hugging Face's processors and warpers made of the same logits, and
//! against a sort of the whole vocabulary.

use proptest::prelude::*;
use serde::Deserialize;

use super::distribution::Distribution;
use super::history::History;
use super::row::Picker;
use super::*;

const GOLDEN: &str = include_str!("../../tests/fixtures/sampling/expected.json");

/// The row in which many logits are equal.
const TIES: usize = 3;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<LogitsRow>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct LogitsRow {
    logits: Vec<f32>,
    prompt: Vec<u32>,
    generated: Vec<u32>,
}

#[derive(Deserialize)]
struct Case {
    options: HuggingFaceOptions,
    /// For each row.
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    probs: Vec<f32>,
}

/// The arguments of Hugging Face's `generate`, by their names there.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct HuggingFaceOptions {
    repetition_penalty: Option<f64>,
    #[serde(default)]
    no_repeat_ngram_size: usize,
    #[serde(default)]
    bad_words_ids: Vec<Vec<u32>>,
    #[serde(default)]
    min_new_tokens: usize,
    #[serde(default)]
    suppress_tokens: Vec<u32>,
    temperature: Option<f64>,
    #[serde(default)]
    top_k: usize,
    top_p: Option<f64>,
    min_p: Option<f64>,
    typical_p: Option<f64>,
}

impl HuggingFaceOptions {
    fn translated(&self) -> SampleOptions {
        SampleOptions {
            processors: ProcessorOptions {
                repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
                no_repeat_ngram: self.no_repeat_ngram_size,
                bad_words: self.bad_words_ids.clone(),
                min_new_tokens: self.min_new_tokens,
                suppress_tokens: self.suppress_tokens.clone(),
                eos_ids: vec![1, 2],
                ..Default::default()
            },
            warpers: WarperOptions {
                temperature: self.temperature.unwrap_or(1.0),
                top_k: self.top_k,
                top_p: self.top_p.unwrap_or(1.0),
                min_p: self.min_p.unwrap_or(0.0),
                typical_p: self.typical_p.unwrap_or(1.0),
            },
            ..Default::default()
        }
    }
}

#[test]
fn probabilities_are_those_of_hugging_face_processors_in_its_order() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    let mut picker = Picker::default();
    for case in &golden.cases {
        let options = case.options.translated();
        for (number, (row, expected)) in golden.rows.iter().zip(&case.expected).enumerate() {
            let context = format!("row {number}, {:?}", case.options);
            let mut history = History::new(&row.prompt, 10);
            row.generated.iter().for_each(|&token| history.push(token));
            picker.prepare(&row.logits, &history, &options).unwrap();
            let (tokens, mut probs): (Vec<u32>, Vec<f32>) = picker.distribution.entries().into_iter().unzip();
            let mut expected_probs = expected.probs.clone();
            if number == TIES && options.warpers.top_p < 1.0 {
                // Which of equally likely tokens top-p keeps is left open by PyTorch's sort; how many is not.
                probs.sort_by(f32::total_cmp);
                expected_probs.sort_by(f32::total_cmp);
                assert_eq!(probs.len(), expected_probs.len(), "{context}");
            } else {
                assert_eq!(tokens, expected.tokens, "{context}");
            }
            for (found, expected) in probs.iter().zip(&expected_probs) {
                assert!((found - expected).abs() <= 2e-6 + 2e-5 * expected, "{context}: {found} {expected}");
            }
        }
    }
}

fn distribution(logits: &[f32], warpers: WarperOptions) -> Distribution {
    let mut distribution = Distribution::default();
    distribution.set(&mut logits.to_vec(), &warpers);
    distribution
}

/// Top-p by a full ascending sort in f64, as Hugging Face defines it.
fn nucleus(logits: &[f32], mass: f64) -> Vec<u32> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(f64::from(x)));
    let mut ascending: Vec<(f64, u32)> = (0..).zip(logits).map(|(i, &x)| ((f64::from(x) - max).exp(), i)).collect();
    let sum: f64 = ascending.iter().map(|entry| entry.0).sum();
    ascending.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut below = 0.0;
    let last = ascending.len() - 1;
    let kept = ascending.iter().enumerate().filter(|&(i, entry)| {
        below += entry.0 / sum;
        below > 1.0 - mass || i == last
    });
    let mut kept: Vec<u32> = kept.map(|(_, entry)| entry.1).collect();
    kept.sort_unstable();
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_nucleus_is_that_of_a_full_sort(
        logits in prop::collection::vec(-8.0f32..8.0, 1..3000),
        spread in 0.0f32..2.0,
        mass in 0.01f64..0.99,
    ) {
        let logits: Vec<f32> = logits.iter().map(|x| x * spread).collect();
        let found = distribution(&logits, WarperOptions { top_p: mass, ..Default::default() }).entries();
        let found: Vec<u32> = found.into_iter().map(|entry| entry.0).collect();
        let expected = nucleus(&logits, mass);
        // Sums of thousands of f32 probabilities decide the last token either way.
        let differ = found.iter().filter(|token| !expected.contains(token)).count()
            + expected.iter().filter(|token| !found.contains(token)).count();
        prop_assert!(differ <= 1, "{} {}", found.len(), expected.len());
    }

    #[test]
    fn probabilities_add_up_to_one_and_the_likeliest_token_stays(
        logits in prop::collection::vec(prop_oneof![9 => -30.0f32..30.0, 1 => Just(f32::NEG_INFINITY)], 1..400),
        temperature in 0.01f64..3.0,
        top_k in 0usize..50,
        top_p in 0.01f64..=1.0,
        min_p in 0.0f64..=1.0,
    ) {
        prop_assume!(logits.iter().any(|logit| logit.is_finite()));
        let entries =
            distribution(&logits, WarperOptions { temperature, top_k, top_p, min_p, typical_p: 1.0 }).entries();
        let sum: f64 = entries.iter().map(|entry| f64::from(entry.1)).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        prop_assert!(entries.iter().any(|entry| logits[entry.0 as usize] == best));
        prop_assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}

#[test]
fn temperature_zero_takes_the_first_of_the_likeliest_whatever_else_is_asked() {
    let warpers = WarperOptions { temperature: 0.0, top_k: 3, top_p: 0.1, min_p: 0.5, typical_p: 0.2 };
    assert_eq!(distribution(&[0.0, 2.0, 2.0, 1.0], warpers).entries(), [(1, 1.0)]);
    let tiny = WarperOptions { temperature: 1e-30, ..Default::default() };
    assert_eq!(distribution(&[9.0, 20.0, 8.0], tiny).prob(1), 1.0);
}

#[test]
fn a_row_without_an_allowed_token_is_empty() {
    let empty = distribution(&[f32::NEG_INFINITY; 3], WarperOptions { top_p: 0.5, ..Default::default() });
    assert_eq!((empty.draw(0.5), empty.entries()), (None, vec![]));
}

#[test]
fn a_draw_inverts_the_cumulative_distribution() {
    let logits = [0.5f32.ln(), f32::NEG_INFINITY, 0.25f32.ln(), 0.25f32.ln()];
    let distribution = distribution(&logits, WarperOptions::default());
    let drawn = [0.0, 0.49, 0.51, 0.74, 0.76, 0.999_999].map(|u| distribution.draw(u).unwrap());
    assert_eq!(drawn, [0, 0, 2, 2, 3, 3]);
}

#[test]
fn a_replacement_comes_from_where_the_draft_fell_short() {
    let of = |probs: [f32; 4]| distribution(&probs.map(f32::ln), WarperOptions::default());
    let (p, q) = (of([0.4, 0.1, 0.2, 0.3]), of([0.1, 0.7, 0.2, 0.0]));
    // max(0, p − q) = 0.3, 0, 0, 0.3
    assert_eq!([0.0, 0.49, 0.51, 0.99].map(|u| p.draw_without(&q, u).unwrap()), [0, 0, 3, 3]);
    assert!(p.draw_without(&p.clone(), 0.3).is_some());
}
