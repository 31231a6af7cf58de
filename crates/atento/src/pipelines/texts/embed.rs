//! States as features: vectors of texts, or of their tokens, from any blocks (Peters et al. 2018; Devlin et al. 2019, §5.3).
//!
//! The mean is over all tokens of a text, those around it included, as sentence-transformers takes it (Reimers & Gurevych
//! 2019). Of virtual tokens before a text it has none.

use std::ops::Range;

use atento_tensor::{Graph, Tensor};

use super::{Error, finite};
use crate::models::{Texts, Trunk};
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// What one vector of a text is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the first token, or of the first row of a prompt before the text.
    Cls,
    /// The mean of all states.
    #[default]
    Mean,
    /// The largest value in each column.
    Max,
    /// The state of the last token.
    Last,
    /// Every state by itself.
    None,
}

/// What is made of several layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// A result of each.
    #[default]
    Each,
    /// Their sum.
    Sum,
    /// One behind the other.
    Concat,
}

/// What vectors are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedOptions {
    /// The layers: 0 is the embeddings, 1 the first block, −1 the last one, −2 the one before.
    pub layers: Vec<i64>,
    /// What one vector is made of.
    pub pooling: Pooling,
    /// What is made of several layers.
    pub combine: Combine,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self { layers: vec![-1], pooling: Pooling::Mean, combine: Combine::Each, normalize: false }
    }
}

/// The vectors of a text: for each layer that was asked for, or for all together, one vector or one a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Width of a vector.
    pub width: usize,
    /// Layer by layer: [vectors, width], row by row.
    pub layers: Vec<Vec<f32>>,
}

impl TextModel {
    /// The vectors of each text.
    ///
    /// # Errors
    /// A layer that the model does not have; states that are not numbers.
    pub fn embed(&self, texts: &[&EncodedPair], options: &EmbedOptions) -> Result<Vec<Embedded>, Error> {
        let layers = self.layers_of(options)?;
        self.in_batches(texts, |g, packed, batch| {
            let (states, rows) = options.pooling.states(&*self.model.trunk, g, packed, &layers);
            let wanted: Vec<&[f32]> = states.iter().map(finite).collect::<Result<_, _>>()?;
            let width = states[0].dims::<2>()[1];
            let vectors = |rows: Range<usize>| {
                let of_layer =
                    |states: &&[f32]| options.pooling.of(&states[rows.start * width..rows.end * width], width);
                options.combine.of(wanted.iter().map(of_layer).collect(), width, options.normalize)
            };
            debug_assert_eq!(batch.len(), packed.len());
            Ok(rows.into_iter().map(vectors).collect())
        })
    }

    /// The numbers of the layers, from 0.
    fn layers_of(&self, options: &EmbedOptions) -> Result<Vec<usize>, Error> {
        let count = self.model.trunk.layers() as i64 + 1;
        let number = |&layer: &i64| {
            let at = if layer < 0 { count + layer } else { layer };
            let most = count - 1;
            let refused = || {
                let range = format!("from 0 (the embeddings) to {most}, or from -1 (the last) to -{count}");
                Error::Setting(format!("layer {layer}: the model has layers {range}"))
            };
            if (0..count).contains(&at) { Ok(at as usize) } else { Err(refused()) }
        };
        if options.layers.is_empty() {
            return Err(Error::Setting("no layer is asked for".into()));
        }
        options.layers.iter().map(number).collect()
    }
}

impl Pooling {
    /// The states of some layers that it is made of, and the rows of each text in them.
    pub(crate) fn states(
        self,
        trunk: &dyn Trunk,
        g: &mut Graph<'_>,
        texts: Texts<'_>,
        layers: &[usize],
    ) -> (Vec<Tensor>, Vec<Range<usize>>) {
        match self {
            Self::Cls => (trunk.first_states_of(g, texts, layers), (0..texts.len()).map(|at| at..at + 1).collect()),
            Self::Mean | Self::Max | Self::Last | Self::None => {
                let of_text = |pair: &[u32]| pair[0] as usize..pair[1] as usize;
                (trunk.states_of(g, texts, layers), texts.cu_seqlens.windows(2).map(of_text).collect())
            }
        }
    }

