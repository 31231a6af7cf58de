//! Parameters that take their values from a directory: in the arena, rounded, or where they lie in its files.

use std::path::Path;

use atento_tensor::{Frozen, Params};

use super::Error;
use crate::families::Config;
use crate::hub::int8::Int8Matrix;
use crate::hub::load::{self, NamedTensors, Source};
use crate::hub::{self, ModelDir};
use crate::models::Precision;
use crate::models::parameters::NamedShape;

/// Gives the frozen parameters of a model the values that they have in a directory, mapped where that can be.
///
/// # Errors
/// As [`Loaded::load`]; the directory holds another model.
pub(crate) fn load_frozen(config: &dyn Config, params: &mut Params, path: &Path) -> Result<(), Error> {
    let dir = ModelDir::open(path)?;
    let weights = dir.weights()?;
    Ok(load::load(&weights, dir.names(config)?, &mut FrozenTensors { params })?)
}

impl NamedTensors for Params {
    fn expected(&self) -> Vec<NamedShape> {
        self.entries().iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect()
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let weight = self.entry(name).unwrap_or_else(|| panic!("no parameter {name}")).weight;
        source.read(self.get_mut(weight))
    }
}

/// The frozen parameters of a model, to be filled from the model that it was trained from.
pub(super) struct FrozenTensors<'p> {
    pub params: &'p mut Params,
}

impl NamedTensors for FrozenTensors<'_> {
    fn expected(&self) -> Vec<NamedShape> {
        let frozen = self.params.entries().iter().filter(|entry| entry.is_frozen() && !entry.is_added);
        frozen.map(|entry| (entry.name.clone(), entry.dims.clone())).collect()
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let entry = self.params.entry(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let weight = entry.weight;
        let values = source.read_frozen(weight.len(), entry.layout)?;
        self.params.set_frozen(weight, values);
        Ok(())
    }
}

/// Parameters whose matrices are rounded as they are filled: never all of them are in memory unrounded.
pub(super) struct Rounding<'p> {
    pub params: &'p mut Params,
    pub precision: Precision,
    pub exact: Vec<f32>,
    /// Parameters that the checkpoint lacks.
    pub new: &'p [String],
}

impl NamedTensors for Rounding<'_> {
    fn expected(&self) -> Vec<NamedShape> {
        let mut expected = self.params.expected();
        expected.retain(|(name, _)| !self.new.contains(name));
        expected
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let entry = self.params.entry(name).unwrap_or_else(|| panic!("no parameter {name}")).clone();
        if !self.precision.rounds(&entry) {
            return self.params.fill(name, source);
        }
        if self.precision == Precision::Int8
            && let Some(Int8Matrix { values, scales, layout }) = source.read_int8()?
            && Some(layout) == entry.layout
        {
            self.params.set_frozen(entry.weight, Frozen::Int8 { values: values.into(), scales: scales.into() });
            return Ok(());
        }
        self.exact.resize(entry.weight.len(), 0.0);
        source.read(&mut self.exact)?;
        let held = self.precision.hold(&entry, &self.exact).expect("`read` refuses numbers that are not finite");
        self.params.set_frozen(entry.weight, held);
        Ok(())
    }
}
