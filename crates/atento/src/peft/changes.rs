//! What an adapter changes of a model: how far each matrix moves, and in how many directions.

use atento_tensor::{ParamEntry, Params};

use super::merge::{End, merged, tied_table};
use super::modules::modules;
use super::{Error, spectrum};
use crate::families::Config;
use crate::hub::Weights;

/// What becomes of a parameter of the base.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name in the base's files.
    pub name: String,
    /// The rank of what is added to it, where that is a product of two thin matrices.
    pub rank: Option<usize>,
    /// The Frobenius norm of the difference.
    pub norm: f64,
    /// That norm as a share of the parameter's own; `None` for one that the base does not have.
    pub relative: Option<f64>,
    /// The singular values of what is added, in falling order, where it is a product of two thin matrices.
    pub spectrum: Vec<f64>,
}

impl Change {
    /// Over how many directions the difference spreads: (Σ σ)² / Σ σ², from 1 to the rank.
    #[must_use]
    pub fn effective_rank(&self) -> Option<f64> {
        let (sum, squares) = (self.spectrum.iter().sum::<f64>(), self.spectrum.iter().map(|s| s * s).sum::<f64>());
        (squares > 0.0).then(|| sum * sum / squares)
    }
}

/// The changes of a model with an adapter against its base's weights, in the order of the model. Parameters that are as they
/// were are left out. A table that is the output too is looked at as both.
///
/// # Errors
/// A tensor of the base cannot be read; a matrix is held in int8.
pub fn changes(config: &dyn Config, params: &Params, base: &Weights) -> Result<Vec<Change>, Error> {
    let mut found = Vec::new();
    let tied = tied_table(config, params).map(|entry| entry.weight);
    let all = modules(config, params);
    let output = all.iter().find(|module| module.is_output && module.tied_to.is_some());
    for entry in params.entries().iter().filter(|entry| !entry.is_added) {
        let names = config.sources(&entry.name);
        let name = names[0].clone();
        let Some(stored) = names.iter().find(|name| base.contains(name)) else {
            let values = params.to_f32(entry.weight);
            found.push(Change { name, rank: None, norm: norm(&values), relative: None, spectrum: Vec::new() });
            continue;
        };
        let before = base.read_f32(stored, &config.stored_shape(&entry.name, &entry.dims))?;
        let ends = match output.filter(|_| tied == Some(entry.weight)) {
            None => vec![(name, End::Both)],
            Some(output) => vec![(name, End::Lookups), (format!("{}.weight", output.path), End::Products)],
        };
        for (name, end) in ends {
            let after = merged(params, entry, end)?;
            let difference: Vec<f32> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
            let norm = norm(&difference);
            if norm > 0.0 || has_pair(params, entry, end) {
                let spectrum = spectrum(params, entry, end);
                let rank = (!spectrum.is_empty()).then_some(spectrum.len());
                found.push(Change { name, rank, norm, relative: Some(norm / self::norm(&before)), spectrum });
            }
        }
    }
    Ok(found)
}

/// Whether a pair is added to a matrix in these uses.
fn has_pair(params: &Params, entry: &ParamEntry, end: End) -> bool {
    let looked_up = end != End::Products && params.lookup_pair(entry.weight).is_some();
    looked_up || (end != End::Lookups && params.has_low_rank(entry.weight))
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// The singular values of what a single pair adds to a matrix in these uses, in falling order; none where it is something else.
fn spectrum(params: &Params, entry: &ParamEntry, end: End) -> Vec<f64> {
    let products = if end == End::Lookups { Vec::new() } else { params.low_ranks(entry.weight) };
    let lookups = params.lookup_pair(entry.weight).filter(|_| end != End::Products);
    match (&products[..], lookups) {
        ([], Some(pair)) => spectrum::of_lookup_pair(params, &pair),
        ([pair], None) if pair.low_rank.magnitude.is_none() && !params.has_scaling(entry.weight) => {
            spectrum::of_pair(params, pair.low_rank)
        }
        _ => Vec::new(),
    }
}
