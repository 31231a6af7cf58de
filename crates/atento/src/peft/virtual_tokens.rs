//! Prompts and prefixes: trained tokens before every text (Lester et al. 2021; Li & Liang 2021).
//!
//! A file of either has one tensor, `prompt_embeddings`: of prompts [tokens, d_model], of prefixes
//! [tokens, 2 · layers · kv_heads · head_dim], for each block the keys and then the values.

use atento_kernels::philox::Rng;
use atento_tensor::{Frozen, Init, Params, View, VirtualTokens, Weight};
use serde_json::{Map, Value, json};

use super::begin::Unfit;
use super::methods::{Common, check_keys};
use super::modules::Module;
use crate::families::{AttentionShape, Config, Head};
use crate::hub::Error;
use crate::hub::json::Keys;
use crate::messages;

/// The tensor of a prompt's or a prefix's file.
pub(super) const ROWS: &str = "prompt_embeddings";

/// The standard deviation with which prefixes begin, and prompts of a model without a table of tokens.
const INIT_STD: f32 = 0.02;

/// The random stream that they begin from.
const STREAM: u64 = 0x7669_7274;

/// Keys of adapter_config.json. The last say how training began, which changes nothing afterwards: a prefix that was trained
/// through a projection is saved as what that gave.
const KEYS: [&str; 12] = [
    "num_virtual_tokens",
    "token_dim",
    "num_transformer_submodules",
    "num_attention_heads",
    "num_layers",
    "encoder_hidden_size",
    "init_weights",
    "prefix_projection",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "tokenizer_kwargs",
    "tokenizer_name_or_path",
];

/// What stands before every text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualKind {
    /// Rows in the place of the embeddings of tokens.
    Prompt,
    /// Keys and values in every block.
    Prefix,
}

/// A prompt or a prefix but for its values.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualConfig {
    /// Which of the two.
    pub kind: VirtualKind,
    /// How many tokens.
    pub count: usize,
    /// Blocks, heads of keys and values, and the width of what they are together or, of a prompt, of the embeddings of tokens; 0
    /// where that is still to be found out on the model.
    pub sizes: [usize; 3],
    /// What every adapter has.
    pub common: Common,
}

impl VirtualConfig {
    /// So many tokens, before the texts of a model that is not known yet.
    #[must_use]
    pub fn new(kind: VirtualKind, count: usize) -> Self {
        Self { kind, count, sizes: [0; 3], common: Common::default() }
    }

