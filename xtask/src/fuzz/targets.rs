//! Which files are changed, and which commands then read them.

use super::mutate::Form;

/// Files of one form that the same commands read.
pub struct Target {
    pub name: &'static str,
    pub form: Form,
    /// Below the folder of sound files; each input is one of them, changed.
    pub files: &'static [&'static str],
    /// One of them reads an input. `FILE` and `DIR` stand for the file and its folder.
    pub commands: &'static [&'static [&'static str]],
}

const SCORE: &[&str] = &["score", "DIR", "the cat", "-q"];
const GENERATE: &[&str] = &["generate", "DIR", "--prompt", "the c", "--max-new-tokens", "5", "-q"];
const BEAM: &[&str] = &["generate", "DIR", "--prompt", "the c", "--beam", "2", "--max-new-tokens", "5", "-q"];
const TRANSLATE: &[&str] = &["translate", "DIR", "-q"];
const CLASSIFY: &[&str] = &["classify", "DIR", "the cat", "-q"];
const EMBED: &[&str] = &["embed", "DIR", "the cat", "-q"];
const TAG: &[&str] = &["tag", "DIR", "the cat", "-q"];
const ANSWER: &[&str] = &["answer", "DIR", "who\tthe cat sits", "-q"];
const CHOOSE: &[&str] = &["choose", "DIR", "the cat\tsits\truns", "-q"];
const FILL: &[&str] = &["fill-mask", "DIR", "the [MASK]", "-q"];
const INSPECT: &[&str] = &["inspect", "DIR"];
const PLAN_SIZES: &[&str] = &["inspect", "plan", "FILE"];
const ENCODE: &[&str] = &["tokenizer", "encode", "FILE", "the cat don't, 12 é🎉\n"];
const DECODE: &[&str] = &["tokenizer", "decode", "FILE", "5 6 7 3 4"];
const LOOK: &[&str] = &["tokenizer", "inspect", "FILE"];
const ADAPTER: &[&str] = &["adapter", "inspect", "DIR"];
/// An adapter that is trained further for two updates.
const FURTHER: &[&str] = &["train", "lm.toml", "--from", "DIR", "--out", "out", "--max-steps", "2", "-q"];
const PLAN: &[&str] = &["train", "FILE", "--dry-run", "--out", "out"];

