//! The update: AdamW, Adam or SGD over the parameter arena, in one fused pass.
//!
//! Weight decay is decoupled in AdamW (Loshchilov & Hutter 2019) and spares biases and norms. Moments lie in arenas
//! parallel to the parameters, so a checkpoint is three contiguous writes.

use std::ops::Range;

use atento_kernels::elementwise;
use atento_kernels::optim::{self, AdamW, Sgd};
use atento_tensor::{Grads, ParamEntry, Params};

use super::recipe::{OptimizerKind, OptimizerSettings};
use crate::models::depth::{Depth, depth};

/// Optimiser state for one parameter arena.
pub struct Optimizer {
    settings: OptimizerSettings,
    groups: Vec<(Range<usize>, Group)>,
    /// First moments (momentum for SGD), value for value of the arena.
    pub first: Vec<f32>,
    /// Second moments; empty for SGD.
    pub second: Vec<f32>,
}

/// What differs between parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Group {
    /// Whether its weights decay.
    decays: bool,
    /// The factor on its learning rate.
    rate: f64,
    /// Updates of the run before the first one that changes it.
    waits: u64,
}

impl Optimizer {
    /// Zero moments for `params`.
    #[must_use]
    pub fn new(settings: &OptimizerSettings, params: &Params) -> Self {
        let n = params.trainable_count();
        let second = if settings.kind == OptimizerKind::Sgd { 0 } else { n };
        Self {
            settings: settings.clone(),
            groups: params.update_groups(|entry| Group { decays: entry.decay, rate: 1.0, waits: 0 }),
            first: vec![0.0; n],
            second: vec![0.0; second],
        }
    }

    /// As [`Optimizer::new`], with weight decay on biases and norms as well, as PyTorch's optimisers do by default.
    #[must_use]
    pub fn decaying_everything(settings: &OptimizerSettings, params: &Params) -> Self {
        let mut optimizer = Self::new(settings, params);
        optimizer.groups.iter_mut().for_each(|(_, group)| group.decays = true);
        optimizer
    }

    /// The same with a learning rate that falls by `decay` from block to block: what stands above the blocks has the whole
    /// rate, the last block `decay` of it, the one before `decay`², and the embeddings `decay` of the first block's (Howard &
    /// Ruder 2018, §3.2; Clark et al. 2020, appendix A). Where `unfreeze_every` is not 0, blocks are trained one after the
    /// other: what stands above them from the start, the last block after so many updates, the one before after twice as many
    /// (gradual unfreezing, Howard & Ruder 2018, §3.3).
    #[must_use]
    pub fn by_depth(mut self, decay: f64, unfreeze_every: usize, params: &Params) -> Self {
        let blocks = params.entries().iter().filter_map(|entry| match depth(&entry.name) {
            Depth::Block(block) => Some(block + 1),
            _ => None,
        });
        let blocks = blocks.max().unwrap_or(0);
        let below = |name: &str| match depth(name) {
            Depth::Above => 0,
            Depth::Block(block) => blocks - block,
            Depth::Below => blocks + 1,
        };
        self.groups = params.update_groups(|entry| {
            let below = below(&entry.name);
            let (rate, waits) = (decay.powi(below as i32), (unfreeze_every as u64).saturating_mul(below as u64));
            Group { decays: entry.decay, rate, waits }
        });
        self
    }

    /// The same with a factor on the learning rate of some parameters.
    #[must_use]
    pub fn with_rate(mut self, rate: f64, params: &Params, which: impl Fn(&ParamEntry) -> bool) -> Self {
        let at = |start: usize| self.groups.iter().find(|(range, _)| range.contains(&start)).map(|(_, group)| *group);
        let (mut start, mut groups) = (0, Vec::new());
        for entry in params.entries().iter().filter(|entry| entry.is_trained()) {
            let end = start + entry.weight.len();
            let mut group = at(start).expect("every parameter that trains is of a group");
            group.rate *= if which(entry) { rate } else { 1.0 };
            groups.push((start..end, group));
            start = end;
        }
        self.groups = groups;
        self
    }

    /// How many values no update up to `step` has changed, for they wait for later ones.
    #[must_use]
    pub fn waiting(&self, step: u64) -> usize {
        self.groups.iter().filter(|(_, group)| group.waits >= step).map(|(range, _)| range.len()).sum()
    }

    /// The Euclidean norm of the gradient of all parameters that update `step` changes, accumulated in f64; not finite when
    /// any value is not.
    #[must_use]
    pub fn gradient_norm(&self, grads: &Grads, step: u64) -> f64 {
        let changed = self.groups.iter().filter(|(_, group)| group.waits < step);
        changed.map(|(range, _)| elementwise::sum_of_squares(&grads.values[range.clone()])).sum::<f64>().sqrt()
    }

    /// Updates the parameters: `step` counts from 1, `scale` multiplies every gradient first (clipping). Gradients are
    /// left as they are.
    pub fn step(&mut self, params: &mut Params, grads: &Grads, lr: f64, step: u64, scale: f32) {
        for (range, group) in self.groups.iter().filter(|(_, group)| group.waits < step) {
            // The moments of what waited begin with it.
            let step = step - group.waits;
            let weight_decay = if group.decays { self.settings.weight_decay as f32 } else { 0.0 };
            let lr = lr * group.rate;
            let values = &mut params.values_mut()[range.clone()];
            let gradient = &grads.values[range.clone()];
            let first = &mut self.first[range.clone()];
            let adam = AdamW {
                lr: lr as f32,
                beta1: self.settings.betas[0] as f32,
                beta2: self.settings.betas[1] as f32,
                eps: self.settings.eps as f32,
                weight_decay,
                step,
            };
            match self.settings.kind {
                OptimizerKind::AdamW => {
                    optim::adamw_step(values, gradient, first, &mut self.second[range.clone()], adam, scale);
                }
                OptimizerKind::Adam => {
                    optim::adam_step(values, gradient, first, &mut self.second[range.clone()], adam, scale);
                }
                OptimizerKind::Sgd => {
                    let sgd = Sgd { lr: lr as f32, momentum: self.settings.momentum as f32, weight_decay, step };
                    optim::sgd_step(values, gradient, first, sgd, scale);
                }
            }
        }
    }
}
