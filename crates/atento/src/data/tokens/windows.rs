//! Batches of windows of a shard, for training and validation.
//!
//! - Training as nanoGPT does it: [`Sampling::Random`].
//! - Training in epochs: [`Sampling::Sequential`].
//! - Validation on everything: [`Sampling::InOrder`] with one epoch. Validation as nanoGPT does it (`eval_iters`):
//!   the first so many batches of [`Sampling::Random`], with the same seed each time.
//!
//! A batch depends only on the shard, the options and the cursor, and is found in constant time.

use std::sync::Arc;

use atento_kernels::philox;
use serde::{Deserialize, Serialize};

use super::permutation::Permutation;
use super::{CausalBatch, Cursor, Error, Shard, Window};

/// Which windows are dealt out, and in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Windows that begin anywhere, each drawn by itself. An epoch is as many as have the tokens of the shard.
    #[default]
    Random,
    /// Windows that follow one another without overlap, in random order; the first is shorter by a random
    /// number of tokens, so that the cuts are elsewhere in every epoch. An epoch predicts every token but the
    /// shard's first exactly once.
    Sequential,
    /// Windows that follow one another without overlap, from the beginning to the end of the shard.
    InOrder,
}

/// How windows are dealt out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowOptions {
    /// Tokens of a window.
    pub block_size: usize,
    /// Windows of a batch. The last batch of an epoch may have fewer, but not with [`Sampling::Random`].
    pub batch_size: usize,
    /// Which windows.
    pub sampling: Sampling,
    /// What the random choices depend on.
    pub seed: u64,
    /// Cuts windows after this token, so that documents do not see one another
    /// ([`CausalBatch::cut_after`]).
    pub document_end: Option<u32>,
    /// How many epochs are dealt out; without a number, for ever.
    pub epochs: Option<u64>,
}

impl Default for WindowOptions {
    /// Eight random windows of 1,024 tokens, without end; documents see one another.
    fn default() -> Self {
        let (block_size, batch_size, sampling) = (1024, 8, Sampling::Random);
        WindowOptions { block_size, batch_size, sampling, seed: 0, document_end: None, epochs: None }
    }
}

/// An endless (or, with [`WindowOptions::epochs`], ending) sequence of batches, each with the cursor that
/// continues after it. After an error it ends.
#[derive(Clone, Debug)]
pub struct Windows {
    shard: Arc<Shard>,
    vocab_size: usize,
    options: WindowOptions,
    cursor: Cursor,
    failed: bool,
}

impl Windows {
    /// Windows from the beginning of the first epoch; [`seek`](Self::seek) goes elsewhere. Every id is checked to
    /// be below `vocab_size` when it is dealt out.
    ///
    /// # Errors
    /// [`Error::Option`]; [`Error::TooShort`] if the shard has not `block_size + 1` tokens (in order, a shorter
    /// window will do: two tokens).
    pub fn new(shard: Arc<Shard>, vocab_size: usize, options: WindowOptions) -> Result<Self, Error> {
        if options.block_size == 0 {
            return Err(Error::option("block_size", 0, "a window needs at least one token"));
        }
        if options.batch_size == 0 {
            return Err(Error::option("batch_size", 0, "a batch needs at least one window"));
        }
        shard.require(if options.sampling == Sampling::InOrder { 1 } else { options.block_size })?;
        Ok(Windows { shard, vocab_size, options, cursor: Cursor::default(), failed: false })
    }

