//! Sampling as a whole, over the toy decoder.

use super::toy::{Toy, VOCAB, toy_logits};
use super::*;

const PREFIXES: [&[u32]; 4] = [&[0], &[3, 9, 4], &[7, 7], &[5, 1, 2, 8, 6]];

fn prompt(sequence: usize, max_new_tokens: usize) -> SamplePrompt {
    let prefix = PREFIXES[sequence % PREFIXES.len()].to_vec();
    SamplePrompt { prefix, max_new_tokens, sequence: sequence as u64 }
}

/// The toy with all of each prompt's tokens but the last in its cache; the sentence is the sequence number.
fn prefilled(prompts: &[SamplePrompt], eos_bias: f32) -> Toy {
    let cached = |prompt: &SamplePrompt| prompt.prefix[..prompt.prefix.len() - 1].to_vec();
    let cached: Vec<(u32, Vec<u32>)> = prompts.iter().map(|prompt| (prompt.sequence as u32, cached(prompt))).collect();
    let borrowed: Vec<(u32, &[u32])> = cached.iter().map(|(sentence, ids)| (*sentence, ids.as_slice())).collect();
    Toy::prefilled(&borrowed, eos_bias)
}

fn go_on(_: &TokenEvent<'_>) -> Flow {
    Flow::Continue
}

fn sample_toy(prompts: &[SamplePrompt], options: &SampleOptions) -> Vec<Vec<Sample>> {
    sample(&mut prefilled(prompts, 1.0), prompts, options, &mut go_on).unwrap()
}

fn busy_options() -> SampleOptions {
    SampleOptions {
        n: 3,
        seed: 11,
        processors: ProcessorOptions {
            repetition_penalty: 1.1,
            frequency_penalty: 0.1,
            no_repeat_ngram: 3,
            eos_ids: vec![1, 2],
            min_new_tokens: 2,
            ..Default::default()
        },
        warpers: WarperOptions { temperature: 0.9, top_k: 12, top_p: 0.95, min_p: 0.01, typical_p: 0.98 },
        ..Default::default()
    }
}

fn raw_logprob(logits: &[f32], token: u32) -> f64 {
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    f64::from(logits[token as usize]) - sum.ln()
}

#[test]
fn temperature_zero_is_greedy_search() {
    for (penalty, no_repeat_ngram) in [(1.0, 0), (1.4, 0), (0.8, 2)] {
        let prompts: Vec<SamplePrompt> = (0..9).map(|i| prompt(i, 12)).collect();
        let options = SampleOptions {
            processors: ProcessorOptions {
                repetition_penalty: penalty,
                no_repeat_ngram,
                eos_ids: vec![1],
                ..Default::default()
            },
            warpers: WarperOptions { temperature: 0.0, ..Default::default() },
            ..Default::default()
        };
        let search_options =
            SearchOptions { repetition_penalty: penalty, no_repeat_ngram, eos_ids: vec![1], ..Default::default() };
        let start = |prompt: &SamplePrompt| Prompt { prefix: prompt.prefix.clone(), max_new_tokens: 12 };
        let starts: Vec<Prompt> = prompts.iter().map(start).collect();
        let searched = search(&mut prefilled(&prompts, 1.0), &starts, &search_options).unwrap();
        for (sampled, searched) in sample_toy(&prompts, &options).iter().zip(&searched) {
            assert_eq!(sampled[0].ids, searched[0].ids);
            assert_eq!(sampled[0].token_logprobs, searched[0].token_logprobs);
            assert_eq!(sampled[0].finish_reason == FinishReason::Stop, searched[0].finished);
        }
    }
}

