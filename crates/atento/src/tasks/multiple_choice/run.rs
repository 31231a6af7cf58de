//! What `multiple-choice` learns: which of several texts is the right one.

use crate::data::OnBadLine;
use crate::data::labelled::{ChoiceExample, ChoiceFile, ChoiceKeys, ChoiceReport, ChoiceSet, Examples, ReadOptions};
use crate::families::heads::Headed;
use crate::pipelines::texts::choose::Choice;
use crate::tasks::files::{on_bad_line, on_truncate};
use crate::tasks::heads::{Heard, Lessons, MISTAKES, Part, Reading, Report, Tuned, Verdict};
use crate::train::Error;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{FileSettings, Metric, Recipe};
use crate::train::report::Sample;

/// Which of several texts is the right one.
pub(crate) struct Choices {
    on_bad_line: OnBadLine,
}

impl Tuned for Choices {
    type Part = ChoiceSet;

    const EXAMPLES: &'static str = "questions";
    const SAMPLE: [&'static str; 2] = ["Prompt", "In the data"];

    fn loss_unit(&self) -> &'static str {
        "nats per question"
    }

    fn look(recipe: &Recipe, _: Option<&Checkpoint>, _: &FileSettings) -> Result<Self, Error> {
        Ok(Self { on_bad_line: on_bad_line(recipe) })
    }

    fn of_model(recipe: &Recipe, _: &Headed) -> Self {
        Self { on_bad_line: on_bad_line(recipe) }
    }

    fn lessons(&self, training: &FileSettings) -> Result<Lessons, Error> {
        let (file, keys) = source(training, self.on_bad_line);
        Ok(Box::new(file.open(&keys)?.map(|row| {
            let row = row?;
            let choices: String = row.continuations().map(|choice| format!("\n{choice}")).collect();
            Ok(row.prompt + &choices)
        })))
    }

    fn read(&self, files: &FileSettings, reading: &Reading<'_>) -> Result<ChoiceSet, Error> {
        let (file, keys) = source(files, self.on_bad_line);
        let options = ReadOptions {
            max_length: reading.max_length(),
            on_truncate: on_truncate(reading.recipe),
            drop_duplicates: false,
            token_types: reading.token_types(),
        };
        Ok(ChoiceSet::read(&file, &keys, &reading.model.tokenizer, &options)?)
    }

    fn targets(&self, train: &ChoiceSet) -> u64 {
        train.report().kept
    }

    fn verdict(&self, part: &ChoiceSet, heard: &Heard) -> Verdict {
        let mut logits = heard.logits.iter().copied();
        let examples = part.examples().all();
        let choices: Vec<Choice> =
            examples.iter().map(|example| Choice::of(logits.by_ref().take(example.texts.len()).collect())).collect();
        let mut wrong = Vec::new();
        for (at, (example, choice)) in examples.iter().zip(&choices).enumerate() {
            if choice.choice != example.label as usize {
                wrong.push((at, choice.probabilities[example.label as usize]));
            }
        }
        let accuracy = 1.0 - wrong.len() as f64 / examples.len().max(1) as f64;
        wrong.sort_by(|a, b| a.1.total_cmp(&b.1));
        let sample = |&(at, _): &(usize, f32)| {
            let (row, choice) = (&part.rows()[at], &choices[at]);
            let source = row.question.as_ref().map_or(row.prompt.clone(), |asked| format!("{} ⸱ {asked}", row.prompt));
            let hypothesis = format!("{} ({:.3})", row.choices[choice.choice], choice.probabilities[choice.choice]);
            Sample { source, reference: row.choices[row.label as usize].clone(), hypothesis }
        };
        let mistakes = wrong.iter().take(MISTAKES).map(sample).collect();
        Verdict { scores: vec![(Metric::Accuracy, accuracy)], mistakes, ..Verdict::default() }
    }
}

impl Part for ChoiceSet {
    type Example = ChoiceExample;
    type Report = ChoiceReport;

    fn examples(&self) -> &Examples<ChoiceExample> {
        self.examples()
    }

    fn report(&self) -> &ChoiceReport {
        self.report()
    }

    fn hash(&self) -> u64 {
        self.hash()
    }

    fn line(&self) -> Option<String> {
        let row = self.rows().first()?;
        let parts = std::iter::once(row.prompt.clone()).chain(row.continuations());
        Some(parts.collect::<Vec<_>>().join("\t"))
    }
}

impl Report for ChoiceReport {
    fn losses(&self) -> Option<String> {
        self.losses()
    }

    fn left_out(&self) -> u64 {
        self.too_long + self.lines.left_out()
    }
}

/// Where the questions of a part of the data are; a recipe of another form is refused when it is loaded.
fn source(files: &FileSettings, on_bad_line: OnBadLine) -> (ChoiceFile, ChoiceKeys) {
    let keys = ChoiceKeys { prompt: files.prompt_key.clone(), label: files.label_key.clone(), on_bad_line };
    let file = match (&files.jsonl, &files.tsv) {
        (Some(path), _) => ChoiceFile::Jsonl(path.clone()),
        (_, path) => ChoiceFile::Tsv(path.clone().unwrap_or_default()),
    };
    (file, keys)
}