    /// The position before the next batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues from a cursor, exactly as an uninterrupted sequence would.
    ///
    /// # Errors
    /// [`Error::Cursor`] if an epoch has no such window.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        let length = self.epoch(cursor.epoch).windows;
        if cursor.index >= length {
            return Err(Error::Cursor { cursor, length });
        }
        self.cursor = cursor;
        self.failed = false;
        Ok(())
    }

    /// Tokens that an epoch has to predict: all but the shard's first.
    pub fn tokens_per_epoch(&self) -> u64 {
        self.shard.len() as u64 - 1
    }

    /// Batches of the first epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.epoch(0).windows.div_ceil(self.options.batch_size as u64)
    }

    fn epoch(&self, epoch: u64) -> Epoch {
        let (block, tokens) = (self.options.block_size as u64, self.tokens_per_epoch());
        let first = match self.options.sampling {
            Sampling::Sequential => 1 + scale(draw(self.options.seed, Use::Offset, epoch), block),
            Sampling::Random | Sampling::InOrder => block,
        };
        let windows = 1 + tokens.saturating_sub(first).div_ceil(block);
        let order = (self.options.sampling == Sampling::Sequential)
            .then(|| Permutation::new(self.options.seed, Use::Order.stream() | epoch & 0xFF_FFFF_FFFF, windows));
        Epoch { first, windows, order }
    }

    /// The next batch and the cursor after it.
    fn deal(&self) -> Result<(CausalBatch, Cursor), Error> {
        let Cursor { epoch, index } = self.cursor;
        let (batch_size, now) = (self.options.batch_size as u64, self.epoch(epoch));
        let random = self.options.sampling == Sampling::Random;
        let end = if random { index + batch_size } else { now.windows.min(index + batch_size) };
        let windows = (index..end).map(|at| match random {
            // The number only chooses among streams of random numbers.
            true => self.random(epoch.wrapping_mul(now.windows).wrapping_add(at)),
            false => self.block(&now, at),
        });
        let batch = CausalBatch::pack(windows.collect::<Result<Vec<_>, _>>()?);
        let batch = match self.options.document_end {
            Some(end_token) => batch.cut_after(end_token),
            None => batch,
        };
        Ok((batch, Cursor { epoch: epoch + end / now.windows, index: end % now.windows }))
    }

    /// Random window number `number`.
    fn random(&self, number: u64) -> Result<Window, Error> {
        let block = self.options.block_size;
        let start = scale(draw(self.options.seed, Use::Window, number), (self.shard.len() - block) as u64);
        self.window(start, block as u64)
    }

    /// Window `at` of an epoch in which they follow one another.
    fn block(&self, epoch: &Epoch, at: u64) -> Result<Window, Error> {
        let at = epoch.order.map_or(at, |order| order.at(at));
        let block = self.options.block_size as u64;
        let start = if at == 0 { 0 } else { epoch.first + (at - 1) * block };
        let length = if at == 0 { epoch.first } else { block };
        self.window(start, length.min(self.tokens_per_epoch() - start))
    }

    fn window(&self, start: u64, length: u64) -> Result<Window, Error> {
        let (at, length) = (start as usize, length as usize);
        let mut ids = self.shard.read_checked(at..at + length + 1, self.vocab_size)?;
        let targets = ids[1..].iter().copied().map(Some).collect();
        ids.truncate(length);
        Ok(Window { sample: start, ids, targets })
    }
}

impl Iterator for Windows {
    type Item = Result<(CausalBatch, Cursor), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.options.epochs.is_some_and(|epochs| self.cursor.epoch >= epochs) {
            return None;
        }
        let item = self.deal();
        match &item {
            Ok((_, after)) => self.cursor = *after,
            Err(_) => self.failed = true,
        }
        Some(item)
    }
}

/// The windows of an epoch.
struct Epoch {
    /// Tokens of the first.
    first: u64,
    windows: u64,
    order: Option<Permutation>,
}

/// What random numbers are used for.
#[derive(Clone, Copy)]
enum Use {
    Window = 0,
    Offset = 1,
    Order = 2,
}

impl Use {
    /// The generator's stream. The tag in the top bits keeps it apart from the streams of masks, initial
    /// weights and pairs under the same seed.
    fn stream(self) -> u64 {
        const TAG: u64 = 0x544B;
        TAG << 48 | (self as u64) << 40
    }
}

/// 64 random bits: those of `number`, whatever was drawn before.
fn draw(seed: u64, purpose: Use, number: u64) -> u64 {
    let [low, high, ..] = philox::block(philox::key(seed), philox::counter(number, purpose.stream()));
    u64::from(high) << 32 | u64::from(low)
}

