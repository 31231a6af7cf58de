//! Packed batches, epoch by epoch, from a position that can be saved.

use rayon::prelude::*;

use super::epoch::{Example, Examples, Planned};
use super::{BatchSize, Cursor, Error};

/// A batch of `n` examples without padding.
///
/// # Shapes
/// - `ids`, `type_ids`: `[tokens]`
/// - `cu_seqlens`: `[n + 1]`
/// - `masked`: `[predictions]`
/// - `is_next`: `[n]`
///
/// Example `i` is `ids[cu_seqlens[i]..cu_seqlens[i + 1]]`; positions count from 0 in each, and none sees another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PretrainBatch {
    /// What the model reads: masked tokens are replaced already.
    pub ids: Vec<u32>,
    /// The type of each token: which segment it is of.
    pub type_ids: Vec<u32>,
    /// Where each example begins, and the total.
    pub cu_seqlens: Vec<u32>,
    /// Rows of `ids` to be predicted, in order, each with the token that stood there.
    pub masked: Vec<(u32, u32)>,
    /// With two segments, whether the second follows the first (next sentences), or whether they are in order (sentence
    /// order).
    pub is_next: Option<Vec<bool>>,
}

impl PretrainBatch {
    fn pack(examples: Vec<Example>, type_ids: [u32; 2]) -> Self {
        let mut batch = PretrainBatch { cu_seqlens: vec![0], ..PretrainBatch::default() };
        for Example { ids, second_at, masked, label, .. } in examples {
            let start = batch.ids.len();
            batch.type_ids.resize(start + second_at.min(ids.len()), type_ids[0]);
            batch.type_ids.resize(start + ids.len(), type_ids[1]);
            batch.masked.extend(masked.into_iter().map(|(at, token)| (at + start as u32, token)));
            batch.ids.extend(ids);
            batch.cu_seqlens.push(batch.ids.len() as u32);
            if let Some(label) = label {
                batch.is_next.get_or_insert_default().push(label);
            }
        }
        batch
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }
}

/// An endless (or, for an evaluation, ending) sequence of batches, each with the cursor that continues after it. Which batch
/// comes at a cursor depends on the data, the settings, the seed, the size and the cursor alone. After an error it ends.
#[derive(Debug)]
pub struct Batches {
    examples: Examples,
    size: BatchSize,
    epochs: Option<u64>,
    cursor: Cursor,
    /// The window that was used last.
    window: Option<(u64, u64, Vec<Planned>)>,
    failed: bool,
}

impl Batches {
    pub(super) fn new(examples: Examples, size: BatchSize, from: Cursor, epochs: Option<u64>) -> Result<Self, Error> {
        size.check(examples.options.seq_len)?;
        let mut batches = Batches { examples, size, epochs, cursor: from, window: None, failed: false };
        let windows = batches.examples.windows();
        let refuse = |problem| Err(Error::Cursor { cursor: from, problem });
        if from.window >= windows {
            return refuse(format!("an epoch has {windows} windows"));
        }
        if from.index > 0 {
            let found = batches.window(from.epoch, from.window)?.len() as u64;
            if from.index >= found {
                return refuse(format!("the window has {found} examples"));
            }
        }
        Ok(batches)
    }

    /// The position before the next batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn window(&mut self, epoch: u64, window: u64) -> Result<&[Planned], Error> {
        let made = match self.window.take() {
            Some(made) if (made.0, made.1) == (epoch, window) => made,
            _ => (epoch, window, self.examples.window(epoch, window)?),
        };
        Ok(&self.window.insert(made).2)
    }

    /// The outlines of the next batch, and the cursor after it. A batch may go on in the next window, and ends with its
    /// epoch.
    fn take(&mut self) -> Result<(Vec<Planned>, Cursor), Error> {
        let (windows, around) = (self.examples.windows(), self.examples.around());
        let (mut taken, mut tokens) = (Vec::new(), 0);
        let mut cursor = self.cursor;
        let size = self.size;
        while cursor.window < windows {
            let planned = self.window(cursor.epoch, cursor.window)?;
            let before = taken.len();
            for example in &planned[cursor.index as usize..] {
                tokens += example.outline.tokens() + around;
                let fits = match size {
                    BatchSize::Tokens(most) => tokens <= most,
                    BatchSize::Examples(most) => taken.len() < most,
                };
                if !fits {
                    cursor.index += (taken.len() - before) as u64;
                    return Ok((taken, cursor));
                }
                taken.push(example.clone());
            }
            cursor = Cursor { window: cursor.window + 1, index: 0, ..cursor };
        }
        Ok((taken, Cursor { epoch: cursor.epoch + 1, window: 0, index: 0 }))
    }

    /// Goes past the next batch without making it; whether there was one.
    pub(super) fn pass(&mut self) -> Result<bool, Error> {
        let (planned, after) = self.take()?;
        self.cursor = after;
        Ok(!planned.is_empty())
    }

    /// The next batch that is not empty; `None` where all epochs are dealt out.
    fn deal(&mut self) -> Result<Option<PretrainBatch>, Error> {
        let began = self.cursor;
        while self.epochs.is_none_or(|epochs| self.cursor.epoch < epochs) {
            let (planned, after) = self.take()?;
            let epoch = std::mem::replace(&mut self.cursor, after).epoch;
            if !planned.is_empty() {
                let make = |planned| self.examples.make(epoch, planned);
                let examples = planned.par_iter().map(make).collect::<Result<Vec<_>, Error>>()?;
                return Ok(Some(PretrainBatch::pack(examples, self.examples.markers.type_ids)));
            }
            if after.epoch > began.epoch + 1 {
                let problem = "no example can be made of these texts: each sentence is a single token";
                return Err(Error::option("objective", "of pairs", problem));
            }
        }
        Ok(None)
    }
}

impl Iterator for Batches {
    type Item = Result<(PretrainBatch, Cursor), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let dealt = self.deal();
        self.failed = dealt.is_err();
        dealt.transpose().map(|batch| batch.map(|batch| (batch, self.cursor)))
    }
}
