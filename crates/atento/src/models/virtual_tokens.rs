//! Trained tokens before every text: rows in the place of embeddings (Lester et al. 2021, prompt tuning), or the keys and
//! values of each attention (Li & Liang 2021, prefix tuning). They lie in the table of parameters
//! ([`VirtualTokens`](atento_tensor::VirtualTokens)).
//!
//! In decoders they take the first positions, so that the tokens of a text go on behind them. Before the texts of encoders
//! stand keys and values alone, which have no positions.

use std::sync::Arc;

use atento_tensor::ops::{AttentionInput, AttentionSpec, Segment};
use atento_tensor::{Graph, Tensor, Weight};

use super::trunk::Texts;

/// Attention of sequences to themselves and to the virtual tokens of a block, where it has any.
///
/// # Shapes
/// `qkv`: [tokens, (heads + 2·kv_heads)·head_dim], queries, then keys, then values; result: [tokens, heads·head_dim].
pub(super) fn attend(
    g: &mut Graph<'_>,
    block: usize,
    spec: AttentionSpec,
    qkv: &Tensor,
    segments: &Arc<[Segment]>,
) -> Tensor {
    let Some(prefix) = g.params().prefix(block) else {
        return g.attention(spec, AttentionInput::Packed(qkv), None, segments);
    };
    let ([_, columns], width, count) = (qkv.dims(), spec.n_heads * spec.head_dim, prefix.rows);
    let query = g.columns(qkv, 0..width);
    let own = g.columns(qkv, width..columns);
    let places: Vec<u32> = (0..count as u32).collect();
    let first = g.embedding(prefix, &places, 1.0, None);
    let joined = g.concat_rows(&first, &own);
    let (mut rows, mut placed) = (Vec::new(), Vec::with_capacity(segments.len()));
    for segment in segments.iter() {
        let key_start = rows.len();
        rows.extend(&places);
        rows.extend((segment.key_start..segment.key_start + segment.key_len).map(|row| (count + row) as u32));
        placed.push(Segment { key_start, key_len: count + segment.key_len, ..*segment });
    }
    let key_value = g.gather_rows(&joined, &rows);
    g.attention(spec, AttentionInput::QueryAndPacked(&query, &key_value), None, &placed.into())
}

/// The numbers that stand for the rows of a prompt among the ids of a vocabulary of so many rows.
pub(super) fn ids(prompt: Weight, vocab_rows: usize) -> impl Iterator<Item = u32> {
    (vocab_rows..vocab_rows + prompt.rows).map(|id| id as u32)
}

/// Rows of a table of tokens, and of the prompt for ids behind its last.
///
/// # Shapes
/// `looked_up` gives [its ids, d_model]; result: [ids, d_model].
pub(crate) fn embed(
    g: &mut Graph<'_>,
    ids: &[u32],
    vocab_rows: usize,
    looked_up: impl FnOnce(&mut Graph<'_>, &[u32]) -> Tensor,
) -> Tensor {
    let is_virtual = |id: u32| id as usize >= vocab_rows;
    let Some(prompt) = g.params().prompt().filter(|_| ids.iter().any(|&id| is_virtual(id))) else {
        return looked_up(g, ids);
    };
    let places: Vec<u32> = (0..prompt.rows as u32).collect();
    let first = g.embedding(prompt, &places, 1.0, None);
    let real: Vec<u32> = ids.iter().copied().filter(|&id| !is_virtual(id)).collect();
    let looked_up = looked_up(g, &real);
    let joined = g.concat_rows(&first, &looked_up);
    let mut next = prompt.rows as u32;
    let row = |&id: &u32| match is_virtual(id) {
        true => id - vocab_rows as u32,
        false => {
            next += 1;
            next - 1
        }
    };
    let rows: Vec<u32> = ids.iter().map(row).collect();
    g.gather_rows(&joined, &rows)
}

/// Texts with a prompt before each.
pub(super) struct Prompted {
    pub ids: Vec<u32>,
    pub cu_seqlens: Vec<u32>,
    /// Where the tokens of the texts are.
    pub rows: Vec<u32>,
}

impl Prompted {
    pub fn of(texts: Texts<'_>, prompt: Weight, vocab_rows: usize) -> Self {
        let count = prompt.rows as u32;
        let (mut all, mut cu_seqlens, mut rows) = (Vec::new(), vec![0], Vec::with_capacity(texts.ids.len()));
        for pair in texts.cu_seqlens.windows(2) {
            all.extend(ids(prompt, vocab_rows));
            rows.extend(all.len() as u32..all.len() as u32 + pair[1] - pair[0]);
            all.extend(&texts.ids[pair[0] as usize..pair[1] as usize]);
            cu_seqlens.push(all.len() as u32);
        }
        debug_assert_eq!(all.len(), texts.ids.len() + count as usize * texts.len());
        Self { ids: all, cu_seqlens, rows }
    }
}
