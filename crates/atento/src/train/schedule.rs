//! The learning rate of each update.
//!
//! `step` counts updates from 1. With warm-up W > 0 and the peak P, every shape but Noam's rises as P · step / W while
//! step < W: the first update already moves the weights. After that:
//!
//! - **Noam** (Vaswani et al. 2017, §5.3, eq. 3): scale · d_model^−0.5 · min(step^−0.5, step · W^−1.5).
//! - **Inverse square root** (fairseq's `inverse_sqrt`): P · √(W / step); with W = 0, P / √step.
//! - **Linear**: P · (floor + (1 − floor) · (1 − p)), where p = (step − 1 − W) / (T − W).
//! - **Cosine** (Loshchilov and Hutter 2017, eq. 5, one period): P · (floor + (1 − floor) · ½ (1 + cos πp)).
//! - **Constant**: P.
//! - **Warmup–stable–decay** (Hu et al. 2024, §4; the "1−sqrt" decay of Hägele et al. 2024): P until T − D,
//!   then P · (floor + (1 − floor) · (1 − √p)) with p = (step − 1 − (T − D)) / D.
//! - **Plateau** (PyTorch's `ReduceLROnPlateau` with its relative threshold of 1e-4): P · factor^k after k
//!   reductions; one reduction follows each `patience + 1` evaluations in a row without a new best.
//!
//! `floor` is the lowest learning rate as a share of P. T is the last update. A fall counts the updates that were made
//! before: the first update after the warm-up has p = 0 and the whole peak, the last has p < 1, and the lowest is reached
//! one update *after* the last. So no update of a run has rate 0, and a run of a single update trains. This is how
//! `transformers` counts (it asks for the rate before each update, from 0 on), but for the warm-up, whose first rate is 0
//! there. Updates beyond a `decay_steps` that ends before the run have the lowest rate.
//!
//! A run limited by time or by passes over the data does not know T beforehand: [`Schedule::lr_at`] takes the share of
//! the limit that was used before the update and puts T = (step − 1) / share, but no less than `step`; this becomes exact
//! as the end comes near.

use serde::{Deserialize, Serialize};

use super::exact;
use super::recipe::{Recipe, ScheduleKind};

/// How the learning rate moves; the formulas stand in the module's text.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// The original Transformer's.
    Noam {
        /// A factor on the whole.
        scale: f64,
        /// The model's width.
        d_model: usize,
        /// Updates until the highest; see [`Warmup::steps`].
        warmup_steps: Option<usize>,
    },
    /// Falls as 1/√step.
    InverseSqrt {
        /// Rise to the peak.
        warmup: Warmup,
    },
    /// A straight line down.
    Linear {
        /// Rise to the peak.
        warmup: Warmup,
        /// Fall to the lowest.
        decay: Decay,
    },
    /// Half a cosine down.
    Cosine {
        /// Rise to the peak.
        warmup: Warmup,
        /// Fall to the lowest.
        decay: Decay,
    },
    /// Level.
    Constant {
        /// Rise to the peak.
        warmup: Warmup,
    },
    /// Level, then a final decay.
    WarmupStableDecay {
        /// Rise to the peak.
        warmup: Warmup,
        /// Fall to the lowest.
        decay: Decay,
        /// Updates that the fall takes; `None` is a fifth of the training.
        decay_steps: Option<usize>,
    },
    /// Lowered when validation stops improving.
    Plateau {
        /// Rise to the peak.
        warmup: Warmup,
        /// The lowest, as a share of the peak.
        floor: f64,
        /// What each reduction multiplies by.
        factor: f64,
        /// Evaluations without a new best that are waited for.
        patience: usize,
        /// What the evaluations so far have done.
        state: PlateauState,
    },
}

/// The rise at the beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// The highest learning rate.
    pub peak: f64,
    /// Updates until it is reached; `None` where the end of the run is known by its share alone: then those of the first
    /// [tenth](WARMUP_SHARE) of it, and [`LONGEST_WARMUP`] at most.
    pub steps: Option<usize>,
}

/// The share of a run that is warm-up where nothing else is said.
pub const WARMUP_SHARE: f64 = 0.1;
/// The most updates of such a warm-up.
pub const LONGEST_WARMUP: usize = 4000;

/// The same with Noam's schedule, whose highest rate falls with a longer warm-up: of the paper's 10,000 updates on small data these
/// are its 4,000.
pub const NOAM_SHARE: f64 = 0.4;

