//! What `tag` learns: labels of words.

use crate::data::OnBadLine;
use crate::data::labelled::{Aim, Examples, LabelSet, Sentence, Sentences, TagExample, TagReport, TagSet, WordColumns};
use crate::eval::entities::{EntityScores, Mode, entities};
use crate::families::heads::Headed;
use crate::pipelines::texts::{largest, softmax};
use crate::tasks::files::{on_bad_line, on_truncate};
use crate::tasks::heads::{Heard, Lessons, MISTAKES, Part, Reading, Report, Tuned, Verdict, settle_labels, unheard};
use crate::train::Error;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{FileSettings, Metric, Recipe};
use crate::train::report::Sample;

/// The labels of words.
pub(crate) struct Words {
    labels: LabelSet,
    on_bad_line: OnBadLine,
}

/// A sentence as a model labels it: its words that were read, with the labels in the data and those that were found.
#[derive(Default)]
struct Found {
    words: Vec<u32>,
    gold: Vec<u32>,
    found: Vec<u32>,
    /// How unlikely the model holds the least likely label of the data.
    surprise: f32,
}

impl Tuned for Words {
    type Part = TagSet;

    const EXAMPLES: &'static str = "sentences";
    const SAMPLE: [&'static str; 2] = ["Sentence", "In the data"];

    fn loss_unit(&self) -> &'static str {
        "nats per labelled word"
    }

    fn look(recipe: &Recipe, resumed: Option<&Checkpoint>, training: &FileSettings) -> Result<Self, Error> {
        let on_bad_line = on_bad_line(recipe);
        let (file, columns) = source(training, on_bad_line);
        let labels = settle_labels(recipe, resumed, Aim::Label, || Ok(LabelSet::of_words(&file, &columns)?))?;
        Ok(Self { labels, on_bad_line })
    }

    fn of_model(recipe: &Recipe, head: &Headed) -> Self {
        Self { labels: LabelSet::of_model(Aim::Label, head.labels.clone()), on_bad_line: on_bad_line(recipe) }
    }

    fn labels(&self) -> &[String] {
        &self.labels.names
    }

    fn lessons(&self, training: &FileSettings) -> Result<Lessons, Error> {
        let (file, columns) = source(training, self.on_bad_line);
        Ok(Box::new(file.open(&columns)?.map(|sentence| Ok(sentence?.words.join(" ")))))
    }

    fn read(&self, files: &FileSettings, reading: &Reading<'_>) -> Result<TagSet, Error> {
        let (file, columns) = source(files, self.on_bad_line);
        let (tokenizer, on_truncate) = (&reading.model.tokenizer, on_truncate(reading.recipe));
        Ok(TagSet::read(&file, &columns, &self.labels, tokenizer, reading.max_length(), on_truncate)?)
    }

    fn learn_from(&mut self, train: &TagSet) -> Vec<String> {
        unheard(&train.report().labels)
    }

    fn targets(&self, train: &TagSet) -> u64 {
        train.report().words
    }

    fn verdict(&self, part: &TagSet, heard: &Heard) -> Verdict {
        let found = self.found(part, heard);
        let (mut right, mut words, mut scores) = (0, 0, EntityScores::new(Mode::Lenient));
        let in_scheme: Vec<String> = self.labels.names.iter().map(|label| in_scheme(label)).collect();
        let named = |labels: &[u32]| labels.iter().map(|&label| &in_scheme[label as usize]).collect::<Vec<_>>();
        for sentence in &found {
            right += sentence.gold.iter().zip(&sentence.found).filter(|(gold, found)| gold == found).count();
            words += sentence.gold.len();
            scores.add(&named(&sentence.gold), &named(&sentence.found)).expect("labels of a scheme, as many of each");
        }
        let f1 = scores.overall().f1();
        let kinds = scores.kinds().iter().map(|(kind, counts)| (kind.clone(), *counts)).collect();
        let scores = vec![(Metric::Accuracy, right as f64 / words.max(1) as f64), (Metric::F1, f1)];
        Verdict { scores, mistakes: self.mistakes(part.sentences(), &found), matrix: None, labels: kinds }
    }
}

impl Words {
    /// The sentences of a part, those that were split put together again.
    fn found(&self, part: &TagSet, heard: &Heard) -> Vec<Found> {
        let mut sentences: Vec<Found> = part.sentences().iter().map(|_| Found::default()).collect();
        let mut rows = heard.rows();
        for example in part.examples().all() {
            let sentence = &mut sentences[example.sentence];
            for ((&word, &label), row) in example.words.iter().zip(&example.labels).zip(rows.by_ref()) {
                sentence.words.push(word);
                sentence.gold.push(label);
                sentence.found.push(largest(row) as u32);
                sentence.surprise = sentence.surprise.max(1.0 - softmax(row)[label as usize]);
            }
        }
        sentences
    }

    fn names(&self, labels: &[u32]) -> Vec<&str> {
        labels.iter().map(|&label| self.labels.names[label as usize].as_str()).collect()
    }

    /// The sentences with a wrong label that the model is most wrong about.
    fn mistakes(&self, sentences: &[Sentence], found: &[Found]) -> Vec<Sample> {
        let is_wrong = |(_, found): &(&Sentence, &Found)| found.gold != found.found;
        let mut wrong: Vec<(&Sentence, &Found)> = sentences.iter().zip(found).filter(is_wrong).collect();
        wrong.sort_by(|a, b| b.1.surprise.total_cmp(&a.1.surprise));
        let sample = |(sentence, found): &(&Sentence, &Found)| {
            // Only the words that somebody gives another label than O.
            let marked = |labels: &[u32]| {
                let named = found.words.iter().zip(self.names(labels)).zip(found.gold.iter().zip(&found.found));
                let shown = named.filter(|((_, label), (gold, found))| gold != found || *label != "O");
                let shown = shown.map(|((word, label), _)| format!("{}/{label}", sentence.words[*word as usize]));
                shown.collect::<Vec<_>>().join(" ")
            };
            let (reference, hypothesis) = (marked(&found.gold), marked(&found.found));
            Sample { source: sentence.words.join(" "), reference, hypothesis }
        };
        wrong.iter().take(MISTAKES).map(sample).collect()
    }
}

/// The label as one of entities: a label that is none, such as a part of speech, names runs of words that have it.
fn in_scheme(label: &str) -> String {
    match entities(&[label], Mode::Lenient) {
        Ok(_) => label.to_owned(),
        Err(_) => format!("I-{label}"),
    }
}

impl Part for TagSet {
    type Example = TagExample;
    type Report = TagReport;

    fn examples(&self) -> &Examples<TagExample> {
        self.examples()
    }

    fn report(&self) -> &TagReport {
        self.report()
    }

    fn hash(&self) -> u64 {
        self.hash()
    }

    fn line(&self) -> Option<String> {
        self.sentences().first().map(|sentence| sentence.words.join(" "))
    }
}

impl Report for TagReport {
    fn losses(&self) -> Option<String> {
        self.losses()
    }

    fn left_out(&self) -> u64 {
        self.empty + self.too_long + self.spoiled
    }
}

/// Where the sentences of a part of the data are; a recipe of another form is refused when it is loaded.
fn source(files: &FileSettings, on_bad_line: OnBadLine) -> (Sentences, WordColumns) {
    let columns = WordColumns { words: files.text_key.clone(), tags: files.label_key.clone(), on_bad_line };
    let file = match (&files.jsonl, &files.conll) {
        (Some(path), _) => Sentences::Jsonl(path.clone()),
        (_, path) => Sentences::Conll(path.clone().unwrap_or_default()),
    };
    (file, columns)
}
