//! GPT-2 in GGUF files: the architecture `gpt2`. Weights inside blocks are `[out, in]` there.

use std::sync::Arc;

use crate::hub::Error;
use crate::hub::gguf::{Architecture, Described, Gguf, Held, Layout, Settings, special_ids};
use crate::models::Gpt2Config;
use crate::models::config::ConfigError;

const TABLE: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

/// Keys that are read, or that say nothing of what a model computes.
const KNOWN: [&str; 7] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_epsilon",
];

/// GPT-2.
pub(super) struct Gpt2Gguf;

impl Architecture for Gpt2Gguf {
    fn names(&self) -> &'static [&'static str] {
        &["gpt2"]
    }

    fn describe(&self, name: &'static str, file: &Gguf) -> Result<Described, Error> {
        let settings = Settings { file, architecture: name };
        settings.refuse_others(&KNOWN, &[])?;
        let config = config(settings)?;
        config.validate().map_err(|ConfigError { key, expected, .. }| settings.wrong(gguf_key(key), expected))?;
        let held = |(parameter, shape): (String, Vec<usize>)| {
            let (tensor, turned) = self.place(name, &parameter, 1);
            Held { tensor, parameter, layout: if shape.len() == 2 { turned } else { Layout::Plain }, shape }
        };
        let tensors = config.parameters().into_iter().map(held).collect();
        Ok(Described { config: Arc::new(config), tensors, read: vec![OUTPUT.to_owned()] })
    }

    fn name_of(&self, model_type: &str) -> Option<&'static str> {
        (model_type == "gpt2").then_some("gpt2")
    }

    fn place(&self, _name: &str, parameter: &str, _head_dim: usize) -> (String, Layout) {
        let is_turned = parameter.starts_with("h.");
        (tensor(parameter), if is_turned { Layout::Transposed } else { Layout::Plain })
    }
}

fn config(settings: Settings<'_>) -> Result<Gpt2Config, Error> {
    const EPSILON: &str = "attention.layer_norm_epsilon";
    let file = settings.file;
    let [vocab_size, _] = settings.table(TABLE)?;
    let plain = Gpt2Config::new(
        vocab_size,
        settings.required("block_count")?,
        settings.required("embedding_length")?,
        settings.required("attention.head_count")?,
        settings.required("context_length")?,
    );
    let ids = special_ids(file)?;
    Ok(Gpt2Config {
        d_ff: settings.size("feed_forward_length")?.unwrap_or(plain.d_ff),
        layer_norm_eps: file.required(&settings.key(EPSILON), settings.number(EPSILON)?)? as f32,
        // Writers of older files doubled the table.
        tie_embeddings: !file.contains(OUTPUT) || file.are_equal(OUTPUT, TABLE)?,
        bos_id: ids.bos,
        eos_id: ids.eos,
        pad_id: ids.pad,
        ..plain
    })
}

/// The name that a file has for a parameter.
fn tensor(parameter: &str) -> String {
    let (module, kind) = parameter.rsplit_once('.').unwrap_or((parameter, ""));
    let module = match module {
        "wte" => return TABLE.into(),
        "lm_head" => return OUTPUT.into(),
        "wpe" => "position_embd",
        "ln_f" => "output_norm",
        block => return format!("blk.{}.{kind}", in_block(block)),
    };
    format!("{module}.{kind}")
}

/// The name of a module of a block, after the block's number.
fn in_block(module: &str) -> String {
    let (layer, name) = module.trim_start_matches("h.").split_once('.').unwrap_or((module, ""));
    let name = match name {
        "ln_1" => "attn_norm",
        "attn.c_attn" => "attn_qkv",
        "attn.c_proj" => "attn_output",
        "ln_2" => "ffn_norm",
        "mlp.c_fc" => "ffn_up",
        "mlp.c_proj" => "ffn_down",
        same => same,
    };
    format!("{layer}.{name}")
}

/// The key that stands for a field of ours.
fn gguf_key(key: &'static str) -> &'static str {
    match key {
        "d_model" => "embedding_length",
        "layers" => "block_count",
        "heads" => "attention.head_count",
        "d_ff" => "feed_forward_length",
        "max_positions" => "context_length",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        same => same,
    }
}
