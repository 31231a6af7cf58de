//! The data of a run: the tokenizer, the training pairs dealt out in batches, the validation and test pairs.

use std::path::Path;
use std::sync::Arc;

use crate::data::demo::{DemoCorpus, DemoOptions};
use crate::data::{
    Columns, DataReport, Dataset, LineReport, OnTruncate, Pair, PairOptions, ParallelSource, load_pairs,
};
use crate::hub::special_tokens;
use crate::messages;
use crate::tasks::files::{on_bad_line, on_truncate};
use crate::text::train::{Kind, TrainOptions};
use crate::text::{self, Learned, Tokenizer};
use crate::train::Error;
use crate::train::added_tokens::add_to_tokenizer;
use crate::train::recipe::{Corpus, DataFiles, FileSettings, Recipe, ScheduleKind, TokenizerKind};

/// Sentences to look at and to score, as text and as ids.
pub struct HeldOut {
    /// Source and target text.
    pub text: Vec<(String, String)>,
    /// Where it comes from.
    pub place: String,
    /// The pairs that have ids: those with an empty side are only in `text`.
    pub pairs: Vec<Pair>,
    /// What has no part in the loss.
    pub report: DataReport,
    /// Of the pairs.
    pub hash: u64,
}

/// Held-out sentences as text.
struct Text {
    place: String,
    pairs: Vec<(String, String)>,
    /// The lines beside them that hold no pair.
    lines: LineReport,
}

/// Everything a run reads.
pub struct RunData {
    /// For both sides.
    pub tokenizer: Arc<Tokenizer>,
    /// What is trained on.
    pub train: Dataset,
    /// What is watched.
    pub valid: Option<HeldOut>,
    /// What the finished model is scored on.
    pub test: Option<HeldOut>,
    /// What the user should know of the tokenizer.
    pub notes: Vec<String>,
}

/// The pairs of the recipe: in files, or made by the built-in grammar.
enum Origin {
    Files { train: ParallelSource, valid: Option<ParallelSource>, test: Option<ParallelSource> },
    Demo(DemoCorpus),
}

impl RunData {
    /// Reads the data of a recipe, with a given tokenizer or one that is loaded or learned as the recipe says.
    ///
    /// # Errors
    /// Files that cannot be read or do not pair, sentences that are refused, a tokenizer that cannot be learned.
    pub fn load(recipe: &Recipe, tokenizer: Option<Tokenizer>) -> Result<Self, Error> {
        recipe.validate()?;
        let origin = Origin::of(recipe)?;
        let is_given = tokenizer.is_some();
        let (mut tokenizer, mut notes) = match (tokenizer, &recipe.tokenizer.file) {
            (Some(tokenizer), _) => (tokenizer, Vec::new()),
            (None, Some(path)) => load_tokenizer(path)?,
            (None, None) => {
                let Learned { tokenizer, notes } = learn(recipe, &origin)?;
                (tokenizer, notes)
            }
        };
        // One that is given has them.
        if !is_given {
            add_to_tokenizer(&mut tokenizer, &recipe.tokenizer.add_tokens)?;
        }
        let tokenizer = Arc::new(tokenizer);
        let both = || (Arc::clone(&tokenizer), Arc::clone(&tokenizer));
        let options = pair_options(recipe);
        let named = |source: &ParallelSource| -> Result<Text, Error> {
            let (pairs, lines) = load_pairs(source, options.on_bad_line)?;
            Ok(Text { place: source.to_string(), pairs, lines })
        };
        let (valid, test, train) = match origin {
            Origin::Files { train, valid, test } => {
                let (valid, test) = (valid.as_ref().map(named).transpose()?, test.as_ref().map(named).transpose()?);
                let watched: Vec<_> =
                    [&valid, &test].into_iter().flatten().flat_map(|text| text.pairs.clone()).collect();
                let (place, window) = (format!("the pairs held out of {train}"), recipe.data.window);
                let train = Dataset::open_beside(&watched, train, both().0, both().1, options.clone(), window)?;
                let own = Text { place, pairs: train.held_out().to_vec(), lines: LineReport::default() };
                (valid.or(Some(own).filter(|own| !own.pairs.is_empty())), test, train)
            }
            Origin::Demo(corpus) => {
                let named =
                    |pairs| Some(Text { place: "the demo corpus".to_owned(), pairs, lines: LineReport::default() });
                let train = Dataset::from_text("the demo corpus", &corpus.train, both().0, both().1, options.clone())?;
                (named(corpus.valid), named(corpus.test), train)
            }
        };
        let held_out = |Text { place, pairs: text, lines }: Text| -> Result<HeldOut, Error> {
            // Held-out pairs are all kept, and whole: only what cannot be scored at all is left out of the loss.
            let options = PairOptions {
                max_length: usize::MAX,
                on_truncate: OnTruncate::Error,
                drop_duplicates: false,
                drop_identical: false,
                max_ratio: None,
                ..PairOptions::default()
            };
            let dataset = Dataset::from_text(&place, &text, both().0, both().1, options)?;
            let in_training_too = text.iter().filter(|(source, target)| train.holds(source, target)).count() as u64;
            let report = DataReport { lines, in_training_too, ..dataset.report().clone() };
            let pairs = dataset.pairs().unwrap_or_default().to_vec();
            Ok(HeldOut { text, place, pairs, report, hash: dataset.hash() })
        };
        if valid.is_none() {
            notes.extend(without_validation(recipe, train.report())?);
        }
        let valid = valid.map(held_out).transpose()?;
        let test = test.map(held_out).transpose()?;
        Ok(Self { tokenizer, train, valid, test, notes })
    }
}

