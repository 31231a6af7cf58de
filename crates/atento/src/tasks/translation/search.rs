//! The settings of `[search]` and those of a generation_config.json, one from the other.

use crate::hub::decimal;
use crate::hub::generation::GenerationConfig;
use crate::models::Translator;
use crate::train::recipe::{Recipe, SearchSettings, Written};

/// The longest translation where nothing says how long.
const MAX_LENGTH: usize = 256;

/// The search settings of a recipe, for the `generation_config.json` of a model that the run makes.
#[must_use]
pub fn generation_config(recipe: &Recipe, model: &dyn Translator) -> GenerationConfig {
    let search = &recipe.search;
    let longest = model.max_positions().unwrap_or(usize::MAX);
    GenerationConfig {
        num_beams: search.beam,
        // The start token counts.
        max_length: Some((search.max_length + 1).min(longest)),
        min_length: with_start(search.min_length),
        length_penalty: search.length_penalty as f32,
        no_repeat_ngram_size: search.no_repeat_ngram,
        ..model.generation_defaults()
    }
}

/// The settings for training a model further: its own where the recipe does not state them.
pub(crate) fn adopt(
    stated: &SearchSettings,
    written: &Written,
    generation: &GenerationConfig,
    positions: Option<usize>,
) -> SearchSettings {
    let mut search = describe(generation, positions);
    let is_stated = |key: &str| written.contains_key(&format!("search.{key}"));
    if is_stated("beam") {
        search.beam = stated.beam;
    }
    if is_stated("length_penalty") {
        search.length_penalty = stated.length_penalty;
    }
    if is_stated("max_length") {
        search.max_length = stated.max_length;
    }
    if is_stated("min_length") {
        search.min_length = stated.min_length;
    }
    if is_stated("no_repeat_ngram") {
        search.no_repeat_ngram = stated.no_repeat_ngram;
    }
    SearchSettings { max_length_ratio: stated.max_length_ratio, ..search }
}

/// A model's own settings with those of the recipe in their place where the two differ.
pub(crate) fn overlay(
    generation: &GenerationConfig,
    search: &SearchSettings,
    positions: Option<usize>,
) -> GenerationConfig {
    let own = describe(generation, positions);
    let mut overlaid = generation.clone();
    if search.beam != own.beam {
        overlaid.num_beams = search.beam;
    }
    if search.length_penalty != own.length_penalty {
        overlaid.length_penalty = search.length_penalty as f32;
    }
    if search.max_length != own.max_length {
        overlaid.max_length = Some((search.max_length + 1).min(positions.unwrap_or(usize::MAX)));
        overlaid.max_new_tokens = None;
    }
    if search.min_length != own.min_length {
        overlaid.min_length = with_start(search.min_length);
        overlaid.min_new_tokens = None;
    }
    if search.no_repeat_ngram != own.no_repeat_ngram {
        overlaid.no_repeat_ngram_size = search.no_repeat_ngram;
    }
    overlaid
}

/// A model's own settings as a recipe says them.
fn describe(generation: &GenerationConfig, positions: Option<usize>) -> SearchSettings {
    let longest = generation.max_new_tokens.or(generation.max_length.map(|length| length.saturating_sub(1)));
    let longest = longest.unwrap_or(MAX_LENGTH).clamp(1, positions.unwrap_or(usize::MAX).max(1));
    SearchSettings {
        beam: generation.num_beams,
        length_penalty: decimal(generation.length_penalty),
        max_length: longest,
        min_length: generation.min_new_tokens.unwrap_or(generation.min_length.saturating_sub(1)).min(longest),
        no_repeat_ngram: generation.no_repeat_ngram_size,
        ..SearchSettings::default()
    }
}

/// A length with the start token counted; 0 is no length.
fn with_start(length: usize) -> usize {
    if length > 0 { length + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::Place;

    fn own() -> GenerationConfig {
        GenerationConfig {
            num_beams: 3,
            length_penalty: 0.7,
            max_new_tokens: Some(40),
            min_length: 5,
            no_repeat_ngram_size: 2,
            forced_bos_id: Some(7),
            eos_ids: vec![1, 3],
            ..GenerationConfig::default()
        }
    }

    #[test]
    fn a_recipe_that_states_nothing_changes_nothing() {
        let search = adopt(&SearchSettings::default(), &Written::new(), &own(), Some(64));
        assert_eq!((search.beam, search.length_penalty, search.max_length, search.min_length), (3, 0.7, 40, 4));
        assert_eq!(overlay(&own(), &search, Some(64)), own());
    }

    #[test]
    fn what_a_recipe_states_replaces_that_alone() {
        let stated = SearchSettings { beam: 1, max_length: 30, ..SearchSettings::default() };
        let written = ["search.beam", "search.max_length"].map(|key| (key.to_string(), Place::Default)).into();
        let search = adopt(&stated, &written, &own(), Some(64));
        let expected = GenerationConfig { num_beams: 1, max_length: Some(31), max_new_tokens: None, ..own() };
        assert_eq!(overlay(&own(), &search, Some(64)), expected);
        // Written in full, as in config.toml, the settings are the same.
        assert_eq!(overlay(&own(), &adopt(&search, &written, &own(), Some(64)), Some(64)), expected);
    }
}
