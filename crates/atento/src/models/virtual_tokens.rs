//! Trained tokens before every text: rows in the place of embeddings (Lester et al. 2021, prompt tuning), or the keys and
//! values of each attention (Li & Liang 2021, prefix tuning). They lie in the table of parameters
//! ([`VirtualTokens`](atento_tensor::VirtualTokens)).
//!
//! A prompt takes the first positions, so that the tokens of a text go on behind it. Keys and values do so in decoders; in
//! encoders they have no positions.

use std::sync::Arc;

use atento_tensor::ops::{AttentionInput, AttentionSpec, Segment};
use atento_tensor::{Graph, Params, Tensor, Weight};

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

/// The rows of all prompts before so many texts.
pub(crate) fn prompt_rows(params: &Params, cu_seqlens: &[u32]) -> usize {
    params.prompt().map_or(0, |prompt| prompt.rows * (cu_seqlens.len() - 1))
}

/// Texts with the prompt of a model before each.
pub(crate) struct Prompted {
    ids: Vec<u32>,
    type_ids: Option<Vec<u32>>,
    cu_seqlens: Vec<u32>,
    /// Where the tokens of the texts are.
    pub rows: Arc<[u32]>,
}

impl Prompted {
    /// `None` where the parameters hold no prompt. Its rows are of the first type of tokens.
    pub fn of(texts: Texts<'_>, params: &Params, vocab_rows: usize) -> Option<Self> {
        let prompt = params.prompt()?;
        let (mut all, mut cu_seqlens, mut rows) = (Vec::new(), vec![0], Vec::with_capacity(texts.ids.len()));
        let mut types = texts.type_ids.map(|_| Vec::new());
        for pair in texts.cu_seqlens.windows(2) {
            let own = pair[0] as usize..pair[1] as usize;
            all.extend(ids(prompt, vocab_rows));
            rows.extend(all.len() as u32..(all.len() + own.len()) as u32);
            all.extend(&texts.ids[own.clone()]);
            if let (Some(types), Some(of_texts)) = (&mut types, texts.type_ids) {
                types.resize(types.len() + prompt.rows, 0);
                types.extend(&of_texts[own]);
            }
            cu_seqlens.push(all.len() as u32);
        }
        debug_assert_eq!(all.len(), texts.ids.len() + prompt.rows * texts.len());
        Some(Self { ids: all, type_ids: types, cu_seqlens, rows: rows.into() })
    }

    /// Both, as texts of their own.
    pub fn texts(&self) -> Texts<'_> {
        Texts { ids: &self.ids, type_ids: self.type_ids.as_deref(), cu_seqlens: &self.cu_seqlens }
    }

    /// Where these tokens of the texts are.
    pub fn places(&self, rows: &[u32]) -> Arc<[u32]> {
        rows.iter().map(|&row| self.rows[row as usize]).collect()
    }
}
