//! Adapters: what is added to a model that stays as it is (Hu et al. 2021), in PEFT's files.
//!
//! ```text
//! adapter_config.json           which modules are adapted, how, and for which base
//! adapter_model.safetensors     the pairs of thin matrices, and what is trained whole
//! config.json                   the model with the adapter's own output, where it was trained here
//! ```
//!
//! A model knows nothing of adapters: they are put on its projections and tables by the paths of modules, and every product
//! adds what its weight has been given ([`LowRank`](atento_tensor::LowRank), [`Scaling`](atento_tensor::Scaling),
//! [`Bottleneck`](atento_tensor::Bottleneck)), every lookup what its table has ([`LookupPair`](atento_tensor::LookupPair),
//! [`ReplacedRows`](atento_tensor::ReplacedRows)). Virtual tokens stand before its texts ([`VirtualTokens`](atento_tensor::VirtualTokens)).

mod adapter;
mod begin;
mod changes;
mod combine;
mod config;
mod defaults;
mod error;
mod gguf;
mod houlsby;
mod loralib;
mod merge;
mod methods;
mod modules;
mod patterns;
mod principal;
mod probe;
mod roles;
mod save;
mod spectrum;
mod tables;
#[cfg(test)]
mod tests;
mod unmerge;
mod virtual_tokens;

pub use adapter::{ADAPTER_WEIGHTS, Adapter};
pub use begin::{NewAdapter, Start, Unfit};
pub use changes::{Change, changes};
pub use combine::{Combination, Recipe as CombinationRecipe, combine};
pub use config::{ADAPTER_CONFIG, Bias, LoraConfig, Targets};
pub use defaults::{default_bottlenecks, default_factors, default_targets};
pub use error::Error;
pub use houlsby::HoulsbyConfig;
pub use loralib::{Unsaid, from_loralib};
pub use merge::{merge, merge_untied, unties};
pub use methods::{AdapterConfig, BitFitConfig, Common, Ia3Config};
pub use modules::{Module, modules};
pub use patterns::Pattern;
pub use probe::Probed;
pub use roles::{Part, resolve};
pub use save::save;
pub use tables::TrainedTokens;
pub(crate) use unmerge::MERGED;
pub use virtual_tokens::{VirtualConfig, VirtualKind};