/// Random bits as a number below `n`; some numbers are likelier than others by at most n/2⁶⁴.
fn scale(bits: u64, n: u64) -> u64 {
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(tokens: u32) -> Arc<Shard> {
        Arc::new(Shard::from_ids("memory", (0..tokens).collect()).unwrap())
    }

    fn windows(tokens: u32, options: WindowOptions) -> Windows {
        Windows::new(shard(tokens), tokens as usize, options).unwrap()
    }

    fn options(sampling: Sampling, block_size: usize, batch_size: usize, epochs: u64) -> WindowOptions {
        WindowOptions { block_size, batch_size, sampling, epochs: Some(epochs), ..WindowOptions::default() }
    }

    fn all(windows: Windows) -> Vec<(CausalBatch, Cursor)> {
        windows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn random_windows_begin_anywhere_and_do_not_depend_on_the_batch_size() {
        let starts = |batch_size| -> Vec<u64> {
            let dealt = all(windows(60, options(Sampling::Random, 8, batch_size, 100)));
            dealt.into_iter().flat_map(|(batch, _)| batch.samples).collect()
        };
        let one = starts(1);
        assert_eq!(one.len(), 800);
        assert_eq!(starts(32), one);
        for start in 0..52 {
            assert!(one.contains(&start), "{start}");
        }
        assert!(one.iter().all(|&start| start < 52));
    }

    #[test]
    fn windows_hold_consecutive_tokens_and_their_successors() {
        for sampling in [Sampling::Random, Sampling::Sequential, Sampling::InOrder] {
            for (batch, _) in all(windows(100, options(sampling, 7, 3, 2))) {
                for (bounds, &sample) in batch.cu_seqlens.windows(2).zip(&batch.samples) {
                    for at in bounds[0]..bounds[1] {
                        let token = sample as u32 + at - bounds[0];
                        assert_eq!(batch.ids[at as usize], token);
                        assert_eq!(batch.targets[at as usize], Some(token + 1));
                    }
                }
            }
        }
    }

    #[test]
    fn epochs_differ_in_order_and_in_their_cuts() {
        let dealt = all(windows(1000, options(Sampling::Sequential, 50, 100, 3)));
        assert_eq!(dealt.len(), 3);
        let cuts: Vec<u64> = dealt.iter().map(|(batch, _)| batch.samples.iter().copied().max().unwrap() % 50).collect();
        assert!(cuts[0] != cuts[1] || cuts[1] != cuts[2], "{cuts:?}");
        let other = WindowOptions { seed: 1, ..options(Sampling::Sequential, 50, 100, 3) };
        assert_ne!(all(windows(1000, other))[0], dealt[0]);
    }

    #[test]
    fn random_windows_have_no_last_epoch() {
        let mut windows = windows(90, options(Sampling::Random, 8, 2, 1));
        windows.options.epochs = None;
        windows.seek(Cursor { epoch: u64::MAX, index: 0 }).unwrap();
        let (_, cursor) = windows.next().unwrap().unwrap();
        assert_eq!(cursor, Cursor { epoch: u64::MAX, index: 2 });
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |tokens, options| Windows::new(shard(tokens), 99, options).unwrap_err().to_string();
        assert!(refused(8, options(Sampling::Random, 8, 1, 1)).contains("8 tokens, a window of 8 needs 9"));
        assert!(refused(9, options(Sampling::Random, 0, 1, 1)).starts_with("block_size = 0"));
        assert!(refused(9, options(Sampling::Random, 1, 0, 1)).starts_with("batch_size = 0"));
        assert!(refused(1, options(Sampling::InOrder, 8, 1, 1)).contains("1 tokens"));
        assert_eq!(all(windows(5, options(Sampling::InOrder, 8, 2, 1))).len(), 1);
        let mut short = Windows::new(shard(9), 5, options(Sampling::InOrder, 8, 1, 1)).unwrap();
        assert!(short.next().unwrap().unwrap_err().to_string().contains("token 5 has id 5"));
        assert!(short.next().is_none());
        let mut windows = windows(20, options(Sampling::InOrder, 8, 1, 1));
        let message = windows.seek(Cursor { epoch: 0, index: 3 }).unwrap_err().to_string();
        assert!(message.contains("(epoch 0, index 3) does not exist: an epoch has 3"), "{message}");
    }

    proptest! {
        #[test]
        fn an_epoch_predicts_every_token_after_the_first_once(
            tokens in 2u32..300, block_size in 1usize..40, batch_size in 1usize..5, in_order: bool, seed: u64,
        ) {
            let sampling = if in_order { Sampling::InOrder } else { Sampling::Sequential };
            prop_assume!(in_order || tokens as usize > block_size);
            let options = WindowOptions { seed, ..options(sampling, block_size, batch_size, 2) };
            let windows = windows(tokens, options);
            let mut targets: Vec<u32> = Vec::new();
            for (batch, after) in all(windows) {
                targets.extend(batch.targets.iter().flatten());
                if after.index == 0 {
                    targets.sort_unstable();
                    prop_assert_eq!(std::mem::take(&mut targets), (1..tokens).collect::<Vec<_>>());
                }
            }
            prop_assert!(targets.is_empty());
        }

        #[test]
        fn seeking_is_skipping(
            sampling in prop_oneof![Just(Sampling::Random), Just(Sampling::Sequential), Just(Sampling::InOrder)],
            batch_size in 1usize..6, stop in 0usize..100, end in proptest::option::of(0u32..90), seed: u64,
        ) {
            let options = WindowOptions { seed, document_end: end, ..options(sampling, 7, batch_size, 3) };
            let mut windows = windows(90, options);
            let whole = all(windows.clone());
            let stop = stop % whole.len();
            let before: Vec<_> = windows.by_ref().take(stop).map(Result::unwrap).collect();
            prop_assert_eq!(&before[..], &whole[..stop]);
            let saved = serde_json::to_string(&windows.cursor()).unwrap();
            let mut again = windows.clone();
            again.seek(Cursor::default()).unwrap();
            again.seek(serde_json::from_str(&saved).unwrap()).unwrap();
            prop_assert_eq!(&all(again)[..], &whole[stop..]);
        }
    }
}
