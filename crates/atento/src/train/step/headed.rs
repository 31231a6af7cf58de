//! What a model with a head learns from a batch.

use std::path::Path;

use atento_tensor::ops::{CrossEntropy, Group};
use atento_tensor::{Graph, Params, Tensor};

use super::check::{self, BatchFault};
use super::{LossInfo, TrainBatch, Trainable};
use crate::data::labelled::{Goal, TextBatch};
use crate::models::Headed;
use crate::models::virtual_tokens::prompt_rows;
use crate::pipelines::{self, load_frozen};

impl TrainBatch for TextBatch {
    fn losses(&self) -> Vec<LossInfo> {
        let one = |name, targets| vec![LossInfo { name, targets, weight: 1.0 }];
        match &self.goal {
            Goal::Labels { labels, .. } => one("label", labels.len()),
            Goal::ManyLabels(labels) => one("label", labels.len()),
            Goal::Values(values) => one("value", values.len()),
            Goal::Tags { labels, .. } => one("label", labels.len()),
            Goal::Spans(spans) => one("end of an answer", 2 * spans.len()),
            Goal::Choices { chosen, .. } => one("choice", chosen.len()),
            Goal::Words { words, next, .. } => {
                let next = next.iter().flat_map(|next| one("next sentence", next.len()));
                one("masked word", words.len()).into_iter().chain(next).collect()
            }
        }
    }

    fn rows(&self) -> [usize; 2] {
        [self.ids.len(), 0]
    }

    fn samples(&self) -> Vec<u64> {
        self.samples.iter().map(|sample| sample + 1).collect()
    }
}

impl Trainable for Headed {
    type Batch = TextBatch;

    fn params(&self) -> &Params {
        self.trunk.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.trunk.params_mut()
    }

    fn load_frozen(&mut self, base: &Path) -> Result<(), pipelines::LoadError> {
        let config = self.config.clone();
        load_frozen(&config, self.trunk.params_mut(), base)
    }

    fn check(&self, batch: &TextBatch) -> Result<(), BatchFault> {
        let sizes = self.trunk.sizes();
        check::sequences("text", &batch.ids, &batch.cu_seqlens, sizes.vocab_size, self.trunk.longest())?;
        match batch.type_ids.len() == batch.ids.len() {
            true => Ok(()),
            false => Err(BatchFault::Targets { tokens: batch.ids.len(), targets: batch.type_ids.len() }),
        }
    }

    fn rows(&self, batch: &TextBatch) -> [usize; 2] {
        [batch.ids.len() + prompt_rows(self.params(), &batch.cu_seqlens), 0]
    }

    fn losses(&self, g: &mut Graph<'_>, batch: &TextBatch, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy> {
        let texts = batch.as_texts();
        if let Goal::Words { rows, words, next } = &batch.goal {
            let (read, whole) = self.read(g, texts, rows);
            let words: Vec<Option<u32>> = words.iter().copied().map(Some).collect();
            let mut losses = vec![self.read_token_loss(g, &read, &words, smoothing, scales[0])];
            losses.extend(next.as_ref().map(|next| {
                let next: Vec<Option<u32>> = next.iter().copied().map(Some).collect();
                self.read_text_loss(g, &whole.expect("a head on whole texts"), &next, 0.0, scales[1])
            }));
            return losses;
        }
        let logits = self.logits(g, batch);
        vec![loss_of(g, &logits, batch, smoothing, scales[0])]
    }
}

impl Headed {
    /// The logits that a batch is judged by: a row for each tag, for each token of spans, else for each text. Not of words,
    /// whose logits are computed in parts.
    pub(crate) fn logits(&self, g: &mut Graph<'_>, batch: &TextBatch) -> Tensor {
        let texts = batch.as_texts();
        match &batch.goal {
            Goal::Tags { rows, .. } => {
                let (read, _) = self.read(g, texts, rows);
                self.of_tokens(g, &read)
            }
            Goal::Spans(_) => {
                let states = self.states(g, texts);
                self.of_tokens(g, &states)
            }
            _ => {
                let (_, whole) = self.read(g, texts, &[]);
                self.of_read_texts(g, &whole.expect("a head on whole texts"))
            }
        }
    }
}

/// The loss of the logits of a batch.
pub(crate) fn loss_of(
    g: &mut Graph<'_>,
    logits: &Tensor,
    batch: &TextBatch,
    smoothing: f32,
    scale: f32,
) -> CrossEntropy {
    match &batch.goal {
        Goal::ManyLabels(targets) => g.binary_cross_entropy(logits, targets.clone(), scale),
        Goal::Values(values) => {
            let loss = g.squared_error(logits, values, scale);
            // The sum itself, unscaled, for the log.
            let sum: f64 = logits.values().iter().zip(values).map(|(x, t)| f64::from(x - t).powi(2)).sum();
            CrossEntropy { loss, loss_sum: sum, nll_sum: sum, n_targets: values.len() }
        }
        _ => g.group_cross_entropy(logits, groups(logits, batch), smoothing, scale),
    }
}

/// Which logits of a batch compete, and which of them should win.
fn groups(logits: &Tensor, batch: &TextBatch) -> Vec<Group> {
    let [_, width] = logits.dims();
    let row = |(row, (&target, &weight)): (usize, (&u32, &f32))| Group {
        first: row * width,
        len: width,
        stride: 1,
        target: target as usize,
        weight,
    };
    match &batch.goal {
        Goal::Labels { labels, weights } => labels.iter().zip(weights).enumerate().map(row).collect(),
        Goal::Tags { labels, .. } => labels.iter().zip(std::iter::repeat(&1.0)).enumerate().map(row).collect(),
        Goal::Spans(spans) => {
            let of_text = |(pair, ends): (&[u32], &[u32; 2])| {
                let (start, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
                let end = |column: usize| Group {
                    first: start * width + column,
                    len,
                    stride: width,
                    target: ends[column] as usize,
                    weight: 1.0,
                };
                [end(0), end(1)]
            };
            batch.cu_seqlens.windows(2).zip(spans).flat_map(of_text).collect()
        }
        Goal::Choices { counts, chosen } => {
            let mut first = 0;
            let group = |(&count, &target): (&u32, &u32)| {
                let group = Group { first, len: count as usize, stride: 1, target: target as usize, weight: 1.0 };
                first += count as usize;
                group
            };
            counts.iter().zip(chosen).map(group).collect()
        }
        Goal::ManyLabels(_) | Goal::Values(_) | Goal::Words { .. } => Vec::new(),
    }
}
