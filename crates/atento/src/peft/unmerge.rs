//! Which adapters are part of a model's weights, and taking one out again.

use std::path::Path;

use atento_tensor::{LookupPair, ParamEntry, Params, Weight};

use super::{Adapter, AdapterConfig, Error, merge};
use crate::families::Config;
use crate::hub::Kept;

/// The key of config.json with the contents of adapters that were merged into a model. It is this program's own.
pub(crate) const MERGED: &str = "merged_adapters";

fn merged_into(kept: &Kept) -> Vec<String> {
    let found = kept.config().get(MERGED).and_then(|value| serde_json::from_value(value.clone()).ok());
    found.unwrap_or_default()
}

impl Adapter {
    /// Writes down in a model's config.json that this is merged into it.
    ///
    /// # Errors
    /// It has been already.
    pub fn mark_merged(&self, kept: &mut Kept) -> Result<(), Error> {
        let (mut merged, contents) = (merged_into(kept), self.contents()?);
        if merged.contains(&contents) {
            return Err(Error::Merged { path: self.dir.clone() });
        }
        merged.push(contents);
        kept.note(MERGED, Some(serde_json::json!(merged)));
        Ok(())
    }

    /// Takes that back.
    ///
    /// # Errors
    /// It has not been merged into `model`.
    pub fn unmark_merged(&self, model: &Path, kept: &mut Kept) -> Result<(), Error> {
        let (mut merged, contents) = (merged_into(kept), self.contents()?);
        let Some(at) = merged.iter().position(|other| *other == contents) else {
            return Err(Error::NotMerged { path: self.dir.clone(), model: model.to_owned() });
        };
        merged.remove(at);
        kept.note(MERGED, (!merged.is_empty()).then(|| serde_json::json!(merged)));
        Ok(())
    }

    /// Takes what it adds out of a model that it was merged into; returns of how many modules. What it holds whole stays.
    ///
    /// # Errors
    /// As [`Adapter::put_on`]; it does more than add.
    pub fn take_out(&self, config: &dyn Config, params: &mut Params) -> Result<usize, Error> {
        match &self.config {
            AdapterConfig::Lora(lora) if lora.only_adds() => {}
            _ => {
                let what =
                    "what it multiplies or replaces cannot be told from what it was before: take the base itself";
                return Err(self.unsupported(what.into()));
            }
        }
        let whole: Vec<(Weight, Vec<f32>)> = {
            let of_model = |entry: &&ParamEntry| entry.is_trained();
            params.entries().iter().filter(of_model).map(|entry| (entry.weight, params.get(entry.weight).to_vec()))
        }
        .collect();
        let count = self.put_added(config, params, &[])?;
        // What was put in the place of the model's own.
        for (weight, values) in whole {
            params.get_mut(weight).copy_from_slice(&values);
        }
        let weights: Vec<Weight> = params.entries().iter().map(|entry| entry.weight).collect();
        for weight in weights {
            for mut pair in params.take_low_ranks(weight) {
                pair.scale = -pair.scale;
                params.add_low_rank(weight, pair);
            }
            if let Some(pair) = params.take_lookup_pair(weight) {
                params.set_lookup_pair(weight, LookupPair { scale: -pair.scale, ..pair });
            }
        }
        merge(config, params)?;
        Ok(count)
    }
}
