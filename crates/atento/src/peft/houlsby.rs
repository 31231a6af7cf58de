//! Bottlenecks behind projections (Houlsby et al. 2019). PEFT has no such method: the files are this program's own.

use atento_kernels::activation::Activation;
use atento_kernels::philox::Rng;
use atento_tensor::{Bottleneck, Init, Params};
use serde_json::{Map, Value, json};

use super::config::{Targets, targets};
use super::methods::{Common, check_keys};
use super::modules::Module;
use crate::hub::Error;
use crate::hub::json::Keys;

/// The standard deviation with which the thin matrix that reads begins; the other begins with zeros.
const INIT_STD: f32 = 0.02;

/// The random stream that they begin from.
const STREAM: u64 = 0x686f_756c;

/// The ends of the names of a bottleneck's tensors.
pub(super) const ENDS: [&str; 4] = ["adapter_down.weight", "adapter_down.bias", "adapter_up.weight", "adapter_up.bias"];

/// Bottlenecks but for their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct HoulsbyConfig {
    /// The width between the two thin matrices.
    pub size: usize,
    /// The modules that have one behind them.
    pub targets: Targets,
    /// Which of those have none.
    pub exclude: Option<Targets>,
    /// What every adapter has.
    pub common: Common,
}

impl HoulsbyConfig {
    pub(super) fn of(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        check_keys(keys, object, &["size", "target_modules", "exclude_modules"])?;
        let size: usize = keys.required("size")?;
        if size == 0 {
            return Err(keys.wrong("size", "1 or more"));
        }
        let named = targets(keys, object, "target_modules")?;
        Ok(Self {
            size,
            targets: named.ok_or_else(|| keys.wrong("target_modules", "names of modules, or a regular expression"))?,
            exclude: targets(keys, object, "exclude_modules")?,
            common: Common::of(keys, object)?,
        })
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let entries = [
            ("size", json!(self.size)),
            ("target_modules", self.targets.to_json()),
            ("exclude_modules", self.exclude.as_ref().map_or(Value::Null, Targets::to_json)),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The shapes of a module's tensors, in the order of [`ENDS`].
    pub(super) fn dims(&self, module: &Module) -> [Vec<usize>; 4] {
        let outputs = module.sizes().0;
        [vec![self.size, outputs], vec![self.size], vec![outputs, self.size], vec![outputs]]
    }

    /// Puts new ones on a model, which computes what it did before.
    pub(super) fn begin(&self, params: &mut Params, modules: &[Module], seed: u64) {
        let rng = &mut Rng::new(seed, STREAM);
        for module in modules {
            let dims = self.dims(module);
            let mut add =
                |at: usize, init| params.add_trained(&format!("{}.{}", module.path, ENDS[at]), &dims[at], init, rng);
            let (down, down_bias) = (add(0, Init::Normal(INIT_STD)), add(1, Init::Zeros));
            let (up, up_bias) = (add(2, Init::Zeros), add(3, Init::Zeros));
            let activation = Activation::Gelu;
            params.set_bottleneck(module.weight, Bottleneck { down, down_bias, up, up_bias, activation });
        }
    }
}
