//! Settings that are right one by one and wrong together, and settings that have no effect.

use super::choices::*;
use super::error::{Error, Place};
use super::registered::Arch;
use super::section::{Kind, Setting};
use super::settings::*;
use crate::families::{self, Head};
use crate::tasks::{self, foreign_keys};

/// Refuses settings that cannot go together. `written` knows the dotted keys that say something else than the default,
/// `place` where they stand.
pub fn conflicts(recipe: &Recipe, written: &dyn Fn(&str) -> bool, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    recipe.task.check(recipe, written, place)?;
    if !recipe.model.arch.family().heads().contains(&recipe.task.head()) {
        let (task, arch) = (recipe.task, recipe.model.arch);
        let families: Vec<String> =
            families::with_heads(&[task.head()]).map(|family| format!("\"{}\"", family.name())).collect();
        let families = families.join(", ");
        let message = format!("`task` \"{task}\" does not go with `model.arch` \"{arch}\"; it goes with {families}");
        return conflict(place("model.arch"), message);
    }
    model_conflicts(recipe, place)?;
    method_conflicts(recipe, place)?;
    train_conflicts(recipe, place)
}

fn method_conflicts(recipe: &Recipe, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let Recipe { task, train, .. } = recipe;
    if let Some(key) = train.part_named()
        && train.method != Method::Partial
    {
        let message = format!(
            "`train.method` \"{}\" does not go with `{key}`: set it to \"partial\", or leave that out",
            train.method
        );
        return conflict(place("train.method"), message);
    }
    let is_of_texts = task.reads_whole_texts();
    if train.pooling.is_some() && !is_of_texts {
        let message = format!("`train.pooling` does not go with `task` \"{task}\": it has no output for whole texts");
        return conflict(place("train.pooling"), message);
    }
    if train.solve_output && !is_of_texts {
        let message =
            format!("`train.solve_output` does not go with `task` \"{task}\": it has no output for whole texts");
        return conflict(place("train.solve_output"), message);
    }
    if !is_method_of(&**task, train.method) {
        let why = match train.method {
            Method::Features => "train a part of the model, as with `train.top_layers` 0",
            _ => "virtual tokens are not here before the texts of translators",
        };
        let message = format!("`train.method` \"{}\" does not go with `task` \"{task}\": {why}", train.method);
        return conflict(place("train.method"), message);
    }
    let arch = recipe.model.arch;
    if train.method == Method::Prefix && !arch.family().takes_prefixes() {
        let why = "keys and values are not here before the texts of its models";
        let message = format!("`train.method` \"prefix\" does not go with `model.arch` \"{arch}\": {why}");
        return conflict(place("train.method"), message);
    }
    if train.method == Method::Features && train.class_weights != ClassWeights::None {
        let message = "`train.class_weights` does not go with `train.method` \"features\": take it out";
        return conflict(place("train.class_weights"), message);
    }
    Ok(())
}

/// Whether a method can train models of a task.
fn is_method_of(task: &dyn tasks::Task, method: Method) -> bool {
    match method {
        Method::Features => task.reads_whole_texts(),
        Method::Prefix | Method::Prompt => task.head() != Head::Translation,
        _ => true,
    }
}

/// The words of a key that a task takes, where these are not all that there are.
pub(crate) fn words_of(task: &dyn tasks::Task, key: &str) -> Option<Vec<&'static str>> {
    match key {
        "train.method" => {
            let methods = Method::ALL.iter().filter(|method| is_method_of(task, **method));
            Some(methods.map(|method| method.word()).collect())
        }
        _ => task.words(key).map(<[&str]>::to_vec),
    }
}

pub(crate) fn conflict(place: Place, message: impl Into<String>) -> Result<(), Error> {
    Err(Error::Conflict { place, message: message.into() })
}

