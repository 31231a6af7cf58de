//! Matrices in int8: what config.json says of them and how they lie in a file.
//!
//! ```text
//! config.json   "quantization_config": {"quant_method": "atento-int8", …}
//! safetensors   NAME         I8    the shape that NAME has in f32
//!               NAME_scale   F32   that shape with 1 in place of the inputs: [outputs, 1] or [1, outputs]
//! ```
//!
//! A weight is `NAME · NAME_scale` by broadcasting, so a reader needs to know no model. Matrices that are not in int8 lie as
//! ever. This is the project's own layout: `transformers` warns that it does not know the `quant_method`, and then takes
//! the whole numbers for weights.

use super::Error;
use super::json::Keys;
use super::safetensors::{Dtype, NamedTensor};
use super::weights::Weights;
use atento_tensor::ops::WeightLayout;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The key of config.json.
pub const KEY: &str = "quantization_config";
const METHOD: &str = "atento-int8";

/// A matrix in int8, as models hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Matrix {
    /// `[outputs, inputs]`
    pub values: Vec<i8>,
    /// `[outputs]`, what each row is multiplied by.
    pub scales: Vec<f32>,
    /// Which way round the file has it.
    pub layout: WeightLayout,
}

/// What config.json says of a model whose matrices are in int8.
#[must_use]
pub fn config() -> Value {
    json!({"quant_method": METHOD, "bits": 8, "symmetric": true, "granularity": "output_channel", "scale_suffix": SUFFIX})
}

/// Whether the configuration in the file at `path` allows matrices in int8.
///
/// # Errors
/// It tells of another way of holding weights in few bits.
pub(super) fn is_declared(path: &Path, config: &Map<String, Value>) -> Result<bool, Error> {
    match config.get(KEY) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Object(stated)) if stated.get("quant_method").is_some_and(|method| method == METHOD) => {
            let expected = self::config();
            for (key, expected) in expected.as_object().into_iter().flatten() {
                if stated.get(key).is_some_and(|value| value != expected) {
                    return Err(Keys::new(path, stated).wrong(key, format!("{expected}, as {METHOD} is here")));
                }
            }
            Ok(true)
        }
        Some(_) => {
            Err(Keys::new(path, config).wrong(KEY, format!("none, or one whose `quant_method` is \"{METHOD}\"")))
        }
    }
}

const SUFFIX: &str = "_scale";

/// The name of a matrix's factors.
pub(super) fn scale_name(stored: &str) -> String {
    format!("{stored}{SUFFIX}")
}

/// Whether a tensor is a matrix in int8 with its factors beside it.
pub(super) fn is_matrix(weights: &Weights, stored: &str) -> bool {
    let is_int8 = |stored| weights.get(stored).is_ok_and(|info| info.dtype == Dtype::I8);
    is_int8(stored) && weights.contains(&scale_name(stored))
}

/// Which way round a matrix lies, by the shape of its factors.
///
/// # Errors
/// It is not a matrix, or the factors are not one for each of its outputs.
pub(super) fn layout(weights: &Weights, stored: &str) -> Result<WeightLayout, Error> {
    let shape = weights.get(stored)?.shape;
    let name = scale_name(stored);
    let found = weights.get(&name)?.shape;
    match (shape, found) {
        ([_, outputs], [1, factors]) if outputs == factors => Ok(WeightLayout::InOut),
        ([outputs, _], [factors, 1]) if outputs == factors => Ok(WeightLayout::OutIn),
        _ => {
            let expected = vec![shape.first().copied().unwrap_or(1), 1];
            Err(Error::WrongShape { path: weights.path().to_path_buf(), name, found: found.to_vec(), expected })
        }
    }
}

/// Reads a matrix and its factors.
///
/// # Errors
/// As [`layout`], or a factor is no finite real number.
pub(super) fn read(weights: &Weights, stored: &str) -> Result<Int8Matrix, Error> {
    let (layout, name) = (layout(weights, stored)?, scale_name(stored));
    let scales = weights.read_f32(&name, weights.get(&name)?.shape)?;
    let values: Vec<i8> = weights.elements(stored)?.iter().map(|&byte| byte as i8).collect();
    let values = match layout {
        WeightLayout::OutIn => values,
        WeightLayout::InOut => transposed(&values, scales.len()),
    };
    Ok(Int8Matrix { values, scales, layout })
}

/// Reads the real numbers that a matrix stands for, in the order of the file.
///
/// # Errors
/// As [`read`].
pub(super) fn read_f32_into(weights: &Weights, stored: &str, values: &mut [f32]) -> Result<(), Error> {
    let Int8Matrix { values: whole, scales, layout } = read(weights, stored)?;
    let (outputs, inputs) = (scales.len(), whole.len() / scales.len().max(1));
    let at = |output: usize, input: usize| match layout {
        WeightLayout::OutIn => output * inputs + input,
        WeightLayout::InOut => input * outputs + output,
    };
    for (output, (row, scale)) in whole.chunks_exact(inputs.max(1)).zip(&scales).enumerate() {
        row.iter().enumerate().for_each(|(input, &q)| values[at(output, input)] = f32::from(q) * scale);
    }
    Ok(())
}

/// The tensors to write for a matrix of `shape` under `name`: `values` are `[outputs, inputs]`, whatever its `layout`.
#[must_use]
pub fn tensors<'a>(
    name: &str,
    shape: &[usize],
    layout: WeightLayout,
    values: &[i8],
    scales: &'a [f32],
) -> [NamedTensor<'a>; 2] {
    let outputs = scales.len();
    let (values, scale_shape) = match layout {
        WeightLayout::OutIn => (values.to_vec(), [outputs, 1]),
        WeightLayout::InOut => (transposed(values, values.len() / outputs.max(1)), [1, outputs]),
    };
    [NamedTensor::int8(name, shape, values), NamedTensor::new(scale_name(name), scale_shape, scales)]
}

/// The columns of a matrix of `cols` columns, as rows.
fn transposed(values: &[i8], cols: usize) -> Vec<i8> {
    let column = |col: usize| values[col.min(values.len())..].iter().step_by(cols.max(1)).copied();
    (0..cols).flat_map(column).collect()
}
