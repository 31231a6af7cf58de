//! Examples that lie in memory, and their batches: in an order of its own in each epoch, or in the order of the file.

use std::ops::Range;
use std::sync::Arc;

use atento_kernels::philox::Rng;

use super::{Error, TextBatch};
use crate::data::hash::combine;
use crate::data::tokens::{self, Cursor};

/// The random stream that orders are drawn from.
const ORDER: u64 = 0x6f72;

/// What batches are made of.
pub trait Packs: Send + Sync + 'static {
    /// Tokens of the example, those of all its texts.
    fn tokens(&self) -> usize;

    /// Some examples, at least one, as one batch.
    fn pack(chosen: &[&Self]) -> TextBatch;
}

/// Examples in the order of their file.
#[derive(Debug)]
pub struct Examples<E> {
    all: Arc<Vec<E>>,
    longest: usize,
}

// The examples are shared, so they need not be `Clone`.
impl<E> Clone for Examples<E> {
    fn clone(&self) -> Self {
        Self { all: Arc::clone(&self.all), longest: self.longest }
    }
}

impl<E: Packs> Examples<E> {
    /// Examples to be dealt out.
    #[must_use]
    pub fn new(all: Vec<E>) -> Self {
        let longest = all.iter().map(E::tokens).max().unwrap_or(0);
        Self { all: Arc::new(all), longest }
    }

    /// The examples.
    #[must_use]
    pub fn all(&self) -> &[E] {
        &self.all
    }

    /// Batches of at most so many tokens and examples, every epoch in an order of its own that follows from the seed.
    ///
    /// # Errors
    /// The longest example does not fit into a batch; there is no such place.
    pub fn batches(
        &self,
        max_tokens: usize,
        max_examples: Option<usize>,
        seed: u64,
        from: Cursor,
    ) -> Result<Batches<E>, Error> {
        if max_tokens < self.longest {
            let problem = format!("the longest example has {} tokens and must fit into a batch", self.longest);
            return Err(tokens::Error::option("batch_tokens", max_tokens, problem).into());
        }
        let length = self.all.len() as u64;
        if from.index >= length {
            return Err(tokens::Error::Cursor { cursor: from, length }.into());
        }
        let limits = (max_tokens, max_examples.unwrap_or(usize::MAX));
        Ok(Batches { examples: Arc::clone(&self.all), limits, seed, cursor: from, order: None })
    }

    /// The examples in their order, in batches of at most so many tokens; a longer example is a batch of its own. Each
    /// batch comes with the numbers of its examples.
    pub fn in_order(&self, max_tokens: usize) -> impl Iterator<Item = (Range<usize>, TextBatch)> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let rest = &self.all[next..];
            let mut tokens = 0;
            let fits = |example: &&E| {
                tokens += example.tokens();
                tokens <= max_tokens
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let chosen: Vec<&E> = rest[..count].iter().collect();
            let numbers = next..next + count;
            next += count;
            (count > 0).then(|| (numbers, E::pack(&chosen)))
        })
    }
}

/// Batches without end, each with the place behind it.
#[derive(Debug)]
pub struct Batches<E> {
    examples: Arc<Vec<E>>,
    /// The most tokens and the most examples.
    limits: (usize, usize),
    seed: u64,
    cursor: Cursor,
    /// The order of the epoch of the cursor, once it was needed.
    order: Option<(u64, Vec<usize>)>,
}

impl<E: Packs> Batches<E> {
    /// Batches of the first epoch, counted without packing them.
    #[must_use]
    pub fn per_epoch(&self) -> u64 {
        let (limits, seed) = (self.limits, self.seed);
        let examples = Arc::clone(&self.examples);
        let mut counted = Self { examples, limits, seed, cursor: Cursor::default(), order: None };
        let mut batches = 0;
        while counted.cursor.epoch == 0 {
            counted.choose();
            batches += 1;
        }
        batches
    }

