//! Features: what a frozen Transformer gives the output of each text. They are computed once and kept in a file.

use std::fs;
use std::path::Path;

use atento_tensor::{Graph, Pool};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::data::labelled::TextBatch;
use crate::families::Config;
use crate::hub::atomic::atomic_write;
use crate::models::Headed;
use crate::train::probe::check_finite;
use crate::train::{Error, StopFlag};

/// The name of the tensor in the file.
const NAME: &str = "features";

/// Rows of features, one a text.
pub(super) struct Features {
    /// Row by row.
    pub values: Vec<f32>,
    /// How many a row has.
    pub width: usize,
    /// Whether they were found in a file.
    pub were_kept: bool,
}

impl Features {
    /// The features of `rows` texts: those in `dir` that are called `key`, or those that the model gives the batches, which
    /// are then kept there.
    ///
    /// # Errors
    /// A feature is not finite; the file cannot be written; `stop` was raised.
    pub fn of(
        model: &Headed,
        batches: impl Iterator<Item = TextBatch>,
        rows: usize,
        (dir, key): (&Path, &str),
        pool: &Pool,
        stop: &StopFlag,
    ) -> Result<Self, Error> {
        let path = dir.join(format!("{key}.safetensors"));
        if let Some(found) = kept(&path, rows, model.config.sizes().d_model) {
            return Ok(found);
        }
        let (mut values, mut width) = (Vec::new(), 1);
        for batch in batches {
            if stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let g = &mut Graph::infer(model.params(), pool);
            let found = model.features(g, batch.as_texts());
            width = found.dims::<2>()[1];
            values.extend_from_slice(found.values());
        }
        check_finite(&values, width)?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let failed = |error| Error::Io { path: path.clone(), source: std::io::Error::other(error) };
        let tensor = TensorView::new(Dtype::F32, vec![rows, width], &bytes).map_err(failed)?;
        let bytes = safetensors::serialize([(NAME, tensor)], None).map_err(failed)?;
        fs::create_dir_all(dir).map_err(|source| Error::Io { path: dir.into(), source })?;
        atomic_write(&path, &bytes)?;
        Ok(Self { values, width, were_kept: false })
    }
}

/// The features in a file, if it holds so many rows of that width. A file that holds something else is made anew.
fn kept(path: &Path, rows: usize, width: usize) -> Option<Features> {
    let bytes = fs::read(path).ok()?;
    let tensors = SafeTensors::deserialize(&bytes).ok()?;
    let tensor = tensors.tensor(NAME).ok()?;
    if tensor.shape() != [rows, width] || tensor.dtype() != Dtype::F32 {
        return None;
    }
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap_or_default());
    let values: Vec<f32> = tensor.data().chunks_exact(4).map(number).collect();
    check_finite(&values, width).ok()?;
    Some(Features { values, width, were_kept: true })
}
