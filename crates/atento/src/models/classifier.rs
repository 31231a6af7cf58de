//! A decoder-only Transformer with a linear map from the last token's state onto labels in place of the vocabulary: classes
//! or values of whole texts (Radford et al. 2018, §3.2), as the `…ForSequenceClassification` of `transformers` have it.
//!
//! Only the last token has seen the whole text. Where there is a padding token, the last that is another counts, so that
//! padding at the end changes nothing; in packed sequences without padding that is the last token.

use atento_kernels::philox::Rng;
use atento_tensor::{Graph, Init, Tensor};

use super::CausalLm;
use crate::families::labels::{Labelled, Objective};
use crate::families::{Config, Start};
use crate::layers::Linear;

/// The random stream that the map onto labels starts from, and the standard deviation of its elements.
const INIT_STREAM: u64 = 0x7363;
const INIT_STD: f32 = 0.02;

/// What a text should have given.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'t> {
    /// `[sequences]`, the number of each text's label.
    Labels(&'t [u32]),
    /// [sequences, labels], values.
    Values(&'t [f32]),
}

/// A Transformer that gives whole texts labels or values.
pub struct Classifier {
    /// The Transformer with its labels.
    pub config: Labelled,
    /// The Transformer; its parameters hold the map onto labels too.
    pub trunk: Box<dyn CausalLm>,
    score: Linear,
}

impl Classifier {
    /// A model whose Transformer and labels start so.
    ///
    /// # Panics
    /// If models of the family have no labels.
    #[must_use]
    pub fn build(config: Labelled, start: Start) -> Self {
        let mut trunk = config.causal(start).expect("a family whose models can have labels");
        let (seed, init) = match start {
            Start::Random(seed) => (seed, Init::Normal(INIT_STD)),
            Start::Unloaded | Start::Outline => (0, Init::Zeros),
        };
        let (labels, d_model) = (config.labels.len(), config.sizes().d_model);
        let rng = &mut Rng::new(seed, INIT_STREAM);
        let score = Linear::stacked(trunk.params_mut(), &[("score", labels)], d_model, false, init, rng);
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
        self.score.forward(g, &states)
    }

    /// The training loss, summed over texts (and over outputs where they are values) and multiplied by `scale`.
    ///
    /// # Shapes
    /// As [`Classifier::logits`].
    ///
    /// # Panics
    /// If the targets are not of the model's objective, or not one a text.
    #[must_use]
    pub fn loss(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32], targets: Targets<'_>, scale: f32) -> Tensor {
        match (self.config.objective, targets) {
            (Objective::Classification, Targets::Labels(labels)) => {
                let states = self.last_states(g, ids, cu_seqlens);
                let targets: Vec<Option<u32>> = labels.iter().copied().map(Some).collect();
                self.score.cross_entropy(g, &states, &targets, 0.0, scale).loss
            }
            (Objective::Regression, Targets::Values(values)) => {
                let logits = self.logits(g, ids, cu_seqlens);
                g.squared_error(&logits, values, scale)
            }
            (objective, targets) => panic!("Classifier::loss: {targets:?} for {objective:?}"),
        }
    }

    /// States of the tokens that texts are judged by: [sequences, d_model].
    fn last_states(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let rows = last_tokens(ids, cu_seqlens, self.config.sizes().pad_id);
        let hidden = self.trunk.hidden(g, ids, cu_seqlens);
        g.label(|| "score".into());
        g.gather_rows(&hidden, &rows)
    }
}

/// The row of each sequence's last token that is not padding; of its first, where all are.
fn last_tokens(ids: &[u32], cu_seqlens: &[u32], pad_id: Option<u32>) -> Vec<u32> {
    let last = |pair: &[u32]| {
        assert!(pair[0] < pair[1], "Classifier: an empty sequence");
        let found = (pair[0]..pair[1]).rev().find(|&row| Some(ids[row as usize]) != pad_id);
        found.unwrap_or(pair[0])
    };
    cu_seqlens.windows(2).map(last).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::models::Gpt2Config;
    use atento_tensor::Pool;

    fn config(labels: usize, objective: Objective) -> Labelled {
        let trunk = Gpt2Config { pad_id: Some(7), ..Gpt2Config::new(50, 2, 24, 3, 16) };
        let labels = (0..labels).map(|i| format!("label {i}")).collect();
        Labelled { trunk: Arc::new(trunk), labels, objective }
    }

    #[test]
    fn the_table_has_the_parameters_of_the_configuration() {
        let config = config(3, Objective::Classification);
        for start in [Start::Random(1), Start::Unloaded, Start::Outline] {
            let model = Classifier::build(config.clone(), start);
            let entries = model.trunk.params().entries();
            let found: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect();
            assert_eq!(found, config.parameters());
        }
    }

    #[test]
    fn padding_at_the_end_changes_nothing() {
        assert_eq!(last_tokens(&[1, 7, 2, 7, 7, 7, 7, 3], &[0, 5, 7, 8], Some(7)), [2, 5, 7]);
        assert_eq!(last_tokens(&[1, 7, 2, 7], &[0, 2, 4], None), [1, 3]);
        let model = Classifier::build(config(3, Objective::Classification), Start::Random(1));
        let logits = |ids: &[u32], cu_seqlens: &[u32]| {
            let g = &mut Graph::infer(model.trunk.params(), &Pool::new());
            model.logits(g, ids, cu_seqlens).values().to_vec()
        };
        assert_eq!(logits(&[1, 2, 3, 4, 5, 7, 7], &[0, 3, 7]), logits(&[1, 2, 3, 4, 5], &[0, 3, 5]));
    }

    #[test]
    #[should_panic(expected = "for Regression")]
    fn values_are_not_learned_from_labels() {
        let model = Classifier::build(config(1, Objective::Regression), Start::Random(1));
        let g = &mut Graph::infer(model.trunk.params(), &Pool::new());
        let _ = model.loss(g, &[1], &[0, 1], Targets::Labels(&[0]), 1.0);
    }
}
