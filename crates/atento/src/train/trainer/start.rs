//! The start of a run: with random weights, with a model that exists, or where its last checkpoint stands.
//!
//! What was asked is written first ([`Request`]), before any work. Then everything is read and checked before anything
//! else is written; a first checkpoint, of step 0, holds what the run starts with; and `config.toml` is written last: where
//! it lies, there is a run with a checkpoint to resume from.

use std::fs;
use std::time::Instant;

use atento_tensor::{Grads, Pool};

use super::{Session, TrainOptions};
use crate::hub::templates;
use crate::train::adapt::further;
use crate::train::adopt::{Base, save_tokenizer};
use crate::train::checkpoint::{Checkpoint, Found, Identity, TrainState};
use crate::train::fit::{Computed, fit, still_rises};
use crate::train::freeze::{Beside, freeze};
use crate::train::metrics::Place;
use crate::train::plan::{bf16_gain, facts};
use crate::train::recipe::Method;
use crate::train::report::grouped;
use crate::train::request::Request;
use crate::train::speed::Spent;
use crate::train::step::Trainable;
use crate::train::workload::{Batches, Begun, Making, Workload};
use crate::train::{
    EarlyStopping, Error, Event, Metrics, Optimizer, Recipe, Reporter, RunDir, Schedule, TensorBoard, memory,
    precision, resume,
};

/// Operations of an update from which most of its time goes into products.
const MANY_FLOPS: f64 = 1e10;

impl<'r, W: Workload> Session<'r, W> {
    pub(super) fn start(
        recipe: &Recipe,
        options: &TrainOptions,
        run: &'r RunDir,
        reporter: &'r mut dyn Reporter,
    ) -> Result<(Self, Batches<W>), Error> {
        let checkpoints = run.checkpoints();
        let (found, recipe) = look(recipe, options, run)?;
        let resumed = found.checkpoint.as_ref();
        let from = resumed.map_or(recipe.from.as_deref(), |checkpoint| checkpoint.state.identity.from.as_deref());
        let (recipe, in_vain) = further::adopted(&recipe, &options.written, from)?;
        let Begun { mut recipe, mut work, from, mut notes, mut computed } =
            W::begin(&recipe, options, resumed, run.path(), Making::Weights)?;
        let (facts, flops_per_step) = facts(&recipe, &work)?;
        if resumed.is_none() {
            computed.extend(fit(&mut recipe, &|key| options.is_stated(key), &facts));
        }
        notes.extend(still_rises(&recipe, &facts));
        let config = work.config();
        let model = work.model_mut();
        let mut matches = Vec::new();
        let saved = resumed.map(|checkpoint| &checkpoint.state.identity);
        let Beside { base, adapter } = freeze(model, &*config, &recipe, from.as_deref(), saved, &mut matches)?;
        memory::check_update(&recipe, &work, from.as_deref(), Making::Weights)?;
        let model = work.model_mut();
        let mut optimizer = Optimizer::new(&recipe.optimizer, model.params());
        let (decay, unfreeze_every) = (recipe.train.layer_decay, recipe.train.unfreeze_every);
        if decay != 1.0 || unfreeze_every > 0 {
            optimizer = optimizer.by_depth(decay, unfreeze_every, model.params());
        }
        if adapter.is_some() && recipe.lora.up_rate != 1.0 {
            optimizer = optimizer.with_rate(recipe.lora.up_rate, model.params(), |entry| {
                entry.is_added && entry.name.ends_with(".lora_B.weight")
            });
        }
        let mut schedule = Schedule::new(&recipe);
        let mut early_stopping = EarlyStopping::new(&recipe.train.early_stopping);
        // An output that is solved takes no updates, of which there could be a mean.
        let takes_updates = recipe.train.method != Method::Features;
        let mut average = (recipe.train.ema > 0.0 && takes_updates).then(|| model.params().values().to_vec());
        let state = resumed.map(|checkpoint| &checkpoint.state);
        if let Some(checkpoint) = resumed {
            checkpoint.read_into("values", model.params_mut().values_mut())?;
            if !model.params().buffers().is_empty() {
                checkpoint.read_into("buffers", model.params_mut().buffers_mut())?;
            }
            checkpoint.read_into("first", &mut optimizer.first)?;
            checkpoint.read_into("second", &mut optimizer.second)?;
            if let Some(average) = &mut average {
                checkpoint.read_into("average", average)?;
            }
            schedule.restore(checkpoint.state.schedule);
            early_stopping.restore(&checkpoint.state.early_stopping);
        }
        let data = format!("{:016x}", work.data_hash()?);
        resumed.map_or(Ok(()), |checkpoint| resume::check_data(checkpoint, &data))?;
        let cursor = resumed.map_or(Ok(W::Cursor::default()), cursor::<W>)?;
        let batches = begun(work.batches(&recipe, cursor)?)?;
        let step = state.map_or(0, |state| state.step);
        // From here on things are written.
        run.sweep();
        checkpoints.sweep()?;
        checkpoints.go_on_from(step)?;
        notes.extend(found.warnings.iter().cloned().chain(in_vain));
        notes.extend(work.losses());
        for note in notes {
            run.append_log(&note)?;
            reporter.event(&Event::Warning(note));
        }
        // What it gains is told while it can still be chosen.
        let asks = resumed.is_none() && flops_per_step >= MANY_FLOPS;
        let gain = asks.then(|| bf16_gain(&recipe, work.config().sizes().d_model)).flatten();
        let told = precision::told(recipe.train.precision, gain);
        let computed = computed.iter().map(|Computed { key, value, why }| format!("{key} = {value}: {why}"));
        for note in computed.chain(matches).chain(told) {
            run.append_log(&note)?;
            reporter.event(&Event::Note(note));
        }
        let (metrics, evaluated) = open_metrics(run, state)?;
        let tensorboard = TensorBoard::create(&run.tensorboard(), step)?;
        if resumed.is_none() {
            let (generation, kept) = work.base();
            Base::save(run.path(), generation, kept)?;
        }
        let kept = Base::checksum(run.path())?;
        save_tokenizer(work.tokenizer(), run.path())?;
        if let Some(found) = work.templates() {
            templates::write(run.path(), found)?;
        }
        reporter.event(&Event::Started {
            run: run.path().to_path_buf(),
            parameters: work.model().params().trainable_count(),
            all_parameters: work.model().params().count(),
            examples: work.examples(),
            what: W::EXAMPLES,
            max_steps: recipe.train.max_steps.map(|n| n as u64),
        });
        for line in grouped(&work.data_report()).lines() {
            run.append_log(line)?;
        }
        if resumed.is_some() {
            reporter.event(&Event::Resumed { step, path: checkpoints.path(step) });
        }
        // Wherever the run is resumed from, and repeated from.
        let from = from.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
        recipe.from.clone_from(&from);
        let mut session = Self {
            run,
            reporter,
            grads: Grads::zeros(work.model().params()),
            identity: Identity { recipe: recipe.to_toml()?, model: work.config().into(), from, base, kept, data },
            work,
            adapter,
            recipe,
            pool: Pool::new(),
            optimizer,
            schedule,
            early_stopping,
            average,
            checkpoints,
            metrics,
            tensorboard,
            step,
            skipped: state.map_or(0, |s| s.skipped),
            without_targets: state.map_or(0, |s| s.without_targets),
            skipped_in_a_row: state.map_or(0, |s| s.skipped_in_a_row),
            target_tokens: state.map_or(0, |s| s.tokens),
            cursor,
            earlier_seconds: state.map_or(0.0, |s| s.seconds),
            started: Instant::now(),
            window: state.map_or_else(Default::default, |s| s.window),
            spent: Spent::default(),
            last_evaluation: evaluated,
            last_save: None,
            irregular: state.filter(|state| !state.regular).map(|state| state.step),
        };
        session.establish(resumed.is_none())?;
        Ok((session, batches))
    }

