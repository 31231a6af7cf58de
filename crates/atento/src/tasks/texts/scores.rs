//! What a model says of held-out texts, and how right it is.

use crate::data::labelled::{Aim, Example, LabelSet, Target};
use crate::eval::Counts;
use crate::eval::labels::{Average, ConfusionMatrix, MultiLabel};
use crate::eval::values::{pearson, spearman};
use crate::families::heads::Objective;
use crate::pipelines::texts::classify::Judged;
use crate::tasks::heads::Heard;
use crate::train::recipe::Metric;

/// What a model says of every text of a set, in its order.
pub(super) struct Verdicts {
    judged: Vec<Judged>,
}

impl Verdicts {
    /// What rows of logits say.
    pub fn of(objective: Objective, heard: &Heard) -> Self {
        Self { judged: heard.rows().map(|row| Judged::of(objective, row.to_vec())).collect() }
    }

    /// The examples that the model is most wrong about, each with a measure of that; those it is right about are left out.
    pub fn worst(&self, examples: &[Example], most: usize) -> Vec<(usize, f64)> {
        let wrong = |(at, (judged, example)): (usize, (&Judged, &Example))| {
            let probability = |label: usize| judged.probabilities.as_ref().map_or(0.0, |p| f64::from(p[label]));
            match &example.target {
                Target::Label(label) if judged.labels[0] != *label as usize => {
                    Some((at, 1.0 - probability(*label as usize)))
                }
                Target::Label(_) => None,
                Target::Labels(flags) => {
                    let off = |(label, flag): (usize, &bool)| (probability(label) - f64::from(u8::from(*flag))).abs();
                    let most = flags.iter().enumerate().map(off).fold(0.0, f64::max);
                    (most > 0.5).then_some((at, most))
                }
                Target::Value(value) => Some((at, f64::from(judged.logits[0] - value).abs())),
            }
        };
        let mut found: Vec<(usize, f64)> = self.judged.iter().zip(examples).enumerate().filter_map(wrong).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(most);
        found
    }

    /// What the model says of an example.
    pub fn in_words(&self, at: usize, labels: &LabelSet) -> String {
        let judged = &self.judged[at];
        match &judged.probabilities {
            _ if labels.aim == Aim::Value => format!("{:.3}", judged.logits[0]),
            Some(probabilities) => {
                let one = |&label: &usize| format!("{} ({:.3})", labels.names[label], probabilities[label]);
                judged.labels.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            None => String::new(),
        }
    }
}

/// How right a model is.
pub(super) struct Scores {
    pub measured: Vec<(Metric, f64)>,
    confusion: Option<ConfusionMatrix>,
    /// Counts of each label.
    pub labels: Vec<Counts>,
}

impl Scores {
    /// The measures of what is learned; one that cannot be measured is not a number.
    pub fn of(verdicts: &Verdicts, examples: &[Example], labels: usize) -> Self {
        let all = || verdicts.judged.iter().zip(examples);
        match examples.first().map(|example| &example.target) {
            Some(Target::Value(_)) => {
                let found: Vec<f64> = verdicts.judged.iter().map(|judged| f64::from(judged.logits[0])).collect();
                let gold =
                    |example: &Example| if let Target::Value(value) = example.target { value.into() } else { 0.0 };
                let gold: Vec<f64> = examples.iter().map(gold).collect();
                let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
                let measured = vec![
                    (Metric::Pearson, number(pearson(&gold, &found))),
                    (Metric::Spearman, number(spearman(&gold, &found))),
                ];
                Self { measured, confusion: None, labels: Vec::new() }
            }
            Some(Target::Labels(_)) => {
                let gold = |example: &Example| match &example.target {
                    Target::Labels(flags) => flags.clone(),
                    _ => Vec::new(),
                };
                let gold: Vec<bool> = examples.iter().flat_map(gold).collect();
                let found =
                    |judged: &Judged| (0..labels).map(|label| judged.labels.contains(&label)).collect::<Vec<_>>();
                let found: Vec<bool> = verdicts.judged.iter().flat_map(found).collect();
                let scores = MultiLabel::of(&gold, &found, labels);
                let measured = vec![
                    (Metric::Accuracy, scores.subset_accuracy()),
                    (Metric::F1, scores.f1(Average::Micro)),
                    (Metric::F1Macro, scores.f1(Average::Macro)),
                ];
                let labels = (0..labels).map(|label| scores.label(label)).collect();
                Self { measured, confusion: None, labels }
            }
            _ => {
                let pair = |(judged, example): (&Judged, &Example)| match example.target {
                    Target::Label(label) => (label as usize, judged.labels[0]),
                    _ => (0, 0),
                };
                let confusion = ConfusionMatrix::of(all().map(pair), labels);
                let f1 = if labels == 2 { Average::Binary(1) } else { Average::Micro };
                let measured = vec![
                    (Metric::Accuracy, confusion.accuracy()),
                    (Metric::F1, confusion.f1(f1)),
                    (Metric::F1Macro, confusion.f1(Average::Macro)),
                    (Metric::Matthews, confusion.matthews()),
                ];
                let labels = (0..labels).map(|label| confusion.label(label)).collect();
                Self { measured, confusion: Some(confusion), labels }
            }
        }
    }

    /// The confusion matrix for the report: labels, and for each the counts of what was found.
    pub fn matrix(&self, labels: &[String]) -> Option<(Vec<String>, Vec<Vec<u64>>)> {
        let confusion = self.confusion.as_ref()?;
        Some((labels.to_vec(), confusion.rows().map(<[u64]>::to_vec).collect()))
    }
}
