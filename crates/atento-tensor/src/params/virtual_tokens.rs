//! What is trained in front of every text: rows in the place of tokens (Lester et al. 2021), or the keys and values of each
//! attention (Li & Liang 2021).

use super::{Params, Weight};

/// What stands before every text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtualTokens {
    /// Rows in the place of the embeddings of tokens: [tokens, d_model].
    Prompt(Weight),
    /// For each block, the keys and values of its attention: [tokens, 2 · kv_heads · head_dim], keys first.
    Prefix(Vec<Weight>),
}

impl Params {
    /// Puts virtual tokens before every text, in the place of those that there may be. The model's forward reads them.
    ///
    /// # Panics
    /// If blocks have different numbers of them, or there is no block.
    #[track_caller]
    pub fn set_virtual_tokens(&mut self, tokens: VirtualTokens) {
        if let VirtualTokens::Prefix(blocks) = &tokens {
            let first = blocks.first().expect("set_virtual_tokens: no block");
            let same = blocks.iter().all(|block| (block.rows, block.cols) == (first.rows, first.cols));
            assert!(same, "set_virtual_tokens: {blocks:?}");
        }
        self.virtual_tokens = Some(tokens);
    }

    /// How many virtual tokens stand before every text.
    #[must_use]
    pub fn virtual_count(&self) -> usize {
        match &self.virtual_tokens {
            None => 0,
            Some(VirtualTokens::Prompt(rows)) => rows.rows,
            Some(VirtualTokens::Prefix(blocks)) => blocks[0].rows,
        }
    }

    /// The rows that stand in the place of embeddings before every text.
    #[must_use]
    pub fn prompt(&self) -> Option<Weight> {
        match self.virtual_tokens {
            Some(VirtualTokens::Prompt(rows)) => Some(rows),
            _ => None,
        }
    }

    /// The keys and values that stand before those of every text in a block.
    #[must_use]
    pub fn prefix(&self, block: usize) -> Option<Weight> {
        match &self.virtual_tokens {
            Some(VirtualTokens::Prefix(blocks)) => blocks.get(block).copied(),
            _ => None,
        }
    }
}