    /// Makes of what has begun a run that can be resumed, whatever becomes of the model it started from.
    fn establish(&mut self, is_new: bool) -> Result<(), Error> {
        if is_new {
            self.save()?;
        }
        self.run.write(&self.run.config(), &self.recipe.annotated()?)?;
        match fs::remove_file(self.run.request()) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { path: self.run.request(), source })
            }
            _ => Ok(()),
        }
    }
}

/// The checkpoint to go on from, if any, and the recipe of the run. Of a new run it is written down; a run that was killed
/// before its first checkpoint starts from the model that was written down.
fn look(recipe: &Recipe, options: &TrainOptions, run: &RunDir) -> Result<(Found, Recipe), Error> {
    let checkpoints = run.checkpoints();
    if options.resume {
        let found = checkpoints.latest()?;
        let recipe = match found.checkpoint {
            Some(_) => recipe.clone(),
            None => Request::again(recipe, &options.written, run.path())?,
        };
        return Ok((found, recipe));
    }
    // Those of a start that was cut short, which may have been asked for something else.
    checkpoints.sweep()?;
    checkpoints.retain(0, &[])?;
    Request::record(recipe, run)?;
    Ok((Found { checkpoint: None, warnings: Vec::new() }, recipe.clone()))
}

/// Epochs that no run comes to, so that counting them never overflows.
const MOST_EPOCHS: u64 = 1 << 40;

/// The place in the data behind the last update.
fn cursor<W: Workload>(checkpoint: &Checkpoint) -> Result<W::Cursor, Error> {
    let saved = &checkpoint.state.cursor;
    let refuse = |problem| Error::Cursor { path: checkpoint.path.clone(), found: saved.to_string(), problem };
    let cursor = serde_json::from_value(saved.clone()).map_err(|error| refuse(error.to_string()))?;
    match W::epoch(cursor) < MOST_EPOCHS {
        true => Ok(cursor),
        false => Err(refuse(format!("no run comes to {MOST_EPOCHS} epochs"))),
    }
}

/// Batches of which the first is dealt out: what is wrong with it is found before anything is written.
fn begun<T: 'static, E: 'static>(
    mut batches: Box<dyn Iterator<Item = Result<T, E>>>,
) -> Result<Box<dyn Iterator<Item = Result<T, E>>>, E> {
    let first = batches.next().transpose()?;
    Ok(Box::new(first.map(Ok).into_iter().chain(batches)))
}

/// The metrics of the run, without what is yet to come, and the step of the last evaluation.
fn open_metrics(run: &RunDir, state: Option<&TrainState>) -> Result<(Metrics, Option<u64>), Error> {
    let step = state.map_or(0, |state| state.step);
    let evaluated = state.and_then(|state| state.evaluated);
    let logged = state.is_none_or(|state| state.window.steps == 0);
    let (metrics, _) = Metrics::open(&run.metrics(), Place { step, logged, evaluated: evaluated == Some(step) })?;
    Ok((metrics, evaluated))
}
