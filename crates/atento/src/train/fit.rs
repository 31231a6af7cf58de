//! Settings that nobody stated, computed from the data and from how long the run may take.
//!
//! What follows from other settings alone moves while a recipe is read (`recipe/follow.rs`); this is what needs the data.
//! A run that goes on has what was computed when it began.

use serde::Serialize;

use super::events::group_thousands;
use super::recipe::{Method, OptimizerSettings, Recipe, ScheduleKind};
use super::schedule::{usual_warmup, warmup_share};
use crate::tasks::Stated;

/// A setting that was computed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Computed {
    /// Its dotted key.
    pub key: &'static str,
    /// Its value as a recipe has it; a share of the run where no number is known beforehand.
    pub value: String,
    /// What it follows from.
    pub why: String,
}

impl Computed {
    pub(crate) fn new(key: &'static str, value: impl ToString, why: impl Into<String>) -> Self {
        Self { key, value: value.to_string(), why: why.into() }
    }
}

/// What is known of the data and the machine before a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Updates of a pass over the training data.
    pub steps_per_epoch: u64,
    /// Examples in it.
    pub examples: u64,
    /// What they are.
    pub what: &'static str,
    /// Seconds of an update, as far as they are known.
    pub seconds_per_step: f64,
}

/// Evaluations of a run, about.
const EVALUATIONS: u64 = 12;
/// The most updates between two of them.
const LONGEST_WAIT: u64 = 1000;
/// Checkpoints that are kept where means of them are measured.
const KEPT_FOR_MEANS: usize = 5;

/// Passes over the data that a model which is there is trained further with.
const PASSES_OF_FINE_TUNING: u64 = 3;
/// The highest learning rate for weights that were trained already, and for an adapter beside them.
const RATE_OF_WEIGHTS: f64 = 1e-4;
const RATE_OF_ADAPTERS: f64 = 1e-3;

/// The rate of a model that is trained further, and its straight way down. Tasks of heads have a rate of their own for weights.
fn fine_tuning(recipe: &mut Recipe, is_stated: Stated<'_>) -> Vec<Computed> {
    let mut computed = Vec::new();
    if recipe.from.is_none() {
        return computed;
    }
    let is_adapter = recipe.train.method.is_adapter();
    let has_rate = recipe.optimizer.lr != OptimizerSettings::default().lr && !is_adapter;
    let is_noam = recipe.schedule.kind == ScheduleKind::Noam;
    if !is_stated("optimizer.lr") && !has_rate && !is_noam {
        let (rate, why) = match is_adapter {
            true => (RATE_OF_ADAPTERS, "an adapter has few values, which begin at nothing"),
            false => (RATE_OF_WEIGHTS, "weights that were trained already take small steps"),
        };
        recipe.optimizer.lr = rate;
        computed.push(Computed::new("optimizer.lr", rate, why));
    }
    if !is_stated("schedule.kind") && recipe.schedule.kind != ScheduleKind::Linear {
        recipe.schedule.kind = ScheduleKind::Linear;
        computed.push(Computed::new(
            "schedule.kind",
            "\"linear\"",
            "the end of a short run is known: the rate falls to it",
        ));
    }
    computed
}

