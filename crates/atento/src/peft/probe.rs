//! What a model computes for texts that only its vocabulary decides, to see that a change of its weights changed nothing.

use atento_tensor::{Graph, Params, Pool};

use crate::data::batches::{PackedBatch, Pair};
use crate::families::{Config, Head};
use crate::models::Texts;
use crate::pipelines::{LanguageModel, Pretrained, TextModel};

/// Tokens of each text.
const LENGTHS: [usize; 3] = [7, 32, 57];

/// Ids from all over a vocabulary, and where texts begin and end. Tokens before them take positions.
fn texts(config: &dyn Config, params: &Params) -> (Vec<u32>, Vec<u32>) {
    let sizes = config.sizes();
    let longest = sizes.max_positions.map_or(usize::MAX, |positions| positions.saturating_sub(params.virtual_count()));
    let lengths = LENGTHS.map(|length| length.min(longest));
    let count: usize = lengths.iter().sum();
    // A step that is prime to most sizes visits the whole vocabulary.
    let ids = (0..count).map(|at| (at * 7919 % sizes.vocab_size) as u32).collect();
    let ends = lengths.iter().scan(0, |end, length| {
        *end += *length as u32;
        Some(*end)
    });
    (ids, std::iter::once(0).chain(ends).collect())
}

/// A model whose outputs can be compared before and after a change.
pub trait Probed {
    /// Its logits, or its states where it has no output, for texts that only its vocabulary decides.
    fn outputs(&self) -> Vec<f32>;
}

impl Probed for LanguageModel {
    fn outputs(&self) -> Vec<f32> {
        let (ids, cu_seqlens) = texts(&*self.model.config(), self.model.params());
        let g = &mut Graph::infer(self.model.params(), &Pool::new());
        self.model.logits(g, &ids, &cu_seqlens).values().to_vec()
    }
}

impl Probed for Pretrained {
    fn outputs(&self) -> Vec<f32> {
        let (ids, cu_seqlens) = texts(&*self.model.config(), self.model.params());
        let pair = |ends: &[u32]| {
            let source = ids[ends[0] as usize..ends[1] as usize].to_vec();
            let target = source.iter().rev().copied().collect();
            Pair { id: u64::from(ends[0]), source, target }
        };
        let pairs: Vec<Pair> = cu_seqlens.windows(2).map(pair).collect();
        let batch = PackedBatch::new(pairs.iter(), self.model.start_id());
        let g = &mut Graph::infer(self.model.params(), &Pool::new());
        self.model.logits(g, &batch).values().to_vec()
    }
}

impl Probed for TextModel {
    fn outputs(&self) -> Vec<f32> {
        let model = &self.model;
        let (ids, cu_seqlens) = texts(&model.config, model.params());
        let g = &mut Graph::infer(model.params(), &Pool::new());
        let texts = Texts { ids: &ids, type_ids: None, cu_seqlens: &cu_seqlens };
        match model.config.head {
            Head::Labels | Head::Choice => {
                let (_, whole) = model.read(g, texts, &[]);
                model.of_read_texts(g, &whole.expect("a head on whole texts")).values().to_vec()
            }
            Head::States => model.states(g, texts).values().to_vec(),
            _ => {
                let states = model.states(g, texts);
                model.of_tokens(g, &states).values().to_vec()
            }
        }
    }
}
