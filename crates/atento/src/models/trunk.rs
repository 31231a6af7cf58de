//! Models that turn texts into states, behind one face: what heads stand on, encoders and decoders alike.

use std::sync::Arc;

use atento_tensor::{Graph, Params, Tensor, Weight};

use super::virtual_tokens::Prompted;
use crate::families::{Config, Sizes};

/// Packed texts.
///
/// # Shapes
/// `ids`: `[tokens]`; `type_ids`: `[tokens]`; `cu_seqlens`: [texts + 1], from 0 to tokens.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The tokens.
    pub ids: &'a [u32],
    /// Which of two texts a token belongs to (BERT's segments A and B); none where all are of the first.
    pub type_ids: Option<&'a [u32]>,
    /// Where texts begin and end.
    pub cu_seqlens: &'a [u32],
}

impl<'a> Texts<'a> {
    /// Texts whose tokens are all of the first type.
    #[must_use]
    pub fn of(ids: &'a [u32], cu_seqlens: &'a [u32]) -> Self {
        Self { ids, type_ids: None, cu_seqlens }
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of each text's first token.
    ///
    /// # Panics
    /// If a text has no token.
    #[must_use]
    pub fn first_rows(&self) -> Vec<u32> {
        let first = |pair: &[u32]| {
            assert!(pair[0] < pair[1], "Texts: an empty text");
            pair[0]
        };
        self.cu_seqlens.windows(2).map(first).collect()
    }

    /// The row of each text's last token that is not padding; of its first, where all are.
    ///
    /// # Panics
    /// If a text has no token.
    #[must_use]
    pub fn last_rows(&self, pad_id: Option<u32>) -> Vec<u32> {
        let last = |pair: &[u32]| {
            assert!(pair[0] < pair[1], "Texts: an empty text");
            let found = (pair[0]..pair[1]).rev().find(|&row| Some(self.ids[row as usize]) != pad_id);
            found.unwrap_or(pair[0])
        };
        self.cu_seqlens.windows(2).map(last).collect()
    }
}

/// A Transformer with its parameters, without what is made of its states.
pub trait Trunk: Send + Sync {
    /// All that determines it but its weights.
    fn config(&self) -> Arc<dyn Config>;

    /// What any model has.
    fn sizes(&self) -> Sizes;

    /// Blocks.
    fn layers(&self) -> usize;

    /// Query heads of each attention.
    fn heads(&self) -> usize;

    /// All parameters, those of heads on it included.
    fn params(&self) -> &Params;

    /// All parameters, to be trained or loaded.
    fn params_mut(&mut self) -> &mut Params;

    /// Says whether training computes each block again in the backward instead of keeping its activations.
    fn checkpoint_activations(&mut self, checkpoint: bool);

    /// The longest text, in tokens, where there is a longest: a prompt takes positions, and in decoders so do keys and values.
    fn longest(&self) -> Option<usize> {
        self.sizes().max_positions.map(|positions| positions.saturating_sub(self.params().virtual_count()))
    }

    /// How many types tokens have, where the model tells them apart by a table.
    fn token_types(&self) -> Option<usize> {
        None
    }

    /// The table of token embeddings.
    fn token_table(&self) -> Weight;

