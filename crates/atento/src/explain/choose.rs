//! Some layers and heads of all.

use super::{AttentionMaps, Error, Stack};

/// Which layers and heads are wanted, in this order; negative numbers count from the last one, and none is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Numbers of layers.
    pub layers: Vec<i64>,
    /// Numbers of heads.
    pub heads: Vec<i64>,
}

impl AttentionMaps {
    /// Keeps the layers and heads that are chosen. Where the encoder and the decoder of a translator differ in their
    /// number, a number counts for those that have it.
    ///
    /// # Errors
    /// A number that no part of the model has.
    pub fn choose(&mut self, choice: &Choice) -> Result<(), Error> {
        let layers = |stack: &Stack| stack.layers.len();
        let heads = |stack: &Stack| stack.layers.iter().map(|layer| layer.heads.len()).max().unwrap_or(0);
        check("layer", &choice.layers, self.stacks.iter().map(layers).max())?;
        check("head", &choice.heads, self.stacks.iter().map(heads).max())?;
        for stack in &mut self.stacks {
            stack.layers = picked(&stack.layers, &choice.layers);
            for layer in &mut stack.layers {
                layer.heads = picked(&layer.heads, &choice.heads);
            }
        }
        Ok(())
    }
}

/// Refuses a number beyond the most that there are of something.
fn check(what: &'static str, wanted: &[i64], most: Option<usize>) -> Result<(), Error> {
    let count = most.filter(|&count| count > 0).ok_or(Error::NoAttention)?;
    match wanted.iter().find(|&&number| place(number, count).is_none()) {
        Some(&asked) => Err(Error::NotThere { what, asked, most: count - 1 }),
        None => Ok(()),
    }
}

/// The place of a number among so many things.
fn place(number: i64, count: usize) -> Option<usize> {
    let at = if number < 0 { number.checked_add(i64::try_from(count).ok()?)? } else { number };
    usize::try_from(at).ok().filter(|&at| at < count)
}

/// Those of `all` that are wanted and there; all, where none is wanted.
fn picked<T: Clone>(all: &[T], wanted: &[i64]) -> Vec<T> {
    if wanted.is_empty() {
        return all.to_vec();
    }
    wanted.iter().filter_map(|&number| place(number, all.len())).map(|at| all[at].clone()).collect()
}
