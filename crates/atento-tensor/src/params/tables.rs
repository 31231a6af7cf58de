//! What is changed of a table without changing its values: a product of two thin matrices that is added to the rows that are
//! looked up (Hu et al. 2021, LoRA, eq. 3), and rows that stand in the place of its own.
//!
//! A table that is also the output onto the vocabulary has two ends. The pair of a lookup leaves its products as they are, and
//! a [`LowRank`](super::LowRank) pair leaves its lookups so. Rows in the place of its own are read at both ends.

use std::sync::Arc;

use super::{Params, Weight};

/// `row + scale · rows[id] · upᵀ` in the place of a row that is looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookupPair {
    /// [table rows, rank]
    pub rows: Weight,
    /// [table columns, rank]
    pub up: Weight,
    /// The factor of the product: α / r (Hu et al. 2021), or α / √r (Kalajdzievski 2023).
    pub scale: f32,
}

/// Rows in the place of some of a table's, wherever it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedRows {
    /// Which rows of the table: each once.
    pub ids: Arc<[u32]>,
    /// [ids, table columns]
    pub rows: Weight,
}

impl Params {
    /// Adds the product of two thin matrices to the rows of a table that are looked up, in the place of a pair that it may have.
    ///
    /// # Panics
    /// If `table` is several parameters, or the sizes do not fit.
    #[track_caller]
    pub fn set_lookup_pair(&mut self, table: Weight, pair: LookupPair) {
        let fits = table.parts == 1 && pair.rows.rows == table.rows && pair.up.rows == table.cols;
        assert!(fits && pair.rows.cols == pair.up.cols, "set_lookup_pair: {pair:?} for {table:?}");
        self.lookup_pairs.insert(table.first, pair);
    }

    /// Takes away what is added to the rows of a table. The parameters of the thin matrices stay.
    pub fn take_lookup_pair(&mut self, table: Weight) -> Option<LookupPair> {
        self.lookup_pairs.remove(&table.first)
    }

    /// What is added to the rows of a table when they are looked up.
    #[must_use]
    pub fn lookup_pair(&self, table: Weight) -> Option<LookupPair> {
        self.lookup_pairs.get(&table.first).copied()
    }

    /// Puts rows in the place of some of a table's, in lookups and in products.
    ///
    /// # Panics
    /// If `table` is several parameters, the sizes do not fit, or a row is beyond the table or named twice.
    #[track_caller]
    pub fn set_replaced_rows(&mut self, table: Weight, replaced: ReplacedRows) {
        let fits = table.parts == 1 && (replaced.rows.rows, replaced.rows.cols) == (replaced.ids.len(), table.cols);
        let mut sorted = replaced.ids.to_vec();
        sorted.sort_unstable();
        let is_set = sorted.windows(2).all(|pair| pair[0] < pair[1]);
        let is_within = sorted.last().is_none_or(|last| (*last as usize) < table.rows);
        assert!(fits && is_set && is_within, "set_replaced_rows: {replaced:?} for {table:?}");
        self.replaced_rows.insert(table.first, replaced);
    }

    /// Takes away the rows that stand in the place of a table's own. Their parameter stays.
    pub fn take_replaced_rows(&mut self, table: Weight) -> Option<ReplacedRows> {
        self.replaced_rows.remove(&table.first)
    }

    /// The rows that stand in the place of some of a table's.
    #[must_use]
    pub fn replaced_rows(&self, table: Weight) -> Option<&ReplacedRows> {
        self.replaced_rows.get(&table.first).filter(|_| table.parts == 1)
    }
}
