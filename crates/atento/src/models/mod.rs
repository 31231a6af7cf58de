//! The models: what they are made of and what their parameters are called.

mod cached_causal;
mod cached_decoder;
mod causal;
pub mod config;
pub mod deberta;
pub mod depth;
pub mod encoder;
pub mod gpt2;
pub mod grow;
pub mod headed;
mod kv_cache;
pub mod llama;
pub mod parameters;
pub mod precision;
pub mod recurrent;
pub mod recurrent_config;
mod recurrent_decoder;
pub mod sinusoid;
pub mod transformer;
mod transformer_layer;
pub mod translator;
mod trunk;

pub use cached_causal::CachedCausal;
pub use causal::{Attend, CausalLm};
pub use config::TransformerConfig;
pub use deberta::{Deberta, DebertaConfig};
pub use encoder::{Encoder, EncoderConfig};
pub use gpt2::{Gpt2, Gpt2Config};
pub use headed::Headed;
pub use llama::{Llama, LlamaConfig};
pub use precision::Precision;
pub use recurrent::Recurrent;
pub use recurrent_config::RecurrentConfig;
pub use transformer::Transformer;
pub use translator::Translator;
pub use trunk::{Texts, Trunk};