/// The updates of warm-up of a run of `updates` where nothing is said.
#[must_use]
pub fn usual_warmup(updates: f64, kind: ScheduleKind) -> usize {
    ((updates * warmup_share(kind)) as usize).min(LONGEST_WARMUP)
}

/// The share of a run that is warm-up where nothing is said.
#[must_use]
pub fn warmup_share(kind: ScheduleKind) -> f64 {
    if kind == ScheduleKind::Noam { NOAM_SHARE } else { WARMUP_SHARE }
}

/// The fall at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// The lowest learning rate, as a share of the peak.
    pub floor: f64,
    /// The last update of the fall, where known beforehand: the lowest is reached right after it.
    pub end: Option<usize>,
}

/// What a plateau schedule remembers, and a checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PlateauState {
    /// The lowest loss so far.
    #[serde(with = "exact::option")]
    pub best: Option<f64>,
    /// Evaluations since the best or the last reduction.
    pub waited: usize,
    /// Reductions so far.
    pub reductions: u32,
}

/// The share by which a loss must fall to count as better; PyTorch's default.
const THRESHOLD: f64 = 1e-4;

impl Schedule {
    /// The schedule of a recipe, before any update.
    pub fn new(recipe: &Recipe) -> Self {
        let settings = &recipe.schedule;
        let decay_steps = Some(settings.decay_steps).filter(|&steps| steps > 0);
        // With other limits too, any of them may end the run: `lr_at` knows which is nearest.
        let train = &recipe.train;
        let last = train.max_steps.filter(|_| train.max_epochs.is_none() && train.max_minutes.is_none());
        let steps = settings.warmup_steps.or_else(|| last.map(|last| usual_warmup(last as f64, settings.kind)));
        let warmup = Warmup { peak: recipe.optimizer.lr, steps };
        let decay = Decay { floor: settings.min_lr, end: decay_steps.or(last) };
        match settings.kind {
            ScheduleKind::Noam => Self::Noam {
                scale: settings.scale,
                d_model: recipe.model.arch.family().width(&recipe.model),
                warmup_steps: steps,
            },
            ScheduleKind::InverseSqrt => Self::InverseSqrt { warmup },
            ScheduleKind::Linear => Self::Linear { warmup, decay },
            ScheduleKind::Cosine => Self::Cosine { warmup, decay },
            ScheduleKind::Constant => Self::Constant { warmup },
            ScheduleKind::Wsd => Self::WarmupStableDecay { warmup, decay: Decay { end: last, ..decay }, decay_steps },
            ScheduleKind::Plateau => Self::Plateau {
                warmup,
                floor: settings.min_lr,
                factor: settings.factor,
                patience: settings.patience,
                state: PlateauState::default(),
            },
        }
    }

    /// The learning rate of update `step`, counted from 1. A fall without a known end has not begun.
    ///
    /// # Panics
    /// `step` is 0.
    pub fn lr(&self, step: usize) -> f64 {
        self.evaluate(step, None)
    }

    /// The learning rate of update `step` when `share` of the run's limit, from 0 to 1, was used before it. An end that
    /// is known in updates wins over the one this predicts.
    ///
    /// # Panics
    /// `step` is 0.
    pub fn lr_at(&self, step: usize, share: f64) -> f64 {
        let made = step.saturating_sub(1) as f64;
        // This update is made even where the limit was reached a moment ago.
        self.evaluate(step, (share > 0.0).then(|| (made / share).max(step as f64)))
    }

    fn evaluate(&self, step: usize, predicted_end: Option<f64>) -> f64 {
        assert!(step > 0, "schedule: steps count from 1, got 0");
        let end_of = |decay: &Decay| decay.end.map(|end| end as f64).or(predicted_end);
        match self {
            Self::Noam { scale, d_model, warmup_steps } => {
                let rise = warmup_updates(*warmup_steps, predicted_end, NOAM_SHARE);
                noam(step as f64, *scale, *d_model as f64, rise as f64)
            }
            Self::InverseSqrt { warmup } => {
                warmup.then(step, predicted_end, |rise| (rise.max(1) as f64 / step as f64).sqrt())
            }
            Self::Linear { warmup, decay } => warmup
                .then(step, predicted_end, |rise| decay.between(step, Some(rise as f64), end_of(decay), |p| 1.0 - p)),
            Self::Cosine { warmup, decay } => warmup.then(step, predicted_end, |rise| {
                decay
                    .between(step, Some(rise as f64), end_of(decay), |p| 0.5 * (1.0 + (std::f64::consts::PI * p).cos()))
            }),
            Self::Constant { warmup } => warmup.then(step, predicted_end, |_| 1.0),
            Self::WarmupStableDecay { warmup, decay, decay_steps } => {
                let start = |end: f64| end - decay_steps.map_or(end / 5.0, |steps| steps as f64);
                let end = end_of(decay);
                warmup.then(step, predicted_end, |_| decay.between(step, end.map(start), end, |p| 1.0 - p.sqrt()))
            }
            Self::Plateau { warmup, floor, factor, state, .. } => {
                warmup.then(step, predicted_end, |_| factor.powi(state.reductions as i32).max(*floor))
            }
        }
    }

