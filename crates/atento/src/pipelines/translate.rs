//! Sentences in, translations out: tokenise, search in batches, detokenise.
//!
//! Sentences of like length are searched together and batches run side by side on the threads of the pool. A
//! sentence's translation does not depend on the others.

use atento_tensor::Pool;
use rayon::prelude::*;

use super::Loaded;
use crate::generate::{self, EarlyStopping, Hypothesis, LengthPenalty, Prompt, SearchOptions, search_until};
use crate::hub::generation::{self, GenerationConfig};
use crate::models::Translator;
use crate::score::Fault;
use crate::text::{self, Tokenizer};

/// Bytes that the caches, logits and candidates of all searches running side by side may take together. Where batches
/// would take more, fewer of them run at a time.
const SEARCH_BYTES: usize = 4 << 30;

/// Bytes that those of one batch may take; a sentence that takes more is searched alone. The number of threads has no
/// part in it: the sentences of a batch are multiplied together, so their last bits depend on how many they are.
const BATCH_BYTES: usize = SEARCH_BYTES / 2;

/// What can go wrong with a sentence or with the search.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tokenizer failed.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The search failed.
    #[error(transparent)]
    Search(#[from] generate::Error),
    /// A sentence that the model cannot represent.
    #[error("sentence {line} {fault}")]
    Sentence {
        /// Which sentence, counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The decoder's first token has no row in the embedding table.
    #[error(
        "the decoder's start token is {id}, but the model's table has {vocab_size} rows: mend decoder_start_token_id in \
         generation_config.json or config.json"
    )]
    StartId {
        /// The id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
}

/// How to translate. There is no default, because only the model knows its first token and its end token:
/// [`Pretrained::translate_options`] is what its own settings say.
///
/// ```
/// use atento::{Pretrained, TranslateOptions};
///
/// let translator = Pretrained::load("tests/fixtures/conformance/marian-tiny")?;
/// let mut options = TranslateOptions { max_new_tokens: 12, ..translator.translate_options() };
/// (options.search.beam, options.search.n_best) = (4, 2);
/// assert_eq!(translator.translate_all(&["a dog runs"], &options)?[0].len(), 2);
/// # Ok::<(), atento::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TranslateOptions {
    /// The search.
    pub search: SearchOptions,
    /// The decoder's first token.
    pub start_id: u32,
    /// The most tokens of a translation, its end token included.
    pub max_new_tokens: usize,
    /// A further limit relative to the source: `ratio · source_tokens + 10`.
    pub max_length_ratio: Option<f64>,
    /// Source tokens searched together, as far as memory allows.
    pub batch_tokens: usize,
}

/// Source tokens searched together by default.
const USUAL_BATCH: usize = 1024;

/// A translator, ready to use.
pub type Pretrained = Loaded<Box<dyn Translator>>;

impl Pretrained {
    /// The decoder's first token: what the model's settings say, else what its configuration does.
    #[must_use]
    pub fn start_id(&self) -> u32 {
        self.generation.decoder_start_id.unwrap_or_else(|| self.model.start_id())
    }

    /// The model's own settings for translating.
    #[must_use]
    pub fn translate_options(&self) -> TranslateOptions {
        TranslateOptions {
            search: search_options(&self.generation),
            start_id: self.start_id(),
            // The start token counts in `max_length`.
            max_new_tokens: self
                .generation
                .max_new_tokens
                .or(self.generation.max_length.map(|n| n.saturating_sub(1)))
                .unwrap_or(256)
                .max(1),
            max_length_ratio: None,
            batch_tokens: USUAL_BATCH,
        }
    }
}

/// A search as `generation_config.json` asks for it.
#[must_use]
pub fn search_options(generation: &GenerationConfig) -> SearchOptions {
    SearchOptions {
        beam: generation.num_beams,
        n_best: 1,
        length_penalty: LengthPenalty::HuggingFace(f64::from(generation.length_penalty)),
        early_stopping: match generation.early_stopping {
            generation::EarlyStopping::Heuristic => EarlyStopping::False,
            generation::EarlyStopping::AtEnoughCandidates => EarlyStopping::True,
            generation::EarlyStopping::Exhaustive => EarlyStopping::Never,
        },
        // The start token counts in `min_length`.
        min_new_tokens: generation.min_new_tokens.unwrap_or(generation.min_length.saturating_sub(1)),
        min_length: 0,
        repetition_penalty: generation.repetition_penalty,
        no_repeat_ngram: generation.no_repeat_ngram_size,
        eos_ids: generation.eos_ids.clone(),
        bad_words: generation.bad_words_ids.clone(),
        suppress_tokens: generation.suppressed_ids.clone(),
        forced_bos: generation.forced_bos_id,
        forced_eos: generation.forced_eos_id,
    }
}

