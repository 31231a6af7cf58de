//! GPT-2 with a linear map from the last token's state onto labels in place of the vocabulary: classes or values of whole
//! texts (Radford et al. 2018, §3.2), as `GPT2ForSequenceClassification` has it.
//!
//! Only the last token has seen the whole text. Where there is a padding token, the last that is another counts, so that
//! padding at the end changes nothing; in packed sequences without padding that is the last token.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::{Gpt2, Gpt2Config, INIT_STD, INIT_STREAM};
use crate::models::config::{ConfigError, LARGEST_SIZE, wrong};
use crate::models::parameters::NamedShape;

/// The name of the map onto labels.
pub const SCORE: &str = "score.weight";

/// Everything that determines a classifier's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierConfig {
    /// The Transformer below the labels; its output projection is not there.
    pub trunk: Gpt2Config,
    /// What each output stands for.
    pub labels: Vec<String>,
    /// What outputs are measured by.
    pub objective: Objective,
}

/// What a classifier learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// One label of several: cross-entropy.
    Classification,
    /// A value for each output: squared error.
    Regression,
}

/// What a text should have given.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'t> {
    /// `[sequences]`, the number of each text's label.
    Labels(&'t [u32]),
    /// [sequences, labels], values.
    Values(&'t [f32]),
}

impl ClassifierConfig {
    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.trunk.validate()?;
        let least = if self.objective == Objective::Classification { 2 } else { 1 };
        if !(least..=LARGEST_SIZE).contains(&self.labels.len()) {
            return Err(wrong("labels", self.labels.len(), format!("from {least} to {LARGEST_SIZE} labels")));
        }
        let mut sorted: Vec<&String> = self.labels.iter().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong("labels", format!("{:?} twice", pair[0]), "labels that differ")),
            None => Ok(()),
        }
    }

    /// Every parameter of the model with its shape: the trunk's, then [`SCORE`].
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let mut table = self.trunk.parameters();
        table.push((SCORE.into(), vec![self.labels.len(), self.trunk.d_model]));
        table
    }

    /// How many numbers [`ClassifierConfig::parameters`] holds.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.trunk.parameter_count() + self.labels.len() * self.trunk.d_model
    }
}

/// A GPT-2 that gives whole texts labels or values.
pub struct Gpt2Classifier {
    /// Sizes, options and labels.
    pub config: ClassifierConfig,
    /// The Transformer; its arena holds the map onto labels too.
    pub trunk: Gpt2,
    score: Weight,
}

impl Gpt2Classifier {
    /// A model with random weights decided by `seed`.
    ///
    /// # Panics
    /// If the trunk has an output projection of its own.
    #[must_use]
    pub fn init(config: ClassifierConfig, seed: u64) -> Self {
        Self::build(config, &mut Rng::new(seed, INIT_STREAM), Init::Normal)
    }

    /// A model whose weights are still to be loaded. Its memory is not touched before they are.
    ///
    /// # Panics
    /// As [`Gpt2Classifier::init`].
    #[must_use]
    pub fn unloaded(config: ClassifierConfig) -> Self {
        Self::build(config, &mut Rng::new(0, INIT_STREAM), |_| Init::Zeros)
    }

    fn build(config: ClassifierConfig, rng: &mut Rng, normal: impl Fn(f32) -> Init) -> Self {
        assert!(config.trunk.tie_embeddings, "Gpt2Classifier: a trunk has no output projection");
        let room = Params::with_room(config.parameter_count());
        let mut trunk = Gpt2::build(config.trunk.clone(), room, rng, &normal);
        let shape = [config.labels.len(), config.trunk.d_model];
        let score = trunk.params.add(SCORE, &shape, normal(INIT_STD), rng);
        Self { config, trunk, score }
    }

