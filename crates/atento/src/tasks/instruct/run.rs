//! Learning to answer: prompts with their completions, a decoder-only model that reads both and learns to write the
//! completion.

use std::path::Path;
use std::sync::Arc;

use atento_tensor::Pool;

use super::files::{no_data, open, source, with_key};
use crate::data::hash::combine;
use crate::data::tokens::Cursor;
use crate::data::tokens::instruct::{
    CompletionTemplate, InstructOptions, InstructSet, InstructSource, PackOptions, PromptTemplate, Templates,
};
use crate::generate::WarperOptions;
use crate::hub::ChatTemplate;
use crate::hub::special_tokens::load_tokenizer;
use crate::models::CausalLm;
use crate::pipelines::{LanguageModel, LoadError, Loaded};
use crate::tasks::files::{on_bad_line, on_truncate};
use crate::tasks::language::{self, BATCH_TOKENS, Beginning};
use crate::text::Tokenizer;
use crate::train::TrainOptions;
use crate::train::adapt::positions_left;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{FileSettings, Recipe};
use crate::train::report::Sample;
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag};

/// Completions shown in the report, and the most tokens of each.
const SAMPLES: usize = 10;
const SAMPLE_TOKENS: usize = 128;

/// A language model and its prompts with completions.
pub(crate) struct Instruct {
    language: LanguageModel,
    pub(crate) train: InstructSet,
    valid: Option<InstructSet>,
    test: Option<InstructSet>,
    block_size: usize,
}

impl Instruct {
    /// The loss of the completions of a set: the sum in nats and the tokens.
    fn loss(
        &self,
        set: &InstructSet,
        options: PackOptions,
        limit: usize,
        pool: &Pool,
        stop: &StopFlag,
    ) -> Result<(f64, usize), Error> {
        // An example that is held out may be longer than any batch of the training.
        let max_tokens = options.max_tokens.max(set.report().longest as usize);
        let batches = set.batches(PackOptions { max_tokens, epochs: Some(1), ..options })?;
        let batches = batches.map(|(batch, _)| Ok(batch)).take(language::limit(limit));
        language::loss(&*self.language.model, pool, batches, stop)
    }

    /// The loss of all completions of a set.
    fn whole_loss(&self, set: &InstructSet, pool: &Pool, stop: &StopFlag) -> Result<f64, Error> {
        let options = PackOptions { max_tokens: BATCH_TOKENS, shuffle: false, ..PackOptions::default() };
        let (sum, tokens) = self.loss(set, options, 0, pool, stop)?;
        Ok(sum / tokens as f64)
    }

    /// The likeliest answers to prompts from all over a set.
    fn samples(&self, set: &InstructSet) -> Result<Vec<Sample>, Error> {
        let answers = set.spread(SAMPLES).map(|at| set.examples()[at].last_answer());
        let stretches: Vec<_> = answers
            .filter(|(prompt, _)| !prompt.is_empty())
            .map(|(prompt, completion)| (prompt.to_vec(), completion.to_vec()))
            .collect();
        let greedy = WarperOptions { temperature: 0.0, ..WarperOptions::default() };
        language::samples(&self.language, &stretches, language::warpers(&self.language, greedy), 0, SAMPLE_TOKENS)
    }

    /// The parts of the data that there are, each with its name.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &InstructSet)> {
        let held_out = [("valid", &self.valid), ("test", &self.test)];
        let held_out = held_out.into_iter().filter_map(|(name, set)| Some((name, set.as_ref()?)));
        std::iter::once(("train", &self.train)).chain(held_out)
    }
}

