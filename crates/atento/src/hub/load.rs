//! Filling a model's parameters from a checkpoint: every parameter is filled, and tensors that none asks for are told.
//!
//! Names and shapes are compared for the whole model first, from the headers alone; only then is data read. So
//! [`check`] can run before a model's parameters are allocated, and a configuration of absurd size fails there.

use super::error::List;
use super::int8::Int8Matrix;
use super::nearest::{nearest, quoted};
use super::safetensors::Dtype;
use super::weights::Weights;
use super::{Error, int8};
use crate::families::{Config, Extra};
use crate::models::parameters::NamedShape;
use atento_kernels::elementwise;
use atento_kernels::linear::WeightLayout;
use atento_tensor::{Frozen, Values};
use rayon::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;

/// Which tensors a file has, and what they are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'c> {
    /// The model.
    pub config: &'c dyn Config,
    /// Whether config.json says that matrices are in int8.
    pub is_int8: bool,
}

/// A set of named parameters that a checkpoint can fill.
pub trait NamedTensors {
    /// Every parameter's name and shape.
    fn expected(&self) -> Vec<NamedShape>;

    /// Takes the elements of one of the [`NamedTensors::expected`] parameters.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), Error>;
}

/// The elements of one parameter in a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Source<'w> {
    weights: &'w Weights,
    /// Nothing where the parameter is zero for lack of a tensor.
    stored: Option<&'w str>,
}

impl Source<'_> {
    /// Writes the elements into a slice of the parameter's size, row by row.
    ///
    /// # Errors
    /// They are no finite real numbers.
    pub fn read(&self, values: &mut [f32]) -> Result<(), Error> {
        match self.stored {
            None => values.fill(0.0),
            Some(stored) if int8::is_matrix(self.weights, stored) => {
                int8::read_f32_into(self.weights, stored, values)?;
            }
            Some(stored) => self.weights.read_f32_into(stored, self.weights.get(stored)?.shape, values)?,
        }
        Ok(())
    }

    /// The elements of a parameter that is not trained, mapped from the file where that can be. `layout` is that of a matrix
    /// which may be held in fewer bits; of any other parameter there is none.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_frozen(&self, len: usize, layout: Option<WeightLayout>) -> Result<Frozen, Error> {
        if let (Some(stored), Weights::Gguf(tensors)) = (self.stored, self.weights)
            && let Some(frozen) = tensors.frozen(stored, layout)?.filter(is_finite)
        {
            return Ok(frozen);
        }
        if let (Some(stored), Weights::SafeTensors(tensors)) = (self.stored, self.weights) {
            let dtype = self.weights.get(stored)?.dtype;
            let frozen = match (dtype, layout) {
                (Dtype::F32, _) => tensors.mapped(stored).map(|at| Frozen::F32(Values::Elsewhere(Arc::new(at)))),
                (Dtype::F16, Some(WeightLayout::OutIn)) => {
                    tensors.mapped(stored).map(|at| Frozen::F16(Values::Elsewhere(Arc::new(at))))
                }
                (Dtype::BF16, Some(WeightLayout::OutIn)) => {
                    tensors.mapped(stored).map(|at| Frozen::Bf16(Values::Elsewhere(Arc::new(at))))
                }
                _ => None,
            };
            if let Some(frozen) = frozen.filter(is_finite) {
                return Ok(frozen);
            }
        }
        if let (Some(Int8Matrix { values, scales, .. }), true) = (self.read_int8()?, layout.is_some()) {
            return Ok(Frozen::Int8 { values: values.into(), scales: scales.into() });
        }
        let mut values = vec![0.0; len];
        self.read(&mut values)?;
        Ok(Frozen::F32(values.into()))
    }

    /// The matrix as it is, where the checkpoint has it in int8.
    ///
    /// # Errors
    /// A factor is no finite real number.
    pub fn read_int8(&self) -> Result<Option<Int8Matrix>, Error> {
        let stored = self.stored.filter(|stored| int8::is_matrix(self.weights, stored));
        stored.map(|stored| int8::read(self.weights, stored)).transpose()
    }
}

