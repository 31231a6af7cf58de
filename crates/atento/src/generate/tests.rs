//! The search as a whole, over the toy decoder: against recorded Hugging Face results, against exhaustive search, and
//! against itself in other batches.

use serde::Deserialize;

use super::toy::{Toy, VOCAB, toy_logits};
use super::*;

const GOLDEN: &str = include_str!("../../tests/fixtures/search/expected.json");

#[derive(Deserialize)]
struct Golden {
    toy_logits: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    eos_bias: f32,
    sentences: Vec<u32>,
    options: GenerateOptions,
    /// Per sentence, `num_return_sequences` hypotheses.
    expected: Vec<Vec<Expected>>,
}

/// The arguments of Hugging Face's `generate`, by their names there.
#[derive(Deserialize, Debug)]
struct GenerateOptions {
    num_beams: usize,
    num_return_sequences: usize,
    max_new_tokens: usize,
    #[serde(default)]
    min_new_tokens: usize,
    #[serde(default)]
    no_repeat_ngram_size: usize,
    repetition_penalty: Option<f64>,
    length_penalty: Option<f64>,
    early_stopping: Option<serde_json::Value>,
    #[serde(default)]
    bad_words_ids: Vec<Vec<u32>>,
    #[serde(default)]
    suppress_tokens: Vec<u32>,
    forced_bos_token_id: Option<u32>,
    forced_eos_token_id: Option<u32>,
    eos_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    /// Greedy search has no score in Hugging Face.
    score: Option<f32>,
}

impl GenerateOptions {
    fn translated(&self) -> SearchOptions {
        SearchOptions {
            beam: self.num_beams,
            n_best: self.num_return_sequences,
            length_penalty: LengthPenalty::HuggingFace(self.length_penalty.unwrap_or(1.0)),
            early_stopping: match &self.early_stopping {
                Some(serde_json::Value::Bool(true)) => EarlyStopping::True,
                Some(serde_json::Value::String(_)) => EarlyStopping::Never,
                _ => EarlyStopping::False,
            },
            min_new_tokens: self.min_new_tokens,
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            no_repeat_ngram: self.no_repeat_ngram_size,
            eos_ids: self.eos_ids.clone(),
            bad_words: self.bad_words_ids.clone(),
            suppress_tokens: self.suppress_tokens.clone(),
            forced_bos: self.forced_bos_token_id,
            forced_eos: self.forced_eos_token_id,
            ..Default::default()
        }
    }
}

fn prompts(n_sentences: usize, max_new_tokens: usize) -> Vec<Prompt> {
    vec![Prompt::start(0, max_new_tokens); n_sentences]
}

fn search_toy(
    sentences: &[u32],
    eos_bias: f32,
    max_new_tokens: usize,
    options: &SearchOptions,
) -> Vec<Vec<Hypothesis>> {
    search(&mut Toy::new(sentences, eos_bias), &prompts(sentences.len(), max_new_tokens), options).unwrap()
}

#[test]
fn the_toy_is_the_one_the_golden_results_were_recorded_with() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(toy_logits(3, &[0, 5, 7], 1.5), golden.toy_logits);
}

#[test]
fn hypotheses_and_scores_are_those_of_hugging_face_generate() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    for (number, case) in golden.cases.iter().enumerate() {
        let options = case.options.translated();
        let found = search_toy(&case.sentences, case.eos_bias, case.options.max_new_tokens, &options);
        for (sentence, (found, expected)) in found.iter().zip(&case.expected).enumerate() {
            let context = format!("case {number}, sentence {sentence}, {:?}", case.options);
            let ids = |hypotheses: &[Hypothesis]| hypotheses.iter().map(|h| h.ids.clone()).collect::<Vec<_>>();
            let expected_ids: Vec<_> = expected.iter().map(|e| e.ids.clone()).collect();
            assert_eq!(ids(found), expected_ids, "{context}");
            for (found, expected) in found.iter().zip(expected) {
                let Some(score) = expected.score else {
                    continue;
                };
                assert!(
                    (found.score - score).abs() <= 2e-6 * score.abs().max(1.0),
                    "{context}: {} {score}",
                    found.score
                );
            }
        }
    }
}

