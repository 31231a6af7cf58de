//! The start of a run: with random weights, with a model that exists, or where its last checkpoint stands.
//!
//! Everything is read and checked before anything is written, and `config.toml` is written last: where it lies, there
//! is a run that can be resumed.

use std::time::Instant;

use atento_tensor::{Grads, Pool};

use super::{Session, TrainOptions};
use crate::hub::prompt_template;
use crate::train::adopt::{Base, save_tokenizer};
use crate::train::checkpoint::{Identity, TrainState};
use crate::train::step::Trainable;
use crate::train::workload::{Begun, Making, Workload};
use crate::train::{
    EarlyStopping, Error, Event, Metrics, Optimizer, Recipe, Reporter, RunDir, Schedule, TensorBoard, metrics, resume,
};

impl<'r, W: Workload> Session<'r, W> {
    pub(super) fn start(
        recipe: &Recipe,
        options: &TrainOptions,
        run: &'r RunDir,
        reporter: &'r mut dyn Reporter,
    ) -> Result<Self, Error> {
        let checkpoints = run.checkpoints();
        let found = if options.resume { Some(checkpoints.latest()?) } else { None };
        let resumed = found.as_ref().and_then(|found| found.checkpoint.as_ref());
        let Begun { recipe, mut work, from, mut notes } =
            W::begin(recipe, options, resumed, run.path(), Making::Weights)?;
        let model = work.model_mut();
        let mut optimizer = Optimizer::new(&recipe.optimizer, model.params());
        let mut schedule = Schedule::new(&recipe);
        let mut early_stopping = EarlyStopping::new(&recipe.train.early_stopping);
        let mut average = (recipe.train.ema > 0.0).then(|| model.params().values().to_vec());
        let state = resumed.map(|checkpoint| &checkpoint.state);
        if let Some(checkpoint) = resumed {
            checkpoint.read_into("values", model.params_mut().values_mut())?;
            checkpoint.read_into("first", &mut optimizer.first)?;
            checkpoint.read_into("second", &mut optimizer.second)?;
            if let Some(average) = &mut average {
                checkpoint.read_into("average", average)?;
            }
            schedule.restore(checkpoint.state.schedule);
            early_stopping.restore(&checkpoint.state.early_stopping);
        }
        let data = format!("{:016x}", work.data_hash());
        resumed.map_or(Ok(()), |checkpoint| resume::check_data(checkpoint, &data))?;
        let step = state.map_or(0, |state| state.step);
        if let Some(found) = &found {
            notes.extend(found.warnings.iter().cloned());
            if resumed.is_none() {
                let path = run.path().display();
                notes.push(format!("{path} holds no checkpoint yet: the run starts from the beginning"));
            }
            checkpoints.sweep()?;
            checkpoints.remove_after(step)?;
        } else {
            // Those of a start that was cut short.
            checkpoints.retain(0, None)?;
        }
        notes.extend(work.losses());
        for note in notes {
            run.append_log(&note)?;
            reporter.event(&Event::Warning(note));
        }
        let evaluated = match state {
            // Older checkpoints do not say: what they were saved after is in the metrics.
            Some(TrainState { identity: Some(Identity { data: None, .. }) | None, .. }) => {
                let records = metrics::read(&run.metrics())?;
                records.iter().any(|record| record.step == step && !record.eval.is_empty()).then_some(step)
            }
            state => state.and_then(|state| state.evaluated),
        };
        let (metrics, _) = Metrics::open(&run.metrics(), step, evaluated == Some(step))?;
        let tensorboard = TensorBoard::create(&run.tensorboard(), step)?;
        if resumed.is_none() {
            let (generation, kept) = work.base();
            Base::save(run.path(), generation, kept)?;
        }
        save_tokenizer(work.tokenizer(), run.path())?;
        if let Some(template) = work.prompt_template() {
            prompt_template::write(run.path(), template)?;
        }
        reporter.event(&Event::Started {
            run: run.path().to_path_buf(),
            parameters: work.model().params().trainable_count(),
            examples: work.examples(),
            what: W::EXAMPLES,
            max_steps: recipe.train.max_steps.map(|n| n as u64),
        });
        for line in work.data_report().lines() {
            run.append_log(line)?;
        }
        if let Some(checkpoint) = resumed {
            reporter.event(&Event::Resumed { step, path: checkpoint.path.clone() });
        }
        let mut session = Self {
            run,
            reporter,
            grads: Grads::zeros(work.model().params()),
            identity: Identity { recipe: recipe.to_toml()?, model: work.config(), from, data: Some(data) },
            work,
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
            target_tokens: state.map_or(0, |s| s.tokens),
            cursor: state.and_then(|s| serde_json::from_value(s.cursor.clone()).ok()).unwrap_or_default(),
            earlier_seconds: state.map_or(0.0, |s| s.seconds),
            started: Instant::now(),
            window: state.map_or_else(Default::default, |s| s.window),
            trained_tokens: 0,
            trained_seconds: 0.0,
            last_evaluation: evaluated,
            last_save: None,
            irregular: state.filter(|state| !state.regular).map(|state| state.step),
        };
        if session.identity.from.is_some() && resumed.is_none() {
            // So that the run can be resumed without the model that it started from.
            session.save()?;
        }
        run.write(&run.config(), &session.identity.recipe)?;
        Ok(session)
    }
}
