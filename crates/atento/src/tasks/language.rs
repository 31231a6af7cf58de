//! What `causal-lm` and `instruct` do alike, both of them training a decoder-only model: find or make it, learn its
//! tokenizer, measure its loss, and show what it writes.

use std::path::{Path, PathBuf};

use atento_tensor::{Graph, Pool};

use crate::data::tokens::CausalBatch;
use crate::data::tokens::instruct::Templates;
use crate::generate::{Flow, SampleOptions, TextEvent, WarperOptions};
use crate::hub::generation::GenerationConfig;
use crate::hub::templates;
use crate::models::CausalLm;
use crate::pipelines::LanguageModel;
use crate::pipelines::continue_text::{Continuation, ContinueOptions, Method, Usual, continue_prompts};
use crate::text::train::Kind;
use crate::text::{Learned, Tokenizer, TrainOptions as LearnOptions};
use crate::train::TrainOptions;
use crate::train::added_tokens::{add_to_model, add_to_tokenizer};
use crate::train::adopt::{self, Adopted, Base, adopt, is_described, saved_tokenizer};
use crate::train::build::{model_config, new_model};
use crate::train::checkpoint::{Checkpoint, Identity};
use crate::train::events::group_thousands;
use crate::train::recipe::check::of_other_families;
use crate::train::recipe::{Recipe, TokenizerKind, TokenizerSettings, Written};
use crate::train::report::Sample;
use crate::train::workload::Making;
use crate::train::{Error, StopFlag, resume};

/// Tokens of one validation batch, whatever those of a training batch: `train.eval_batches` counts batches of this size,
/// so that what is measured does not change with memory and accumulation.
pub(crate) const BATCH_TOKENS: usize = 4096;