/// One hypothesis in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The text, special tokens left out.
    pub text: String,
    /// What the search returned.
    pub hypothesis: Hypothesis,
}

impl Translation {
    /// A hypothesis of a search with its text.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn new(tokenizer: &Tokenizer, hypothesis: Hypothesis) -> Result<Self, Error> {
        Ok(Translation { text: tokenizer.decode(&hypothesis.ids, true)?, hypothesis })
    }
}

/// Source token ids of each sentence, checked against the model.
///
/// # Errors
/// A sentence that is too long or that the model's table cannot represent.
pub fn encode_sources<S: AsRef<str> + Sync>(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    sentences: &[S],
) -> Result<Vec<Vec<u32>>, Error> {
    let ids: Vec<_> = sentences.par_iter().map(|s| encode_source(model, tokenizer, s.as_ref())).collect();
    // In order, so that the first that is wrong is named.
    (1..).zip(ids).map(|(line, ids)| ids.map_err(|fault| Error::Sentence { line, fault })).collect()
}

/// Source token ids of a sentence, checked against the model.
///
/// # Errors
/// The sentence is too long, or has a token without a row in the model's table.
pub fn encode_source(model: &dyn Translator, tokenizer: &Tokenizer, sentence: &str) -> Result<Vec<u32>, Fault> {
    let ids = tokenizer.encode_source(sentence)?;
    Fault::check_fit(&ids, model.vocab_size(), model.max_positions())?;
    Ok(ids)
}

/// Translates sentences; each gets `options.search.n_best` hypotheses, best first, in the order of the sentences.
///
/// # Errors
/// See [`Error`]; nothing is translated then.
pub fn translate<S: AsRef<str> + Sync>(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    sentences: &[S],
    options: &TranslateOptions,
) -> Result<Vec<Vec<Translation>>, Error> {
    let translated = translate_unless(model, tokenizer, sentences, options, &|| false)?;
    Ok(translated.expect("nothing stopped it"))
}

/// [`translate`], which gives up, with `None`, once `stopped` says so; asked between tokens.
///
/// # Errors
/// As above.
pub fn translate_unless<S: AsRef<str> + Sync>(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    sentences: &[S],
    options: &TranslateOptions,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Vec<Vec<Translation>>>, Error> {
    let sources = encode_sources(model, tokenizer, sentences)?;
    let Some(hypotheses) = search_unless(model, &sources, options, stopped)? else { return Ok(None) };
    let decode = |hypothesis| Translation::new(tokenizer, hypothesis);
    hypotheses.into_par_iter().map(|list| list.into_iter().map(decode).collect()).collect::<Result<_, _>>().map(Some)
}

/// Searches translations of tokenised sentences, each ending with the end token.
///
/// # Errors
/// The search's.
pub fn translate_ids(
    model: &dyn Translator,
    sources: &[Vec<u32>],
    options: &TranslateOptions,
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    Ok(search_unless(model, sources, options, &|| false)?.expect("nothing stopped it"))
}

fn search_unless(
    model: &dyn Translator,
    sources: &[Vec<u32>],
    options: &TranslateOptions,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Vec<Vec<Hypothesis>>>, Error> {
    let vocab_size = model.vocab_size();
    if options.start_id as usize >= vocab_size {
        return Err(Error::StartId { id: options.start_id, vocab_size });
    }
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sources[i].len()));
    let longest = order.first().map_or(0, |&i| sources[i].len());
    let sentence_bytes = sentence_bytes(model, longest, options);
    let batches = cut(&order, sources, options.batch_tokens.max(1), (BATCH_BYTES / sentence_bytes).max(1));
    let at_once = batches_at_once(&batches, sentence_bytes);
    // One pool a batch: batches on different threads do not wait for each other's buffers.
    let search = |batch: &[usize]| {
        let found = if stopped() { Vec::new() } else { search_batch(model, sources, batch, options, stopped)? };
        // A search that was interrupted has found what it had not looked for to the end.
        Ok((!stopped()).then_some(found))
    };
    let mut searched = Vec::with_capacity(batches.len());
    for batches in batches.chunks(at_once) {
        let found: Vec<Option<Vec<Vec<Hypothesis>>>> =
            batches.par_iter().map(|batch| search(batch)).collect::<Result<_, Error>>()?;
        let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        searched.extend(found);
    }
    let mut results = vec![Vec::new(); sources.len()];
    for (&i, hypotheses) in order.iter().zip(searched.into_iter().flatten()) {
        results[i] = hypotheses;
    }
    Ok(Some(results))
}