/// Blocks that are looked at together.
const FINITE: usize = 256;

/// Whether all numbers of a tensor that is mapped are finite; if not, reading it says which is not.
fn is_finite(frozen: &Frozen) -> bool {
    match frozen {
        Frozen::F32(values) => elementwise::all_finite(values),
        Frozen::F16(values) => values.par_iter().all(|value| value.is_finite()),
        Frozen::Bf16(values) => values.par_iter().all(|value| value.is_finite()),
        Frozen::Int8 { .. } | Frozen::Four { .. } => true,
        Frozen::Blocks { bytes, kind, .. } => {
            let (elements, size) = kind.sizes();
            bytes.par_chunks(FINITE * size).all(|bytes| {
                let mut values = vec![0.0; bytes.len() / size * elements];
                kind.widen(bytes, &mut values);
                elementwise::all_finite(&values)
            })
        }
    }
}

/// Fills every parameter of `target`. Tensors of the file that no parameter asks for are not read.
///
/// # Errors
/// Missing tensors, wrong shapes or element types, NaN or infinities, copies that differ from what
/// they are tied to, positions of an M2M100 that are not the sinusoids.
pub fn load(weights: &Weights, names: Names<'_>, target: &mut dyn NamedTensors) -> Result<(), Error> {
    let plan = check(weights, names, &target.expected())?;
    for step in &plan.steps {
        target.fill(&step.internal, &Source { weights, stored: step.stored.as_deref() })?;
    }
    for (stored, original) in &plan.copies {
        let source = plan.steps.iter().find(|step| step.internal == *original).and_then(|step| step.stored.as_deref());
        check_copy(weights, stored, original, source.unwrap_or(stored))?;
    }
    names.config.check_positions(weights, &plan.positions)
}

/// Which tensor fills which parameter, and what the rest of the file is.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    copies: Vec<(String, &'static str)>,
    positions: Vec<String>,
    /// That the file has tensors which no parameter asks for, if it has.
    pub note: Option<String>,
}

#[derive(Debug)]
struct Step {
    internal: String,
    /// Nothing where the parameter is zero for lack of a tensor.
    stored: Option<String>,
}

/// Compares names and shapes without reading data.
///
/// # Errors
/// Missing tensors, with the nearest names; the first wrong shape; a matrix in int8 that nothing tells of.
pub fn check(weights: &Weights, names: Names<'_>, expected: &[NamedShape]) -> Result<Plan, Error> {
    let mut steps = Vec::with_capacity(expected.len());
    let mut missing = Vec::new();
    for (internal, shape) in expected {
        let sources = names.config.sources(internal);
        let stored = sources.iter().find(|name| weights.contains(name)).cloned();
        match &stored {
            Some(stored) => {
                check_shape(weights, stored, shape, &names.config.stored_shape(internal, shape))?;
                check_type(weights, stored, names)?;
            }
            None if names.config.is_zero_if_missing(internal) => {}
            None => missing.push(sources[0].clone()),
        }
        steps.push(Step { internal: internal.clone(), stored });
    }
    let mut used: HashSet<String> = steps.iter().filter_map(|step| step.stored.clone()).collect();
    if names.is_int8 {
        let scales = check_scales(weights, &steps)?;
        missing.extend(scales.iter().filter(|scale| !weights.contains(scale)).cloned());
        used.extend(scales);
    }
    let mut plan = Plan { steps: Vec::new(), copies: Vec::new(), positions: Vec::new(), note: None };
    let mut unexpected = Vec::new();
    for stored in weights.names().filter(|name| !used.contains(*name)) {
        match names.config.extra(stored) {
            Extra::CopyOf(original) => plan.copies.push((stored.to_string(), original)),
            Extra::Positions => plan.positions.push(stored.to_string()),
            Extra::Unused => {}
            Extra::Unexpected => unexpected.push(stored),
        }
    }
    report_missing(weights, &missing, &unexpected)?;
    plan.note = note_unexpected(weights, names, &unexpected, expected);
    plan.steps = steps;
    Ok(plan)
}