    /// What it makes of a text's states: [tokens, width] to [1, width], or themselves.
    #[must_use]
    pub fn of(self, states: &[f32], width: usize) -> Vec<f32> {
        let over = |start: f32, step: fn(f32, f32) -> f32| {
            let mut all = vec![start; width];
            states.chunks(width).for_each(|row| all.iter_mut().zip(row).for_each(|(x, y)| *x = step(*x, *y)));
            all
        };
        match self {
            Self::Cls => states[..width].to_vec(),
            Self::Last => states[states.len() - width..].to_vec(),
            Self::Max => over(f32::NEG_INFINITY, f32::max),
            Self::None => states.to_vec(),
            Self::Mean => {
                let count = (states.len() / width) as f32;
                let sum = over(0.0, |x, y| x + y);
                sum.into_iter().map(|x| x / count).collect()
            }
        }
    }
}

impl Combine {
    /// One result of the layers of a text, each [vectors, width], or a result of each.
    fn of(self, layers: Vec<Vec<f32>>, width: usize, normalize: bool) -> Embedded {
        let count = layers.len();
        let (width, mut layers) = match self {
            Self::Each => (width, layers),
            Self::Sum => {
                let add = |mut sum: Vec<f32>, layer: Vec<f32>| {
                    sum.iter_mut().zip(layer).for_each(|(x, y)| *x += y);
                    sum
                };
                (width, layers.into_iter().reduce(add).into_iter().collect())
            }
            Self::Concat => {
                let rows = layers[0].len() / width;
                let row = |at: usize| layers.iter().flat_map(move |layer| &layer[at * width..(at + 1) * width]);
                (count * width, vec![(0..rows).flat_map(row).copied().collect()])
            }
        };
        if normalize {
            layers.iter_mut().flat_map(|layer| layer.chunks_mut(width)).for_each(to_length_one);
        }
        Embedded { width, layers }
    }
}

/// Divides a vector by its length, or by 10⁻¹² where it is shorter, as `torch.nn.functional.normalize`.
fn to_length_one(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolings_make_one_vector_of_many() {
        let states = [1.0, -2.0, 3.0, 4.0, 5.0, 1.0];
        for (pooling, expected) in [
            (Pooling::Cls, vec![1.0, -2.0]),
            (Pooling::Mean, vec![3.0, 1.0]),
            (Pooling::Max, vec![5.0, 4.0]),
            (Pooling::Last, vec![5.0, 1.0]),
            (Pooling::None, states.to_vec()),
        ] {
            assert_eq!(pooling.of(&states, 2), expected, "{pooling:?}");
        }
    }

    #[test]
    fn layers_are_summed_or_set_side_by_side_before_the_length_is_made_one() {
        let layers = || vec![vec![3.0, 0.0, 1.0, 1.0], vec![0.0, 4.0, 2.0, 2.0]];
        let sum = Combine::Sum.of(layers(), 2, true);
        assert_eq!((sum.width, &sum.layers[0][..2]), (2, &[0.6, 0.8][..]));
        let concat = Combine::Concat.of(layers(), 2, false);
        assert_eq!((concat.width, concat.layers), (4, vec![vec![3.0, 0.0, 0.0, 4.0, 1.0, 1.0, 2.0, 2.0]]));
        let each = Combine::Each.of(layers(), 2, true);
        assert_eq!((each.layers[0][..2].to_vec(), each.layers[1][..2].to_vec()), (vec![1.0, 0.0], vec![0.0, 1.0]));
        assert_eq!(Combine::Sum.of(vec![vec![0.0, 0.0]], 2, true).layers, [[0.0, 0.0]]);
    }
}
