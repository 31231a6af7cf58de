//! The modules that get a pair where nobody names any: those that PEFT has for the model's type.

/// Model types and the ends of their modules' paths (`TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING` of PEFT; those of
/// ModernBERT, Marian, DistilBERT and CamemBERT are queries and values likewise).
const TARGETS: [(&str, &[&str]); 17] = [
    ("bert", &["query", "value"]),
    ("roberta", &["query", "value"]),
    ("xlm-roberta", &["query", "value"]),
    ("camembert", &["query", "value"]),
    ("electra", &["query", "value"]),
    ("distilbert", &["q_lin", "v_lin"]),
    ("deberta-v2", &["query_proj", "value_proj"]),
    ("modernbert", &["Wqkv"]),
    ("gpt2", &["c_attn"]),
    ("llama", &["q_proj", "v_proj"]),
    ("mistral", &["q_proj", "v_proj"]),
    ("qwen2", &["q_proj", "v_proj"]),
    ("qwen3", &["q_proj", "v_proj"]),
    ("smollm3", &["q_proj", "v_proj"]),
    ("marian", &["q_proj", "v_proj"]),
    ("bart", &["q_proj", "v_proj"]),
    ("mbart", &["q_proj", "v_proj"]),
];

/// The ends of the paths for a model type, if it has any.
pub fn default_targets(model_type: &str) -> Option<&'static [&'static str]> {
    TARGETS.iter().find(|(known, _)| *known == model_type).map(|(_, targets)| *targets)
}

/// Of (IA)³: model types, the ends of the paths of modules with factors, and which of those have them on what they take
/// (`TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING` and `…_FEEDFORWARD_…` of PEFT, and the like for the other types).
const FACTORS: [(&str, &[&str], &[&str]); 13] = [
    ("bert", &["key", "value", "output.dense"], &["output.dense"]),
    ("roberta", &["key", "value", "output.dense"], &["output.dense"]),
    ("xlm-roberta", &["key", "value", "output.dense"], &["output.dense"]),
    ("camembert", &["key", "value", "output.dense"], &["output.dense"]),
    ("electra", &["key", "value", "output.dense"], &["output.dense"]),
    ("distilbert", &["k_lin", "v_lin", "lin2"], &["lin2"]),
    ("deberta-v2", &["key_proj", "value_proj", "output.dense"], &["output.dense"]),
    ("gpt2", &["c_attn", "mlp.c_proj"], &["mlp.c_proj"]),
    ("llama", &["k_proj", "v_proj", "down_proj"], &["down_proj"]),
    ("mistral", &["k_proj", "v_proj", "down_proj"], &["down_proj"]),
    ("qwen2", &["k_proj", "v_proj", "down_proj"], &["down_proj"]),
    ("qwen3", &["k_proj", "v_proj", "down_proj"], &["down_proj"]),
    ("marian", &["k_proj", "v_proj", "fc2"], &["fc2"]),
];

/// The ends of the paths of modules with factors, and of those that have them on what they take.
pub fn default_factors(model_type: &str) -> Option<[&'static [&'static str]; 2]> {
    FACTORS.iter().find(|(known, ..)| *known == model_type).map(|(_, targets, feedforward)| [*targets, *feedforward])
}

/// Model types and the ends of the paths of modules with a bottleneck: those that end attention and feed-forward layers
/// (Houlsby et al. 2019, figure 2).
const BOTTLENECKS: [(&str, &[&str]); 14] = [
    ("bert", &["output.dense"]),
    ("roberta", &["output.dense"]),
    ("xlm-roberta", &["output.dense"]),
    ("camembert", &["output.dense"]),
    ("electra", &["output.dense"]),
    ("deberta-v2", &["output.dense"]),
    ("distilbert", &["out_lin", "lin2"]),
    ("modernbert", &["Wo"]),
    ("gpt2", &["attn.c_proj", "mlp.c_proj"]),
    ("llama", &["o_proj", "down_proj"]),
    ("mistral", &["o_proj", "down_proj"]),
    ("qwen2", &["o_proj", "down_proj"]),
    ("qwen3", &["o_proj", "down_proj"]),
    ("marian", &["out_proj", "fc2"]),
];

/// The ends of the paths of modules with a bottleneck for a model type, if it has any.
pub fn default_bottlenecks(model_type: &str) -> Option<&'static [&'static str]> {
    BOTTLENECKS.iter().find(|(known, _)| *known == model_type).map(|(_, targets)| *targets)
}