/// What a run begins with.
pub(crate) struct Beginning {
    /// The recipe; where there is a model already, it describes that one.
    pub recipe: Recipe,
    /// The model, its weights not yet those of a checkpoint, and its tokenizer.
    pub language: LanguageModel,
    /// Where the model came from, if the run did not make it.
    pub from: Option<PathBuf>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Beginning {
    /// The model of the run that goes on, the one to start from, or a new one for the tokenizer of `new_tokenizer`.
    pub fn find(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
        new_tokenizer: impl FnOnce(&Recipe) -> Result<(Tokenizer, Vec<String>), Error>,
    ) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let (mut recipe, mut from, mut base) = (recipe.clone(), None, None);
        // Whether a new model is made that nobody has described.
        let mut is_unasked = false;
        let (tokenizer, model, templates) = match (resumed, recipe.from.clone()) {
            (Some(checkpoint), _) => {
                let tokenizer = saved_tokenizer(run)?;
                let templates = templates::read(run)?;
                let identity = &checkpoint.state.identity;
                recipe = resume::as_before(&recipe, &options.written, checkpoint)?;
                keep_templates(&mut recipe, &options.written, templates.as_ref());
                match identity {
                    Identity { model, from: Some(_), .. } => {
                        let found = Base::saved(run, identity, &tokenizer)?;
                        let tokens = tokenizer.vocab_size();
                        let adopted = Adopted { config: &**model, generation: &found.generation, tokens };
                        recipe = adopt(&recipe, &options.written, &adopted)?;
                        base = Some(found);
                    }
                    _ => recipe.settle(&options.written)?,
                }
                notes.extend(resume::check(checkpoint, &recipe)?);
                from.clone_from(&identity.from);
                let model = new_model(identity.model.shared(), &recipe, making)?;
                (tokenizer, Some(model), templates)
            }
            (None, Some(path)) => {
                let dir = adopt::open(&path, &recipe, &options.written)?;
                let loaded = match making {
                    Making::Weights => LanguageModel::from_exact(&dir)?,
                    Making::Outline => LanguageModel::outline(&dir)?,
                };
                let LanguageModel { mut model, mut tokenizer, generation, templates, mut kept, notes: found } = loaded;
                notes.extend(found);
                notes.extend(generation.unusable.iter().map(|fault| format!("{fault}; samples are drawn without it")));
                if model.sizes().eos_id.is_none_or(|eos| !generation.eos_ids.contains(&eos)) {
                    // The end that is taught is one that the trained model declares.
                    let end = tokenizer.special().eos;
                    model.set_eos_id(end);
                    kept.set("eos_token_id", end.into());
                }
                let add = &recipe.tokenizer.add_tokens;
                notes.extend(add_to_model(&mut model, &mut tokenizer, &mut kept, add)?);
                keep_templates(&mut recipe, &options.written, templates.as_ref());
                let config = model.config();
                let adopted = Adopted { config: &*config, generation: &generation, tokens: tokenizer.vocab_size() };
                if is_described(&recipe, &options.written, &tokenizer) {
                    let model = path.display();
                    notes.push(format!("[tokenizer] of the recipe is not used: the tokenizer is that of {model}"));
                }
                recipe = adopt(&recipe, &options.written, &adopted)?;
                notes.extend(of_other_families(&recipe, &|key| options.written.contains_key(key)));
                base = Some(Base { generation, kept });
                from = Some(path);
                (tokenizer, Some(model), templates)
            }
            (None, None) => {
                is_unasked = !options.written.is_empty() && !describes_model(&options.written);
                recipe.settle(&options.written)?;
                let (mut tokenizer, found) = new_tokenizer(&recipe)?;
                notes.extend(found);
                add_to_tokenizer(&mut tokenizer, &recipe.tokenizer.add_tokens)?;
                (tokenizer, None, None)
            }
        };
        let mut model: Box<dyn CausalLm> = match model {
            Some(model) => model,
            None => new_model(&model_config(&recipe, &tokenizer)?, &recipe, making)?,
        };
        if is_unasked {
            let (preset, parameters) = (recipe.model.preset, group_thousands(model.params().count() as u64));
            notes.push(format!(
                "no [model] and no --from: a new model of preset {preset}, {parameters} parameters, starts from random weights"
            ));
        }
        model.checkpoint_activations(recipe.train.checkpoint_activations);
        let tokenizer = tokenizer.for_table(model.vocab_size());
        let language = match base {
            Some(Base { generation, kept }) => {
                LanguageModel { model, tokenizer, generation, kept, notes: Vec::new(), templates }
            }
            None => {
                let generation = GenerationConfig::of_language_model(model.sizes());
                LanguageModel { templates, ..LanguageModel::new(model, tokenizer, generation) }
            }
        };
        Ok(Self { recipe, language, from, notes })
    }
}

/// Whether a recipe states something of the model.
pub(crate) fn describes_model(written: &Written) -> bool {
    written.keys().any(|key| key.starts_with("model."))
}

/// A model that was taught with a template is taught further with the same one, unless the recipe states another.
fn keep_templates(recipe: &mut Recipe, written: &Written, found: Option<&Templates>) {
    let Some(Templates { prompt, completion }) = found.filter(|_| recipe.task.has_templates()) else { return };
    if !written.contains_key("data.prompt_template") {
        recipe.data.prompt_template = prompt.text().to_owned();
    }
    if !written.contains_key("data.completion_template") {
        recipe.data.completion_template = completion.text().to_owned();
    }
}

/// The words of `tokenizer.kind` for language models, whose text keeps its line ends.
pub(crate) const KINDS: [&str; 2] = ["byte_bpe", "char"];

