//! What the tensors of an adapter become in the table of parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use atento_kernels::activation::Activation;
use atento_tensor::{
    Bottleneck, Frozen, LookupPair, LowRank, Magnitude, ParamEntry, Params, ReplacedRows, Scaling, View, Weight,
};

use super::super::config::LoraConfig;
use super::super::houlsby::{self, HoulsbyConfig};
use super::super::methods::{AdapterConfig, Ia3Config};
use super::super::modules::{Module, find, modules};
use super::super::principal;
use super::super::tables::{TABLE_PAIR, TOKEN_ROWS, from_stored};
use super::super::virtual_tokens::ROWS;
use super::{Adapter, Error};
use crate::families::Config;

impl Adapter {
    pub(super) fn put_table_pair(
        &self,
        lora: &LoraConfig,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
    ) -> Result<(), Error> {
        let rank = self.rank_of(lora, module)?;
        let (width, count) = module.sizes();
        let rows = self.add(params, module, tensors, TABLE_PAIR[0], &[rank, count])?;
        let up = self.add(params, module, tensors, TABLE_PAIR[1], &[width, rank])?;
        let scale = lora.scale_of(&module.path) as f32;
        params.set_lookup_pair(module.weight, LookupPair { rows, up, scale });
        Ok(())
    }

    pub(super) fn put_token_rows(
        &self,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
        ids: Arc<[u32]>,
    ) -> Result<(), Error> {
        let rows = self.add(params, module, tensors, TOKEN_ROWS, &[ids.len(), module.weight.cols])?;
        params.set_replaced_rows(module.weight, ReplacedRows { ids, rows });
        Ok(())
    }

    /// The rank of the pair of a module.
    fn rank_of(&self, lora: &LoraConfig, module: &Module) -> Result<usize, Error> {
        let (Module { path, .. }, (outputs, inputs)) = (module, module.sizes());
        match lora.rank_of(path) {
            rank if rank > outputs.min(inputs) => {
                let what = format!("the rank of `{path}` is {rank}, above its matrix [{outputs}, {inputs}]");
                Err(self.unsupported(what))
            }
            rank => Ok(rank),
        }
    }

    pub(super) fn put_pair(
        &self,
        lora: &LoraConfig,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
    ) -> Result<(), Error> {
        let (Module { path, weight, .. }, (outputs, inputs)) = (module, module.sizes());
        let rank = self.rank_of(lora, module)?;
        let mut add = |end: &'static str, dims: &[usize]| self.add(params, module, tensors, end, dims);
        let down = add("lora_A.weight", &[rank, inputs])?;
        let up = add("lora_B.weight", &[outputs, rank])?;
        let magnitude = match lora.dora {
            true => Some(Magnitude::new(add("lora_magnitude_vector", &[outputs])?)),
            false => None,
        };
        let (scale, dropout) = (lora.scale_of(path) as f32, lora.dropout as f32);
        let pair = LowRank { down, up, scale, dropout, outputs: 0..outputs, magnitude };
        params.add_low_rank(*weight, pair.clone());
        if lora.principal {
            let halves = (!params.is_outline())
                .then(|| principal::of_module(params, module, &pair.outputs, rank, lora.scale_of(path)));
            let names = principal::TAKEN.map(|end| format!("{path}.{end}"));
            principal::take_away(params, *weight, names, halves, &pair);
        }
        Ok(())
    }

    pub(super) fn put_factors(
        &self,
        ia3: &Ia3Config,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
    ) -> Result<(), Error> {
        let (outputs, inputs) = module.sizes();
        let scaling = if ia3.feedforward.contain(module) {
            Scaling { inputs: Some(self.add(params, module, tensors, "ia3_l", &[1, inputs])?), outputs: None }
        } else {
            Scaling { inputs: None, outputs: Some(self.add(params, module, tensors, "ia3_l", &[outputs, 1])?) }
        };
        params.set_scaling(module.weight, scaling);
        Ok(())
    }