#[test]
fn a_prompt_has_the_same_samples_alone_in_any_batch_and_on_any_number_of_threads() {
    let options = busy_options();
    let prompts: Vec<SamplePrompt> = (0..10).map(|i| prompt(i, 5 + i)).collect();
    let together = sample_toy(&prompts, &options);
    for (prompt, together) in prompts.iter().zip(&together) {
        assert_eq!(&sample_toy(std::slice::from_ref(prompt), &options)[0], together);
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| sample_toy(&prompts, &options)), together);
    }
    // Fewer samples are the first of more.
    let one = sample_toy(&prompts, &SampleOptions { n: 1, ..options.clone() });
    assert!(one.iter().zip(&together).all(|(one, three)| one[0] == three[0]));
    assert!(together.iter().any(|samples| samples[0] != samples[1]));
    assert_ne!(sample_toy(&prompts, &SampleOptions { seed: 12, ..options }), together);
}

#[test]
fn the_first_step_has_a_row_per_prompt_and_rows_that_end_leave() {
    let prompts: Vec<SamplePrompt> = (0..6).map(|i| prompt(i, 20)).collect();
    let options = busy_options();
    let mut toy = prefilled(&prompts, 1.0);
    let samples = sample(&mut toy, &prompts, &options, &mut go_on).unwrap().concat();
    assert_eq!(toy.rows_per_step[0], 6);
    for (step, &rows) in toy.rows_per_step.iter().enumerate().skip(1) {
        assert_eq!(rows, samples.iter().filter(|sample| sample.ids.len() > step).count(), "step {step}");
    }
    for sample in samples {
        let ends = [1, 2].contains(&sample.ids[sample.ids.len() - 1]);
        assert_eq!(sample.finish_reason, if ends { FinishReason::Stop } else { FinishReason::Length });
        assert!(sample.ids.len() == 20 || ends);
        assert_eq!(sample.sum_logprob(), sample.token_logprobs.iter().sum::<f32>());
    }
}

#[test]
fn log_probabilities_are_the_models_own_and_the_alternatives_too() {
    let prompts = [prompt(1, 8)];
    let options = SampleOptions { n: 1, top_logprobs: 3, ..busy_options() };
    let mut ids = prompts[0].prefix.clone();
    let mut check = |event: &TokenEvent<'_>| {
        let logits = toy_logits(1, &ids, 1.0);
        assert!((f64::from(event.logprob) - raw_logprob(&logits, event.token)).abs() < 1e-5);
        assert_eq!(event.top, top_k_log_softmax(&logits, 3, &[]).unwrap());
        ids.push(event.token);
        Flow::Continue
    };
    sample(&mut prefilled(&prompts, 1.0), &prompts, &options, &mut check).unwrap();
    assert!(ids.len() > 4);
}

#[test]
fn tokens_come_as_often_as_the_model_says() {
    let n = 20_000;
    let options = SampleOptions { n, ..Default::default() };
    let samples = &sample_toy(&[prompt(3, 1)], &options)[0];
    let logits = toy_logits(3, PREFIXES[3], 1.0);
    for token in 0..VOCAB as u32 {
        let probability = raw_logprob(&logits, token).exp();
        let found = samples.iter().filter(|sample| sample.ids == [token]).count() as f64 / n as f64;
        let deviation = (probability * (1.0 - probability) / n as f64).sqrt();
        assert!((found - probability).abs() < 4.5 * deviation, "token {token}: {found} {probability}");
    }
}

#[test]
fn the_sink_can_end_one_sample_or_all_of_them() {
    let prompts: Vec<SamplePrompt> = (0..3).map(|i| prompt(i, 9)).collect();
    let options = SampleOptions::default();
    let mut told = 0;
    let mut sink = |event: &TokenEvent<'_>| {
        told += 1;
        match (event.prompt, told) {
            (0, _) => Flow::EndRow,
            // Prompt 1 in the third step, with two rows a step after the first.
            (1, 6) => Flow::Interrupt,
            _ => Flow::Continue,
        }
    };
    let samples = sample(&mut prefilled(&prompts, -9.0), &prompts, &options, &mut sink).unwrap().concat();
    let outcome: Vec<(usize, &str)> = samples.iter().map(|s| (s.ids.len(), s.finish_reason.name())).collect();
    assert_eq!(outcome, [(1, "stop"), (3, "interrupted"), (2, "interrupted")]);
}

