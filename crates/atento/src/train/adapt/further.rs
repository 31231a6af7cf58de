//! Training an adapter further (`--from ADAPTER`): on the model that it is for, with the modules and ranks that it has. The
//! recipe's section comes to describe it.

use std::path::Path;

use crate::hub::ModelDir;
use crate::peft::{Adapter, AdapterConfig, Bias, VirtualKind};
use crate::pipelines::LoadError;
use crate::train::Error;
use crate::train::recipe::{
    self, AdaptedBiases, HoulsbySettings, Ia3Settings, LoraSettings, Method, PromptSettings, Recipe, Written,
};

/// The adapter in a directory, or in that of the run which trained it; `None` where something else is there.
///
/// # Errors
/// Its files are damaged; the model that it is for is not there.
pub(crate) fn adapter_at(from: &Path) -> Result<Option<Adapter>, Error> {
    match ModelDir::open(from) {
        Ok(dir) => Ok(dir.adapter().map(Adapter::open).transpose().map_err(LoadError::from)?),
        // Told where the model is read.
        Err(_) => Ok(None),
    }
}

/// The recipe for a run that starts or started from an adapter, where `from` is one: what it leaves out is the adapter's. With
/// sentences on what it says in vain.
///
/// # Errors
/// Those of [`adapter_at`]; the recipe states something else of the adapter than it has.
pub(crate) fn adopted(recipe: &Recipe, written: &Written, from: Option<&Path>) -> Result<(Recipe, Vec<String>), Error> {
    let adapter = from.map_or(Ok(None), adapter_at)?;
    let Some(Adapter { config, dir, .. }) = &adapter else { return Ok((recipe.clone(), Vec::new())) };
    let mut adopted = recipe.clone();
    let section = match config {
        AdapterConfig::Lora(lora) => {
            adopted.train.method = Method::Lora;
            // Which modules it has, it says itself.
            let LoraSettings { dropout, up_rate, .. } = recipe.lora;
            adopted.lora = LoraSettings { dropout, up_rate, ..LoraSettings::default() };
            let own = &mut adopted.lora;
            (own.rank, own.alpha) = (lora.rank, lora.alpha);
            (own.rank_stabilized, own.dora) = (lora.rank_stabilized, lora.dora);
            own.bias = match lora.bias {
                Bias::None => AdaptedBiases::None,
                Bias::All => AdaptedBiases::All,
                Bias::LoraOnly => AdaptedBiases::LoraOnly,
            };
            // A choice of the run, and nothing that the weights say.
            if !written.contains_key("lora.dropout") {
                own.dropout = lora.dropout;
            }
            "lora."
        }
        AdapterConfig::Ia3(_) => {
            adopted.train.method = Method::Ia3;
            adopted.ia3 = Ia3Settings::default();
            "ia3."
        }
        AdapterConfig::BitFit(_) => {
            adopted.train.method = Method::BitFit;
            return checked(recipe, adopted, written, dir).map(|recipe| (recipe, Vec::new()));
        }
        AdapterConfig::Virtual(tokens) => {
            adopted.train.method = match tokens.kind {
                VirtualKind::Prompt => Method::Prompt,
                VirtualKind::Prefix => Method::Prefix,
            };
            adopted.prompt = PromptSettings { tokens: tokens.count, ..PromptSettings::default() };
            "prompt."
        }
        AdapterConfig::Houlsby(houlsby) => {
            adopted.train.method = Method::Houlsby;
            adopted.houlsby = HoulsbySettings { size: houlsby.size, ..HoulsbySettings::default() };
            "houlsby."
        }
    };
    let (values, plain) = (recipe.values()?, Recipe::default().values()?);
    let is_said = |key: &&String| values.get(*key) != plain.get(*key);
    let in_vain = written.keys().filter(|key| key.starts_with(section) && !ADOPTED.contains(&key.as_str()));
    let note = |key: &String| format!("`{key}` has no effect: the adapter is trained as it is");
    let notes = in_vain.filter(is_said).map(note).collect();
    Ok((checked(recipe, adopted, written, dir)?, notes))
}

/// Settings of adapters that are the adapter's, or the run's own choice.
const ADOPTED: [&str; 9] = [
    "lora.rank",
    "lora.alpha",
    "lora.rank_stabilized",
    "lora.dora",
    "lora.bias",
    "lora.dropout",
    "lora.up_rate",
    "prompt.tokens",
    "houlsby.size",
];

/// Refuses what is written and differs.
fn checked(stated: &Recipe, adopted: Recipe, written: &Written, adapter: &Path) -> Result<Recipe, Error> {
    let (said, found) = (stated.values()?, adopted.values()?);
    let is_adopted = |key: &str| key == "train.method" || ADOPTED.contains(&key);
    let differs = |(key, _): &(&String, _)| is_adopted(key) && said.get(*key) != found.get(*key);
    match written.iter().find(differs) {
        Some((key, place)) => {
            let (said, found, adapter) = (&said[key], &found[key], adapter.display());
            let merges = !["prefix", "prompt", "houlsby"].map(toml::Value::from).contains(found);
            let advice = match key.as_str() {
                "train.method" if merges => ", or make it part of its model first, with `atento adapter merge`",
                _ => "",
            };
            let message = format!(
                "`{key}` is {said}, but the adapter {adapter} that is trained further has {found}: leave it out{advice}"
            );
            Err(recipe::Error::Conflict { place: place.clone(), message }.into())
        }
        None => Ok(adopted),
    }
}
