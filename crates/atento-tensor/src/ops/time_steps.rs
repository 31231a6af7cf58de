//! The layout that recurrent ops work in: packed sequences laid out step by step.
//!
//! Sequences are sorted by length, longest first; the rows of step t are the t-th tokens of all sequences that have
//! one, in that order. So each step's rows are contiguous, row i of every step belongs to sequence i, and the sequences
//! alive at a step are the first ones. This is PyTorch's `PackedSequence`.

use std::ops::Range;

use crate::device::Device;
use crate::{Slice, SliceMut};

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
        device: &dyn Device,
        direction: Direction,
        t: usize,
        width: usize,
        states: Slice<'_>,
        initial: Option<Slice<'_>>,
        mut previous: SliceMut<'_>,
    ) {
        let continued = self.continued(direction, t);
        let split = continued.len() * width;
        device.copy(states.part(span(&continued, width)), previous.part(0..split));
        let begin = split..previous.len();
        match initial {
            Some(initial) => device.copy(initial.part(begin.clone()), previous.part(begin)),
            None => device.fill(previous.part(begin), 0.0),
        }
    }

    /// The backward of [`TimeSteps::copy_previous`]: adds the gradient to where each state came from.
    pub(super) fn add_previous(
        &self,
        device: &dyn Device,
        direction: Direction,
        t: usize,
        width: usize,
        dprevious: Slice<'_>,
        mut dstates: SliceMut<'_>,
        dinitial: Option<SliceMut<'_>>,
    ) {
        let continued = self.continued(direction, t);
        let split = continued.len() * width;
        device.add_assign(dstates.part(span(&continued, width)), dprevious.part(0..split));
        if let Some(mut dinitial) = dinitial {
            let begin = split..dprevious.len();
            device.add_assign(dinitial.part(begin.clone()), dprevious.part(begin));
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
    use crate::device::Cpu;

    #[test]
    fn a_sequence_continues_where_it_has_an_earlier_step_and_begins_where_it_has_none() {
        let steps = TimeSteps::new(&[3, 1]);
        assert_eq!((steps.tokens(), steps.sequences(), steps.rows(1)), (4, 3, 3..4));
        let (states, initial) = ([1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0]);
        let previous = |direction, t: usize, initial: Option<&[f32]>| {
            let mut previous = vec![f32::NAN; steps.rows(t).len()];
            let (states, initial) = (states[..].into(), initial.map(Slice::from));
            steps.copy_previous(&Cpu::default(), direction, t, 1, states, initial, (&mut previous[..]).into());
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
