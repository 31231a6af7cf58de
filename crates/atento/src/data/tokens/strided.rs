//! Windows that score a whole text with a model of limited length, for its perplexity.
//!
//! As in "Perplexity of fixed-length models" of the Hugging Face documentation: windows of `block_size`
//! tokens begin every `stride` tokens, and in each only those tokens count that no earlier window has scored. So
//! every token after the first counts exactly once, and all but those of the first window are predicted from
//! at least `block_size - stride` tokens. Windows and scored tokens are the same as there for
//! `stride < block_size`; with `stride = block_size`, where there the first token of every window is left out, the
//! last position of a window predicts it here.

use std::sync::Arc;

use super::{Error, Shard, Window};

/// The windows that score a shard, in order.
#[derive(Clone, Debug)]
pub struct Strided {
    shard: Arc<Shard>,
    vocab_size: usize,
    block_size: usize,
    stride: usize,
    /// Where the next window begins.
    begin: usize,
    /// The first token that is not scored yet.
    next: usize,
}

impl Strided {
    /// Windows of `block_size` tokens, the model's number of positions, beginning every `stride` tokens. Smaller
    /// strides give better predictions and take longer.
    ///
    /// # Errors
    /// [`Error::Option`] unless `1 ≤ stride ≤ block_size` and `block_size ≥ 2`; [`Error::SingleToken`]. The items:
    /// [`Error::IdOutOfRange`].
    pub fn new(shard: Arc<Shard>, vocab_size: usize, block_size: usize, stride: usize) -> Result<Self, Error> {
        if block_size < 2 {
            return Err(Error::option("block_size", block_size, "a window that scores needs at least two tokens"));
        }
        if !(1..=block_size).contains(&stride) {
            let problem = format!("must be at least 1 and at most block_size, which is {block_size}");
            return Err(Error::option("stride", stride, problem));
        }
        if shard.len() == 1 {
            return Err(Error::SingleToken { path: shard.path().into() });
        }
        Ok(Strided { shard, vocab_size, block_size, stride, begin: 0, next: 1 })
    }
}

impl Strided {
    /// Tokens that are scored in all.
    pub fn scored(&self) -> usize {
        self.shard.len() - 1
    }
}

impl Iterator for Strided {
    type Item = Result<Window, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let tokens = self.shard.len();
        if self.next >= tokens {
            return None;
        }
        let (begin, end) = (self.begin, tokens.min(self.begin + self.block_size));
        // Without overlap, the token after the window has no other place to be predicted.
        let scored = if self.stride == self.block_size { tokens.min(end + 1) } else { end };
        let mut ids = match self.shard.read_checked(begin..scored, self.vocab_size) {
            Ok(ids) => ids,
            Err(error) => {
                self.next = tokens;
                return Some(Err(error));
            }
        };
        let target = |at: usize| ids.get(at + 1).copied().filter(|_| begin + at + 1 >= self.next);
        let targets = (0..end - begin).map(target).collect();
        ids.truncate(end - begin);
        self.begin += self.stride;
        self.next = scored;
        Some(Ok(Window { sample: begin as u64, ids, targets }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(tokens: u32, block_size: usize, stride: usize) -> Vec<Window> {
        let shard = Arc::new(Shard::from_ids("memory", (0..tokens).collect()).unwrap());
        Strided::new(shard, tokens as usize, block_size, stride).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn windows_are_those_of_the_hugging_face_example() {
        // max_length 6, stride 2, 11 tokens: [0, 6) scoring 1..6, [2, 8) scoring 6..8, [4, 10) scoring 8..10,
        // [6, 11) scoring 10.
        let all = windows(11, 6, 2);
        let ranges: Vec<_> = all.iter().map(|w| (w.sample, w.ids[0], w.ids.len())).collect();
        assert_eq!(ranges, [(0, 0, 6), (2, 2, 6), (4, 4, 6), (6, 6, 5)]);
        assert_eq!(all[0].targets, [Some(1), Some(2), Some(3), Some(4), Some(5), None]);
        assert_eq!(all[1].targets, [None, None, None, Some(6), Some(7), None]);
        assert_eq!(all[3].targets, [None, None, None, Some(10), None]);
    }

    #[test]
    fn strides_that_leave_tokens_out_are_refused() {
        let shard = Arc::new(Shard::from_ids("memory", vec![1, 2, 3]).unwrap());
        let refused = |block, stride| Strided::new(shard.clone(), 9, block, stride).unwrap_err().to_string();
        assert_eq!(refused(4, 5), "stride = 5: must be at least 1 and at most block_size, which is 4");
        assert!(refused(4, 0).starts_with("stride = 0"));
        assert!(refused(1, 1).starts_with("block_size = 1"));
        let error = Strided::new(shard, 3, 2, 1).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("token 2 has id 3"));
        let one = Arc::new(Shard::from_ids("memory", vec![1]).unwrap());
        let message = Strided::new(one, 9, 4, 2).unwrap_err().to_string();
        assert!(message.starts_with("memory: a single token leaves nothing to predict"), "{message}");
    }

    proptest! {
        #[test]
        fn every_token_after_the_first_is_scored_once_with_enough_before_it(
            tokens in 2u32..120, block_size in 2usize..30, stride in 1usize..30,
        ) {
            let stride = 1 + stride % block_size;
            let mut scored = Vec::new();
            for window in windows(tokens, block_size, stride) {
                prop_assert!(window.ids.len() <= block_size && window.ids.len() == window.targets.len());
                for (at, target) in window.targets.iter().enumerate() {
                    prop_assert_eq!(window.ids[at], window.sample as u32 + at as u32);
                    if let Some(target) = target {
                        prop_assert_eq!(*target, window.ids[at] + 1);
                        prop_assert!(window.sample == 0 || at + 1 >= block_size - stride);
                        scored.push(*target);
                    }
                }
            }
            prop_assert_eq!(scored, (1..tokens).collect::<Vec<_>>());
        }
    }
}
