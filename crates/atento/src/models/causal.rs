//! Models that go on with a text, behind one face: training, decoding and scoring know no other.
//!
//! A model is its blocks ([`CausalLm::states`]); where the keys and values of its attention come from, whole sequences in
//! training or a cache in decoding, is [`Attend`]'s affair. So every model decodes with the attention that it is trained with.

use std::sync::Arc;

use atento_tensor::ops::{AttentionSpec, CrossEntropy, Segment};
use atento_tensor::{Graph, Tensor};

use super::kv_cache::{KvCache, first_columns};
use super::trunk::{Texts, Trunk};
use super::virtual_tokens;
use crate::layers::Linear;
use crate::layers::attention::self_segments;

/// A decoder-only language model with its parameters.
pub trait CausalLm: Trunk {
    /// Numbers of the keys and values of a token in each block.
    fn kv_width(&self) -> usize;

    /// Says which token ends a text.
    fn set_eos_id(&mut self, id: Option<u32>);

    /// The output projection onto the vocabulary.
    fn output(&self) -> Linear;

    /// The states that the output projection reads, of tokens at these positions. `each` sees the residual stream before
    /// every block and after the last.
    ///
    /// # Shapes
    /// `ids`, `position_ids`: `[tokens]`; result: [tokens, d_model].
    ///
    /// # Panics
    /// If a position is not below the model's positions or an id is not below its vocabulary.
    #[must_use]
    fn states(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        position_ids: &[u32],
        attend: Attend<'_>,
        each: &mut dyn FnMut(&Tensor),
    ) -> Tensor;

    /// Rows of the embedding table.
    fn vocab_size(&self) -> usize {
        self.sizes().vocab_size
    }

    /// Width of the states.
    fn d_model(&self) -> usize {
        self.sizes().d_model
    }

    /// The longest sequence, in tokens; virtual ones before it take positions too.
    fn max_positions(&self) -> usize {
        self.longest().unwrap_or(usize::MAX)
    }

    /// The states that the output projection reads, of packed sequences.
    ///
    /// # Shapes
    /// `ids`: `[tokens]`; `cu_seqlens`: [sequences + 1]; result: [tokens, d_model].
    ///
    /// # Panics
    /// If a sequence is longer than the model's positions or an id is not below its vocabulary.
    #[must_use]
    fn hidden(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        self.encode(g, Texts::of(ids, cu_seqlens), &mut |_| ())
    }

    /// All states, as Hugging Face's `output_hidden_states` gives them: the embeddings, then the residual stream after
    /// each block, the last one normalised.
    ///
    /// # Shapes
    /// As [`CausalLm::hidden`]; `layers + 1` results.
    #[must_use]
    fn hidden_states(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Vec<Tensor> {
        self.all_states(g, Texts::of(ids, cu_seqlens))
    }

    /// The logits of every position.
    ///
    /// # Shapes
    /// As [`CausalLm::hidden`]; result: [tokens, vocab_size].
    #[must_use]
    fn logits(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let hidden = self.hidden(g, ids, cu_seqlens);
        self.project(g, &hidden)
    }

    /// The training loss: cross-entropy at every position that has a target; see [`Graph::cross_entropy`].
    ///
    /// # Shapes
    /// As [`CausalLm::hidden`]; `targets`: `[tokens]`, each position's next token.
    fn loss(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        cu_seqlens: &[u32],
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let hidden = self.hidden(g, ids, cu_seqlens);
        g.label(|| "output projection".into());
        self.output().cross_entropy(g, &hidden, targets, smoothing, scale)
    }

    /// Projects states onto the vocabulary.
    ///
    /// # Shapes
    /// `hidden`: [rows, d_model]; result: [rows, vocab_size].
    #[must_use]
    fn project(&self, g: &mut Graph<'_>, hidden: &Tensor) -> Tensor {
        self.output().forward(g, hidden)
    }
}

/// Where the attention of a forward pass finds keys and values.
pub struct Attend<'a>(Over<'a>);

enum Over<'a> {
    /// Each sequence attends to itself.
    Sequences(Arc<[Segment]>),
    /// New tokens, so many of each row, attend to their row of a cache too.
    Cache { cache: &'a mut KvCache, counts: &'a [usize], segments: Vec<Segment> },
}

impl<'a> Attend<'a> {
    /// Each of the packed sequences attends to itself.
    #[must_use]
    pub fn sequences(cu_seqlens: &[u32]) -> Self {
        Self(Over::Sequences(self_segments(cu_seqlens)))
    }

    /// Segments that attend to themselves.
    #[must_use]
    pub fn segments(segments: &Arc<[Segment]>) -> Self {
        Self(Over::Sequences(Arc::clone(segments)))
    }

    /// New tokens, `counts` of each row, attend to the tokens of their row in a cache, to which they are appended.
    pub(super) fn cache(cache: &'a mut KvCache, counts: &'a [usize]) -> Self {
        let segments = cache.segments(counts);
        Self(Over::Cache { cache, counts, segments })
    }

    /// The segments, where whole sequences attend to themselves.
    #[must_use]
    pub fn whole(&self) -> Option<&Arc<[Segment]>> {
        match &self.0 {
            Over::Sequences(segments) => Some(segments),
            Over::Cache { .. } => None,
        }
    }

    /// Attention in one block.
    ///
    /// # Shapes
    /// `qkv`: [tokens, (heads + 2·kv_heads)·head_dim], queries, then keys, then values; result: [tokens, heads·head_dim].
    #[must_use]
    pub fn forward(&mut self, g: &mut Graph<'_>, layer: usize, spec: AttentionSpec, qkv: &Tensor) -> Tensor {
        match &mut self.0 {
            Over::Sequences(segments) => virtual_tokens::attend(g, layer, spec, qkv, segments),
            Over::Cache { cache, counts, segments } => {
                cache.append(layer, qkv, counts);
                let query = first_columns(g, qkv, spec.n_heads * spec.head_dim);
                g.attention_over(spec, &query, cache.layer(layer), segments)
            }
        }
    }
}

/// [`Trunk::through`] of a decoder, which knows one type of tokens. A prompt stands among the tokens, keys and values before them.
pub(super) fn through(
    model: &dyn CausalLm,
    g: &mut Graph<'_>,
    texts: Texts<'_>,
    each: &mut dyn FnMut(&Tensor),
    rows: Option<&Arc<[u32]>>,
) -> Tensor {
    let params = model.params();
    let first = if params.prompt().is_some() { 0 } else { params.virtual_count() as u32 };
    let (places, attend) = (position_ids(texts.cu_seqlens, first), Attend::sequences(texts.cu_seqlens));
    let states = model.states(g, texts.ids, &places, attend, each);
    rows.map_or_else(|| states.clone(), |rows| g.gather_rows(&states, rows))
}

/// Positions of packed sequences: each begins at `first`.
fn position_ids(cu_seqlens: &[u32], first: u32) -> Vec<u32> {
    cu_seqlens.windows(2).flat_map(|pair| first..first + pair[1] - pair[0]).collect()
}
