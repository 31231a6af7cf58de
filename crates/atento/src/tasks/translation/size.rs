//! The sizes of a new translator and of its batches, from the pairs that it learns and the time it has.

use super::data::{pair_options, parallel_source};
use crate::data::{PairOptions, ParallelSource};
use crate::tasks::Stated;
use crate::train::Error;
use crate::train::events::group_thousands;
use crate::train::fit::Computed;
use crate::train::recipe::{FileSettings, Norm, Preset, Recipe, ScheduleKind};

/// What there is to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corpus {
    /// Pairs of sentences.
    pub pairs: u64,
    /// Bytes of both sides.
    pub bytes: u64,
}

impl Corpus {
    /// Counts what is learned of a source.
    ///
    /// # Errors
    /// The files cannot be read or do not pair.
    pub fn of(source: &ParallelSource, options: &PairOptions) -> Result<Self, Error> {
        let (mut sentences, mut bytes) = (0, 0);
        for sentence in source.sentences(options)? {
            sentences += 1;
            bytes += sentence?.len() as u64;
        }
        Ok(Self { pairs: sentences / 2, bytes })
    }
}

/// Sizes for so many pairs and more.
struct Sizes {
    /// The fewest pairs.
    from: u64,
    preset: Preset,
    dropout: f64,
    batch_tokens: usize,
    /// The highest learning rate of a model whose norms stand before its blocks.
    lr: f64,
}

/// The table of sizes. The first line is measured on 2,800 pairs of Multi30k, the second follows the recipe that was measured on
/// all 29,000 (`recipes/multi30k-en-de.toml`); wider models take lower rates.
const SIZES: [Sizes; 4] = [
    Sizes { from: 0, preset: Preset::Tiny, dropout: 0.3, batch_tokens: 1024, lr: 3e-3 },
    Sizes { from: 10_000, preset: Preset::Tiny, dropout: 0.3, batch_tokens: 4096, lr: 3e-3 },
    Sizes { from: 100_000, preset: Preset::Small, dropout: 0.1, batch_tokens: 4096, lr: 1.5e-3 },
    Sizes { from: 1_000_000, preset: Preset::Base, dropout: 0.1, batch_tokens: 8192, lr: 7e-4 },
];

/// The share of that rate which models with norms behind their blocks bear.
const POST_NORM_RATE: f64 = 1.0 / 3.0;

/// Entries of a vocabulary for so many bytes of text.
pub(crate) fn vocabulary(bytes: u64) -> usize {
    // With more of them, most would occur too rarely to be learned.
    const SIZES: [(u64, usize); 5] =
        [(300_000, 2000), (1_000_000, 4000), (3_000_000, 8000), (30_000_000, 16_000), (300_000_000, 32_000)];
    SIZES.into_iter().rev().find(|&(from, _)| from <= bytes).map_or(1000, |(_, size)| size)
}

/// The settings that fit a model whose norms stand as `norm` says, each with its reason.
pub(crate) fn sizes(corpus: &Corpus, norm: Norm) -> Vec<Computed> {
    let pairs = format!("{} pairs of sentences", group_thousands(corpus.pairs));
    let size = SIZES.iter().rev().find(|size| size.from <= corpus.pairs).unwrap_or(&SIZES[0]);
    let vocabulary = vocabulary(corpus.bytes);
    let lr = if norm == Norm::Pre { size.lr } else { size.lr * POST_NORM_RATE };
    vec![
        Computed::new("tokenizer.vocab_size", vocabulary, format!("{} bytes of text", group_thousands(corpus.bytes))),
        Computed::new("model.preset", format!("\"{}\"", size.preset), pairs.clone()),
        Computed::new("model.norm", "\"pre\"", "it trains at a higher rate than the paper's \"post\""),
        Computed::new("model.dropout", size.dropout, format!("{pairs}: the fewer, the more is dropped")),
        Computed::new("train.batch_tokens", size.batch_tokens, format!("{pairs}: the fewer, the more updates")),
        Computed::new("optimizer.lr", lr, format!("the width of the model, with norms \"{norm}\"")),
        Computed::new("schedule.kind", "\"cosine\"", "the end of the run is known: the rate falls to it"),
        Computed::new("schedule.min_lr", 0.01, "the end of that fall"),
    ]
}

/// The settings of `[model]` that a preset decides.
const OF_THE_PRESET: [&str; 8] = [
    "model.preset",
    "model.d_model",
    "model.encoder_layers",
    "model.decoder_layers",
    "model.heads",
    "model.d_ff",
    "model.hidden",
    "model.layers",
];