    /// What each text gives each label.
    ///
    /// # Shapes
    /// `ids`: `[tokens]`; `cu_seqlens`: [sequences + 1]; result: [sequences, labels].
    ///
    /// # Panics
    /// If a sequence is empty or longer than the model's positions, or an id is not below its vocabulary.
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let states = self.last_states(g, ids, cu_seqlens);
        g.linear(&states, self.score, WeightLayout::OutIn, None, Activation::Identity)
    }

    /// The training loss, summed over texts (and over outputs where they are values) and multiplied by `scale`.
    ///
    /// # Shapes
    /// As [`Gpt2Classifier::logits`].
    ///
    /// # Panics
    /// If the targets are not of the model's objective, or not one a text.
    #[must_use]
    pub fn loss(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32], targets: Targets<'_>, scale: f32) -> Tensor {
        match (self.config.objective, targets) {
            (Objective::Classification, Targets::Labels(labels)) => {
                let states = self.last_states(g, ids, cu_seqlens);
                let targets: Vec<Option<u32>> = labels.iter().copied().map(Some).collect();
                g.cross_entropy(&states, self.score, None, &targets, 0.0, scale).loss
            }
            (Objective::Regression, Targets::Values(values)) => {
                let logits = self.logits(g, ids, cu_seqlens);
                g.squared_error(&logits, values, scale)
            }
            (objective, targets) => panic!("Gpt2Classifier::loss: {targets:?} for {objective:?}"),
        }
    }

    /// States of the tokens that texts are judged by: [sequences, d_model].
    fn last_states(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let rows = last_tokens(ids, cu_seqlens, self.config.trunk.pad_id);
        let hidden = self.trunk.hidden(g, ids, cu_seqlens);
        g.label(|| "score".into());
        g.gather_rows(&hidden, &rows)
    }
}

/// The row of each sequence's last token that is not padding; of its first, where all are.
fn last_tokens(ids: &[u32], cu_seqlens: &[u32], pad_id: Option<u32>) -> Vec<u32> {
    let last = |pair: &[u32]| {
        assert!(pair[0] < pair[1], "Gpt2Classifier: an empty sequence");
        let found = (pair[0]..pair[1]).rev().find(|&row| Some(ids[row as usize]) != pad_id);
        found.unwrap_or(pair[0])
    };
    cu_seqlens.windows(2).map(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use atento_tensor::Pool;

    fn config(labels: usize, objective: Objective) -> ClassifierConfig {
        let trunk = Gpt2Config { pad_id: Some(7), ..Gpt2Config::new(50, 2, 24, 3, 16) };
        ClassifierConfig { trunk, labels: (0..labels).map(|i| format!("label {i}")).collect(), objective }
    }

    #[test]
    fn the_arena_has_the_parameters_of_the_configuration() {
        let config = config(3, Objective::Classification);
        config.validate().unwrap();
        for model in [Gpt2Classifier::init(config.clone(), 1), Gpt2Classifier::unloaded(config.clone())] {
            let entries = model.trunk.params.entries();
            let found: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect();
            assert_eq!(found, config.parameters());
            assert_eq!(model.trunk.params.count(), config.parameter_count());
        }
    }

    #[test]
    fn padding_at_the_end_changes_nothing() {
        assert_eq!(last_tokens(&[1, 7, 2, 7, 7, 7, 7, 3], &[0, 5, 7, 8], Some(7)), [2, 5, 7]);
        assert_eq!(last_tokens(&[1, 7, 2, 7], &[0, 2, 4], None), [1, 3]);
        let model = Gpt2Classifier::init(config(3, Objective::Classification), 1);
        let logits = |ids: &[u32], cu_seqlens: &[u32]| {
            let g = &mut Graph::infer(&model.trunk.params, &Pool::new());
            model.logits(g, ids, cu_seqlens).values().to_vec()
        };
        assert_eq!(logits(&[1, 2, 3, 4, 5, 7, 7], &[0, 3, 7]), logits(&[1, 2, 3, 4, 5], &[0, 3, 5]));
    }

    #[test]
    fn what_no_classifier_can_have_is_named() {
        config(1, Objective::Regression).validate().unwrap();
        assert_eq!(config(1, Objective::Classification).validate().unwrap_err().key, "labels");
        let mut twice = config(3, Objective::Classification);
        twice.labels[2] = "label 0".into();
        assert_eq!(twice.validate().unwrap_err().found, "\"label 0\" twice");
    }

    #[test]
    #[should_panic(expected = "for Regression")]
    fn values_are_not_learned_from_labels() {
        let model = Gpt2Classifier::init(config(1, Objective::Regression), 1);
        let _ =
            model.loss(&mut Graph::infer(&model.trunk.params, &Pool::new()), &[1], &[0, 1], Targets::Labels(&[0]), 1.0);
    }
}
