//! What a tokenizer puts around a text: the tokens that its post-processor adds before it and after it.

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

use super::Error;
use super::guard::guarded;

/// An id that no vocabulary has: it stands for the text.
const TEXT: u32 = u32::MAX;

/// Tokens added before and after every text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Affixes {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Affixes {
    /// Those of a post-processor, found by giving it a text of one token.
    pub(super) fn of(processor: Option<&PostProcessorWrapper>) -> Result<Self, Error> {
        let Some(processor) = processor else { return Ok(Self::default()) };
        let text = Encoding::new(
            vec![TEXT],
            vec![0],
            vec!["x".into()],
            vec![Some(0)],
            vec![(0, 1)],
            vec![0],
            vec![1],
            Vec::new(),
            Default::default(),
        );
        let whole = guarded("add its special tokens", || processor.process(text, None, true))?;
        let ids = whole.get_ids();
        // A template without a place for the text adds nothing to one.
        let Some(at) = ids.iter().position(|&id| id == TEXT) else { return Ok(Self::default()) };
        Ok(Self { prefix: ids[..at].to_vec(), suffix: ids[at + 1..].to_vec() })
    }
}
