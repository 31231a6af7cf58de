//! The start of a run: with random weights, with a model that exists, or where its last checkpoint stands.
//!
//! Everything is read and checked before anything is written, and `config.toml` is written last: where it lies, there
//! is a run that can be resumed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use atento_tensor::{Grads, Pool};

use super::{Session, TrainOptions, Window};
use crate::models::Translator;
use crate::pretrained::Pretrained;
use crate::text::Tokenizer;
use crate::train::adopt::{TOKENIZER_FILE, adopt};
use crate::train::build::{build_model, generation_config, model_config};
use crate::train::checkpoint::{Checkpoint, Identity};
use crate::train::data::RunData;
use crate::train::{
    EarlyStopping, Error, Event, Metrics, Optimizer, Recipe, Reporter, RunDir, Schedule, TensorBoard, resume,
};

/// What a run begins with.
pub(in crate::train) struct Beginning {
    /// The recipe; where there is a model already, it describes that one.
    pub recipe: Recipe,
    /// The tokenizer; without one, the recipe says which.
    pub tokenizer: Option<Tokenizer>,
    /// The model; without one, the recipe says which.
    pub model: Option<Translator>,
    /// Where the model came from, if the run did not make it.
    from: Option<PathBuf>,
    /// What the user should know.
    notes: Vec<String>,
}

impl Beginning {
    /// A new run.
    pub fn anew(recipe: &Recipe, options: &TrainOptions) -> Result<Self, Error> {
        let Some(from) = &options.from else {
            return Ok(Self { recipe: recipe.clone(), tokenizer: None, model: None, from: None, notes: Vec::new() });
        };
        let Pretrained { model, tokenizer, .. } = Pretrained::load(from)?;
        let recipe = adopt(recipe, &options.written, &model.config())?;
        let mut notes = Vec::new();
        if options.written.keys().any(|key| key.starts_with("tokenizer.")) {
            notes.push(format!("[tokenizer] of the recipe is not used: the tokenizer is that of {}", path_text(from)));
        }
        if !model_config(&recipe, &tokenizer).is_ok_and(|described| described == model.config()) {
            notes.push(format!(
                "no recipe can say all of {}: this run keeps it as it is, a new one begun with config.toml would not",
                path_text(from)
            ));
        }
        let (tokenizer, model) = (Some(tokenizer), Some(model));
        Ok(Self { recipe, tokenizer, model, from: Some(from.clone()), notes })
    }

    /// A run that goes on: its model is the one it was started with, and so is its tokenizer, whatever the text to
    /// learn one from now says.
    fn again(recipe: &Recipe, options: &TrainOptions, checkpoint: &Checkpoint, run: &RunDir) -> Result<Self, Error> {
        let saved_tokenizer = run.path().join(TOKENIZER_FILE);
        if !saved_tokenizer.exists() {
            // One learned anew might give other ids to the same words.
            let problem = format!("{} is missing: put it back, a copy is in model/", path_text(&saved_tokenizer));
            return Err(Error::Setting { key: "tokenizer", problem });
        }
        let tokenizer = Some(Tokenizer::load(&saved_tokenizer)?);
        let identity = checkpoint.state.identity.as_ref();
        let recipe = match identity {
            Some(Identity { model, from: Some(_), .. }) => adopt(recipe, &options.written, model)?,
            _ => recipe.clone(),
        };
        let mut notes = resume::check(checkpoint, &recipe, run)?;
        if let Some(from) = &options.from {
            notes.push(format!("{} is not used: the run goes on from its checkpoint", path_text(from)));
        }
        let model = identity.map(|identity| Translator::init(identity.model.clone(), recipe.seed));
        let from = identity.and_then(|identity| identity.from.clone());
        Ok(Self { recipe, tokenizer, model, from, notes })
    }
}

impl<'r> Session<'r> {
    pub(super) fn start(
        recipe: &Recipe,
        options: &TrainOptions,
        run: &'r RunDir,
        reporter: &'r mut dyn Reporter,
    ) -> Result<Self, Error> {
        let checkpoints = run.checkpoints();
        let found = if options.resume { Some(checkpoints.latest()?) } else { None };
        let resumed = found.as_ref().and_then(|found| found.checkpoint.as_ref());
        let Beginning { recipe, tokenizer, model, from, mut notes } = match resumed {
            Some(checkpoint) => Beginning::again(recipe, options, checkpoint, run)?,
            None => Beginning::anew(recipe, options)?,
        };
        let data = RunData::load(&recipe, tokenizer)?;
        let mut model = model.map_or_else(|| build_model(&recipe, &data.tokenizer), Ok)?;
        model.checkpoint_activations(recipe.train.checkpoint_activations);
        check_positions(&model, &recipe)?;
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
        let step = state.map_or(0, |state| state.step);
        if let Some(found) = &found {
            notes.extend(found.warnings.iter().cloned());
            if resumed.is_none() {
                let path = path_text(run.path());
                notes.push(format!("{path} holds no checkpoint yet: the run starts from the beginning"));
            }
            checkpoints.sweep()?;
            checkpoints.remove_after(step)?;
        } else {
            // Those of a start that was cut short.
            checkpoints.retain(0, None)?;
        }
        for note in notes {
            run.append_log(&note)?;
            reporter.event(&Event::Warning(note));
        }
        let (metrics, _) = Metrics::open(&run.metrics(), step)?;
        let tensorboard = TensorBoard::create(&run.tensorboard(), step)?;
        let tokenizer_json = data.tokenizer.to_json_bytes()?;
        crate::hub::atomic::atomic_write(&run.path().join(TOKENIZER_FILE), &tokenizer_json)?;
        reporter.event(&Event::Started {
            run: run.path().to_path_buf(),
            parameters: model.params().trainable_count(),
            pairs: data.train.report().kept as usize,
            max_steps: recipe.train.max_steps.map(|n| n as u64),
        });
        for line in data.train.report().to_string().lines() {
            run.append_log(line)?;
        }
        if let Some(checkpoint) = resumed {
            reporter.event(&Event::Resumed { step, path: checkpoint.path.clone() });
        }
        let mut session = Self {
            run,
            reporter,
            grads: Grads::zeros(model.params()),
            identity: Identity { recipe: recipe.to_toml()?, model: model.config(), from },
            pretrained: Pretrained {
                generation: generation_config(&recipe, &model),
                tokenizer: Tokenizer::from_json_bytes(&tokenizer_json)?,
                model,
            },
            recipe,
            data,
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
            window: Window::default(),
            trained_tokens: 0,
            trained_seconds: 0.0,
            last_evaluation: None,
            last_save: None,
        };
        if session.identity.from.is_some() && resumed.is_none() {
            // So that the run can be resumed without the model that it started from.
            session.save()?;
        }
        run.write(&run.config(), &session.identity.recipe)?;
        Ok(session)
    }
}

fn check_positions(model: &Translator, recipe: &Recipe) -> Result<(), Error> {
    let longest = recipe.data.max_length;
    match model.max_positions() {
        Some(positions) if positions < longest => {
            let problem = format!(
                "sentences may have {longest} tokens, but the model has positions for {positions}: lower it, or raise \
                 model.max_positions"
            );
            Err(Error::Setting { key: "data.max_length", problem })
        }
        _ => Ok(()),
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