    /// Tells the schedule the validation loss of an evaluation; only a plateau schedule listens. Returns
    /// whether it lowers the learning rate. A loss that is not a number is never a best.
    pub fn observe(&mut self, loss: f64) -> bool {
        let Self::Plateau { patience, state, .. } = self else {
            return false;
        };
        if !loss.is_nan() && state.best.is_none_or(|best| loss < best - best.abs() * THRESHOLD) {
            *state = PlateauState { best: Some(loss), waited: 0, ..*state };
            return false;
        }
        state.waited += 1;
        let reduces = state.waited > *patience;
        if reduces {
            state.waited = 0;
            state.reductions += 1;
        }
        reduces
    }

    /// What must be kept in a checkpoint; everything else follows from the recipe.
    pub fn state(&self) -> PlateauState {
        match self {
            Self::Plateau { state, .. } => *state,
            _ => PlateauState::default(),
        }
    }

    /// Goes on from the state of a checkpoint.
    pub fn restore(&mut self, saved: PlateauState) {
        if let Self::Plateau { state, .. } = self {
            *state = saved;
        }
    }
}

fn noam(step: f64, scale: f64, d_model: f64, warmup: f64) -> f64 {
    let rise = if warmup > 0.0 { step * warmup.powf(-1.5) } else { f64::INFINITY };
    scale * d_model.powf(-0.5) * step.powf(-0.5).min(rise)
}

/// The updates of a warm-up. Where neither they nor the end are known yet, they are as many as there can be: the rate is low
/// until the first update has shown how far it leads.
fn warmup_updates(stated: Option<usize>, predicted_end: Option<f64>, share: f64) -> usize {
    let of_run = |end: f64| ((end * share) as usize).min(LONGEST_WARMUP);
    stated.unwrap_or_else(|| predicted_end.map_or(LONGEST_WARMUP, of_run))
}

impl Warmup {
    /// The rise, or after its last update, the argument of `share`, the peak times `share`.
    fn then(&self, step: usize, predicted_end: Option<f64>, share: impl FnOnce(usize) -> f64) -> f64 {
        let rise = warmup_updates(self.steps, predicted_end, WARMUP_SHARE);
        if step < rise { self.peak * step as f64 / rise as f64 } else { self.peak * share(rise) }
    }
}