    pub(super) fn put_bottleneck(
        &self,
        houlsby: &HoulsbyConfig,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
    ) -> Result<(), Error> {
        let dims = houlsby.dims(module);
        let mut add = |at: usize| self.add(params, module, tensors, houlsby::ENDS[at], &dims[at]);
        let (down, down_bias, up, up_bias) = (add(0)?, add(1)?, add(2)?, add(3)?);
        let activation = Activation::Gelu;
        params.set_bottleneck(module.weight, Bottleneck { down, down_bias, up, up_bias, activation });
        Ok(())
    }

    pub(super) fn put_rows(&self, model: &dyn Config, params: &mut Params, rows: Option<&str>) -> Result<(), Error> {
        match (&self.config, rows) {
            (AdapterConfig::Virtual(tokens), _) => {
                let all = modules(model, params);
                let tokens = tokens.fitted(model, &all).map_err(|unfit| self.unsupported(unfit.to_string()))?;
                let values = self.weights.read_f32(ROWS, &[tokens.count, tokens.width()])?;
                tokens.put_on(params, values);
                Ok(())
            }
            (_, Some(name)) => {
                Err(self.unsupported(format!("the weights have `{name}`, which is not of this kind of adapter")))
            }
            (_, None) => Ok(()),
        }
    }

    /// Adds a tensor of a module, frozen.
    fn add(
        &self,
        params: &mut Params,
        module: &Module,
        tensors: &BTreeMap<&str, &str>,
        end: &'static str,
        dims: &[usize],
    ) -> Result<Weight, Error> {
        let name = tensors.get(end).ok_or_else(|| self.missing(module, end))?;
        let values = from_stored(end, self.weights.read_f32(name, dims)?, dims);
        let mut dims = dims.to_vec();
        if end == TABLE_PAIR[0] {
            dims.reverse();
        }
        Ok(params.add_frozen(&format!("{}.{end}", module.path), &dims, Frozen::F32(values.into())))
    }

    /// A parameter that was trained whole takes the base's place; returns its name.
    pub(super) fn put_whole(
        &self,
        config: &dyn Config,
        params: &mut Params,
        name: &str,
        stored: &str,
        modules: &[Module],
    ) -> Result<String, Error> {
        let is_it = |own: &str| config.sources(own).iter().any(|source| source == stored);
        let entry = params.entries().iter().find(|entry| is_it(&entry.name)).cloned();
        let Some(entry) = entry else { return Err(self.no_module(name, stored, modules)) };
        let values = self.weights.read_f32(name, &entry.dims)?;
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
        Ok(entry.name)
    }

    /// A table of the base takes its place, which it has already unless the base is another one. One that is rounded stays so.
    pub(super) fn put_copy(
        &self,
        config: &dyn Config,
        params: &mut Params,
        name: &str,
        stored: &str,
        modules: &[Module],
    ) -> Result<(), Error> {
        let path = stored.strip_suffix(".weight").unwrap_or(stored);
        let is_it = |entry: &&ParamEntry| config.sources(&entry.name).iter().any(|source| source == stored);
        let tied = find(modules, path).filter(|module| module.is_output && module.tied_to.is_some());
        let entry = match tied {
            Some(module) => params.entries().iter().find(|entry| entry.weight == module.weight),
            None => params.entries().iter().find(is_it),
        };
        let Some(entry) = entry.cloned() else { return Err(self.no_module(name, stored, modules)) };
        let values = self.weights.read_f32(name, &entry.dims)?;
        if !matches!(params.view(entry.weight), View::Exact(_)) {
            return Ok(());
        }
        if let Some(table) = tied.and_then(|module| module.tied_to.as_ref()) {
            let is_same = *params.get(entry.weight) == *values;
            let what = || {
                format!("`{name}` differs from `{table}`, which is the output of the model: take one that is not tied")
            };
            return if is_same { Ok(()) } else { Err(self.unsupported(what())) };
        }
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
        Ok(())
    }
}