/// The bytes that the search of a sentence of up to `longest` tokens takes.
fn sentence_bytes(model: &dyn Translator, longest: usize, options: &TranslateOptions) -> usize {
    let length = options.max_new_tokens.min(model.max_positions().unwrap_or(usize::MAX));
    let row_bytes = model.decoder_row_bytes(longest, length).saturating_add(options.search.row_bytes(length));
    row_bytes.saturating_mul(options.search.beam).max(1)
}

/// How many batches may be searched side by side within [`SEARCH_BYTES`]: all of them where every thread may have one.
fn batches_at_once(batches: &[&[usize]], sentence_bytes: usize) -> usize {
    let largest = batches.iter().map(|batch| batch.len()).max().unwrap_or(1);
    let fit = (SEARCH_BYTES / largest.saturating_mul(sentence_bytes)).max(1);
    if fit < rayon::current_num_threads() { fit } else { batches.len().max(1) }
}

/// Cuts a descending order of sentences into runs of about `batch_tokens` source tokens and at most `most` sentences.
fn cut<'a>(order: &'a [usize], sources: &[Vec<u32>], batch_tokens: usize, most: usize) -> Vec<&'a [usize]> {
    let mut batches = Vec::new();
    let mut rest = order;
    while let Some(&longest) = rest.first() {
        let n = (batch_tokens / sources[longest].len().max(1)).clamp(1, most).min(rest.len());
        let (batch, later) = rest.split_at(n);
        batches.push(batch);
        rest = later;
    }
    batches
}

fn search_batch(
    model: &dyn Translator,
    sources: &[Vec<u32>],
    batch: &[usize],
    options: &TranslateOptions,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    let ids: Vec<u32> = batch.iter().flat_map(|&i| sources[i].iter().copied()).collect();
    let mut cu_source = vec![0];
    for &i in batch {
        cu_source.push(cu_source[cu_source.len() - 1] + sources[i].len() as u32);
    }
    let positions = model.max_positions().unwrap_or(usize::MAX);
    let prompts: Vec<Prompt> = batch
        .iter()
        .map(|&i| {
            let by_ratio = options
                .max_length_ratio
                .map_or(usize::MAX, |r| ((r * sources[i].len() as f64) as usize).saturating_add(10));
            Prompt::start(options.start_id, options.max_new_tokens.min(by_ratio).min(positions))
        })
        .collect();
    let mut decoder = model.decoder(&Pool::new(), &ids, &cu_source);
    Ok(search_until(decoder.as_mut(), &prompts, &options.search, &mut || stopped())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Transformer, TransformerConfig};

    fn options(beam: usize) -> TranslateOptions {
        TranslateOptions {
            search: SearchOptions { beam, eos_ids: vec![1], ..SearchOptions::default() },
            start_id: 0,
            max_new_tokens: 6,
            max_length_ratio: None,
            batch_tokens: 1 << 20,
        }
    }

    #[test]
    fn what_is_searched_together_fits_the_memory_and_changes_nothing() {
        let config = TransformerConfig { d_model: 16, encoder_layers: 1, ..TransformerConfig::tiny(40_000) };
        let model = Transformer::init(config, 1);
        let order: Vec<usize> = (0..100_000).collect();
        let sources = vec![vec![7, 2, 1]; order.len()];
        for beam in [1, 4, 1024] {
            let bytes = sentence_bytes(&model, 3, &options(beam));
            let batches = cut(&order, &sources, 1 << 20, (BATCH_BYTES / bytes).max(1));
            let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for threads in [1, 2, 64] {
                let at_once = pool(threads).install(|| batches_at_once(&batches, bytes)).min(threads);
                let logits = at_once * batches[0].len() * beam * model.vocab_size() * size_of::<f32>();
                assert!(logits <= SEARCH_BYTES, "beam {beam}, {threads} threads: {logits} bytes of logits alone");
            }
        }
        assert!(BATCH_BYTES / sentence_bytes(&model, 3, &options(1)) > 100);
        let sources: Vec<Vec<u32>> = (2..9).map(|last| vec![7, last, 1]).collect();
        let order: Vec<usize> = (0..sources.len()).collect();
        let lengths = |most| cut(&order, &sources, 100, most).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!((lengths(3), lengths(100)), (vec![3, 3, 1], vec![7]));
        let ids = |sources: &[Vec<u32>]| -> Vec<Vec<u32>> {
            let found = translate_ids(&model, sources, &options(2)).unwrap();
            found.into_iter().map(|hypotheses| hypotheses[0].ids.clone()).collect()
        };
        let together = ids(&sources);
        for (source, expected) in sources.chunks(1).zip(&together) {
            assert_eq!(&ids(source)[0], expected);
        }
    }
}