/// Computes what nobody stated; returns what it has set.
pub(crate) fn fit(recipe: &mut Recipe, is_stated: Stated<'_>, facts: &Facts) -> Vec<Computed> {
    if recipe.train.method == Method::Features {
        return Vec::new();
    }
    let mut computed = fine_tuning(recipe, is_stated);
    let passes = if recipe.from.is_some() { PASSES_OF_FINE_TUNING } else { recipe.task.usual_passes() as u64 };
    let train = &mut recipe.train;
    let has_limit = ["train.max_steps", "train.max_epochs", "train.max_minutes"].iter().any(|key| is_stated(key));
    if let (false, Some(most)) = (has_limit, train.max_steps)
        && train.max_epochs.is_none()
    {
        let steps = (facts.steps_per_epoch.saturating_mul(passes)).clamp(1, most as u64);
        train.max_steps = Some(steps as usize);
        let (examples, what) = (group_thousands(facts.examples), facts.what);
        let why =
            format!("{passes} passes over {examples} {what}, and {} updates at most", group_thousands(most as u64));
        computed.push(Computed::new("train.max_steps", steps, why));
    }
    let is_timed_alone = !is_stated("train.max_steps") && train.max_epochs.is_none() && recipe.from.is_none();
    if let (Some(minutes), true) = (train.max_minutes, is_timed_alone && recipe.task.passes_suffice()) {
        let steps = facts.steps_per_epoch.saturating_mul(passes);
        train.max_steps = Some(steps as usize);
        let (examples, what) = (group_thousands(facts.examples), facts.what);
        let why = format!(
            "{passes} passes over {examples} {what} are enough: the run ends there, or after {minutes} minutes"
        );
        computed.push(Computed::new("train.max_steps", steps, why));
    }
    let end = End::of(recipe, facts);
    if !is_stated("schedule.warmup_steps") {
        let schedule = &mut recipe.schedule;
        let falls = matches!(schedule.kind, ScheduleKind::Linear | ScheduleKind::Cosine) && schedule.decay_steps > 0;
        let lowest = if falls { schedule.decay_steps as u64 } else { u64::MAX };
        let share = format!("the first {:.0} % of the run", 100.0 * warmup_share(schedule.kind));
        let about = usual_warmup(end.updates.min(lowest) as f64, schedule.kind);
        let is_known = !end.is_estimate || falls;
        schedule.warmup_steps = is_known.then_some(about);
        let value = if is_known { about.to_string() } else { format!("about {about}") };
        computed.push(Computed::new("schedule.warmup_steps", value, format!("{share}, {end}")));
    }
    let train = &mut recipe.train;
    if !is_stated("train.eval_every") && recipe.task.is_watched(&recipe.data) {
        let every = round((end.updates / EVALUATIONS).clamp(1, LONGEST_WAIT));
        train.eval_every = every as usize;
        let why = format!("about {} evaluations in {end}", end.updates / every);
        computed.push(Computed::new("train.eval_every", every, why));
    }
    let measures_means = recipe.task.averages() && train.average_last.is_none() && train.ema == 0.0;
    if !is_stated("train.keep_last") && measures_means && recipe.task.is_watched(&recipe.data) {
        train.keep_last = train.keep_last.max(KEPT_FOR_MEANS);
        let why = "the mean of the last of them is exported where validation says that it is better";
        computed.push(Computed::new("train.keep_last", train.keep_last, why));
    }
    computed
}

/// What the user should know of a learning rate that is still rising when the run ends.
pub(crate) fn still_rises(recipe: &Recipe, facts: &Facts) -> Option<String> {
    // With a limit in updates alone the recipe is enough to say so.
    let is_open = recipe.train.max_epochs.is_some() || recipe.train.max_minutes.is_some();
    let end = End::of(recipe, facts);
    let warmup = recipe.schedule.warmup_steps.filter(|&steps| is_open && steps as u64 > end.updates)?;
    Some(format!(
        "the learning rate still rises when training ends: `schedule.warmup_steps` is {warmup}, and the run has {end}; lower it, \
         or leave it out"
    ))
}

/// The end of a run.
struct End {
    updates: u64,
    /// Whether it depends on the speed of the machine.
    is_estimate: bool,
    /// The minutes that set it.
    minutes: Option<f64>,
}

impl End {
    fn of(recipe: &Recipe, facts: &Facts) -> Self {
        let train = &recipe.train;
        let epochs = train.max_epochs.map(|epochs| facts.steps_per_epoch.saturating_mul(epochs as u64));
        let known = [train.max_steps.map(|steps| steps as u64), epochs].into_iter().flatten().min();
        let timed = train.max_minutes.map(|minutes| (60.0 * minutes / facts.seconds_per_step.max(1e-6)) as u64);
        let updates = [known, timed].into_iter().flatten().min().unwrap_or(u64::MAX).max(1);
        let is_estimate = timed.is_some();
        let minutes = train.max_minutes.filter(|_| timed.is_some_and(|timed| known.is_none_or(|known| timed < known)));
        Self { updates, is_estimate, minutes }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let updates = group_thousands(self.updates);
        match self.minutes {
            Some(minutes) => write!(f, "about {updates} updates in {minutes} minutes"),
            None => write!(f, "{updates} updates"),
        }
    }
}