/// Names of the factors of all matrices in int8. Those that there are fit their matrices.
fn check_scales(weights: &Weights, steps: &[Step]) -> Result<Vec<String>, Error> {
    let mut scales = Vec::new();
    for stored in steps.iter().filter_map(|step| step.stored.as_deref()) {
        if weights.get(stored)?.dtype == Dtype::I8 {
            scales.push(int8::scale_name(stored));
        }
        if int8::is_matrix(weights, stored) {
            int8::layout(weights, stored)?;
        }
    }
    Ok(scales)
}

/// The shape must be the stored one; the parameter's own is as good where it differs only in ones.
pub(crate) fn check_shape(weights: &Weights, stored: &str, own: &[usize], expected: &[usize]) -> Result<(), Error> {
    let found = weights.get(stored)?.shape;
    if found == expected || found == own {
        return Ok(());
    }
    Err(Error::WrongShape {
        path: weights.path().to_path_buf(),
        name: stored.to_string(),
        found: found.to_vec(),
        expected: expected.to_vec(),
    })
}

fn report_missing(weights: &Weights, missing: &[String], unused: &[&str]) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    let describe = |name: &String| match nearest(name, unused.iter().copied()) {
        Some(near) => format!("`{name}` (the file has {})", quoted(near)),
        None => format!("`{name}`"),
    };
    let tensors = describe_some(missing, describe);
    Err(Error::MissingTensors { path: weights.path().to_path_buf(), tensors })
}

fn note_unexpected(
    weights: &Weights,
    names: Names<'_>,
    unexpected: &[&str],
    expected: &[NamedShape],
) -> Option<String> {
    if unexpected.is_empty() {
        return None;
    }
    let known: Vec<String> = expected.iter().map(|(name, _)| names.config.sources(name).swap_remove(0)).collect();
    let describe = |name: &&str| match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("{} (the nearest expected is `{near}`)", quoted(name)),
        None => quoted(name),
    };
    let tensors = describe_some(unexpected, describe);
    let list =
        List { what: "tensor that no parameter asks for", many: "tensors that no parameter asks for", items: &tensors };
    Some(format!("{}: not read: {list}", weights.path().display()))
}

/// Numbers in int8 mean nothing without their factors, of which config.json has to tell.
fn check_type(weights: &Weights, stored: &str, names: Names<'_>) -> Result<(), Error> {
    let dtype = weights.get(stored)?.dtype;
    if dtype != Dtype::I8 || names.is_int8 {
        return Ok(());
    }
    let (path, name) = (weights.path().to_path_buf(), stored.to_string());
    let expected = "F32, F16, BF16 or F64, or a `quantization_config` in config.json that tells of int8";
    Err(Error::WrongDtype { path, name, found: dtype, expected })
}

/// Looks for near names of the first few only: a message shows no more, and the search is quadratic.
fn describe_some<T: AsRef<str>>(names: &[T], describe: impl Fn(&T) -> String) -> Vec<String> {
    const DESCRIBED: usize = 5;
    let plain = names.iter().skip(DESCRIBED).map(|name| quoted(name.as_ref()));
    names.iter().take(DESCRIBED).map(describe).chain(plain).collect()
}

/// `source` is the tensor that filled `original`.
fn check_copy(weights: &Weights, stored: &str, original: &str, source: &str) -> Result<(), Error> {
    let shape = weights.get(stored)?.shape;
    if weights.read_f32(stored, shape)? == weights.read_f32(source, shape)? {
        return Ok(());
    }
    Err(Error::Tied { path: weights.path().to_path_buf(), stored: stored.to_string(), tied_to: original.to_string() })
}