fn model_conflicts(recipe: &Recipe, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let model = &recipe.model;
    if !model.arch.family().has_heads() {
        return Ok(());
    }
    if let Some(kv_heads) = model.kv_heads.filter(|kv_heads| !model.heads.is_multiple_of(*kv_heads)) {
        let message = format!("`model.kv_heads` is {kv_heads}, which does not divide `model.heads` {}", model.heads);
        return conflict(place("model.kv_heads"), message);
    }
    if model.head_dim.is_none() && !model.d_model.is_multiple_of(model.heads) {
        let divisors: Vec<_> = (1..=model.d_model.min(64))
            .filter(|heads| model.d_model.is_multiple_of(*heads))
            .map(|heads| heads.to_string())
            .collect();
        let message = format!(
            "`model.heads` is {}, which does not divide `model.d_model` {}; heads that do: {}",
            model.heads,
            model.d_model,
            divisors.join(", ")
        );
        return conflict(place("model.heads"), message);
    }
    Ok(())
}

fn train_conflicts(recipe: &Recipe, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let Recipe { train, data, search, schedule, .. } = recipe;
    if data.max_ratio > 0.0 && data.max_ratio < 1.0 {
        let message = format!("`data.max_ratio` is {}, expected at least 1, or 0 for any lengths", data.max_ratio);
        return conflict(place("data.max_ratio"), message);
    }
    if train.max_steps.is_none() && train.max_epochs.is_none() && train.max_minutes.is_none() {
        return conflict(
            place("train"),
            "training has no end: set `train.max_steps`, `train.max_epochs` or `train.max_minutes`",
        );
    }
    if train.base_dtype != BaseDtype::Stored && !train.method.is_adapter() {
        let message = format!(
            "`train.base_dtype` is \"{}\", but with `train.method` \"{}\" the whole model is saved, and what is frozen would be \
             rounded in it: leave it out, or train an adapter",
            train.base_dtype, train.method
        );
        return conflict(place("train.base_dtype"), message);
    }
    let average_last = train.average_last.unwrap_or(0);
    if average_last > train.keep_last {
        let message = format!(
            "`train.average_last` is {average_last}, but only `train.keep_last` {} checkpoints are kept",
            train.keep_last
        );
        return conflict(place("train.average_last"), message);
    }
    if average_last > 0 && train.ema > 0.0 {
        return conflict(
            place("train.average_last"),
            "`train.average_last` and `train.ema` both say which weights to export; set one of them to 0",
        );
    }
    if search.min_length > search.max_length {
        let message =
            format!("`search.min_length` {} is more than `search.max_length` {}", search.min_length, search.max_length);
        return conflict(place("search.min_length"), message);
    }
    let watched = recipe.task.is_watched(&recipe.data);
    let stopping = train.early_stopping.patience > 0;
    if (stopping || schedule.kind == ScheduleKind::Plateau) && (!watched || train.eval_every == 0) {
        let key = if stopping { "train.early_stopping" } else { "schedule.kind" };
        return conflict(
            place(key),
            format!(
                "`{key}` needs evaluations during training: give `data.valid` or `data.valid_fraction`, and a `train.eval_every` above 0"
            ),
        );
    }
    let metric = train.early_stopping.metric;
    let measures = recipe.task.measures(&recipe.data);
    if metric != Metric::Loss && !measures.contains(&metric) {
        let measures: String = measures.iter().map(|measure| format!(", \"{measure}\"")).collect();
        let message = format!(
            "`train.early_stopping.metric` is \"{metric}\", which `task` \"{}\" does not measure: watch \"loss\"{measures}",
            recipe.task
        );
        return conflict(place("train.early_stopping.metric"), message);
    }
    if train.early_stopping.metric == Metric::Bleu && train.eval_beam == 0 {
        return conflict(
            place("train.early_stopping.metric"),
            "`train.early_stopping.metric` is \"bleu\", but `train.eval_beam` 0 leaves out BLEU",
        );
    }
    Ok(())
}