/// The largest of 1, 2, 5, 10, 20, … that is not larger.
fn round(number: u64) -> u64 {
    let mut unit = 1;
    while number / 10 >= unit {
        unit *= 10;
    }
    let digit = [5, 2, 1].into_iter().find(|digit| digit * unit <= number).unwrap_or(1);
    digit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(text: &str, facts: &Facts) -> (Recipe, Vec<Computed>) {
        let text = format!("data.train = {{ tsv = \"x\" }}\ndata.valid = {{ tsv = \"y\" }}\n{text}");
        let loaded = Recipe::parse(&text, "r.toml", &[]).unwrap();
        let (mut recipe, written) = (loaded.recipe, loaded.written);
        let computed = fit(&mut recipe, &|key| written.contains_key(key), facts);
        (recipe, computed)
    }

    const FACTS: Facts =
        Facts { steps_per_epoch: 11, examples: 2660, what: "pairs of sentences", seconds_per_step: 0.1 };

    #[test]
    fn updates_follow_from_the_data_where_no_limit_is_given() {
        let (recipe, computed) = fitted("", &FACTS);
        let updates = recipe.train.max_steps.unwrap();
        assert_eq!(updates, 11 * recipe.task.usual_passes());
        assert_eq!(recipe.schedule.warmup_steps, Some(updates / 10));
        let keys: Vec<_> = computed.iter().map(|computed| computed.key).collect();
        assert_eq!(keys, ["train.max_steps", "schedule.warmup_steps", "train.eval_every", "train.keep_last"]);
        assert!(computed[0].why.contains("passes over 2,660 pairs of sentences"), "{}", computed[0].why);
        let (large, _) = fitted("", &Facts { steps_per_epoch: 100_000, ..FACTS });
        assert_eq!((large.train.max_steps, large.train.eval_every), (Some(10_000), 500));
    }

    #[test]
    fn what_is_stated_stays() {
        let text = "train.max_steps = 70\ntrain.eval_every = 3\ntrain.keep_last = 2\nschedule.warmup_steps = 50\n";
        let (recipe, computed) = fitted(text, &FACTS);
        assert_eq!(computed, []);
        assert_eq!((recipe.train.max_steps, recipe.train.eval_every, recipe.train.keep_last), (Some(70), 3, 2));
        assert_eq!(still_rises(&recipe, &FACTS), None);
    }

    #[test]
    fn a_limit_in_time_gives_estimates_and_a_warm_up_that_follows_the_time() {
        let (recipe, computed) = fitted("train.max_minutes = 1.5", &FACTS);
        assert_eq!((recipe.schedule.warmup_steps, recipe.train.eval_every), (None, 50));
        assert_eq!(
            recipe.train.max_steps,
            Some(990),
            "more passes than are useful are not made, however long it may take"
        );
        assert!(
            computed[0].why.ends_with("are enough: the run ends there, or after 1.5 minutes"),
            "{}",
            computed[0].why
        );
        assert_eq!(computed[1].why, "the first 10 % of the run, about 900 updates in 1.5 minutes");
        let (recipe, _) = fitted("train.max_minutes = 1.5\nschedule.warmup_steps = 1000", &FACTS);
        let note = still_rises(&recipe, &FACTS).unwrap();
        assert!(note.contains("still rises") && note.contains("about 900 updates in 1.5 minutes"), "{note}");
        let (recipe, _) = fitted("train.max_epochs = 3\nschedule.warmup_steps = 40", &FACTS);
        assert!(still_rises(&recipe, &FACTS).unwrap().contains("the run has 33 updates"));
    }

    #[test]
    fn a_model_that_is_there_is_trained_shortly_and_gently() {
        let (recipe, computed) = fitted("from = \"m\"", &FACTS);
        assert_eq!(
            (recipe.optimizer.lr, recipe.schedule.kind, recipe.train.max_steps),
            (1e-4, ScheduleKind::Linear, Some(33))
        );
        assert_eq!(computed[0].key, "optimizer.lr");
        let (recipe, _) = fitted("from = \"m\"\ntrain.method = \"lora\"", &FACTS);
        assert_eq!(recipe.optimizer.lr, 1e-3);
        let text = "from = \"m\"\noptimizer.lr = 0.02\nschedule.kind = \"constant\"\ntrain.max_steps = 9";
        let (recipe, _) = fitted(text, &FACTS);
        assert_eq!(
            (recipe.optimizer.lr, recipe.schedule.kind, recipe.train.max_steps),
            (0.02, ScheduleKind::Constant, Some(9))
        );
    }

    #[test]
    fn a_warm_up_ends_before_a_fall_that_is_stated_and_noams_is_longer() {
        let warmup = |text: &str| fitted(text, &FACTS).0.schedule.warmup_steps;
        assert_eq!(warmup("schedule.kind = \"linear\"\nschedule.decay_steps = 50"), Some(5));
        assert_eq!(warmup("schedule.kind = \"wsd\"\nschedule.decay_steps = 50"), Some(99));
        assert_eq!(warmup("schedule.kind = \"noam\""), Some(396));
    }

    #[test]
    fn intervals_are_round_numbers() {
        let rounded: Vec<u64> = [1, 4, 5, 9, 10, 49, 83, 833, 1000].into_iter().map(round).collect();
        assert_eq!(rounded, [1, 2, 5, 5, 10, 20, 50, 500, 1000]);
    }
}