impl Decay {
    /// The share of the peak at `step` of a fall from `start` to `end` that follows `shape` from 1 to 0.
    fn between(&self, step: usize, start: Option<f64>, end: Option<f64>, shape: impl Fn(f64) -> f64) -> f64 {
        let (Some(start), Some(end)) = (start, end) else {
            return 1.0;
        };
        let made = (step - 1) as f64;
        // A fall of no length is over once it has begun; it must not divide by zero.
        let progress = if made >= end { 1.0 } else { ((made - start) / (end - start)).clamp(0.0, 1.0) };
        self.floor + (1.0 - self.floor) * shape(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARMUP: Warmup = Warmup { peak: 1e-3, steps: Some(4) };
    const DECAY: Decay = Decay { floor: 0.1, end: Some(20) };

    fn assert_values(schedule: &Schedule, values: &[(usize, f64)]) {
        for &(step, expected) in values {
            let lr = schedule.lr(step);
            assert!((lr - expected).abs() <= 1e-12 * expected.abs() + 1e-18, "step {step}: {lr}, expected {expected}");
        }
    }

    #[test]
    fn noam_is_equation_3_of_the_paper() {
        // Calculated by hand: 512^-0.5 = 0.04419417382415922 and 4000^-1.5 = 3.952847075210474e-6.
        let schedule = Schedule::Noam { scale: 1.0, d_model: 512, warmup_steps: Some(4000) };
        assert_values(
            &schedule,
            &[
                (1, 1.746928107421711e-7),
                (4000, 6.987712429686844e-4),
                (16000, 3.493856214843422e-4),
                (100_000, 1.3975424859373686e-4),
            ],
        );
        assert_values(&Schedule::Noam { scale: 2.0, d_model: 4, warmup_steps: Some(0) }, &[(1, 1.0), (4, 0.5)]);
    }

    #[test]
    fn inverse_square_root_is_fairseqs() {
        // transformers get_inverse_sqrt_schedule(num_warmup_steps=4, timescale=4) without its shift.
        let schedule = Schedule::InverseSqrt { warmup: WARMUP };
        assert_values(&schedule, &[(1, 2.5e-4), (3, 7.5e-4), (4, 1e-3), (16, 5e-4), (400, 1e-4)]);
        assert_values(&Schedule::InverseSqrt { warmup: Warmup { peak: 1.0, steps: Some(0) } }, &[(1, 1.0), (4, 0.5)]);
    }

    #[test]
    fn linear_and_constant_are_transformers() {
        // transformers get_linear_schedule_with_warmup(4, 20), which counts from 0: its values at 12, 16, 19, 20 and 29.
        let schedule = Schedule::Linear { warmup: WARMUP, decay: Decay { floor: 0.0, ..DECAY } };
        assert_values(
            &schedule,
            &[(1, 2.5e-4), (4, 1e-3), (13, 5e-4), (17, 2.5e-4), (20, 6.25e-5), (21, 0.0), (30, 0.0)],
        );
        assert_values(&Schedule::Linear { warmup: WARMUP, decay: DECAY }, &[(13, 5.5e-4), (21, 1e-4)]);
        assert_values(&Schedule::Constant { warmup: WARMUP }, &[(2, 5e-4), (4, 1e-3), (1_000_000, 1e-3)]);
    }

    #[test]
    fn cosine_is_transformers() {
        // transformers get_cosine_with_min_lr_schedule_with_warmup(4, 20, min_lr_rate=0.1), lr 1e-3, counted from 0.
        let schedule = Schedule::Cosine { warmup: WARMUP, decay: DECAY };
        assert_values(
            &schedule,
            &[
                (2, 5e-4),
                (4, 1e-3),
                (5, 1e-3),
                (6, 0.0009913533761814537),
                (11, 0.0007222075445642904),
                (13, 5.5e-4),
                (20, 0.00010864662381854633),
                (21, 1e-4),
                (25, 1e-4),
            ],
        );
    }

    #[test]
    fn warmup_stable_decay_stays_and_falls() {
        let schedule = Schedule::WarmupStableDecay { warmup: WARMUP, decay: DECAY, decay_steps: Some(4) };
        assert_values(&schedule, &[(4, 1e-3), (17, 1e-3), (18, 5.5e-4), (21, 1e-4), (22, 1e-4)]);
        // 1 - sqrt(1/2), scaled into what lies above the floor.
        assert_values(&schedule, &[(19, 1e-3 * (0.1 + 0.9 * (1.0 - std::f64::consts::FRAC_1_SQRT_2)))]);
        let fifth = Schedule::WarmupStableDecay { warmup: WARMUP, decay: DECAY, decay_steps: None };
        assert_values(&fifth, &[(17, 1e-3), (18, 5.5e-4)]);
    }

    #[test]
    fn plateau_is_pytorchs() {
        // torch.optim.lr_scheduler.ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.2) from lr 1.
        let mut schedule = Schedule::Plateau {
            warmup: Warmup { peak: 1.0, steps: Some(0) },
            floor: 0.2,
            factor: 0.5,
            patience: 1,
            state: PlateauState::default(),
        };
        let losses = [3.0, 2.0, 2.0, 1.99999, 2.0, 1.5, f64::NAN, 1.6, 1.7, 1.8, 1.4, 1.4, 1.4];
        let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2];
        for (index, (&loss, &lr)) in losses.iter().zip(&expected).enumerate() {
            schedule.observe(loss);
            assert_eq!(schedule.lr(index + 1), lr, "evaluation {index}");
        }
        let text = serde_json::to_string(&schedule.state()).unwrap();
        let state: PlateauState = serde_json::from_str(&text).unwrap();
        assert_eq!(state, schedule.state());
        let mut resumed = schedule.clone();
        resumed.restore(PlateauState::default());
        assert_eq!(resumed.lr(1), 1.0);
        resumed.restore(state);
        assert_eq!(resumed, schedule);
    }

    #[test]
    fn a_limit_in_time_becomes_an_end() {
        let decay = Decay { end: None, floor: 0.1 };
        let timed = Schedule::Cosine { warmup: WARMUP, decay };
        let stepped = Schedule::Cosine { warmup: WARMUP, decay: DECAY };
        for step in 1..=20 {
            assert!((timed.lr_at(step, (step - 1) as f64 / 20.0) - stepped.lr(step)).abs() < 1e-15);
        }
        assert_eq!(timed.lr(1000), 1e-3);
        assert_eq!(timed.lr_at(1000, 0.0), 1e-3);
        assert_eq!(stepped.lr_at(21, 0.01), 1e-4);
    }

    #[test]
    fn a_warm_up_that_nobody_stated_is_a_tenth_of_a_run_limited_in_time() {
        let warmup = Warmup { peak: 1e-3, steps: None };
        for (last, expected) in [(100, 10), (1000, 100), (200_000, LONGEST_WARMUP)] {
            let (timed, stepped) = (Schedule::Constant { warmup }, Warmup { peak: 1e-3, steps: Some(expected) });
            let stepped = Schedule::Constant { warmup: stepped };
            for step in [2, expected / 2, expected - 1, expected, last] {
                let lr = timed.lr_at(step, (step - 1) as f64 / last as f64);
                assert!((lr - stepped.lr(step)).abs() < 1e-9 * lr, "update {step} of {last}: {lr}");
            }
        }
        let first = Schedule::InverseSqrt { warmup }.lr_at(1, 0.0);
        assert!(first > 0.0 && first < 1e-6, "nothing is known of the speed yet: {first}");
        assert_eq!((usual_warmup(9.0, ScheduleKind::Linear), usual_warmup(9.0, ScheduleKind::Noam)), (0, 3));
    }

    #[test]
    fn every_update_to_the_last_has_a_rate_above_zero() {
        for (steps, last) in [(0, 1), (0, 2), (0, 3), (0, 40), (1, 1), (3, 4), (4, 4), (9, 4)] {
            let warmup = Warmup { peak: 1e-3, steps: Some(steps) };
            let kinds = |end| {
                let decay = Decay { floor: 0.0, end };
                let falls = [Some(1), Some(2), Some(100), None].map(|decay_steps| Schedule::WarmupStableDecay {
                    warmup,
                    decay,
                    decay_steps,
                });
                let mut kinds = Vec::from(falls);
                kinds.extend([Schedule::Linear { warmup, decay }, Schedule::Cosine { warmup, decay }]);
                kinds.push(Schedule::Noam { scale: 1.0, d_model: 512, warmup_steps: Some(steps) });
                kinds.extend([Schedule::InverseSqrt { warmup }, Schedule::Constant { warmup }]);
                kinds
            };
            for (known, limited) in kinds(Some(last)).iter().zip(&kinds(None)) {
                for step in 1..=last {
                    assert!(known.lr(step) > 0.0, "{known:?}, update {step} of {last}");
                    // The limit in time may be reached between its check and the update.
                    for share in [(step - 1) as f64 / last as f64, 1.0, 1.5] {
                        assert!(limited.lr_at(step, share) > 0.0, "{limited:?}, update {step}, share {share}");
                    }
                }
            }
        }
        let whole = Schedule::Linear {
            warmup: Warmup { peak: 1e-3, steps: Some(0) },
            decay: Decay { floor: 0.0, end: Some(1) },
        };
        assert_eq!(whole.lr(1), 1e-3, "a run of a single update trains at the peak");
    }

    #[test]
    fn falls_without_length_do_not_divide_by_zero() {
        let warmup = Warmup { peak: 1.0, steps: Some(20) };
        for schedule in [Schedule::Linear { warmup, decay: DECAY }, Schedule::Cosine { warmup, decay: DECAY }] {
            assert_eq!(schedule.lr(20), 1.0);
            assert_eq!(schedule.lr(25), 0.1);
        }
        let long = Schedule::WarmupStableDecay { warmup, decay: DECAY, decay_steps: Some(0) };
        assert_eq!((long.lr(19), long.lr(20), long.lr(21)), (0.95, 1.0, 0.1));
    }
}