impl Workload for Instruct {
    type Model = Box<dyn CausalLm>;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = "prompts with completions";
    const SAMPLE: [&'static str; 2] = ["Prompt", "Completion"];

    fn loss_unit(&self) -> &'static str {
        "nats per learned token"
    }

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error> {
        let new_tokenizer = |recipe: &Recipe| {
            check_described(options)?;
            tokenizer(recipe)
        };
        let Beginning { recipe, mut language, from, mut notes } =
            Beginning::find(recipe, options, resumed, run, making, new_tokenizer)?;
        notes.extend(recipe.data.header_notes());
        let chat = chat_template(&recipe, &mut language)?;
        if is_conversations(&recipe) {
            let has_no_effect = |key: &&str| options.written.contains_key(*key);
            let unused = ["data.prompt_template", "data.completion_template"].into_iter().filter(has_no_effect);
            notes.extend(unused.map(|key| format!("`{key}` has no effect: the chat template writes conversations")));
        } else {
            let completion = CompletionTemplate::parse(&recipe.data.completion_template)?;
            let end = language.tokenizer.special().eos.and_then(|eos| language.tokenizer.id_to_token(eos));
            if !completion.end && !end.is_some_and(|end| completion.text().contains(&end)) {
                notes.push("`data.completion_template` has no <end>: the model is not taught to stop".to_owned());
            }
            let prompt = PromptTemplate::parse(&recipe.data.prompt_template)?;
            language.templates = Some(Templates { prompt, completion });
        }
        let LanguageModel { model, tokenizer, .. } = &language;
        let positions = positions_left(&recipe, model.max_positions())?;
        let block_size = block_size(&recipe, positions)?;
        let shared = Arc::new(tokenizer.clone());
        let learned = InstructOptions { block_size, chat, ..instruct_options(&recipe) };
        // What is watched is how the model answers, whatever else it learns, and of every example.
        let held_out = InstructOptions { train_on_prompt: false, drop_duplicates: false, ..learned.clone() };
        let part = |key, files: &Option<FileSettings>, options: &InstructOptions| {
            files
                .as_ref()
                .map(|files| open(key, files, &shared, options.clone(), on_bad_line(&recipe), positions))
                .transpose()
        };
        let train = part("data.train", &recipe.data.train, &learned)?.ok_or_else(no_data)?;
        check_batch(&recipe, &train)?;
        let valid = part("data.valid", &recipe.data.valid, &held_out)?.map(|set| set.compared_with(&train));
        let test = part("data.test", &recipe.data.test, &held_out)?.map(|set| set.compared_with(&train));
        let work = Self { language, train, valid, test, block_size };
        Ok(Begun { recipe, work, from, notes, computed: Vec::new() })
    }

