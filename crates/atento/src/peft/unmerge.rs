//! Which adapters are part of a model's weights, and taking one out again: what was added is subtracted, what was multiplied is
//! divided.

use std::path::Path;

use atento_tensor::{Frozen, LookupPair, ParamEntry, Params, Scaling, Weight};

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
    /// It has not been merged into `model`, or another was merged after it: what is multiplied then is more than it was.
    pub fn unmark_merged(&self, model: &Path, kept: &mut Kept) -> Result<(), Error> {
        let (mut merged, contents) = (merged_into(kept), self.contents()?);
        let Some(at) = merged.iter().position(|other| *other == contents) else {
            return Err(Error::NotMerged { path: self.dir.clone(), model: model.to_owned() });
        };
        if at + 1 < merged.len() {
            return Err(Error::NotLast { path: self.dir.clone(), model: model.to_owned() });
        }
        merged.remove(at);
        kept.note(MERGED, (!merged.is_empty()).then(|| serde_json::json!(merged)));
        Ok(())
    }

    /// Takes what it adds, or multiplies by, out of a model that it was merged into; returns of how many modules. What it holds
    /// whole stays.
    ///
    /// # Errors
    /// As [`Adapter::put_on`]; it does more than that, or multiplies by 0.
    pub fn take_out(&self, config: &dyn Config, params: &mut Params) -> Result<usize, Error> {
        match &self.config {
            AdapterConfig::Lora(lora) if lora.only_adds() => {}
            AdapterConfig::Ia3(_) => {}
            _ => {
                let what = "what it replaces or stretches cannot be told from what it was before: take the base itself";
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
            self.invert_factors(params, weight)?;
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

    /// Puts their inverses in the place of the factors of a matrix.
    fn invert_factors(&self, params: &mut Params, weight: Weight) -> Result<(), Error> {
        let Some(Scaling { inputs, outputs }) = params.scaling(weight) else { return Ok(()) };
        for factors in inputs.into_iter().chain(outputs) {
            let values = params.to_f32(factors);
            if let Some(at) = values.iter().position(|value| !value.is_normal()) {
                let name = params.entries().iter().find(|entry| entry.weight == factors).map(|entry| &entry.name);
                let (name, value) = (name.map_or("", String::as_str), values[at]);
                let what = format!(
                    "`{name}` is {value} at element {at}, and what was multiplied by it cannot be divided again: take the base itself"
                );
                return Err(self.unsupported(what));
            }
            let inverses: Vec<f32> = values.iter().map(|value| value.recip()).collect();
            params.set_frozen(factors, Frozen::F32(inverses.into()));
        }
        Ok(())
    }
}
