//! Packed sequences with a target at each position.

use std::path::PathBuf;

use super::Error;

/// A stretch of tokens, and what is to be predicted at each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Where it comes from: the position of its first token in its shard, or the number of an example.
    pub sample: u64,
    /// What the model reads.
    pub ids: Vec<u32>,
    /// The token that follows each; `None` where nothing is predicted.
    pub targets: Vec<Option<u32>>,
}

/// A batch of `n` sequences without padding, for a causal model.
///
/// # Shapes
/// - `ids`, `targets`: `[tokens]`
/// - `cu_seqlens`: `[n + 1]`
/// - `samples`: `[n]`
///
/// Sequence `i` is `ids[cu_seqlens[i]..cu_seqlens[i + 1]]`; positions count from 0 in each, and none sees
/// another. `targets[t]` is what the model should answer at `t`: the token that follows `ids[t]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalBatch {
    /// All tokens.
    pub ids: Vec<u32>,
    /// Where each sequence begins, and the total.
    pub cu_seqlens: Vec<u32>,
    /// The next token; `None` where it does not count.
    pub targets: Vec<Option<u32>>,
    /// Where each sequence comes from: the position of its first token in its shard, or the number of an example.
    pub samples: Vec<u64>,
}

impl CausalBatch {
    /// Packs whole sequences of tokens: each token but the first of a sequence is to be predicted.
    ///
    /// # Errors
    /// [`Error::Empty`] where there is no sequence, or none of its tokens; [`Error::SingleToken`].
    pub fn of_sequences(sequences: impl IntoIterator<Item = Vec<u32>>) -> Result<Self, Error> {
        let window = |(sample, ids): (u64, Vec<u32>)| {
            let path = PathBuf::from(format!("sequence {sample}"));
            match ids.len() {
                0 => return Err(Error::Empty { path }),
                1 => return Err(Error::SingleToken { path }),
                _ => {}
            }
            let targets = ids[1..].iter().copied().map(Some).collect();
            Ok(Window { sample, ids: ids[..ids.len() - 1].to_vec(), targets })
        };
        let windows: Vec<Window> = (0..).zip(sequences).map(window).collect::<Result<_, _>>()?;
        if windows.is_empty() {
            return Err(Error::Empty { path: "the batch".into() });
        }
        Ok(Self::pack(windows))
    }

    /// Packs windows, each as one sequence.
    ///
    /// # Panics
    /// If there are no windows, one is empty or has not one target for each token.
    pub fn pack(windows: impl IntoIterator<Item = Window>) -> Self {
        let mut batch = CausalBatch { ids: vec![], cu_seqlens: vec![0], targets: vec![], samples: vec![] };
        for Window { sample, ids, targets } in windows {
            let (tokens, answers) = (ids.len(), targets.len());
            assert!(tokens > 0, "CausalBatch::pack: window {sample} has no tokens");
            assert!(tokens == answers, "CausalBatch::pack: window {sample} has {tokens} tokens and {answers} targets");
            batch.ids.extend(ids);
            batch.targets.extend(targets);
            batch.cu_seqlens.push(batch.ids.len() as u32);
            batch.samples.push(sample);
        }
        assert!(!batch.samples.is_empty(), "CausalBatch::pack: no windows, a batch must have at least one");
        batch
    }

    /// The same tokens with a sequence of its own for each document, so that documents do not see one another: the
    /// end token is the last of its sequence, and what follows it is not predicted from it.
    pub fn cut_after(self, end_token: u32) -> Self {
        let CausalBatch { ids, cu_seqlens, mut targets, samples } = self;
        let (mut cuts, mut origins) = (vec![0], Vec::new());
        for (bounds, &sample) in cu_seqlens.windows(2).zip(&samples) {
            let mut start = bounds[0];
            for at in bounds[0]..bounds[1] {
                let document_ends = ids[at as usize] == end_token;
                if document_ends {
                    targets[at as usize] = None;
                }
                if document_ends || at + 1 == bounds[1] {
                    cuts.push(at + 1);
                    origins.push(sample + u64::from(start - bounds[0]));
                    start = at + 1;
                }
            }
        }
        CausalBatch { ids, cu_seqlens: cuts, targets, samples: origins }
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.samples.len()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of positions with a target: the number of predictions.
    pub fn predictions(&self) -> usize {
        self.targets.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(sample: u64, tokens: &[u32]) -> Window {
        let (ids, next) = (&tokens[..tokens.len() - 1], &tokens[1..]);
        Window { sample, ids: ids.to_vec(), targets: next.iter().copied().map(Some).collect() }
    }

    #[test]
    fn each_document_gets_a_sequence_of_its_own() {
        let batch = CausalBatch::pack([window(10, &[4, 5, 1, 6, 7]), window(40, &[1, 1, 8, 1, 9])]);
        assert_eq!((batch.sequences(), batch.tokens(), batch.predictions()), (2, 8, 8));
        let cut = batch.clone().cut_after(1);
        assert_eq!(cut.ids, batch.ids);
        assert_eq!(cut.cu_seqlens, [0, 3, 4, 5, 6, 8]);
        assert_eq!(cut.samples, [10, 13, 40, 41, 42]);
        assert_eq!(cut.targets, [Some(5), Some(1), None, Some(7), None, None, Some(1), None]);
        assert_eq!(batch.clone().cut_after(99), batch);
    }

    #[test]
    fn sequences_are_predicted_from_their_second_token_on() {
        let batch = CausalBatch::of_sequences([vec![4, 5, 6], vec![7, 8]]).unwrap();
        assert_eq!((&batch.ids[..], &batch.cu_seqlens[..]), (&[4, 5, 7][..], &[0, 2, 3][..]));
        assert_eq!(batch.targets, [Some(5), Some(6), Some(8)]);
        let message = |sequences: Vec<Vec<u32>>| CausalBatch::of_sequences(sequences).unwrap_err().to_string();
        assert!(message(vec![]).starts_with("the batch: there are no tokens"));
        assert!(message(vec![vec![1, 2], vec![]]).starts_with("sequence 1: there are no tokens"));
        assert!(message(vec![vec![1]]).starts_with("sequence 0: a single token"));
    }

    #[test]
    #[should_panic(expected = "window 7 has no tokens")]
    fn an_empty_window_is_never_packed() {
        CausalBatch::pack([Window { sample: 7, ..Window::default() }]);
    }

    proptest! {
        #[test]
        fn no_sequence_has_a_token_after_an_end_token(
            windows in proptest::collection::vec(proptest::collection::vec(0u32..4, 2..20), 1..6), end in 0u32..5,
        ) {
            let packed = CausalBatch::pack(windows.iter().map(|tokens| window(0, tokens)));
            let cut = packed.clone().cut_after(end);
            for bounds in cut.cu_seqlens.windows(2) {
                let ids = &cut.ids[bounds[0] as usize..bounds[1] as usize];
                prop_assert!(!ids.is_empty() && !ids[..ids.len() - 1].contains(&end));
            }
            prop_assert!(packed.cu_seqlens.iter().all(|bound| cut.cu_seqlens.contains(bound)));
            for (at, id) in cut.ids.iter().enumerate() {
                prop_assert_eq!(cut.targets[at], packed.targets[at].filter(|_| *id != end));
            }
        }
    }
}
