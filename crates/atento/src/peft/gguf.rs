//! Adapters in llama.cpp's files (`convert_lora_to_gguf.py`): for each matrix `NAME`, tensors `NAME.lora_a` [rank, inputs] and
//! `NAME.lora_b` [outputs, rank], and one α for all.

use std::path::Path;

use atento_tensor::Params;

use super::adapter::Adapter;
use super::methods::AdapterConfig;
use super::modules::{find, modules};
use super::{Bias, Error};
use crate::families::Config;
use crate::hub::gguf::NewFile;

impl Adapter {
    /// Writes it as a file of llama.cpp, for a model with this outline; returns how many matrices it adapts.
    ///
    /// llama.cpp has one α for all pairs, so that what else their factors say is multiplied into `lora_b`.
    ///
    /// # Errors
    /// llama.cpp has no models of this type, or no place for something that the adapter holds; the file cannot be written.
    pub fn to_gguf(&self, config: &dyn Config, params: &Params, file: &Path) -> Result<usize, Error> {
        let AdapterConfig::Lora(lora) = &self.config else {
            return Err(self.unsupported("files of llama.cpp have low-rank pairs alone".into()));
        };
        if !lora.only_adds() || lora.bias != Bias::None {
            let what = "files of llama.cpp have no place for lengths of rows (`use_dora`), biases (`bias`), rows of tokens \
                        (`trainable_token_indices`) and pairs that stand for parts of the base (`init_lora_weights`)";
            return Err(self.unsupported(what.into()));
        }
        if let Some((name, _)) = self.whole()?.first() {
            let what =
                format!("files of llama.cpp have no place for `{name}`, which is trained whole: merge the adapter");
            return Err(self.unsupported(what));
        }
        let json = config.to_json()?;
        let model_type = json.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
        let known = config.family().gguf().and_then(|known| Some((known, known.name_of(model_type)?)));
        let (architecture, name) = known.ok_or_else(|| {
            self.unsupported(format!("llama.cpp's files are not known for models of type {model_type:?}"))
        })?;
        let head_dim = config.attention_shape().map_or(1, |shape| shape.head_dim);
        let (all, pairs) = (modules(config, params), self.pairs()?);
        let mut new = NewFile::default();
        new.text("general.architecture", name);
        new.text("general.type", "adapter");
        new.text("adapter.type", "lora");
        new.number("adapter.lora.alpha", lora.alpha as f32);
        for (path, is_table, [(down, down_shape), (mut up, up_shape)]) in pairs.iter().cloned() {
            let module = find(&all, &path).filter(|_| !is_table);
            let Some(module) = module.filter(|module| !module.is_output) else {
                let what = format!("`{path}` is a table of rows or the output onto the vocabulary: merge the adapter");
                return Err(self.unsupported(what));
            };
            let (outputs, inputs) = module.sizes();
            let rank = lora.rank_of(&path);
            if down_shape != [rank, inputs] || up_shape != [outputs, rank] {
                let found = format!("its pair of rank {rank} has {down_shape:?} and {up_shape:?}");
                return Err(self.unsupported(format!("`{path}` is [{outputs}, {inputs}], but {found}")));
            }
            // llama.cpp multiplies by α over the rank that the pair has.
            let factor = (lora.scale_of(&path) * rank as f64 / lora.alpha) as f32;
            up.iter_mut().for_each(|value| *value *= factor);
            let entry = params.entries().iter().find(|entry| entry.weight == module.weight).expect("a module's matrix");
            let (tensor, layout) = architecture.place(name, &entry.name, head_dim);
            new.tensor(format!("{tensor}.lora_a"), down_shape, down);
            new.tensor(format!("{tensor}.lora_b"), up_shape, layout.store_rows(&up, outputs));
        }
        new.write(file)?;
        Ok(pairs.len())
    }
}
