//! Which files of a repository a model is read from: a repository often holds the weights several times over.

use std::path::Path;

use super::super::model_dir::{CONFIG, WEIGHTS_READ, has_weights};
use crate::peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};

/// Files of a model but for its weights: its configuration, its tokenizer, what it generates with and how it makes vectors.
const DESCRIPTION: [&str; 20] = [
    CONFIG,
    ADAPTER_CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "target_vocab.json",
    "target_tokenizer.json",
    "token_roles.json",
    "prompt_template.json",
    "chat_template.jinja",
    "chat_template.json",
    "modules.json",
    "config_sentence_transformers.json",
    "source.spm",
    "target.spm",
];

/// What the names of others begin and end with.
const DESCRIPTION_LIKE: [(&str, &str); 3] = [("sentence_", "_config.json"), ("", ".model"), ("", ".spm")];

/// Files of the folder of a step of sentence-transformers.
const OF_STEP: [&str; 3] = [CONFIG, "model.safetensors", "pytorch_model.bin"];

/// Of the files that there are, those that describe the model.
pub(super) fn description(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).filter(|name| is_description(name)).collect()
}

/// Of the files that there are, the weights: one file, or the index of several. Those that are looked for first are taken.
pub(super) fn weights(all: &[String]) -> Option<&str> {
    let names = WEIGHTS_READ.into_iter().chain([ADAPTER_WEIGHTS]);
    let adapter_only = !all.iter().any(|name| name == CONFIG) && all.iter().any(|name| name == ADAPTER_CONFIG);
    let names: Vec<&str> = if adapter_only { vec![ADAPTER_WEIGHTS] } else { names.collect() };
    names.into_iter().find(|name| all.iter().any(|there| there == name))
}

/// Of the files that there are, the weights of the steps behind the model, each once.
pub(super) fn step_weights(all: &[String]) -> Vec<&str> {
    let has = |name: String| all.contains(&name);
    let is_taken = |name: &&str| match step(name) {
        Some((folder, "pytorch_model.bin")) => !has(format!("{folder}/model.safetensors")),
        Some((_, file)) => file != CONFIG,
        None => false,
    };
    if !has("modules.json".into()) {
        return Vec::new();
    }
    all.iter().map(String::as_str).filter(is_taken).collect()
}

/// Whether a directory has what makes a model or an adapter, as far as names tell: shards are not looked for.
pub(super) fn is_whole(dir: &Path) -> bool {
    let is_model = dir.join(CONFIG).exists() && has_weights(dir);
    is_model || (dir.join(ADAPTER_CONFIG).exists() && dir.join(ADAPTER_WEIGHTS).exists())
}

fn is_description(name: &str) -> bool {
    let is_like = |(begin, end): &(&str, &str)| name.starts_with(begin) && name.ends_with(end);
    match name.contains('/') {
        false => DESCRIPTION.contains(&name) || DESCRIPTION_LIKE.iter().any(is_like),
        true => step(name).is_some_and(|(_, file)| file == CONFIG),
    }
}

/// The folder and the file of a step behind the model, such as `1_Pooling/config.json`. The model itself is step 0.
fn step(name: &str) -> Option<(&str, &str)> {
    let (folder, file) = name.split_once('/')?;
    let (number, kind) = folder.split_once('_')?;
    let is_step = number.parse::<u32>().is_ok_and(|number| number > 0) && kind.chars().all(char::is_alphanumeric);
    (is_step && OF_STEP.contains(&file)).then_some((folder, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_thing_is_taken_once_and_nothing_else() {
        let all = names(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "model.safetensors",
            "model.fp16.safetensors",
            "consolidated.safetensors",
            "onnx/model.onnx",
            "onnx/config.json",
            "pytorch_model.bin",
            "spm.model",
            "tokenizer.json",
            "training_args.bin",
            "../config.json",
        ]);
        assert_eq!(description(&all), ["config.json", "spm.model", "tokenizer.json"]);
        assert_eq!(weights(&all), Some("model.safetensors"));
        let all = names(&[
            "config.json",
            "pytorch_model.bin",
            "model.safetensors.index.json",
            "model-00001-of-2.safetensors",
        ]);
        assert_eq!(weights(&all), Some("model.safetensors.index.json"));
        assert_eq!(weights(&names(&["config.json", "pytorch_model.bin", "tf_model.h5"])), Some("pytorch_model.bin"));
        assert_eq!(
            weights(&names(&["adapter_config.json", "adapter_model.safetensors"])),
            Some("adapter_model.safetensors")
        );
        assert_eq!(weights(&names(&["config.json", "tf_model.h5"])), None);
    }

    #[test]
    fn steps_of_sentence_transformers_come_with_their_folders() {
        let mut all = names(&[
            "0_Transformer/pytorch_model.bin",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "3_Dense/pytorch_model.bin",
            "modules.json",
            "sentence_bert_config.json",
        ]);
        let expected = ["1_Pooling/config.json", "2_Dense/config.json", "modules.json", "sentence_bert_config.json"];
        assert_eq!(description(&all), expected);
        assert_eq!(step_weights(&all), ["2_Dense/model.safetensors", "3_Dense/pytorch_model.bin"]);
        all.retain(|name| name != "modules.json");
        assert_eq!(step_weights(&all), [""; 0]);
    }
}