#[test]
fn a_sample_whose_every_token_is_banned_ends_there() {
    let mut options = SampleOptions::default();
    options.processors.no_repeat_ngram = 1;
    options.processors.suppress_tokens = (2..VOCAB as u32).collect();
    let samples = sample_toy(&[prompt(0, 5)], &options);
    assert_eq!((samples[0][0].ids.as_slice(), samples[0][0].finish_reason), ([1].as_slice(), FinishReason::Length));
}

#[test]
fn no_prompt_gives_no_sample() {
    assert!(sample_toy(&[], &SampleOptions::default()).is_empty());
}

#[test]
fn logits_that_are_not_numbers_name_the_prompt_and_the_position() {
    struct Broken;
    impl StepDecoder for Broken {
        fn vocab_size(&self) -> usize {
            4
        }
        fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
            logits.fill(0.0);
            logits[tokens.len() * 4 - 1] = f32::NAN;
        }
        fn reorder(&mut self, _: &[usize]) {}
    }
    let prompts = [0, 0].map(|_| SamplePrompt { prefix: vec![0], max_new_tokens: 3, sequence: 0 });
    let error = sample(&mut Broken, &prompts, &SampleOptions::default(), &mut go_on).unwrap_err();
    assert_eq!(error, Error::NonFiniteLogits { sentence: 1, position: 0 });
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let refuse = |change: fn(&mut SampleOptions)| {
        let mut options = SampleOptions::default();
        change(&mut options);
        sample(&mut prefilled(&[prompt(0, 3)], 0.0), &[prompt(0, 3)], &options, &mut go_on).unwrap_err().to_string()
    };
    assert_eq!(refuse(|o| o.n = 0), "n is 0: ask for 1 to 268435456 samples of a prompt");
    assert_eq!(
        refuse(|o| o.warpers.temperature = -1.0),
        "temperature is -1: expected a finite number, 0 (greedy) or more"
    );
    assert!(refuse(|o| o.warpers.temperature = f64::NAN).starts_with("temperature is NaN"));
    assert!(refuse(|o| o.warpers.top_p = 0.0).starts_with("top_p is 0: expected more than 0 and at most 1"));
    assert!(refuse(|o| o.warpers.top_p = 1.5).starts_with("top_p is 1.5"));
    assert!(refuse(|o| o.warpers.min_p = -0.1).starts_with("min_p is -0.1: expected 0 to 1"));
    assert!(refuse(|o| o.warpers.typical_p = 0.0).starts_with("typical_p is 0"));
    assert!(refuse(|o| o.processors.repetition_penalty = 0.0).starts_with("repetition_penalty is 0"));
    assert!(refuse(|o| o.processors.frequency_penalty = f64::INFINITY).starts_with("frequency_penalty is inf"));
    assert!(refuse(|o| o.processors.presence_penalty = f64::NAN).starts_with("presence_penalty is NaN"));
    assert!(refuse(|o| o.processors.eos_ids = vec![24]).contains("eos_ids names token 24"));
    assert!(refuse(|o| o.processors.suppress_tokens = vec![99]).contains("suppress_tokens names token 99"));
    assert!(refuse(|o| o.processors.bad_words = vec![vec![]]).contains("empty sequence"));
    let with = |prefix: &[u32], max_new_tokens| {
        let prompts = [SamplePrompt { prefix: prefix.to_vec(), max_new_tokens, sequence: 0 }];
        sample(&mut Toy::new(&[1], 0.0), &prompts, &SampleOptions::default(), &mut go_on).unwrap_err()
    };
    assert_eq!(with(&[], 1), Error::EmptyPrefix { sentence: 0 });
    assert_eq!(with(&[1], 0), Error::NothingToGenerate { sentence: 0 });
    assert_eq!(with(&[30], 1), Error::UnknownPromptToken { sentence: 0, token: 30, vocab_size: 24 });
}
