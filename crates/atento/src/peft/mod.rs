//! Adapters: what is added to a model that stays as it is (Hu et al. 2021), in PEFT's files.
//!
//! ```text
//! adapter_config.json           which modules are adapted, how, and for which base
//! adapter_model.safetensors     the pairs of thin matrices, and what is trained whole
//! ```
//!
//! A model knows nothing of adapters: they are put on its projections by the paths of modules, and every product adds what
//! its weight has been given ([`LowRank`](atento_tensor::LowRank)).

mod adapter;
mod config;
mod merge;
mod modules;
mod patterns;
mod probe;
#[cfg(test)]
mod tests;

pub use adapter::{ADAPTER_WEIGHTS, Adapter, Error};
pub use config::{ADAPTER_CONFIG, Bias, LoraConfig, Targets};
pub use merge::merge;
pub use modules::{Module, modules};
pub use patterns::Pattern;
pub use probe::Probed;
