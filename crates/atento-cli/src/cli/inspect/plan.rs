//! `atento inspect plan`: what training a model takes, whole or with an adapter, by arithmetic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use atento::families::Config;
use atento::peft::{
    AdapterConfig, BitFitConfig, Common, HoulsbyConfig, Ia3Config, LoraConfig, NewAdapter, Start, Targets,
    VirtualConfig, VirtualKind, default_bottlenecks, default_factors, default_targets,
};
use atento::pipelines::outline;
use serde_json::{Value, json};

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::table::{self, Align, bytes, thousands};

/// What is trained where nothing is said, in tokens at a time.
const TOKENS: usize = 4096;

/// What may be asked about.
const METHODS: [&str; 7] = ["full", "lora", "ia3", "bitfit", "prefix", "prompt", "houlsby"];

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// A config.json, a model directory or a run directory, or the name of a published shape
    #[arg(value_name = "CONFIG")]
    positional: Option<PathBuf>,

    /// The same
    #[arg(long, value_name = "CONFIG", conflicts_with = "positional")]
    config: Option<PathBuf>,

    /// What is trained: full, or an adapter: lora, ia3, bitfit, prefix, prompt, houlsby
    #[arg(long, value_name = "METHOD", default_value = "full", hide_possible_values = true, value_parser = METHODS)]
    method: String,

    /// The rank of low-rank pairs
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    rank: u32,

    /// The modules that are adapted: ends of their paths, or q, k, v, o, or all-linear [default: those of the model's type]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,

    /// Virtual tokens of a prompt or a prefix
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    virtual_tokens: u32,

    /// The width of Houlsby's layers
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,

    /// Tokens of a batch, which activations are counted for
    #[arg(long, value_name = "N", default_value_t = TOKENS)]
    tokens: usize,
}

impl PlanArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        let config = self.positional.as_mut().or(self.config.as_mut());
        config.map_or(Ok(()), |config| locator.description(config))
    }
}

/// What a way of training takes.
struct Cost {
    method: String,
    trainable: usize,
    all: usize,
    /// Bytes of the weights, their gradients, Adam's moments, and activations.
    memory: [f64; 4],
    /// Bytes of a checkpoint: what is trained, with its moments.
    checkpoint: f64,
    /// Bytes of what is trained, by itself.
    file: f64,
    /// Operations for each token of a step.
    flops: f64,
}

/// Ways of training side by side.
pub struct Plan {
    costs: Vec<Cost>,
    tokens: usize,
}

impl PlanArgs {
    /// The configuration that is asked about.
    pub fn config(&self) -> Result<&Path, Failure> {
        let found = self.positional.as_deref().or(self.config.as_deref());
        found.ok_or_else(|| anyhow!("name a config.json, or a published shape such as gpt2-medium").into())
    }

    /// What full training takes, and what the method does.
    pub fn plan(&self, config: &Arc<dyn Config>) -> Result<Plan, Failure> {
        let params = outline(config);
        let activations = config.activations(self.tokens as f64, false);
        let cost = |method: &str, trainable: usize, all: usize| {
            // Forward, and backward to the inputs of all products; weights' gradients of what is trained alone.
            let flops = 4.0 * all as f64 + 2.0 * trainable as f64;
            let sizes = [all, trainable, 2 * trainable].map(|count| 4.0 * count as f64);
            Cost {
                method: method.to_owned(),
                trainable,
                all,
                memory: [sizes[0], sizes[1], sizes[2], 4.0 * activations],
                checkpoint: sizes[1] + sizes[2],
                file: sizes[1],
                flops,
            }
        };
        let all = params.count();
        let mut costs = vec![cost("full", params.trainable_count(), all)];
        if let Some(adapter) = self.adapter(config)? {
            let new = NewAdapter::of(adapter, &**config, &params, &[]).map_err(|unfit| anyhow!("{unfit}"))?;
            let mut adapted = params;
            adapted.freeze(|entry| !new.trains(entry));
            new.begin(&mut adapted, Start::default(), 0);
            costs.push(cost(&self.method, adapted.trainable_count(), adapted.count()));
        }
        Ok(Plan { costs, tokens: self.tokens })
    }