/// Gives a new model and its batches the sizes that nobody stated; returns what it has set.
///
/// # Errors
/// The files of pairs cannot be read.
pub(crate) fn fit(recipe: &mut Recipe, is_stated: Stated<'_>) -> Result<Vec<Computed>, Error> {
    let files = recipe.data.train.as_ref().and_then(FileSettings::form);
    let (None, Some(files)) = (recipe.data.corpus, files) else { return Ok(Vec::new()) };
    let is_sized = OF_THE_PRESET.iter().any(|key| is_stated(key));
    let keys = recipe.model.arch.family().keys();
    let is_for = |key: &str| match key {
        "tokenizer.vocab_size" => !is_stated("tokenizer.file"),
        "train.batch_tokens" => true,
        // The rates are those of this family.
        "optimizer.lr" => !is_sized && keys.contains(&"norm") && recipe.schedule.kind != ScheduleKind::Noam,
        "schedule.min_lr" => !is_sized && !is_stated("schedule.kind"),
        key => !is_sized && key.strip_prefix("model.").is_none_or(|own| own == "preset" || keys.contains(&own)),
    };
    let is_open = |computed: &Computed| is_for(computed.key) && !is_stated(computed.key);
    let corpus = Corpus::of(&parallel_source(files), &pair_options(recipe))?;
    let norm = if is_stated("model.norm") { recipe.model.norm } else { Norm::Pre };
    let computed: Vec<Computed> = sizes(&corpus, norm).into_iter().filter(is_open).collect();
    let set: String = computed.iter().map(|Computed { key, value, .. }| format!("{key} = {value}\n")).collect();
    let arch = recipe.model.arch;
    let fitted = Recipe::read_text(&format!("model.arch = \"{arch}\"\n{set}"), "sizes")?.recipe;
    // A model that somebody described stays as it is.
    let model = OF_THE_PRESET.into_iter().filter(|_| !is_sized);
    *recipe = recipe.with_values_of(&fitted, computed.iter().map(|computed| computed.key).chain(model))?;
    Ok(computed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(more: &str) -> (Recipe, Vec<&'static str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.tsv");
        let pairs: String = (0..400).map(|i| format!("a dog runs {i} times\tein Hund rennt {i} Mal\n")).collect();
        std::fs::write(&path, pairs).unwrap();
        let text = format!("data.train = {{ tsv = '{}' }}\n{more}", path.display());
        let loaded = Recipe::read_text(&text, "r.toml").unwrap();
        let (mut recipe, written) = (loaded.recipe, loaded.written);
        let computed = fit(&mut recipe, &|key| written.contains_key(key)).unwrap();
        recipe.settle(&written).unwrap();
        (recipe, computed.iter().map(|computed| computed.key).collect())
    }

    #[test]
    fn a_new_model_is_as_large_as_its_pairs_are_many() {
        let (recipe, computed) = fitted("");
        assert_eq!((recipe.model.d_model, recipe.model.norm, recipe.tokenizer.vocab_size), (128, Norm::Pre, 1000));
        assert_eq!((recipe.model.dropout, recipe.train.batch_tokens, recipe.optimizer.lr), (0.3, 1024, 3e-3));
        assert_eq!(computed.len(), 8);
        let many = |pairs| sizes(&Corpus { pairs, bytes: 100 * pairs }, Norm::Post);
        let preset = |pairs| many(pairs)[1].value.clone();
        assert_eq!([29_000, 200_000, 5_000_000].map(preset), ["\"tiny\"", "\"small\"", "\"base\""]);
        assert_eq!(many(29_000)[0].value, "4000");
        assert_eq!([391_538, 3_853_636].map(vocabulary), [2000, 8000]);
        assert_eq!(many(29_000)[5].value, "0.001", "norms behind blocks bear a third");
    }

    #[test]
    fn what_somebody_described_stays() {
        let (recipe, computed) = fitted("model.d_model = 64\ntokenizer.vocab_size = 300");
        assert_eq!(computed, ["train.batch_tokens"]);
        assert_eq!((recipe.model.d_model, recipe.model.dropout, recipe.optimizer.lr), (64, 0.1, 5e-4));
        let (recipe, computed) = fitted("model.arch = \"rnn\"");
        assert!(!computed.contains(&"model.norm") && !computed.contains(&"optimizer.lr"), "{computed:?}");
        assert_eq!(recipe.model.arch.word(), "rnn");
        let (recipe, _) = fitted("data.max_length = 3000");
        assert_eq!((recipe.train.batch_tokens, recipe.model.max_positions), (3000, 3000));
    }
}
