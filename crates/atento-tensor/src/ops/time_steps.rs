//! The layout that recurrent ops work in: packed sequences laid out step by step.
//!
//! Sequences are sorted by length, longest first; the rows of step t are the t-th tokens of all sequences that have
//! one, in that order. So each step's rows are contiguous, row i of every step belongs to sequence i, and the sequences
//! alive at a step are the first ones. This is PyTorch's `PackedSequence`.

use std::ops::Range;

/// In which order a recurrence visits the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From each sequence's first token to its last.
    Forward,
    /// From each sequence's last token to its first.
    Reverse,
}

/// How many sequences have a token at each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSteps {
    /// Step t has the rows `offsets[t]..offsets[t + 1]`.
    offsets: Vec<usize>,
}

impl TimeSteps {
    /// The layout with `active[t]` sequences at step t.
    ///
    /// # Panics
    /// If the number of sequences grows from one step to the next.
    #[must_use]
    #[track_caller]
    pub fn new(active: &[u32]) -> Self {
        assert!(active.is_sorted_by(|a, b| a >= b), "TimeSteps: sequences must be sorted, longest first: {active:?}");
        let ends = active.iter().scan(0, |end, &n| {
            *end += n as usize;
            Some(*end)
        });
        Self { offsets: std::iter::once(0).chain(ends).collect() }
    }

    /// Rows of all steps together.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.offsets[self.offsets.len() - 1]
    }

    /// Sequences at the first step.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.offsets.get(1).copied().unwrap_or(0)
    }

    /// The rows of step `t`.
    #[must_use]
    pub fn rows(&self, t: usize) -> Range<usize> {
        self.offsets[t]..self.offsets[t + 1]
    }

    /// The steps in the order a recurrence visits them.
    pub(super) fn order(&self, direction: Direction) -> Vec<usize> {
        let steps = 0..self.offsets.len() - 1;
        match direction {
            Direction::Forward => steps.collect(),
            Direction::Reverse => steps.rev().collect(),
        }
    }

    /// The rows of the states that step `t` continues; its other sequences begin there, from their initial states.
    fn continued(&self, direction: Direction, t: usize) -> Range<usize> {
        let before = match direction {
            Direction::Forward => t.checked_sub(1),
            Direction::Reverse => (t + 2 < self.offsets.len()).then_some(t + 1),
        };
        let Some(before) = before else { return 0..0 };
        let n = self.rows(t).len().min(self.rows(before).len());
        self.offsets[before]..self.offsets[before] + n
    }

    /// Writes the states that step `t` starts from; without `initial`, sequences begin with zeros.
    ///
    /// # Shapes
    /// `states`: [tokens, width]; `initial`: [sequences, width]; `previous`: [rows of step t, width].
    pub(super) fn copy_previous(
        &self,
        direction: Direction,
        t: usize,
        width: usize,
        states: &[f32],
        initial: Option<&[f32]>,
        previous: &mut [f32],
    ) {
        let continued = self.continued(direction, t);
        let split = continued.len() * width;
        let (old, new) = previous.split_at_mut(split);
        old.copy_from_slice(&states[span(&continued, width)]);
        match initial {
            Some(initial) => new.copy_from_slice(&initial[split..split + new.len()]),
            None => new.fill(0.0),
        }
    }

    /// The backward of [`TimeSteps::copy_previous`]: adds the gradient to where each state came from.
    pub(super) fn add_previous(
        &self,
        direction: Direction,
        t: usize,
        width: usize,
        dprevious: &[f32],
        dstates: &mut [f32],
        dinitial: Option<&mut [f32]>,
    ) {
        let continued = self.continued(direction, t);
        let split = continued.len() * width;
        let (old, new) = dprevious.split_at(split);
        atento_kernels::elementwise::add_assign(&mut dstates[span(&continued, width)], old);
        if let Some(dinitial) = dinitial {
            atento_kernels::elementwise::add_assign(&mut dinitial[split..split + new.len()], new);
        }
    }
}

/// The values of `rows` in a matrix of `width` columns.
pub(super) fn span(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_continues_where_it_has_an_earlier_step_and_begins_where_it_has_none() {
        let steps = TimeSteps::new(&[3, 1]);
        assert_eq!((steps.tokens(), steps.sequences(), steps.rows(1)), (4, 3, 3..4));
        let (states, initial) = ([1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0]);
        let previous = |direction, t: usize, initial| {
            let mut previous = vec![f32::NAN; steps.rows(t).len()];
            steps.copy_previous(direction, t, 1, &states, initial, &mut previous);
            previous
        };
        assert_eq!(previous(Direction::Forward, 0, Some(&initial[..])), [-1.0, -2.0, -3.0]);
        assert_eq!(previous(Direction::Forward, 1, Some(&initial[..])), [1.0]);
        assert_eq!(previous(Direction::Reverse, 1, Some(&initial[..])), [-1.0]);
        assert_eq!(previous(Direction::Reverse, 0, Some(&initial[..])), [4.0, -2.0, -3.0]);
        assert_eq!(previous(Direction::Reverse, 0, None), [4.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "longest first")]
    fn a_sequence_that_appears_late_is_refused() {
        let _ = TimeSteps::new(&[1, 2]);
    }

    #[test]
    fn no_steps_are_no_tokens() {
        let steps = TimeSteps::new(&[]);
        assert_eq!((steps.tokens(), steps.sequences()), (0, 0));
        assert!(steps.order(Direction::Reverse).is_empty());
    }
}
