//! What a file says of a model and its tokenizer, and what is refused of that.

use serde_json::{Value as Json, json};

use super::super::Source;
use super::round_trip::written;
use super::writer::Writer;
use crate::hub::ModelDir;
use crate::hub::safetensors::FloatType;
use crate::text::Tokenizer;

fn open(writer: &Writer) -> Result<Source, String> {
    let folder = tempfile::tempdir().unwrap();
    Source::open(&writer.save(folder.path())).map_err(|error| error.to_string())
}

fn refuse(writer: Writer, expected: &str) {
    let message = open(&writer).unwrap_err();
    assert!(message.contains("model.gguf: ") && message.contains(expected), "{message}\nexpected {expected}");
}

/// The files of the directory that a file becomes.
fn converted(writer: &Writer) -> (tempfile::TempDir, impl Fn(&str) -> Json) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    Source::open(&writer.save(folder.path())).unwrap().write(&out, FloatType::F32).unwrap();
    (folder, move |name: &str| serde_json::from_slice(&std::fs::read(out.join(name)).unwrap()).unwrap())
}

#[test]
fn keys_and_tensors_that_mean_another_model_are_refused() {
    let llama = || written("llama-tiny");
    refuse(
        llama().text("general.architecture", "mamba"),
        "is \"mamba\", expected one of \"gpt2\", \"llama\", \"qwen2\", \"qwen3\"",
    );
    refuse(llama().without("general.architecture"), "key `general.architecture` is missing");
    refuse(llama().without("llama.block_count"), "key `llama.block_count` is missing");
    refuse(llama().size("llama.block_count", 3), "missing tensor `blk.2.attn_norm.weight`");
    refuse(llama().size("llama.block_count", 1), "no parameter of the model is called `blk.1.");
    refuse(llama().size("llama.block_count", usize::MAX >> 33), "key `llama.block_count` is 2147483647, expected");
    refuse(llama().number("llama.context_length", 0.5), "key `llama.context_length` is 0.5, expected a whole number");
    refuse(llama().size("llama.attention.head_count", 0), "key `llama.attention.head_count` is 0");
    refuse(llama().sizes("llama.feed_forward_length", &[24, 25]), "is a list of 2, expected a whole number");
    open(&llama().sizes("llama.feed_forward_length", &[24, 24])).unwrap();
    refuse(llama().size("llama.expert_count", 8), "key `llama.expert_count` is 8, expected 0, which changes nothing");
    open(&llama().size("llama.expert_count", 0)).unwrap();
    refuse(llama().number("llama.logit_scale", 8.0), "key `llama.logit_scale` is 8, expected no such key");
    refuse(llama().size("llama.rope.dimension_count", 2), "is 2, expected 4, the width of a head");
    refuse(llama().size("llama.attention.value_length", 8), "is 8, expected 4, the width of a head");
    refuse(
        llama().size("llama.feed_forward_length", 25),
        "tensor `blk.0.ffn_gate.weight` has shape [24, 16], expected [25, 16]",
    );
    refuse(
        llama().without("rope_freqs.weight").text("llama.rope.scaling.type", "longrope"),
        "expected one of \"none\"",
    );
    refuse(llama().without("rope_freqs.weight").text("llama.rope.scaling.type", "yarn"), "scaling.factor` is absent");
    refuse(
        llama().size("llama.rope.scaling.original_context_length", 17),
        "its `rope_freqs.weight` is not what Llama 3",
    );
    refuse(written("qwen2-tiny"), "key `qwen2.attention.sliding_window` is 3, expected none");
    refuse(llama().size("split.count", 2), "key `split.count` is 2, expected 1: join the parts");
    let wide = written("gpt2-tiny").number("gpt2.attention.max_alibi_bias", 8.0);
    refuse(wide, "key `gpt2.attention.max_alibi_bias` is 8, expected no such key");
    let flat = llama().without("token_embd.weight").tensor("token_embd.weight", &[4], &[0.0; 4]);
    refuse(flat, "tensor `token_embd.weight` has shape [4]");
}