    pub(super) fn of(kind: VirtualKind, keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        let own = match kind {
            VirtualKind::Prompt => &KEYS[..],
            VirtualKind::Prefix => &KEYS[..8],
        };
        check_keys(keys, object, own)?;
        let count: usize = keys.required("num_virtual_tokens")?;
        if count == 0 {
            return Err(keys.wrong("num_virtual_tokens", "1 or more"));
        }
        if keys.or("num_transformer_submodules", 1_usize)? != 1 {
            return Err(keys.wrong("num_transformer_submodules", "1: prompts of encoder–decoders are not here"));
        }
        let size = |key: &str| keys.or(key, 0_usize);
        let sizes = [size("num_layers")?, size("num_attention_heads")?, size("token_dim")?];
        Ok(Self { kind, count, sizes, common: Common::of(keys, object)? })
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let [layers, heads, width] = self.sizes.map(|size| if size == 0 { Value::Null } else { json!(size) });
        let mut entries = vec![
            ("num_virtual_tokens", json!(self.count)),
            ("token_dim", width.clone()),
            ("num_transformer_submodules", json!(1)),
            ("num_attention_heads", heads),
            ("num_layers", layers),
        ];
        match self.kind {
            VirtualKind::Prompt => entries.push(("prompt_tuning_init", json!("RANDOM"))),
            VirtualKind::Prefix => {
                entries.extend([("encoder_hidden_size", width), ("prefix_projection", json!(false))]);
            }
        }
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Numbers of a token in the file.
    pub(super) fn width(&self) -> usize {
        match (self.kind, self.sizes) {
            (VirtualKind::Prompt, [_, _, width]) => width,
            (VirtualKind::Prefix, [layers, _, width]) => 2 * layers * width,
        }
    }

    /// The same for a model, of which these are the modules.
    ///
    /// # Errors
    /// Virtual tokens cannot stand before its texts; it is for a model of other sizes.
    pub(super) fn fitted(&self, model: &dyn Config, all: &[Module]) -> Result<Self, Unfit> {
        let refuse = |key, problem: String| Err(Unfit { key, problem });
        let family = model.family().name();
        let attention = model.attention_shape();
        let sizes = match self.kind {
            VirtualKind::Prompt => {
                let table = token_table(model, all).filter(|_| model.head() != Head::Translation);
                let Some(table) = table else {
                    return refuse("peft_type", format!("prompts are not here before the texts of a {family}"));
                };
                // Blocks and heads, of which a prompt has no need, stay open where the attention is another one.
                let [layers, heads] = attention.map_or([0; 2], |shape| [shape.layers, shape.kv_heads]);
                [layers, heads, table.weight.cols]
            }
            VirtualKind::Prefix => {
                let Some(AttentionShape { layers, kv_heads, head_dim, .. }) = attention else {
                    return refuse("peft_type", format!("prefixes are not here before the texts of a {family}"));
                };
                [layers, kv_heads, kv_heads * head_dim]
            }
        };
        let said = self.sizes.iter().zip(sizes).zip(["num_layers", "num_attention_heads", "token_dim"]);
        for ((said, own), key) in said {
            // What a prompt says of heads has no meaning.
            let is_unused = self.kind == VirtualKind::Prompt && key == "num_attention_heads";
            if !is_unused && *said != 0 && own != 0 && *said != own {
                return refuse("num_virtual_tokens", format!("`{key}` is {said}, but the model's is {own}"));
            }
        }
        if let Some(positions) = self.positions(model).filter(|positions| self.count >= *positions) {
            let problem = format!("there are {}, and the model has {positions} positions", self.count);
            return refuse("num_virtual_tokens", problem);
        }
        Ok(Self { sizes, ..self.clone() })
    }

    /// The positions of the model, where virtual tokens take some of them.
    fn positions(&self, model: &dyn Config) -> Option<usize> {
        let is_causal = model.attention_shape().is_some_and(|shape| shape.is_causal);
        model.sizes().max_positions.filter(|_| is_causal || self.kind == VirtualKind::Prompt)
    }

    /// What they are, in a sentence.
    pub(super) fn note(&self, model: &dyn Config) -> String {
        let what = match self.kind {
            VirtualKind::Prompt => String::new(),
            VirtualKind::Prefix => format!(", keys and values in {} blocks", self.sizes[0]),
        };
        let left = self.positions(model).map_or(String::new(), |positions| {
            format!("; they leave {} of {positions} positions to the text", positions - self.count)
        });
        format!("{} before every text{what}{left}", messages::count(self.count as u64, "virtual token"))
    }

    /// Puts new ones on a model: a prompt as rows of the table of tokens (Lester et al. 2021, §3.2).
    pub(super) fn begin(&self, params: &mut Params, table: Option<Weight>, seed: u64) {
        let rng = &mut Rng::new(seed, STREAM);
        let normal = Init::Normal(INIT_STD);
        let tokens = match self.kind {
            VirtualKind::Prompt => {
                let rows = params.add_trained(ROWS, &[self.count, self.width()], normal, rng);
                if let Some(table) = table.filter(|_| params.has_values()) {
                    let pick = |_| ((rng.uniform() * table.rows as f32) as usize).min(table.rows - 1);
                    let picked: Vec<f32> = (0..self.count).map(pick).flat_map(|at| row_of(params, table, at)).collect();
                    params.get_mut(rows).copy_from_slice(&picked);
                }
                VirtualTokens::Prompt(rows)
            }
            VirtualKind::Prefix => {
                let [layers, _, width] = self.sizes;
                let block = |block| params.add_trained(&of_block(block), &[self.count, 2 * width], normal, rng);
                VirtualTokens::Prefix((0..layers).map(block).collect())
            }
        };
        params.set_virtual_tokens(tokens);
    }

    /// Puts those of a file on a model, frozen.
    pub(super) fn put_on(&self, params: &mut Params, values: Vec<f32>) {
        let tokens = match self.kind {
            VirtualKind::Prompt => {
                let dims = [self.count, self.width()];
                VirtualTokens::Prompt(params.add_frozen(ROWS, &dims, Frozen::F32(values.into())))
            }
            VirtualKind::Prefix => {
                let [layers, _, width] = self.sizes;
                let block = |block| {
                    let own = Frozen::F32(self.of_block(&values, block).into());
                    params.add_frozen(&of_block(block), &[self.count, 2 * width], own)
                };
                VirtualTokens::Prefix((0..layers).map(block).collect())
            }
        };
        params.set_virtual_tokens(tokens);
    }

    /// Gives those of a file to a model that has them.
    pub(super) fn read_into(&self, params: &mut Params, values: &[f32]) {
        match params.prompt() {
            Some(rows) => params.get_mut(rows).copy_from_slice(values),
            None => (0..self.sizes[0]).for_each(|block| {
                let rows = params.prefix(block).expect("every block has one");
                params.get_mut(rows).copy_from_slice(&self.of_block(values, block));
            }),
        }
    }

    /// What a file is to hold.
    pub(super) fn rows(&self, params: &Params) -> Vec<f32> {
        if let Some(rows) = params.prompt() {
            return params.to_f32(rows).into_owned();
        }
        let blocks = (0..self.sizes[0]).map(|block| params.to_f32(params.prefix(block).expect("every block has one")));
        let (blocks, width): (Vec<_>, usize) = (blocks.collect(), 2 * self.sizes[2]);
        (0..self.count)
            .flat_map(|row| blocks.iter().flat_map(move |block| block[row * width..][..width].to_vec()))
            .collect()
    }

    /// The part of a prefix that is a block's.
    fn of_block(&self, values: &[f32], block: usize) -> Vec<f32> {
        let width = 2 * self.sizes[2];
        values.chunks_exact(self.width()).flat_map(|row| row[block * width..][..width].to_vec()).collect()
    }
}

/// The table whose rows a prompt begins with, and is as wide as.
pub(super) fn token_table<'m>(model: &dyn Config, all: &'m [Module]) -> Option<&'m Module> {
    let rows = model.sizes().vocab_size;
    all.iter().find(|module| module.is_table && module.weight.rows == rows)
}

/// A row of a table, however that is held.
pub(super) fn row_of(params: &Params, table: Weight, row: usize) -> Vec<f32> {
    match params.view(table) {
        View::Compact(compact) => {
            let mut values = vec![0.0; table.cols];
            compact.widen_row(row, 1.0, &mut values);
            values
        }
        _ => params.to_f32(table)[row * table.cols..][..table.cols].to_vec(),
    }
}

/// The name of a block's part of a prefix in the table of parameters.
fn of_block(block: usize) -> String {
    format!("prefix.{block}")
}