    /// The numbers of the examples of the next batch.
    fn choose(&mut self) -> Vec<usize> {
        let epoch = self.cursor.epoch;
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order: Vec<usize> = (0..self.examples.len()).collect();
            Rng::new(self.seed, combine(ORDER, epoch)).shuffle(&mut order);
            self.order = Some((epoch, order));
        }
        let (_, order) = self.order.as_ref().expect("an order was just made");
        let (max_tokens, max_examples) = self.limits;
        let rest = &order[self.cursor.index as usize..];
        let mut tokens = 0;
        let fits = |at: &&usize| {
            tokens += self.examples[**at].tokens();
            tokens <= max_tokens
        };
        let chosen: Vec<usize> = rest.iter().take(max_examples).take_while(fits).copied().collect();
        let index = self.cursor.index + chosen.len() as u64;
        self.cursor = match index < order.len() as u64 {
            true => Cursor { index, ..self.cursor },
            false => Cursor { epoch: epoch + 1, index: 0 },
        };
        chosen
    }
}

impl<E: Packs> Iterator for Batches<E> {
    type Item = (TextBatch, Cursor);

    fn next(&mut self) -> Option<Self::Item> {
        let numbers = self.choose();
        let chosen: Vec<&E> = numbers.iter().map(|&at| &self.examples[at]).collect();
        Some((E::pack(&chosen), self.cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::labelled::{Goal, Text};

    /// An example of so many tokens, whose sample is its number.
    #[derive(Debug)]
    struct Sized(u64, usize);

    impl Packs for Sized {
        fn tokens(&self) -> usize {
            self.1
        }

        fn pack(chosen: &[&Self]) -> TextBatch {
            let texts: Vec<Text> =
                chosen.iter().map(|e| Text { ids: vec![e.0 as u32; e.1], type_ids: vec![0; e.1] }).collect();
            TextBatch::pack(&texts, Goal::Values(Vec::new()), chosen.iter().map(|e| e.0).collect())
        }
    }

    fn examples() -> Examples<Sized> {
        Examples::new((0..23).map(|at| Sized(at, 1 + (at as usize * 7) % 5)).collect())
    }

    #[test]
    fn an_epoch_has_every_example_once_and_a_later_start_goes_on_as_if_there_had_been_no_stop() {
        let all: Vec<_> = examples().batches(9, Some(3), 5, Cursor::default()).unwrap().take(40).collect();
        let of_epoch = all.iter().position(|(_, cursor)| cursor.epoch == 1).unwrap() + 1;
        assert_eq!(of_epoch as u64, examples().batches(9, Some(3), 5, Cursor::default()).unwrap().per_epoch());
        let mut samples: Vec<u64> = all[..of_epoch].iter().flat_map(|(batch, _)| batch.samples.clone()).collect();
        assert!(samples.windows(2).any(|pair| pair[0] > pair[1]), "no order was drawn");
        samples.sort_unstable();
        assert_eq!(samples, (0..23).collect::<Vec<u64>>());
        assert!(all.iter().all(|(batch, _)| batch.ids.len() <= 9 && batch.texts() <= 3));
        assert!(all.iter().any(|(batch, _)| batch.texts() < 3) && all.iter().any(|(batch, _)| batch.texts() == 3));
        for (at, (_, cursor)) in all.iter().enumerate() {
            let rest: Vec<_> = examples().batches(9, Some(3), 5, *cursor).unwrap().take(39 - at).collect();
            assert_eq!(rest, all[at + 1..]);
        }
        let other: Vec<_> = examples().batches(9, Some(3), 6, Cursor::default()).unwrap().take(40).collect();
        assert_ne!(other, all);
    }

    #[test]
    fn in_order_is_the_order_of_the_file_and_a_long_example_is_a_batch_of_its_own() {
        let examples = Examples::new([1, 2, 9, 3].into_iter().enumerate().map(|(n, t)| Sized(n as u64, t)).collect());
        let found: Vec<_> = examples.in_order(4).map(|(numbers, batch)| (numbers, batch.samples)).collect();
        assert_eq!(found, [(0..2, vec![0, 1]), (2..3, vec![2]), (3..4, vec![3])]);
        let message = examples.batches(8, None, 1, Cursor::default()).unwrap_err().to_string();
        assert!(message.contains("the longest example has 9 tokens"), "{message}");
        let beyond = Cursor { epoch: 0, index: 4 };
        assert!(examples.batches(9, None, 1, beyond).is_err());
    }
}