/// A recipe that names the changed file, planned.
macro_rules! plan {
    ($recipe:literal) => {
        &["train", $recipe, "--dry-run", "--out", "out"]
    };
}
/// The same, trained for two updates.
macro_rules! train {
    ($recipe:literal) => {
        &["train", $recipe, "--out", "out", "--max-steps", "2", "-q"]
    };
}
/// The run that goes on with the changed file.
macro_rules! resume {
    ($($more:literal),*) => {
        &["train", "lm/config.toml", "--out", "lm", "--resume", "-q", $($more),*]
    };
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "safetensors",
        form: Form::Safetensors,
        files: &["lm/model/model.safetensors", "int8/model.safetensors"],
        commands: &[SCORE, INSPECT, GENERATE],
    },
    Target {
        name: "adapter-config",
        form: Form::Json,
        files: &["lora/model/adapter_config.json", "prefix/model/adapter_config.json"],
        commands: &[SCORE, ADAPTER],
    },
    Target {
        name: "adapter-weights",
        form: Form::Safetensors,
        files: &["lora/model/adapter_model.safetensors", "prefix/model/adapter_model.safetensors"],
        commands: &[SCORE, ADAPTER, FURTHER],
    },
    Target {
        name: "safetensors-translator",
        form: Form::Safetensors,
        files: &["mt/model/model.safetensors", "pre/model/model.safetensors", "rnn/model/model.safetensors"],
        commands: &[TRANSLATE, INSPECT],
    },
    Target {
        name: "index",
        form: Form::Json,
        files: &["sharded/model.safetensors.index.json"],
        commands: &[SCORE, INSPECT],
    },
    Target { name: "torch", form: Form::Torch, files: &["torch/pytorch_model.bin"], commands: &[SCORE, INSPECT] },
    Target {
        name: "torch-legacy",
        form: Form::Bytes,
        files: &["legacy/pytorch_model.bin"],
        commands: &[SCORE, INSPECT],
    },
    Target {
        name: "gguf",
        form: Form::Bytes,
        files: &["gguf/llama.gguf", "gguf/gpt2.gguf"],
        commands: &[&["convert", "FILE", "--out", "out", "-q"]],
    },
    Target {
        name: "tokenizer",
        form: Form::Json,
        files: &["bpe.json", "byte-bpe.json", "wordpiece.json", "unigram.json", "char.json"],
        commands: &[ENCODE, ENCODE, DECODE, LOOK],
    },
    Target {
        name: "tokenizer-model",
        form: Form::Json,
        files: &["lm/model/tokenizer.json"],
        commands: &[SCORE, GENERATE],
    },
    Target { name: "vocab", form: Form::Json, files: &["pairs/vocab.json"], commands: &[ENCODE, LOOK] },
    Target {
        name: "merges",
        form: Form::Text,
        files: &["pairs/merges.txt"],
        commands: &[&["tokenizer", "encode", "DIR/vocab.json", "the cat é"]],
    },
    Target {
        name: "config",
        form: Form::Json,
        files: &["lm/model/config.json", "int8/config.json"],
        commands: &[PLAN_SIZES, INSPECT, SCORE, GENERATE],
    },
    Target {
        name: "config-llama",
        form: Form::Json,
        files: &["llama/model/config.json", "mistral/model/config.json", "qwen/model/config.json"],
        commands: &[PLAN_SIZES, INSPECT, SCORE, GENERATE],
    },
    Target {
        name: "config-translator",
        form: Form::Json,
        files: &["mt/model/config.json", "pre/model/config.json", "rnn/model/config.json"],
        commands: &[PLAN_SIZES, INSPECT, TRANSLATE],
    },
    Target {
        name: "generation",
        form: Form::Json,
        files: &["lm/model/generation_config.json"],
        commands: &[GENERATE, BEAM],
    },
    Target {
        name: "generation-translator",
        form: Form::Json,
        files: &["mt/model/generation_config.json", "pre/model/generation_config.json"],
        commands: &[TRANSLATE],
    },
    Target {
        name: "tokenizer-config",
        form: Form::Json,
        files: &["lm/model/tokenizer_config.json", "pairs/tokenizer_config.json"],
        commands: &[SCORE, GENERATE],
    },
    Target {
        name: "recipe",
        form: Form::Toml,
        files: &["lm.toml", "mt.toml", "rnn.toml", "llama.toml", "instruct.toml", "tokens.toml"],
        commands: &[PLAN],
    },
    Target {
        name: "pairs-tsv",
        form: Form::Text,
        files: &["pairs.tsv"],
        commands: &[plan!("mt.toml"), train!("mt.toml")],
    },
    Target { name: "parallel", form: Form::Text, files: &["source.txt"], commands: &[plan!("rnn.toml")] },
    Target { name: "gzip", form: Form::Gzip, files: &["target.gz"], commands: &[plan!("rnn.toml")] },
    Target {
        name: "jsonl",
        form: Form::Text,
        files: &["prompts.jsonl"],
        commands: &[plan!("instruct.toml"), train!("instruct.toml")],
    },
    Target { name: "csv", form: Form::Text, files: &["prompts.csv"], commands: &[plan!("instruct.toml")] },
    Target { name: "text", form: Form::Text, files: &["text.txt"], commands: &[plan!("lm.toml"), train!("lm.toml")] },
    Target {
        name: "shard",
        form: Form::Bytes,
        files: &["tokens/train.bin", "tokens/val.bin"],
        commands: &[plan!("tokens.toml"), train!("tokens.toml")],
    },
    Target {
        name: "shard-tokens",
        form: Form::Json,
        files: &["tokens/tokens.json"],
        commands: &[plan!("tokens.toml"), train!("tokens.toml")],
    },
    Target {
        name: "state",
        form: Form::Json,
        files: &["lm/checkpoints/step-4/state.json"],
        commands: &[resume!("--dry-run"), resume!("--max-steps", "6")],
    },
    Target {
        name: "metrics",
        form: Form::Text,
        files: &["lm/metrics.jsonl"],
        commands: &[resume!("--max-steps", "6")],
    },
    Target {
        name: "run-config",
        form: Form::Toml,
        files: &["lm/config.toml"],
        commands: &[resume!("--dry-run"), resume!("--max-steps", "6")],
    },
    Target {
        name: "config-encoder",
        form: Form::Json,
        files: &["labels/model/config.json", "values/model/config.json"],
        commands: &[PLAN_SIZES, INSPECT, CLASSIFY, EMBED],
    },
    Target {
        name: "config-tags",
        form: Form::Json,
        files: &["tags/model/config.json"],
        commands: &[INSPECT, TAG, EMBED],
    },
    Target {
        name: "config-answers",
        form: Form::Json,
        files: &["answers/model/config.json"],
        commands: &[INSPECT, ANSWER, EMBED],
    },
    Target { name: "config-choices", form: Form::Json, files: &["choices/model/config.json"], commands: &[CHOOSE] },
    Target {
        name: "config-words",
        form: Form::Json,
        files: &["words/model/config.json", "modern/model/config.json"],
        commands: &[PLAN_SIZES, INSPECT, FILL, EMBED],
    },
    Target {
        name: "safetensors-labels",
        form: Form::Safetensors,
        files: &["labels/model/model.safetensors", "values/model/model.safetensors"],
        commands: &[CLASSIFY, INSPECT],
    },
    Target {
        name: "safetensors-words",
        form: Form::Safetensors,
        files: &["words/model/model.safetensors", "modern/model/model.safetensors"],
        commands: &[FILL, EMBED],
    },
    Target { name: "vocab-txt", form: Form::Text, files: &["vocab-txt/vocab.txt"], commands: &[ENCODE, LOOK] },
    Target { name: "sentencepiece", form: Form::Bytes, files: &["sentencepiece/spm.model"], commands: &[ENCODE, LOOK] },
    Target {
        name: "labels-tsv",
        form: Form::Text,
        files: &["labels.tsv"],
        commands: &[plan!("labels.toml"), train!("labels.toml")],
    },
    Target { name: "values-csv", form: Form::Text, files: &["values.csv"], commands: &[train!("values.toml")] },
    Target { name: "conll", form: Form::Text, files: &["tags.txt"], commands: &[train!("tags.toml")] },
    Target { name: "squad", form: Form::Json, files: &["squad.json"], commands: &[train!("answers.toml")] },
    Target { name: "choices", form: Form::Text, files: &["choices.jsonl"], commands: &[train!("choices.toml")] },
    Target { name: "documents", form: Form::Text, files: &["documents.txt"], commands: &[train!("words.toml")] },
    Target {
        name: "recipe-encoder",
        form: Form::Toml,
        files: &["labels.toml", "tags.toml", "answers.toml", "words.toml", "modern.toml"],
        commands: &[PLAN],
    },
];