    fn adapter(&self, config: &Arc<dyn Config>) -> Result<Option<AdapterConfig>, Failure> {
        let json = config.to_json()?;
        let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let no_default =
            || anyhow!("there is no default for models of type {model_type:?}: name modules with --targets");
        Ok(match self.method.as_str() {
            "lora" => {
                let names = match &self.targets[..] {
                    [] => owned(default_targets(model_type).ok_or_else(no_default)?),
                    names => names.to_vec(),
                };
                Some(AdapterConfig::Lora(LoraConfig::new(model_type, self.rank as usize, &names)))
            }
            "ia3" => {
                let [targets, feedforward] = default_factors(model_type).ok_or_else(no_default)?;
                let targets = if self.targets.is_empty() { owned(targets) } else { self.targets.clone() };
                Some(AdapterConfig::Ia3(Ia3Config {
                    targets: Targets::Names(targets),
                    feedforward: Targets::Names(owned(feedforward)),
                    exclude: None,
                    fan_in_fan_out: false,
                    common: Common::default(),
                }))
            }
            "prefix" | "prompt" => {
                let kind = if self.method == "prefix" { VirtualKind::Prefix } else { VirtualKind::Prompt };
                Some(AdapterConfig::Virtual(VirtualConfig::new(kind, self.virtual_tokens as usize)))
            }
            "houlsby" => {
                let targets = match &self.targets[..] {
                    [] => owned(default_bottlenecks(model_type).ok_or_else(no_default)?),
                    names => names.to_vec(),
                };
                let (size, targets, common) = (self.size as usize, Targets::Names(targets), Common::default());
                Some(AdapterConfig::Houlsby(HoulsbyConfig { size, targets, exclude: None, common }))
            }
            "bitfit" => Some(AdapterConfig::BitFit(BitFitConfig::default())),
            _ => None,
        })
    }
}

impl Cost {
    fn total(&self) -> f64 {
        self.memory.iter().sum()
    }

    fn to_json(&self) -> Value {
        let [weights, gradients, moments, activations] = self.memory;
        json!({
            "method": self.method,
            "trainable": self.trainable,
            "all": self.all,
            "trainable_percent": 100.0 * self.trainable as f64 / self.all as f64,
            "file_bytes": self.file,
            "checkpoint_bytes": self.checkpoint,
            "memory_bytes": {
                "weights": weights, "gradients": gradients, "moments": moments, "activations": activations,
                "total": self.total(),
            },
            "flops_per_token": self.flops,
        })
    }
}

impl Plan {
    /// The last way with all that it takes, and full training beside it.
    pub fn to_json(&self) -> Value {
        let asked = self.costs.last().expect("full training at least");
        let mut object = asked.to_json();
        if self.costs.len() > 1 {
            object["full"] = self.costs[0].to_json();
        }
        object["tokens"] = json!(self.tokens);
        object
    }

    /// A table, a column a way.
    pub fn lines(&self) -> Vec<String> {
        type Row<'a> = (&'a str, &'a dyn Fn(&Cost) -> String);
        let size = |value: f64| bytes(value as u64);
        let activations = format!("activations of {} tokens", thousands(self.tokens));
        let rows: [Row<'_>; 9] = [
            ("trained", &|cost| thousands(cost.trainable)),
            ("of all", &|cost| format!("{:.4}%", 100.0 * cost.trainable as f64 / cost.all as f64)),
            ("weights", &|cost| size(cost.memory[0])),
            ("gradients", &|cost| size(cost.memory[1])),
            ("Adam's moments", &|cost| size(cost.memory[2])),
            (&activations, &|cost| size(cost.memory[3])),
            ("memory in all", &|cost| size(cost.total())),
            ("file of what is trained", &|cost| size(cost.file)),
            ("operations a token", &|cost| format!("{:.3e}", cost.flops)),
        ];
        let head = std::iter::once("in training".to_owned()).chain(self.costs.iter().map(|cost| cost.method.clone()));
        let mut table: Vec<Vec<String>> = vec![head.collect()];
        for (name, value) in rows {
            table.push(std::iter::once(name.to_owned()).chain(self.costs.iter().map(value)).collect());
        }
        let mut columns = vec![Align::Left];
        columns.resize(1 + self.costs.len(), Align::Right);
        let mut lines = vec![String::new()];
        lines.extend(table::lines(&columns, &table));
        if let [full, asked] = &self.costs[..] {
            let fewer = full.trainable as f64 / asked.trainable.max(1) as f64;
            let less = full.total() / asked.total();
            lines.push(String::new());
            lines.push(format!("{fewer:.0} times fewer parameters are trained, in {less:.1} times less memory"));
        }
        lines
    }
}