    fn loaded(&self) -> &Loaded<Self::Model> {
        &self.language
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Self::Model> {
        &mut self.language
    }

    fn examples(&self) -> usize {
        self.train.examples().len()
    }

    fn targets_per_epoch(&self) -> u64 {
        self.train.report().learned_tokens
    }

    fn tokens_per_epoch(&self) -> u64 {
        // The last token of an example is only ever a target.
        self.train.report().tokens - self.train.report().kept
    }

    fn weighed_tokens(&self) -> u64 {
        self.tokens_per_epoch()
    }

    fn data_json(&self) -> serde_json::Value {
        self.parts().map(|(name, set)| (name.to_owned(), serde_json::json!(set.report()))).collect()
    }

    fn data_report(&self) -> String {
        self.parts().map(|(name, set)| format!("data.{name}:\n{}\n", set.report())).collect()
    }

    fn losses(&self) -> Vec<String> {
        let told = |(name, set): (&str, &InstructSet)| {
            Some(format!("data.{name}: {}", set.report().losses(self.tokenizer())?))
        };
        self.parts().filter_map(told).collect()
    }

    fn data_hash(&self) -> Result<u64, Error> {
        Ok(combine(self.train.hash(), self.valid.as_ref().map_or(0, InstructSet::hash)))
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let mut batches = self.train.batches(pack_options(recipe))?;
        batches.seek(from)?;
        Ok(Box::new(batches.map(Ok)))
    }

    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error> {
        Ok(self.train.batches(pack_options(recipe))?.batches_per_epoch())
    }

    fn measure(&self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let options = PackOptions { max_tokens: BATCH_TOKENS, seed: recipe.seed, ..PackOptions::default() };
        let limit = recipe.train.eval_batches;
        let is_part = limit > 0 && (limit as u64) < valid.batches(options.clone())?.batches_per_epoch();
        let loss = match is_part {
            false => self.whole_loss(valid, pool, stop)?,
            true => {
                let (sum, tokens) = self.loss(valid, options, limit, pool, stop)?;
                sum / tokens as f64
            }
        };
        Ok(Some(Measured::loss(loss)))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        for (name, set) in self.parts().skip(1) {
            let loss = self.whole_loss(set, pool, stop)?;
            judgement.metrics.insert(format!("{name}_loss"), loss);
            judgement.metrics.insert(format!("{name}_perplexity"), loss.exp());
            judgement.samples = self.samples(set)?;
        }
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        language::describe(&*self.language.model, self.block_size)
    }
}

/// How the training examples are dealt out.
fn pack_options(recipe: &Recipe) -> PackOptions {
    let train = &recipe.train;
    PackOptions {
        max_tokens: train.batch_tokens,
        max_sequences: (train.max_sentences > 0).then_some(train.max_sentences),
        shuffle: true,
        seed: recipe.seed,
        epochs: train.max_epochs.map(|n| n as u64),
    }
}

/// What the recipe says of examples, but for their length.
fn instruct_options(recipe: &Recipe) -> InstructOptions {
    let data = &recipe.data;
    InstructOptions {
        prompt_template: data.prompt_template.clone(),
        completion_template: data.completion_template.clone(),
        on_truncate: on_truncate(recipe),
        train_on_prompt: data.train_on_prompt,
        drop_duplicates: data.drop_duplicates,
        ..InstructOptions::default()
    }
}

/// Whether the training data are conversations.
fn is_conversations(recipe: &Recipe) -> bool {
    let source = recipe.data.train.as_ref().and_then(source);
    matches!(source, Some(InstructSource::Conversations { .. }))
}

/// How conversations are written: by the template that the recipe names, which stays with the model, or the model's own.
fn chat_template(recipe: &Recipe, language: &mut LanguageModel) -> Result<Option<ChatTemplate>, Error> {
    let Some(path) = &recipe.data.chat_template else { return Ok(language.chat_template()?) };
    language.kept.set_chat_template(ChatTemplate::read_file(path).map_err(LoadError::from)?.text());
    Ok(language.chat_template()?.map(|template| template.at(path)))
}

/// The tokenizer of the recipe for a new model, loaded or learned from the training data.
fn tokenizer(recipe: &Recipe) -> Result<(Tokenizer, Vec<String>), Error> {
    if let Some(path) = &recipe.tokenizer.file {
        return Ok(load_tokenizer(path)?);
    }
    let files = recipe.data.train.as_ref().ok_or_else(no_data)?;
    let source = source(files).ok_or_else(no_data)?;
    let named = |error| with_key("data.train", files, error);
    let chat =
        recipe.data.chat_template.as_deref().map(ChatTemplate::read_file).transpose().map_err(LoadError::from)?;
    let options = InstructOptions { chat, ..instruct_options(recipe) };
    let lessons = source.lessons(&options).map_err(named)?.map(|text| text.map_err(named));
    language::learn_tokenizer(&recipe.tokenizer, lessons)
}

/// Refuses to make up a model that nobody asked for: who forgot the one to start from would train for hours.
fn check_described(options: &TrainOptions) -> Result<(), Error> {
    // A recipe that was built in code has a model whatever it says.
    if options.written.is_empty() || language::describes_model(&options.written) {
        return Ok(());
    }
    let problem = "there is no model: start from one with `from` or --from, or describe a new one in [model]".into();
    Err(Error::Setting { key: "model", problem })
}

fn block_size(recipe: &Recipe, positions: usize) -> Result<usize, Error> {
    match recipe.data.block_size {
        Some(block) if block > positions => {
            let problem = format!("it is {block}, but the model has {positions} positions: lower it, or leave it out");
            Err(Error::Setting { key: "data.block_size", problem })
        }
        stated => Ok(stated.unwrap_or(positions)),
    }
}

/// Checks before the run starts that every batch has room for the longest example.
fn check_batch(recipe: &Recipe, train: &InstructSet) -> Result<(), Error> {
    let (room, longest) = (recipe.train.batch_tokens, train.report().longest - 1);
    if room as u64 >= longest {
        return Ok(());
    }
    let problem = format!("it is {room}, and the longest example has {longest} tokens: raise it to that at least");
    Err(Error::Setting { key: "train.batch_tokens", problem })
}

#[cfg(test)]
mod tests;