/// A sentence for each setting that was `written` and does nothing in this recipe, whose model is of another family where
/// that is not known yet.
pub fn without_effect(recipe: &Recipe, written: &dyn Fn(&str) -> bool, is_family_known: bool) -> Vec<String> {
    let rules = model_rules(recipe).into_iter().chain(training_rules(recipe));
    // The schedule of a translator that nobody stated is known once its data are.
    let is_open = |key: &str| recipe.task.averages() && !written("schedule.kind") && key.starts_with("schedule.");
    let of_rules =
        rules.filter(|(_, keys, has_effect)| !has_effect && !keys.is_empty()).flat_map(|(reason, keys, _)| {
            keys.iter()
                .filter(|key| written(key) && !is_open(key))
                .map(move |key| format!("`{key}` has no effect {reason}"))
        });
    let of_task = foreign_keys(&*recipe.task).into_iter().filter(|key| written(key));
    let of_task = of_task.map(|key| format!("`{key}` has no effect with `task` \"{}\"", recipe.task));
    let of_families = if is_family_known { of_other_families(recipe, written) } else { Vec::new() };
    let mut notes: Vec<_> = of_task.chain(of_families).chain(of_rules).collect();
    if let (Some(limit), Some(warmup)) = (recipe.train.max_steps, recipe.schedule.warmup_steps)
        && limit < warmup
    {
        notes.push(format!("the learning rate still rises when training ends: `schedule.warmup_steps` is {warmup}, the limit {limit} steps"));
    }
    notes
}

/// The keys and tables that do nothing in this recipe, whatever they say.
pub(crate) fn idle(recipe: &Recipe) -> Vec<String> {
    let rules = model_rules(recipe).into_iter().chain(training_rules(recipe)).filter(|(_, _, has_effect)| !has_effect);
    rules.flat_map(|(_, keys, _)| keys.iter().map(|key| (*key).to_owned())).chain(foreign(recipe)).collect()
}

/// The keys and tables that do nothing, or are refused, in every recipe of this task, family and method that `starts` from a model
/// or makes one.
pub(crate) fn unfit(recipe: &Recipe, starts: bool) -> Vec<String> {
    let method = recipe.train.method;
    let parts = ["train.freeze", "train.train_only", "train.top_layers", "train.unfreeze_every"];
    let whole_texts = ["train.pooling", "train.solve_output", "train.features_dir"];
    let of_method: Vec<&str> = [
        (&parts[..], matches!(method, Method::Full | Method::Partial)),
        (&whole_texts[..], recipe.task.reads_whole_texts()),
        (&["train.solve_output", "train.features_dir"], starts),
        (&["train.base_dtype"], method.is_adapter()),
        (&["train.class_weights"], method != Method::Features),
    ]
    .into_iter()
    .filter(|(_, fits)| !fits)
    .flat_map(|(keys, _)| keys.iter().copied())
    .collect();
    let [of_arch, ..] = model_rules(recipe);
    let of_arch = if of_arch.2 { &[][..] } else { of_arch.1 };
    let rules = method_rules(recipe).into_iter().filter(|(_, _, has_effect)| !has_effect).flat_map(|(_, keys, _)| keys);
    let keys = of_method.into_iter().chain(of_arch.iter().copied()).chain(rules.copied());
    keys.map(str::to_owned).chain(foreign(recipe)).collect()
}

/// The keys and tables of other tasks and families.
fn foreign(recipe: &Recipe) -> Vec<String> {
    let of_task = foreign_keys(&*recipe.task).into_iter().map(str::to_owned);
    let of_model = foreign_model_keys(recipe.model.arch).into_iter().map(|name| format!("model.{name}"));
    // Files with answers have the forms and columns of the task.
    let (forms, columns) = (recipe.task.forms(), recipe.task.columns());
    let Kind::Table(files) = FileSettings::kind() else { return Vec::new() };
    let foreign =
        files.into_iter().map(|field| field.name).filter(|name| !forms.contains(name) && !columns.contains(name));
    let of_files: Vec<&str> = foreign.collect();
    let of_files =
        ["train", "valid", "test"].iter().flat_map(|set| of_files.iter().map(move |name| format!("data.{set}.{name}")));
    of_task.chain(of_model).chain(of_files).collect()
}

