//! What a model looks at: the attention weights of a text, layer by layer and head by head, as JSON (by `serde`), as a
//! page ([`AttentionMaps::to_html`]) and as a drawing ([`AttentionMaps::to_svg`]).
//!
//! Layers and heads are counted from 0, layer 0 being the first block. Rows of weights are queries and sum to 1; what a
//! mask hides has the weight 0.

mod choose;
mod drawing;
mod json;
mod page;
mod tokens;

use atento_tensor::Tensor;

use crate::pipelines::translate;
use crate::score::Fault;
use crate::{hub, memory, text};

pub use choose::Choice;
pub use tokens::Tokens;

/// Who attends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The text, or the source of a translation, to itself.
    Text,
    /// What a translator's decoder reads, to itself.
    Target,
    /// What a translator's decoder reads, to the source.
    Cross,
}

/// All attention weights of a model on a text.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionMaps {
    /// The text, or the source of a translation.
    pub text: Tokens,
    /// What a translator's decoder reads: its start token, then the target without its last token.
    pub target: Option<Tokens>,
    /// Keys before those of the text, which an adapter brings.
    pub virtual_tokens: usize,
    /// The attentions of the model: one, or a translator's three.
    pub stacks: Vec<Stack>,
}

/// The layers of a model that attend alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Whose tokens they are.
    pub between: Between,
    /// The layers, in order; none of a recurrent network, but for what attends to the source.
    pub layers: Vec<Layer>,
}

/// One attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its number, from 0.
    pub number: usize,
    /// Its heads.
    pub heads: Vec<Head>,
}

/// One head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its number, from 0.
    pub number: usize,
    /// How much each query attends to each key: [queries, keys], row by row.
    pub weights: Vec<f32>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot read the text.
    #[error("the {what} {fault}")]
    Unreadable {
        /// `text`, `source` or `target`.
        what: String,
        /// Why.
        fault: Fault,
    },
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A setting of the model's own that its search cannot have.
    #[error(transparent)]
    Settings(#[from] hub::Error),
    /// The translation.
    #[error(transparent)]
    Translate(#[from] translate::Error),
    /// More weights than there is memory for.
    #[error(transparent)]
    Memory(#[from] memory::TooLarge),
    /// Weights that are no numbers.
    #[error("the attention weights are no numbers (NaN): the model's weights are damaged, or its activations overflow")]
    NonFinite,
    /// A layer or a head that the model does not have.
    #[error("{what} {asked}: the model has {what}s from 0 to {most}, or from -1 (the last) to -{}", most + 1)]
    NotThere {
        /// `layer` or `head`.
        what: &'static str,
        /// Its number.
        asked: i64,
        /// The highest number there is.
        most: usize,
    },
    /// No layer attends.
    #[error("the model has no attention")]
    NoAttention,
    /// A page or a drawing that cannot be made, which is a mistake in its template.
    #[error("cannot draw the attention: {0}")]
    Draw(#[from] minijinja::Error),
}

impl Stack {
    /// The weights of tensors [heads, queries, keys], one a layer, for the last so many queries of each.
    pub(crate) fn new(between: Between, layers: &[Tensor], queries: usize) -> Self {
        let head = |(number, weights): (usize, &[f32]), keys: usize| Head {
            number,
            weights: weights[weights.len() - queries * keys..].to_vec(),
        };
        let layer = |(number, weights): (usize, &Tensor)| {
            let [_, all_queries, keys] = weights.dims();
            let heads = weights.values().chunks(all_queries * keys).enumerate();
            Layer { number, heads: heads.map(|one| head(one, keys)).collect() }
        };
        Self { between, layers: layers.iter().enumerate().map(layer).collect() }
    }

    /// How many heads there are in all.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.layers.iter().map(|layer| layer.heads.len()).sum()
    }
}

impl AttentionMaps {
    /// The tokens that attend, as people read them.
    #[must_use]
    pub fn queries(&self, between: Between) -> &[String] {
        match (between, &self.target) {
            (Between::Target | Between::Cross, Some(target)) => &target.shown,
            _ => &self.text.shown,
        }
    }

    /// What they attend to, as people read it.
    #[must_use]
    pub fn keys(&self, between: Between) -> Vec<String> {
        match (between, &self.target) {
            (Between::Target, Some(target)) => target.shown.clone(),
            _ => {
                let first = (1..=self.virtual_tokens).map(|number| format!("virtual {number}"));
                first.chain(self.text.shown.iter().cloned()).collect()
            }
        }
    }

    /// How many heads there are in all.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.stacks.iter().map(Stack::heads).sum()
    }

    /// The weights of a head.
    #[must_use]
    pub fn head(&self, between: Between, layer: usize, head: usize) -> Option<&Head> {
        let stack = self.stacks.iter().find(|stack| stack.between == between)?;
        let layer = stack.layers.iter().find(|one| one.number == layer)?;
        layer.heads.iter().find(|one| one.number == head)
    }

    /// Whether all weights are numbers: they are not where a model's weights are damaged.
    pub(crate) fn is_finite(&self) -> bool {
        let layers = self.stacks.iter().flat_map(|stack| &stack.layers);
        layers.flat_map(|layer| &layer.heads).flat_map(|head| &head.weights).all(|weight| weight.is_finite())
    }
}

#[cfg(test)]
mod tests;