#[test]
fn tokenizers_that_are_not_known_or_not_whole_are_refused() {
    let llama = || written("llama-tiny");
    refuse(
        llama().text("tokenizer.ggml.model", "bert"),
        "key `tokenizer.ggml.model` is \"bert\", expected \"gpt2\" or \"llama\"",
    );
    refuse(llama().without("tokenizer.ggml.model"), "key `tokenizer.ggml.model` is missing");
    refuse(
        llama().text("tokenizer.ggml.pre", "falcon"),
        "key `tokenizer.ggml.pre` is \"falcon\", expected one of default, gpt-2",
    );
    refuse(llama().without("tokenizer.ggml.merges"), "key `tokenizer.ggml.merges` is missing");
    refuse(llama().texts("tokenizer.ggml.merges", ["ab"]), "the merge \"ab\" is not two tokens");
    refuse(llama().texts("tokenizer.ggml.merges", ["a qqqq"]), "qqqq");
    refuse(
        llama().texts("tokenizer.ggml.tokens", ["a", "b", "a"]).without("tokenizer.ggml.token_type"),
        "the tokens 0 and 2 are both \"a\"",
    );
    refuse(
        llama().texts("tokenizer.ggml.tokens", ["a", "b"]),
        "key `tokenizer.ggml.token_type` is a list of 290, expected a list of 2",
    );
    let many: Vec<String> = (0..291).map(|i| i.to_string()).collect();
    refuse(llama().texts("tokenizer.ggml.tokens", many.iter().map(String::as_str)), "expected at most 290, the rows");
    refuse(
        llama().size("tokenizer.ggml.eos_token_id", 290),
        "key `tokenizer.ggml.eos_token_id` is 290, expected the id of one of 290",
    );
    refuse(llama().text("tokenizer.ggml.model", "llama"), "key `tokenizer.ggml.scores` is missing");
    let pieces = llama().text("tokenizer.ggml.model", "llama");
    refuse(pieces.clone().numbers("tokenizer.ggml.scores", &[0.0; 3]), "it has 290 tokens and 3 scores");
    refuse(pieces.numbers("tokenizer.ggml.scores", &[f32::NAN; 290]), "has the score NaN");
    let unnamed = open(&llama().without("tokenizer.ggml.pre")).unwrap();
    assert!(unnamed.notes()[0].contains("they are cut as GPT-2's"));
}

#[test]
fn a_directory_says_what_the_file_says_of_its_tokens() {
    let chat = written("llama-tiny")
        .text("tokenizer.chat_template", "{{ messages }}")
        .flag("tokenizer.ggml.add_bos_token", true)
        .size("tokenizer.ggml.padding_token_id", 5)
        .size("tokenizer.ggml.eot_token_id", 7)
        .size("tokenizer.ggml.eom_token_id", 0);
    let (folder, read) = converted(&chat);
    let config = read("tokenizer_config.json");
    assert_eq!((&config["chat_template"], &config["add_bos_token"]), (&json!("{{ messages }}"), &json!(true)));
    assert_eq!((&config["bos_token"], &config["eos_token"]), (&json!("<|endoftext|>"), &json!("<|endoftext|>")));
    let generation = read("generation_config.json");
    assert_eq!((&generation["eos_token_id"], &generation["pad_token_id"]), (&json!([0, 7]), &json!(5)));
    assert_eq!((&read("config.json")["eos_token_id"], &read("config.json")["bos_token_id"]), (&json!(0), &json!(0)));
    let tokenizer = Tokenizer::load(folder.path().join("out/tokenizer.json")).unwrap();
    assert_eq!(tokenizer.encode_ids("a", true).unwrap().len(), tokenizer.encode_ids("a", false).unwrap().len() + 1);
}

#[test]
fn a_directory_is_asked_for_where_a_file_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = written("gpt2-tiny").save(folder.path());
    let message = ModelDir::open(&path).unwrap_err().to_string();
    assert_eq!(message, ModelDir::open(folder.path()).unwrap_err().to_string());
    let shown = path.display();
    assert_eq!(
        message,
        format!(
            "{shown}: this is a GGUF file, and a model is a directory: `atento convert {shown} --out DIR` makes one of it"
        )
    );
}
