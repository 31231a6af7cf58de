//! The answer to a question, as a stretch of a context (Rajpurkar et al. 2016; Devlin et al. 2019, §4.2 and §4.3).
//!
//! A context too long for the model is read in windows that overlap. In a window, the probability that an answer begins at a
//! token is the softmax over the tokens of the context and the first token, which stands for no answer; likewise for its end.
//! An answer's score is the product of the two, and the best answer of all windows wins.

use super::{Error, finite};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// How answers are looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerOptions {
    /// The longest question with a window of the context, in tokens; at most the model's positions.
    pub max_length: usize,
    /// Tokens that a window has in common with the one before.
    pub stride: usize,
    /// The longest answer, in tokens.
    pub max_answer_length: usize,
    /// How much likelier than the best answer no answer must be to be given, as the difference of the logits' sums; without
    /// one there is always an answer.
    pub null_threshold: Option<f32>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self { max_length: 384, stride: 128, max_answer_length: 30, null_threshold: None }
    }
}

/// An answer, and what it was found by.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The first of its characters in the context.
    pub start: usize,
    /// The first character behind it; as `start` where there is no answer.
    pub end: usize,
    /// How likely it is.
    pub score: f32,
    /// The logits' sum of no answer less that of the best one; the smallest of all windows.
    pub null_score: f32,
    /// The window that it was found in.
    pub window: usize,
    /// The logits of the first tokens of answers, window by window.
    pub start_logits: Vec<Vec<f32>>,
    /// Those of the last tokens.
    pub end_logits: Vec<Vec<f32>>,
}

impl TextModel {
    /// A question with the windows of a context.
    ///
    /// # Errors
    /// A question that leaves no room for the context; an empty context; options that cannot be.
    pub fn encode_question(
        &self,
        question: &str,
        context: &str,
        options: &AnswerOptions,
    ) -> Result<Vec<EncodedPair>, Error> {
        let max_length = self.longest().map_or(options.max_length, |longest| longest.min(options.max_length));
        // A model with fewer positions than usual has shorter windows, and they overlap less.
        let stride = options.stride.min(max_length / 3);
        let windows = self.tokenizer.encode_windows(question, context, max_length, stride)?;
        let windows: Vec<EncodedPair> =
            windows.into_iter().map(|window| self.check(window)).collect::<Result<_, _>>()?;
        let has_context = |window: &EncodedPair| window.sequence_ids.contains(&Some(1));
        if windows.iter().any(has_context) { Ok(windows) } else { Err(Error::Empty) }
    }

    /// The best answer to each question, given as the windows of [`TextModel::encode_question`].
    ///
    /// # Errors
    /// The model finds no answers; logits that are not numbers.
    pub fn answer(&self, questions: &[&[EncodedPair]], options: &AnswerOptions) -> Result<Vec<Answer>, Error> {
        self.require("answer", &[Head::Span])?;
        let all: Vec<&EncodedPair> = questions.iter().flat_map(|windows| windows.iter()).collect();
        let logits = self.in_batches(&all, |g, packed, batch| {
            let states = self.model.states(g, packed);
            let found = self.model.of_tokens(g, &states);
            let mut rows = finite(&found)?.chunks(2);
            let ends = |text: &&EncodedPair| {
                let own = rows.by_ref().take(text.ids.len()).map(|row| (row[0], row[1]));
                own.unzip::<f32, f32, Vec<f32>, Vec<f32>>()
            };
            Ok(batch.iter().map(ends).collect())
        })?;
        let mut logits = logits.into_iter();
        let best = |windows: &&[EncodedPair]| {
            let (starts, ends): (Vec<_>, Vec<_>) = logits.by_ref().take(windows.len()).unzip();
            best(windows, starts, ends, options)
        };
        Ok(questions.iter().map(best).collect())
    }
}

/// An answer in a window, by its tokens.
struct Candidate {
    window: usize,
    tokens: (usize, usize),
    score: f64,
}

/// The best answer in windows with these logits. One of the windows has a token of the context.
pub(crate) fn best(
    windows: &[EncodedPair],
    start_logits: Vec<Vec<f32>>,
    end_logits: Vec<Vec<f32>>,
    options: &AnswerOptions,
) -> Answer {
    let (mut found, mut null_score) = (None::<Candidate>, f32::INFINITY);
    for (number, window) in windows.iter().enumerate() {
        let (starts, ends) = (&start_logits[number], &end_logits[number]);
        let context: Vec<usize> = (0..window.ids.len()).filter(|&at| window.sequence_ids[at] == Some(1)).collect();
        let [start, end] = [starts, ends].map(|logits| probabilities(logits, &context));
        let mut best = None::<((usize, usize), f64)>;
        for (i, &from) in context.iter().enumerate() {
            for &to in &context[i..context.len().min(i + options.max_answer_length)] {
                let score = start[from] * end[to];
                if best.is_none_or(|(_, highest)| score > highest) {
                    best = Some(((from, to), score));
                }
            }
        }
        let Some((tokens, score)) = best else { continue };
        null_score = null_score.min(starts[0] + ends[0] - starts[tokens.0] - ends[tokens.1]);
        if found.as_ref().is_none_or(|found| score > found.score) {
            found = Some(Candidate { window: number, tokens, score });
        }
    }
    let found = found.expect("a window with a token of the context");
    let offsets = &windows[found.window].offsets;
    let mut answer = Answer {
        start: offsets[found.tokens.0].0,
        end: offsets[found.tokens.1].1,
        score: found.score as f32,
        null_score,
        window: found.window,
        start_logits,
        end_logits,
    };
    if options.null_threshold.is_some_and(|threshold| null_score > threshold) {
        answer.end = answer.start;
    }
    answer
}

/// The softmax over the tokens of the context and the first token; 0 elsewhere.
fn probabilities(logits: &[f32], context: &[usize]) -> Vec<f64> {
    let among = || context.iter().copied().chain([0]);
    let highest = among().map(|at| logits[at]).fold(f32::NEG_INFINITY, f32::max);
    let mut probabilities = vec![0.0; logits.len()];
    among().for_each(|at| probabilities[at] = f64::from(logits[at] - highest).exp());
    let sum: f64 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|p| *p /= sum);
    probabilities
}
