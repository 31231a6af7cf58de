//! From packed sentences to the step-by-step layout of recurrent ops ([`TimeSteps`]), and back.

use std::sync::Arc;

use atento_tensor::ops::TimeSteps;

/// A batch of packed sentences seen step by step: longest sentence first, the t-th tokens of all sentences together.
#[derive(Clone, Debug)]
pub struct TimeMajor {
    /// The sentences, longest first; equally long ones in their own order.
    pub order: Vec<u32>,
    /// The packed row that each row of the layout comes from.
    pub rows: Arc<[u32]>,
    /// How many sentences have a token at each step.
    pub steps: Arc<TimeSteps>,
}

impl TimeMajor {
    /// The layout of sentences with cumulative lengths `cu_seqlens`.
    ///
    /// # Panics
    /// If a sentence has no tokens: it would have no state.
    #[must_use]
    #[track_caller]
    pub fn new(cu_seqlens: &[u32]) -> Self {
        let length = |sentence: u32| cu_seqlens[sentence as usize + 1] - cu_seqlens[sentence as usize];
        let mut order: Vec<u32> = (0..cu_seqlens.len() as u32 - 1).collect();
        assert!(order.iter().all(|&sentence| length(sentence) > 0), "TimeMajor: an empty sentence in {cu_seqlens:?}");
        order.sort_by_key(|&sentence| std::cmp::Reverse(length(sentence)));
        let longest = order.first().map_or(0, |&sentence| length(sentence));
        let (mut rows, mut active) = (Vec::new(), Vec::new());
        for t in 0..longest {
            let alive = order.partition_point(|&sentence| length(sentence) > t);
            rows.extend(order[..alive].iter().map(|&sentence| cu_seqlens[sentence as usize] + t));
            active.push(alive as u32);
        }
        Self { order, rows: rows.into(), steps: Arc::new(TimeSteps::new(&active)) }
    }

    /// One value for each packed row, in the order of the layout.
    #[must_use]
    pub fn arrange(&self, packed: &[u32]) -> Vec<u32> {
        self.rows.iter().map(|&row| packed[row as usize]).collect()
    }

    /// The row of the layout that each packed row goes to: the inverse of [`TimeMajor::rows`].
    #[must_use]
    pub fn places(&self) -> Vec<u32> {
        let mut places = vec![0; self.rows.len()];
        for (place, &row) in self.rows.iter().enumerate() {
            places[row as usize] = place as u32;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_the_tokens_of_all_sentences_that_reach_them() {
        let layout = TimeMajor::new(&[0, 1, 4, 7]);
        assert_eq!(layout.order, [1, 2, 0]);
        assert_eq!(layout.rows[..], [1, 4, 0, 2, 5, 3, 6]);
        assert_eq!(*layout.steps, TimeSteps::new(&[3, 2, 2]));
        let packed = [10, 11, 12, 13, 14, 15, 16];
        let arranged = layout.arrange(&packed);
        let back: Vec<u32> = layout.places().iter().map(|&place| arranged[place as usize]).collect();
        assert_eq!(back, packed);
    }

    #[test]
    #[should_panic(expected = "an empty sentence")]
    fn a_sentence_without_tokens_is_refused() {
        let _ = TimeMajor::new(&[0, 2, 2]);
    }
}
