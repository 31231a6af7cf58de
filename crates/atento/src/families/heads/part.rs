//! What stands on a Transformer: a projection of some of its states, perhaps behind a dense layer.
//!
//! ```text
//! states of Reads ──▶ [dense ─▶ activation ─▶ norm] ──▶ dropout ──▶ [output]
//! ```
//!
//! Pooler and classifier, the transform and the decoder of masked words, the map onto the two ends of an answer: all heads
//! of all families are such parts, with names of their own.

use crate::models::parameters::NamedShape;

/// Which states a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Those of each text's first token.
    First,
    /// Those of each text's last token that is not padding.
    Last,
    /// The mean of each text's states.
    Mean,
    /// Those of every token, or of tokens that are named.
    Tokens,
}

/// One part of what stands on a Transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Which states it is made of.
    pub reads: Reads,
    /// The layer before the output.
    pub transform: Option<Transform>,
    /// Probability of dropping an element of what the output reads.
    pub dropout: f32,
    /// The output; without one, what the transform gives is the result.
    pub output: Option<Output>,
}

/// A dense layer, an activation function and perhaps a norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// The path of the dense layer.
    pub dense: String,
    /// Width of its result.
    pub width: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// The name of the activation function.
    pub activation: String,
    /// The layer norm after it.
    pub norm: Option<Norm>,
    /// Probability of dropping an element of the states that the dense layer reads.
    pub dropout: f32,
}

/// A layer norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// Its path.
    pub path: String,
    /// ε, inside the square root.
    pub eps: f32,
    /// Whether it has a bias.
    pub bias: bool,
}

/// The projection onto labels, words, or whatever is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The name of the weight; of the table of tokens where that is the weight.
    pub weight: Option<String>,
    /// The name of the bias.
    pub bias: Option<String>,
    /// How many outputs there are.
    pub outputs: usize,
}

impl Output {
    /// A projection of its own, with a bias.
    #[must_use]
    pub fn dense(path: &str, outputs: usize) -> Self {
        Self { weight: Some(format!("{path}.weight")), bias: Some(format!("{path}.bias")), outputs }
    }
}

impl Part {
    /// An output of these states, with nothing before it.
    #[must_use]
    pub fn plain(reads: Reads, dropout: f32, output: Output) -> Self {
        Self { reads, transform: None, dropout, output: Some(output) }
    }

    /// The labels of a decoder: a map without a bias from the last token's state, which alone has seen the whole text.
    #[must_use]
    pub fn score(outputs: usize) -> Self {
        let output = Output { weight: Some("score.weight".into()), bias: None, outputs };
        Self::plain(Reads::Last, 0.0, output)
    }

    /// Every parameter with its shape, on states `d_model` wide.
    #[must_use]
    pub fn parameters(&self, d_model: usize) -> Vec<NamedShape> {
        let mut table = Vec::new();
        if let Some(Transform { dense, width, bias, norm, .. }) = &self.transform {
            table.push((format!("{dense}.weight"), vec![*width, d_model]));
            table.extend(bias.then(|| (format!("{dense}.bias"), vec![*width])));
            if let Some(norm) = norm {
                table.push((format!("{}.weight", norm.path), vec![*width]));
                table.extend(norm.bias.then(|| (format!("{}.bias", norm.path), vec![*width])));
            }
        }
        if let Some(output) = &self.output {
            let inputs = self.width(d_model);
            table.extend(output.weight.clone().map(|name| (name, vec![output.outputs, inputs])));
            table.extend(output.bias.clone().map(|name| (name, vec![output.outputs])));
        }
        table
    }

    /// The width of what the output reads.
    #[must_use]
    pub fn width(&self, d_model: usize) -> usize {
        self.transform.as_ref().map_or(d_model, |transform| transform.width)
    }
}