type Rule = (&'static str, &'static [&'static str], bool);

fn model_rules(recipe: &Recipe) -> [Rule; 3] {
    let has_files = recipe.tokenizer.file.is_none();
    [
        (
            "on a model of this `model.arch`",
            &["train.checkpoint_activations"],
            recipe.model.arch.family().checkpoints(),
        ),
        (
            "when `tokenizer.file` is given",
            &[
                "tokenizer.kind",
                "tokenizer.vocab_size",
                "tokenizer.min_frequency",
                "tokenizer.lowercase",
                "tokenizer.limit_alphabet",
                "tokenizer.character_coverage",
                "tokenizer.byte_fallback",
            ],
            has_files,
        ),
        (
            "when `tokenizer.kind` is \"char\"",
            &["tokenizer.min_frequency"],
            !has_files || recipe.tokenizer.kind != TokenizerKind::Char,
        ),
    ]
}

/// The keys of `[model]` that mean something for every family.
pub(crate) const COMMON: [&str; 4] = ["arch", "preset", "tie_embeddings", "vocab_size"];

/// The keys of `[model]` that mean nothing for a family.
fn foreign_model_keys(arch: Arch) -> Vec<&'static str> {
    let Kind::Table(fields) = ModelSettings::kind() else { return Vec::new() };
    let own = arch.family().keys();
    let names = fields.into_iter().map(|field| field.name);
    names.filter(|name| !COMMON.contains(name) && !own.contains(name)).collect()
}

/// A sentence for each setting of `[model]` that was `written` and means nothing for the family. A value that is the default
/// says nothing either way.
pub(crate) fn of_other_families(recipe: &Recipe, written: &dyn Fn(&str) -> bool) -> Vec<String> {
    let arch = recipe.model.arch;
    let foreign = foreign_model_keys(arch).into_iter();
    let (stated, plain) = (recipe.values().unwrap_or_default(), Recipe::default().values().unwrap_or_default());
    let says = |key: &String| written(key) && stated.get(key) != plain.get(key);
    let foreign = foreign.map(|name| format!("model.{name}")).filter(says);
    foreign.map(|key| format!("`{key}` has no effect with `model.arch` \"{arch}\"")).collect()
}

/// The settings of updates, of which there are none where an output is solved.
const UPDATES: [&str; 16] = [
    "train.solve_output",
    "train.max_steps",
    "train.max_epochs",
    "train.max_minutes",
    "train.max_sentences",
    "train.accumulate",
    "train.label_smoothing",
    "train.clip_norm",
    "train.precision",
    "train.layer_decay",
    "train.ema",
    "train.average_last",
    "train.eval_every",
    "train.save_every",
    "optimizer",
    "schedule",
];

fn training_rules(recipe: &Recipe) -> Vec<Rule> {
    use ScheduleKind::*;
    let schedule = recipe.schedule.kind;
    let adam = recipe.optimizer.kind != OptimizerKind::Sgd;
    let watched = recipe.task.is_watched(&recipe.data);
    let of_settings: [Rule; 10] = [
        ("where no output is solved (`train.solve_output`)", &["train.features_dir"], recipe.train.solves()),
        ("with `optimizer.kind` \"sgd\"", &["optimizer.betas", "optimizer.eps"], adam),
        ("except with `optimizer.kind` \"sgd\"", &["optimizer.momentum"], !adam),
        ("with `schedule.kind` \"noam\"; use `schedule.scale`", &["optimizer.lr"], schedule != Noam),
        ("except with `schedule.kind` \"noam\"", &["schedule.scale"], schedule == Noam),
        ("except with `schedule.kind` \"plateau\"", &["schedule.factor", "schedule.patience"], schedule == Plateau),
        ("with this `schedule.kind`", &["schedule.min_lr"], matches!(schedule, Linear | Cosine | Wsd | Plateau)),
        ("with this `schedule.kind`", &["schedule.decay_steps"], matches!(schedule, Linear | Cosine | Wsd)),
        (
            "without `data.valid` or `data.valid_fraction`",
            &["train.eval_every", "train.eval_beam", "train.eval_max_sentences"],
            watched,
        ),
        ("when `train.eval_beam` is 0", &["train.eval_max_sentences"], !watched || recipe.train.eval_beam > 0),
    ];
    method_rules(recipe).into_iter().chain(of_settings).collect()
}

fn method_rules(recipe: &Recipe) -> [Rule; 5] {
    let method = recipe.train.method;
    [
        ("without `train.method` \"lora\"", &["lora"], method == Method::Lora),
        ("without `train.method` \"ia3\"", &["ia3"], method == Method::Ia3),
        (
            "without `train.method` \"prefix\" or \"prompt\"",
            &["prompt"],
            matches!(method, Method::Prefix | Method::Prompt),
        ),
        ("without `train.method` \"houlsby\"", &["houlsby"], method == Method::Houlsby),
        ("with `train.method` \"features\"", &UPDATES, method != Method::Features),
    ]
}