#[test]
fn a_sentence_is_translated_alike_in_every_batch() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    for case in &golden.cases {
        let options = case.options.translated();
        let together = search_toy(&case.sentences, case.eos_bias, case.options.max_new_tokens, &options);
        for (&sentence, together) in case.sentences.iter().zip(&together) {
            let alone = search_toy(&[sentence], case.eos_bias, case.options.max_new_tokens, &options);
            assert_eq!(&alone[0], together);
        }
    }
}

#[test]
fn every_sentence_has_its_own_length_limit() {
    let options = SearchOptions { beam: 3, ..Default::default() };
    let limits = [4, 1, 7];
    let prompts: Vec<Prompt> = limits.iter().map(|&limit| Prompt::start(0, limit)).collect();
    let found = search(&mut Toy::new(&[5, 6, 7], 0.0), &prompts, &options).unwrap();
    for (limit, hypotheses) in limits.into_iter().zip(found) {
        assert_eq!(hypotheses[0].ids.len(), limit);
        assert!(!hypotheses[0].finished);
    }
}

#[test]
fn finished_sentences_leave_the_batch() {
    let options = SearchOptions { eos_ids: vec![1], ..Default::default() };
    let mut toy = Toy::new(&(0..30).collect::<Vec<_>>(), 3.0);
    let found = search(&mut toy, &prompts(30, 40), &options).unwrap();
    for (step, rows) in toy.rows_per_step.iter().enumerate() {
        let still_going = found.iter().filter(|hypotheses| hypotheses[0].ids.len() > step).count();
        assert_eq!(*rows, still_going, "step {step}");
    }
}

#[test]
fn the_first_step_has_one_row_per_sentence_and_the_next_ones_a_row_per_beam() {
    let options = SearchOptions { beam: 4, ..Default::default() };
    let mut toy = Toy::new(&[1, 2, 3], 0.0);
    search(&mut toy, &prompts(3, 3), &options).unwrap();
    assert_eq!(toy.rows_per_step, [3, 12, 12]);
}

#[test]
fn a_beam_as_wide_as_the_space_finds_the_likeliest_sequence() {
    let n_tokens = 3;
    let mut options = SearchOptions { beam: VOCAB * VOCAB, ..Default::default() };
    options.length_penalty = LengthPenalty::HuggingFace(0.0);
    for sentence in 0..4 {
        let mut best = (f32::NEG_INFINITY, Vec::new());
        let mut stack = vec![(0.0, vec![0u32])];
        while let Some((sum, ids)) = stack.pop() {
            if ids.len() == n_tokens + 1 {
                best = if sum > best.0 { (sum, ids) } else { best };
                continue;
            }
            let logits = toy_logits(sentence, &ids, 0.0);
            for candidate in top_k_log_softmax(&logits, VOCAB, &[]).unwrap() {
                stack.push((sum + candidate.logprob, [ids.as_slice(), &[candidate.token]].concat()));
            }
        }
        let found = search_toy(&[sentence], 0.0, n_tokens, &options);
        assert_eq!(found[0][0].ids, best.1[1..]);
        assert_eq!(found[0][0].score, best.0);
    }
}

#[test]
fn a_score_is_the_sum_of_its_tokens_over_the_length_penalty() {
    for length_penalty in [LengthPenalty::HuggingFace(0.6), LengthPenalty::Gnmt(0.6)] {
        let options = SearchOptions { beam: 4, n_best: 4, length_penalty, eos_ids: vec![1], ..Default::default() };
        for hypothesis in search_toy(&[8, 9], 2.0, 12, &options).concat() {
            let n_tokens = hypothesis.ids.len();
            assert_eq!(hypothesis.token_logprobs.len(), n_tokens);
            assert_eq!(hypothesis.sum_logprob, hypothesis.token_logprobs.iter().sum::<f32>());
            let divisor = match length_penalty {
                LengthPenalty::HuggingFace(alpha) => (n_tokens as f64).powf(alpha),
                LengthPenalty::Gnmt(alpha) => ((5.0 + n_tokens as f64) / 6.0).powf(alpha),
            };
            assert!((hypothesis.score as f64 - hypothesis.sum_logprob as f64 / divisor).abs() < 1e-6);
            assert_eq!(hypothesis.finished, hypothesis.ids.last() == Some(&1));
        }
    }
}

