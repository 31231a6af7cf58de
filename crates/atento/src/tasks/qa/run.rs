//! What `qa` learns: where answers begin and end.

use std::path::Path;

use crate::data::OnBadLine;
use crate::data::labelled::{Examples, Question, SpanExample, SpanReport, SpanSet, WindowOptions, squad};
use crate::eval::answers::{Question as Asked, f1, squad2};
use crate::families::heads::Headed;
use crate::pipelines::texts::answer::{AnswerOptions, best};
use crate::tasks::files::on_bad_line;
use crate::tasks::heads::{Heard, Lessons, MISTAKES, Part, Reading, Report, Tuned, Verdict};
use crate::train::Error;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{FileSettings, Metric, Recipe};
use crate::train::report::Sample;

/// Where answers begin and end.
pub(crate) struct Spans {
    options: AnswerOptions,
    on_bad_line: OnBadLine,
}

impl Spans {
    fn new(recipe: &Recipe) -> Self {
        let data = &recipe.data;
        let options = AnswerOptions {
            max_answer_length: data.max_answer_length,
            // Whether no answer may be given follows from the training data.
            null_threshold: Some(data.null_threshold as f32),
            ..AnswerOptions::default()
        };
        Self { options, on_bad_line: on_bad_line(recipe) }
    }
}

impl Tuned for Spans {
    type Part = SpanSet;

    const EXAMPLES: &'static str = "windows";
    const SAMPLE: [&'static str; 2] = ["Question", "In the data"];

    fn loss_unit(&self) -> &'static str {
        "nats per start or end of an answer"
    }

    fn look(recipe: &Recipe, _: Option<&Checkpoint>, _: &FileSettings) -> Result<Self, Error> {
        Ok(Self::new(recipe))
    }

    fn of_model(recipe: &Recipe, _: &Headed) -> Self {
        Self::new(recipe)
    }

    fn lessons(&self, training: &FileSettings) -> Result<Lessons, Error> {
        let mut before = None;
        let (questions, _) = squad::read(file(training), self.on_bad_line)?;
        let texts = questions.into_iter().flat_map(move |question| {
            let is_new = before.as_ref() != Some(&question.context);
            before = Some(question.context.clone());
            [is_new.then(|| question.context.to_string()), Some(question.question)].into_iter().flatten()
        });
        Ok(Box::new(texts.map(Ok)))
    }

    fn read(&self, files: &FileSettings, reading: &Reading<'_>) -> Result<SpanSet, Error> {
        let max_length = reading.max_length();
        let stride = reading.recipe.data.stride;
        let (token_types, is_training) = (reading.token_types(), reading.is_training);
        let on_bad_line = self.on_bad_line;
        let options = WindowOptions { max_length, stride, token_types, is_training, on_bad_line };
        Ok(SpanSet::read(file(files), &reading.model.tokenizer, &options)?)
    }

    fn learn_from(&mut self, train: &SpanSet) -> Vec<String> {
        if train.report().unanswerable == 0 {
            self.options.null_threshold = None;
        }
        Vec::new()
    }

    fn targets(&self, train: &SpanSet) -> u64 {
        2 * train.report().windows
    }

    fn verdict(&self, part: &SpanSet, heard: &Heard) -> Verdict {
        let (mut logits, mut all) = (heard.rows(), Vec::new());
        for (question, windows) in part.questions() {
            let ends = windows.iter().map(|window| {
                let rows = logits.by_ref().take(window.ids.len()).map(|row| (row[0], row[1]));
                rows.unzip::<f32, f32, Vec<f32>, Vec<f32>>()
            });
            let (starts, ends) = ends.unzip();
            let answer = best(windows, starts, ends, &self.options);
            let count = answer.end - answer.start;
            let found: String = question.context.chars().skip(answer.start).take(count).collect();
            all.push((question, found, answer.score));
        }
        let asked = all.iter().map(|(question, found, _)| (question, found));
        let asked = asked.map(|(question, found)| Asked { gold: gold(question), found, no_answer: 0.0 });
        let scores = squad2(&asked.collect::<Vec<_>>(), 1.0).overall;
        let best = |question: &Question, found: &str| match question.answers.is_empty() {
            true => f1("", found),
            false => gold(question).into_iter().map(|gold| f1(gold, found)).fold(0.0, f64::max),
        };
        let mut wrong: Vec<_> = all
            .into_iter()
            .map(|(question, found, score)| (best(question, &found), question, found, score))
            .filter(|(f1, ..)| *f1 < 1.0)
            .collect();
        // The worst answers are those that have no right word and were given most surely.
        wrong.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.3.total_cmp(&a.3)));
        let mistakes =
            wrong.into_iter().take(MISTAKES).map(|(_, question, found, _)| sample(question, found)).collect();
        let scores = vec![(Metric::ExactMatch, scores.exact_match), (Metric::F1, scores.f1)];
        Verdict { scores, mistakes, ..Verdict::default() }
    }
}

fn gold(question: &Question) -> Vec<&str> {
    question.answers.iter().map(|answer| answer.text.as_str()).collect()
}

fn sample(question: &Question, found: String) -> Sample {
    let or_none = |text: String| if text.is_empty() { "(no answer)".to_owned() } else { text };
    let right = question.answers.first().map_or(String::new(), |answer| answer.text.clone());
    Sample { source: question.question.clone(), reference: or_none(right), hypothesis: or_none(found) }
}

impl Part for SpanSet {
    type Example = SpanExample;
    type Report = SpanReport;

    fn examples(&self) -> &Examples<SpanExample> {
        self.examples()
    }

    fn report(&self) -> &SpanReport {
        self.report()
    }

    fn hash(&self) -> u64 {
        self.hash()
    }

    fn line(&self) -> Option<String> {
        let (question, _) = self.questions().next()?;
        Some(format!("{}\t{}", question.question, question.context))
    }
}

impl Report for SpanReport {
    fn losses(&self) -> Option<String> {
        self.losses()
    }

    fn left_out(&self) -> u64 {
        self.questions - self.kept + self.bad
    }
}

/// The file of a part of the data; a recipe without one is refused when it is loaded.
fn file(files: &FileSettings) -> &Path {
    files.squad.as_deref().unwrap_or(Path::new(""))
}
