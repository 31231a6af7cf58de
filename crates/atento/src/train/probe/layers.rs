//! Which layer of a model knows most: a linear output solved on the states of each.

use atento_tensor::{Graph, Pool};

use super::{Error, Gold, Layer, check_finite};
use crate::data::labelled::{LabelledSet, Target};
use crate::eval::labels::{Average, MultiLabel};
use crate::eval::values::pearson;
use crate::pipelines::TextModel;
use crate::pipelines::texts::embed::Pooling;

/// Tokens computed together; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;

/// How well an output reads its labels off one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerScore {
    /// The layer: 0 is the embeddings, 1 the first block.
    pub layer: usize,
    /// The inverse strength of regularisation of each problem that was solved.
    pub strengths: Vec<f64>,
    /// On the validation data: accuracy of labels, micro F1 of any number of labels, Pearson's correlation of values. Not a
    /// number where that cannot be told, as a correlation with one value alone.
    pub valid: f64,
    /// The same on the test data.
    pub test: Option<f64>,
}

/// Solves an output on the pooled states of each layer of the training data, regularised as fits the validation data best, and
/// measures it.
///
/// # Errors
/// States that are not numbers; training data from which nothing can be solved.
pub fn layers(
    model: &TextModel,
    (train, valid, test): (&LabelledSet, &LabelledSet, Option<&LabelledSet>),
    outputs: usize,
    pooling: Pooling,
) -> Result<Vec<LayerScore>, Error> {
    let [train_states, valid_states] = [train, valid].map(|set| states(model, set, pooling));
    let test_states = test.map(|set| states(model, set, pooling));
    let width = model.model.trunk.sizes().d_model;
    let gold = [train, valid].map(|set| gold(set, outputs));
    let test_gold = test.map(|set| self::gold(set, outputs));
    let score = |layer: usize| {
        let [train, valid] = [&train_states[layer], &valid_states[layer]].map(|values| &values[..]);
        let test = test_states.as_ref().map(|states| &states[layer][..]);
        [Some(train), Some(valid), test].into_iter().flatten().try_for_each(|values| check_finite(values, width))?;
        let solved = Layer::fit(((train, width), &gold[0]), Some(((valid, width), &gold[1])))?;
        let measured = |values: &[f32], gold: &Gold| measure(&solved, (values, width), gold);
        Ok(LayerScore {
            layer,
            valid: measured(valid, &gold[1]),
            test: test.zip(test_gold.as_ref()).map(|(values, gold)| measured(values, gold)),
            strengths: solved.strengths.clone(),
        })
    };
    (0..train_states.len()).map(score).collect()
}

/// The pooled states of each layer, row by row.
fn states(model: &TextModel, set: &LabelledSet, pooling: Pooling) -> Vec<Vec<f32>> {
    let pool = Pool::new();
    let all: Vec<usize> = (0..=model.model.trunk.layers()).collect();
    let mut layers = vec![Vec::new(); all.len()];
    for (_, batch) in set.examples().in_order(BATCH_TOKENS) {
        let g = &mut Graph::infer(model.model.params(), &pool);
        let (found, of_texts) = pooling.states(&*model.model.trunk, g, batch.as_texts(), &all);
        for (rows, states) in layers.iter_mut().zip(&found) {
            let width = states.dims::<2>()[1];
            for text in &of_texts {
                rows.extend(pooling.of(&states.values()[text.start * width..text.end * width], width));
            }
        }
    }
    layers
}

/// What is to be read off the features of each text of a set; `outputs` is how many labels there are.
///
/// # Panics
/// If the set has no text.
#[must_use]
pub fn gold(set: &LabelledSet, outputs: usize) -> Gold {
    let targets = || set.examples().all().iter().map(|example| &example.target);
    match targets().next().expect("a set has a text") {
        Target::Labels(_) => {
            let flags = |target: &Target| if let Target::Labels(flags) = target { flags.clone() } else { Vec::new() };
            Gold::ManyLabels { flags: targets().map(flags).collect(), labels: outputs }
        }
        Target::Value(_) => {
            Gold::Values(targets().map(|target| if let Target::Value(value) = target { *value } else { 0.0 }).collect())
        }
        Target::Label(_) => {
            let label = |target: &Target| if let Target::Label(label) = target { *label } else { 0 };
            Gold::Labels { labels: targets().map(label).collect(), classes: outputs }
        }
    }
}

fn measure(layer: &Layer, features: (&[f32], usize), gold: &Gold) -> f64 {
    let scores = layer.scores(features);
    match gold {
        Gold::Labels { labels, classes } => {
            let found = scores.chunks(*classes).map(crate::pipelines::texts::largest);
            let right = found.zip(labels).filter(|(found, label)| *found == **label as usize).count();
            right as f64 / labels.len() as f64
        }
        Gold::ManyLabels { flags, labels } => {
            let found: Vec<bool> = scores.iter().map(|score| *score > 0.0).collect();
            MultiLabel::of(&flags.concat(), &found, *labels).f1(Average::Micro)
        }
        Gold::Values(values) => {
            let [found, gold] =
                [&scores, values].map(|values| values.iter().copied().map(f64::from).collect::<Vec<_>>());
            pearson(&gold, &found).unwrap_or(f64::NAN)
        }
    }
}