/// Learns the tokenizer of a recipe from pieces of text.
pub(crate) fn learn_tokenizer(
    settings: &TokenizerSettings,
    lessons: impl Iterator<Item = Result<String, Error>>,
) -> Result<(Tokenizer, Vec<String>), Error> {
    let asked = LearnOptions {
        lowercase: settings.lowercase,
        limit_alphabet: settings.limit_alphabet,
        character_coverage: settings.character_coverage,
        byte_fallback: settings.byte_fallback,
        ..LearnOptions::characters()
    };
    let options = match settings.kind {
        TokenizerKind::Char => LearnOptions { byte_fallback: Some(settings.byte_fallback == Some(true)), ..asked },
        TokenizerKind::ByteBpe => LearnOptions {
            kind: Kind::ByteLevelBpe,
            vocab_size: settings.vocab_size,
            min_frequency: settings.min_frequency,
            ..asked
        },
        other => {
            let [one, another] = KINDS;
            let problem = format!("\"{other}\" loses line ends; a language model learns \"{one}\" or \"{another}\"");
            return Err(Error::Setting { key: "tokenizer.kind", problem });
        }
    };
    let Learned { tokenizer, notes } = Tokenizer::learn(lessons, &options)?;
    Ok((tokenizer, notes))
}

/// The loss over batches: the sum in nats and the tokens that were predicted, 0 where no batch has a target.
pub(crate) fn loss(
    model: &dyn CausalLm,
    pool: &Pool,
    batches: impl Iterator<Item = Result<CausalBatch, Error>>,
    stop: &StopFlag,
) -> Result<(f64, usize), Error> {
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in batches {
        if stop.is_stopped() {
            return Err(Error::Stopped);
        }
        let batch = batch?;
        if batch.predictions() == 0 {
            continue;
        }
        let g = &mut Graph::infer(model.params(), pool);
        let found = model.loss(g, &batch.ids, &batch.cu_seqlens, &batch.targets, 0.0, 1.0);
        (sum, tokens) = (sum + found.nll_sum, tokens + found.n_targets);
    }
    Ok((sum, tokens))
}

/// How many batches `train.eval_batches` stands for.
pub(crate) fn limit(eval_batches: usize) -> usize {
    if eval_batches == 0 { usize::MAX } else { eval_batches }
}

/// What the model writes, in at most `new_tokens` tokens, behind each beginning, beside what stands there in the data.
pub(crate) fn samples(
    language: &LanguageModel,
    stretches: &[(Vec<u32>, Vec<u32>)],
    warpers: WarperOptions,
    seed: u64,
    new_tokens: usize,
) -> Result<Vec<Sample>, Error> {
    if stretches.is_empty() {
        return Ok(Vec::new());
    }
    // As the finished model generates.
    let processors = language.processors();
    let options = ContinueOptions {
        method: Method::Sample(SampleOptions { seed, warpers, processors, ..SampleOptions::default() }),
        stops: Vec::new(),
        max_new_tokens: None,
        usual: Usual { new_tokens, whole: None },
        slide: false,
    };
    let prompts: Vec<Vec<u32>> = stretches.iter().map(|(prompt, _)| prompt.clone()).collect();
    let (found, _) = continue_prompts(language, &prompts, 0, &options, |_: &TextEvent<'_>| Flow::Continue)?;
    let text = |ids: &[u32]| language.tokenizer.decode(ids, true);
    let sample = |((prompt, reference), found): (&(Vec<u32>, Vec<u32>), Vec<Continuation>)| {
        let hypothesis = found.into_iter().next().map_or_else(String::new, |one| one.text);
        Ok(Sample { source: text(prompt)?, reference: text(reference)?, hypothesis })
    };
    stretches.iter().zip(found).map(sample).collect()
}

/// How a model draws tokens by its own settings, where they say that it does; else `usual`.
pub(crate) fn warpers(language: &LanguageModel, usual: WarperOptions) -> WarperOptions {
    let own = &language.generation.sampling;
    if own.do_sample != Some(true) {
        return usual;
    }
    own.warpers()
}

/// Rows of the report's table on a decoder-only model.
pub(crate) fn describe(model: &dyn CausalLm, block_size: usize) -> Vec<(String, String)> {
    vec![
        ("Vocabulary".into(), model.vocab_size().to_string()),
        ("Blocks, width, heads".into(), format!("{}, {}, {}", model.layers(), model.d_model(), model.heads())),
        ("Tokens at a stretch".into(), block_size.to_string()),
    ]
}