impl Origin {
    fn of(recipe: &Recipe) -> Result<Self, Error> {
        let data = &recipe.data;
        if data.corpus == Some(Corpus::Demo) {
            return Ok(Self::Demo(DemoCorpus::generate(DemoOptions { seed: recipe.seed, ..DemoOptions::default() })));
        }
        let source =
            |settings: &Option<FileSettings>| settings.as_ref().and_then(FileSettings::form).map(parallel_source);
        let Some(train) = source(&data.train) else {
            let problem = "no training data: name source and target files, or a tsv, csv or jsonl file".into();
            return Err(Error::Setting { key: "data.train", problem });
        };
        Ok(Self::Files { train, valid: source(&data.valid), test: source(&data.test) })
    }
}

pub(super) fn parallel_source(files: DataFiles<'_>) -> ParallelSource {
    match files {
        DataFiles::Pair { source, target } => {
            ParallelSource::Files { source: source.to_path_buf(), target: target.to_path_buf() }
        }
        DataFiles::Tsv { path, source_key, target_key } => ParallelSource::Tsv {
            path: path.to_path_buf(),
            columns: Columns::chosen(source_key, target_key, ["source", "target"]),
        },
        DataFiles::Csv { path, source_key, target_key } => ParallelSource::Csv {
            path: path.to_path_buf(),
            source_key: source_key.to_owned(),
            target_key: target_key.to_owned(),
        },
        DataFiles::Jsonl { path, source_key, target_key } => ParallelSource::Jsonl {
            path: path.to_path_buf(),
            source_key: source_key.to_owned(),
            target_key: target_key.to_owned(),
        },
    }
}

pub(super) fn pair_options(recipe: &Recipe) -> PairOptions {
    let data = &recipe.data;
    PairOptions {
        max_length: data.max_length,
        on_truncate: on_truncate(recipe),
        on_bad_line: on_bad_line(recipe),
        max_ratio: (data.max_ratio > 0.0).then_some(data.max_ratio),
        drop_duplicates: data.drop_duplicates,
        drop_identical: data.drop_identical,
        valid_fraction: data.valid_fraction,
    }
}

/// What the user should know where the share of the pairs that is to be held out is none; an error if something waits for
/// the measures on it.
fn without_validation(recipe: &Recipe, train: &DataReport) -> Result<Option<String>, Error> {
    let (key, fraction) = ("data.valid_fraction", recipe.data.valid_fraction);
    let pairs = messages::count(train.pairs_read, "pair");
    if recipe.train.early_stopping.patience > 0 || recipe.schedule.kind == ScheduleKind::Plateau {
        let problem = format!(
            "early stopping and the plateau schedule need validation pairs, and a share of {fraction} has none of the \
             {pairs}: raise it"
        );
        return Err(Error::Setting { key, problem });
    }
    Ok((fraction > 0.0).then(|| format!("no validation: `{key}` {fraction} has none of the {pairs}")))
}

/// A tokenizer to make a model for, whose table gets a row for every id.
fn load_tokenizer(path: &Path) -> Result<(Tokenizer, Vec<String>), Error> {
    let (tokenizer, notes) = special_tokens::load_tokenizer(path)?;
    match tokenizer.first_gap() {
        None => Ok((tokenizer, notes)),
        Some(id) => {
            let (path, largest) = (path.display(), tokenizer.vocab_size() - 1);
            let problem =
                format!("{path} has no token of id {id}, but of ids up to {largest}: number them without a gap");
            Err(Error::Setting { key: "tokenizer.file", problem })
        }
    }
}

fn learn(recipe: &Recipe, origin: &Origin) -> Result<Learned, Error> {
    let settings = &recipe.tokenizer;
    let kind = match settings.kind {
        TokenizerKind::Bpe => Kind::Bpe,
        TokenizerKind::ByteBpe => Kind::ByteLevelBpe,
        TokenizerKind::WordPiece => Kind::WordPiece,
        TokenizerKind::Unigram => Kind::Unigram,
        TokenizerKind::Char => Kind::Characters,
    };
    let options = TrainOptions {
        kind,
        vocab_size: settings.vocab_size,
        min_frequency: settings.min_frequency,
        lowercase: settings.lowercase,
        limit_alphabet: settings.limit_alphabet,
        character_coverage: settings.character_coverage,
        byte_fallback: settings.byte_fallback.or_else(|| {
            // Where bytes would not take too much of the vocabulary.
            let room = settings.kind != TokenizerKind::Char && settings.vocab_size >= 2048;
            Kind::can_fall_back(kind).then_some(room)
        }),
        ..TrainOptions::default()
    };
    match origin {
        Origin::Files { train, .. } => {
            Tokenizer::learn(train.sentences(&pair_options(recipe))?.map(|line| line.map_err(Error::from)), &options)
        }
        Origin::Demo(corpus) => {
            let sentences = corpus.train.iter().flat_map(|(source, target)| [source.clone(), target.clone()]);
            Ok(Tokenizer::learn(sentences.map(Ok::<_, text::Error>), &options)?)
        }
    }
}