#[test]
fn a_longer_prefix_counts_for_repeats_but_not_for_lengths() {
    // The toy's cache holds what precedes the last token of the prefix, as a language model's prefill leaves it.
    let mut toy = Toy::new(&[4], 0.0);
    toy.step(&[9], &mut [0.0; VOCAB]);
    let options = SearchOptions { beam: 3, no_repeat_ngram: 1, ..Default::default() };
    let prompt = Prompt { prefix: vec![9, 8], max_new_tokens: 6 };
    let ids = &search(&mut toy, &[prompt], &options).unwrap()[0][0].ids;
    assert_eq!(ids.len(), 6);
    assert!(!ids.contains(&9) && !ids.contains(&8));
}

#[test]
fn a_search_whose_every_token_is_banned_returns_what_it_has() {
    let all_but_two: Vec<u32> = (2..VOCAB as u32).collect();
    for beam in [1, 3] {
        let options =
            SearchOptions { beam, no_repeat_ngram: 1, suppress_tokens: all_but_two.clone(), ..Default::default() };
        // Token 0 is the prefix, so token 1 alone is left, once.
        let found = search_toy(&[1], 0.0, 5, &options);
        assert_eq!(found[0][0].ids, [1], "beam {beam}");
        assert!(!found[0][0].finished);
    }
}

#[test]
fn logits_that_are_not_numbers_name_the_sentence_and_the_token() {
    struct Broken(usize);
    impl StepDecoder for Broken {
        fn vocab_size(&self) -> usize {
            4
        }
        fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
            logits.fill(1.0);
            self.0 += 1;
            if self.0 == 3 {
                logits[(tokens.len() - 1) * 4] = f32::NAN;
            }
        }
        fn reorder(&mut self, _: &[usize]) {}
    }
    for beam in [1, 2] {
        let options = SearchOptions { beam, ..Default::default() };
        let error = search(&mut Broken(0), &prompts(2, 9), &options).unwrap_err();
        assert_eq!(error, Error::NonFiniteLogits { sentence: 1, position: 2 });
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refuse = |change: fn(&mut SearchOptions)| {
        let mut options = SearchOptions::default();
        change(&mut options);
        search(&mut Toy::new(&[1], 0.0), &prompts(1, 5), &options).unwrap_err().to_string()
    };
    assert!(refuse(|options| options.beam = 0).starts_with("beam is 0"));
    assert!(refuse(|options| options.n_best = 2).contains("ask for 1 to 1"));
    assert!(refuse(|options| options.length_penalty = LengthPenalty::Gnmt(f64::NAN)).contains("finite"));
    assert!(refuse(|options| options.bad_words = vec![vec![]]).contains("empty sequence"));
    assert!(refuse(|options| options.forced_eos = Some(24)).contains("forced_eos names token 24"));
    let with_prompt =
        |prompt: Prompt| search(&mut Toy::new(&[1], 0.0), &[prompt], &SearchOptions::default()).unwrap_err();
    assert_eq!(with_prompt(Prompt::start(0, 0)), Error::NothingToGenerate { sentence: 0 });
    assert_eq!(with_prompt(Prompt { prefix: vec![], max_new_tokens: 1 }), Error::EmptyPrefix { sentence: 0 });
}

#[test]
fn no_sentence_gives_no_result() {
    assert!(search_toy(&[], 0.0, 5, &SearchOptions::default()).is_empty());
}

#[test]
fn an_interrupted_search_gives_the_best_it_has() {
    for beam in [1, 3] {
        let options = SearchOptions { beam, eos_ids: vec![1], min_new_tokens: 3, ..Default::default() };
        let mut steps = 0;
        let mut interrupted = || {
            steps += 1;
            steps == 2
        };
        let found = search_until(&mut Toy::new(&[5, 6], 0.0), &prompts(2, 9), &options, &mut interrupted).unwrap();
        let limited = search(&mut Toy::new(&[5, 6], 0.0), &prompts(2, 2), &options).unwrap();
        assert_eq!(found, limited);
        assert!(found.iter().all(|list| list[0].ids.len() == 2 && !list[0].finished));
    }
}