    /// The last states of packed texts that have the model's prompt before each, if it has one: its rows are the ids behind
    /// the vocabulary. With `rows` they are those of these tokens alone, of which one may be there several times. `each` sees the embeddings, then the residual stream after
    /// every block, the last one before a norm that follows it; with `rows`, the last one perhaps of these alone. What a model
    /// computes for each token by itself at its end, it computes for `rows` alone.
    ///
    /// # Shapes
    /// See [`Texts`]; result: [tokens, d_model], or [rows, d_model].
    ///
    /// # Panics
    /// If a text is longer than the model's positions, an id is not below its vocabulary nor of its prompt, a type is none of
    /// its types, or a row is not one of the batch.
    #[must_use]
    fn through(
        &self,
        g: &mut Graph<'_>,
        texts: Texts<'_>,
        each: &mut dyn FnMut(&Tensor),
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor;

    /// The last states of packed texts. `each` sees what [`Trunk::through`] shows it, the rows of a prompt too.
    ///
    /// # Shapes
    /// See [`Texts`]; result: [tokens, d_model].
    ///
    /// # Panics
    /// If a text is longer than the model's positions, an id is not below its vocabulary, or a type is none of its types.
    #[must_use]
    fn encode(&self, g: &mut Graph<'_>, texts: Texts<'_>, each: &mut dyn FnMut(&Tensor)) -> Tensor {
        match Prompted::of(texts, self.params(), self.sizes().vocab_size) {
            Some(prompted) => self.through(g, prompted.texts(), each, Some(&prompted.rows)),
            None => self.through(g, texts, each, None),
        }
    }

    /// The last states of some tokens.
    ///
    /// # Shapes
    /// See [`Texts`]; `rows`: tokens of the batch, of which one may be there several times; result: [rows, d_model].
    ///
    /// # Panics
    /// As [`Trunk::encode`]; if a row is not one of the batch.
    #[must_use]
    fn encode_rows(&self, g: &mut Graph<'_>, texts: Texts<'_>, rows: &Arc<[u32]>) -> Tensor {
        match Prompted::of(texts, self.params(), self.sizes().vocab_size) {
            Some(prompted) => self.through(g, prompted.texts(), &mut |_| (), Some(&prompted.places(rows))),
            None => self.through(g, texts, &mut |_| (), Some(rows)),
        }
    }

    /// The attention weights of each block on a text, [heads, queries, keys]. Virtual tokens are keys before the tokens of the
    /// text, and a prompt's are queries too.
    ///
    /// # Panics
    /// As [`Trunk::encode`]; if the graph records gradients or there are several texts.
    #[must_use]
    fn attention(&self, g: &mut Graph<'_>, text: Texts<'_>) -> Vec<Tensor> {
        g.record_attention();
        let _ = self.encode(g, text, &mut |_| ());
        only_segments(g.take_attention())
    }

    /// All states, as Hugging Face's `output_hidden_states` gives them: the embeddings, then the residual stream after
    /// each block, the last one normalised.
    ///
    /// # Shapes
    /// As [`Trunk::encode`]; `layers + 1` results.
    #[must_use]
    fn all_states(&self, g: &mut Graph<'_>, texts: Texts<'_>) -> Vec<Tensor> {
        let layers: Vec<usize> = (0..=self.layers()).collect();
        self.states_of(g, texts, &layers)
    }

    /// The states of some layers, numbered as in [`Trunk::all_states`] and in the order of `layers`. The others are given up
    /// as soon as the next block has read them.
    ///
    /// # Shapes
    /// As [`Trunk::encode`].
    ///
    /// # Panics
    /// As [`Trunk::encode`]; if there is no such layer.
    #[must_use]
    fn states_of(&self, g: &mut Graph<'_>, texts: Texts<'_>, layers: &[usize]) -> Vec<Tensor> {
        match Prompted::of(texts, self.params(), self.sizes().vocab_size) {
            Some(prompted) => {
                let states = layers_of(self, g, prompted.texts(), layers);
                states.iter().map(|states| g.gather_rows(states, &prompted.rows)).collect()
            }
            None => layers_of(self, g, texts, layers),
        }
    }

    /// As [`Trunk::states_of`], of the row alone that each text begins with for the model: the first one of a prompt, where there
    /// is a prompt.
    ///
    /// # Shapes
    /// results: [texts, d_model].
    ///
    /// # Panics
    /// As [`Trunk::states_of`]; if a text is empty.
    #[must_use]
    fn first_states_of(&self, g: &mut Graph<'_>, texts: Texts<'_>, layers: &[usize]) -> Vec<Tensor> {
        let prompted = Prompted::of(texts, self.params(), self.sizes().vocab_size);
        let texts = prompted.as_ref().map_or(texts, Prompted::texts);
        let states = layers_of(self, g, texts, layers);
        states.iter().map(|states| g.gather_rows(states, &texts.first_rows())).collect()
    }
}

/// The states of some layers in the order of `layers`, of texts with their prompts.
fn layers_of<T: Trunk + ?Sized>(trunk: &T, g: &mut Graph<'_>, texts: Texts<'_>, layers: &[usize]) -> Vec<Tensor> {
    let mut kept: Vec<Option<Tensor>> = vec![None; trunk.layers() + 1];
    let mut layer = 0;
    let last = trunk.through(
        g,
        texts,
        &mut |state: &Tensor| {
            if layers.contains(&layer) {
                kept[layer] = Some(state.clone());
            }
            layer += 1;
        },
        None,
    );
    kept[trunk.layers()] = Some(last);
    layers.iter().map(|&layer| kept[layer].clone().expect("a layer of the model")).collect()
}

/// The weights of each attention of a pass over one sequence.
///
/// # Panics
/// If there were several.
#[track_caller]
pub(super) fn only_segments(attentions: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let only = |segments: Vec<Tensor>| {
        let [weights] =
            <[Tensor; 1]>::try_from(segments).unwrap_or_else(|found| panic!("{} sequences, not one", found.len()));
        weights
    };
    attentions.into_iter().map(only).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use atento_kernels::philox::Rng;
    use atento_tensor::{Grads, Init, Pool, VirtualTokens};

    use super::*;

    /// Puts a random prompt before the texts of a model.
    pub fn put_prompt(trunk: &mut dyn Trunk) {
        let width = trunk.token_table().cols;
        let params = trunk.params_mut();
        let rows = params.add_trained("prompt", &[2, width], Init::Normal(0.5), &mut Rng::new(9, 0));
        params.set_virtual_tokens(VirtualTokens::Prompt(rows));
    }

    /// Checks [`Trunk::encode_rows`] against [`Trunk::encode`]: states and gradients in training, with what is dropped there;
    /// behind a prompt too.
    pub fn check_rows(trunk: &mut dyn Trunk) {
        check_rows_of(trunk);
        put_prompt(trunk);
        check_rows_of(trunk);
    }

    fn check_rows_of(trunk: &dyn Trunk) {
        let (ids, rows): ([u32; 7], Arc<[u32]>) = ([5, 6, 7, 2, 8, 9, 3], [4, 0, 0, 6].into());
        let texts = Texts::of(&ids, &[0, 4, 7]);
        let pool = Pool::new();
        let run = |encode: &dyn Fn(&mut Graph<'_>) -> Tensor| {
            let mut grads = Grads::zeros(trunk.params());
            let mut g = Graph::train(trunk.params(), &mut grads, &pool, 7);
            g.set_rows_before([3, 0]);
            let states = encode(&mut g);
            let values = states.values().to_vec();
            let targets: Vec<f32> = (0..values.len()).map(|i| (i % 5) as f32).collect();
            let loss = g.squared_error(&states, &targets, 1.0);
            g.backward_all(&[loss]);
            drop((g, states));
            [values, grads.values]
        };
        let all = run(&|g| {
            let states = trunk.encode(g, texts, &mut |_| ());
            g.gather_rows(&states, &rows)
        });
        let some = run(&|g| trunk.encode_rows(g, texts, &rows));
        for (expected, found) in all.iter().zip(&some) {
            assert_eq!(expected.len(), found.len());
            let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0);
            for (x, y) in expected.iter().zip(found) {
                assert!((x - y).abs() <= 1e-5 * largest, "{x} of all, {y} of some");
            }
        }
        let g = &mut Graph::infer(trunk.params(), &pool);
        assert_eq!(trunk.encode_rows(g, texts, &[].into()).dims(), [0, trunk.sizes().d_model]);
    }

    #[test]
    fn padding_at_the_end_is_not_the_last_token() {
        let texts = Texts::of(&[1, 7, 2, 7, 7, 7, 7, 3], &[0, 5, 7, 8]);
        assert_eq!((texts.last_rows(Some(7)), texts.first_rows()), (vec![2, 5, 7], vec![0, 5, 7]));
        assert_eq!(Texts::of(&[1, 7, 2, 7], &[0, 2, 4]).last_rows(None), [1, 3]);
    }
}
