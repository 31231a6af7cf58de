//! Models of `transformers` written as llama.cpp's converters write them, and converted back.

use std::path::{Path, PathBuf};

use atento_tensor::{Frozen, Graph, ParamEntry, Pool};
use serde_json::{Value as Json, json};

use super::super::Source;
use super::writer::Writer;
use crate::hub::ModelDir;
use crate::hub::safetensors::{FloatType, SafeTensors};
use crate::pipelines::LanguageModel;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)
}

fn json_of(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// `permute` of llama.cpp's convert_hf_to_gguf.py: the two halves of a head's rows become neighbours.
fn permuted(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (width, half) = (values.len() / rows, rows / heads / 2);
    let mut swapped = Vec::new();
    for head in 0..heads {
        for row in 0..half {
            for side in 0..2 {
                let from = (head * 2 * half + side * half + row) * width;
                swapped.extend_from_slice(&values[from..from + width]);
            }
        }
    }
    swapped
}

fn transposed(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let [rows, columns] = shape else { panic!("{shape:?}") };
    (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
}

const LLAMA_NAMES: [(&str, &str); 14] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers", "blk"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.", "ffn_"),
    ("_proj", ""),
];
const GPT2_NAMES: [(&str, &str); 10] = [
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
    ("transformer.h", "blk"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
];

fn renamed(name: &str, names: &[(&str, &str)]) -> String {
    names.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The directory of a fixture as a GGUF file to be.
pub(super) fn written(name: &str) -> Writer {
    let config = json_of(&fixture(name).join("config.json"));
    let architecture = match config["model_type"].as_str().unwrap() {
        "mistral" => "llama",
        other => other,
    };
    let writer = with_tokenizer(Writer::new(architecture), name);
    let writer = if architecture == "gpt2" { gpt2(writer, &config) } else { llama(writer, &config, architecture) };
    let tensors = SafeTensors::open(&fixture(name).join("model.safetensors")).unwrap();
    tensors.names().fold(writer, |writer, stored| {
        let shape = tensors.get(stored).unwrap().shape.to_vec();
        let values = tensors.read_f32(stored, &shape).unwrap();
        if architecture == "gpt2" {
            let is_turned = shape.len() == 2 && stored.contains(".h.");
            let (shape, values) =
                if is_turned { (vec![shape[1], shape[0]], transposed(&values, &shape)) } else { (shape, values) };
            return writer.tensor(&renamed(stored, &GPT2_NAMES), &shape, &values);
        }
        let heads = |part: &str, key: &str| stored.contains(part).then(|| config[key].as_u64().unwrap() as usize);
        let heads = heads("q_proj", "num_attention_heads").or_else(|| heads("k_proj", "num_key_value_heads"));
        let values = match heads.filter(|_| architecture == "llama") {
            Some(heads) => permuted(&values, shape[0], heads),
            None => values,
        };
        writer.tensor(&renamed(stored, &LLAMA_NAMES), &shape, &values)
    })
}

fn size(config: &Json, key: &str) -> usize {
    config[key].as_u64().unwrap() as usize
}

fn llama(writer: Writer, config: &Json, of: &str) -> Writer {
    let key = |name: &str| format!("{of}.{name}");
    let mut writer = writer
        .size(&key("block_count"), size(config, "num_hidden_layers"))
        .size(&key("context_length"), size(config, "max_position_embeddings"))
        .size(&key("embedding_length"), size(config, "hidden_size"))
        .size(&key("feed_forward_length"), size(config, "intermediate_size"))
        .size(&key("attention.head_count"), size(config, "num_attention_heads"))
        .size(&key("attention.head_count_kv"), size(config, "num_key_value_heads"))
        .number(&key("attention.layer_norm_rms_epsilon"), config["rms_norm_eps"].as_f64().unwrap())
        .number(&key("rope.freq_base"), config["rope_parameters"]["rope_theta"].as_f64().unwrap());
    if let Some(head_dim) = config["head_dim"].as_u64() {
        writer = writer.size(&key("attention.key_length"), head_dim as usize);
        writer = writer.size(&key("rope.dimension_count"), head_dim as usize);
    }
    if let Some(window) = config["sliding_window"].as_u64() {
        writer = writer.size(&key("attention.sliding_window"), window as usize);
    }
    let rope = &config["rope_parameters"];
    if let Some(original) = rope["original_max_position_embeddings"].as_u64() {
        writer = writer.size(&key("rope.scaling.original_context_length"), original as usize);
    }
    match rope["rope_type"].as_str().unwrap() {
        "default" => writer,
        "llama3" => {
            let factors = llama3_factors(rope, size(config, "head_dim"));
            writer.tensor("rope_freqs.weight", &[factors.len()], &factors)
        }
        kind => {
            let writer = writer.text(&key("rope.scaling.type"), kind);
            writer.number(&key("rope.scaling.factor"), rope["factor"].as_f64().unwrap())
        }
    }
}

/// `generate_extra_tensors` of llama.cpp's converter.
fn llama3_factors(rope: &Json, head_dim: usize) -> Vec<f32> {
    let number = |key: &str| rope[key].as_f64().unwrap();
    let (factor, low, high) = (number("factor"), number("low_freq_factor"), number("high_freq_factor"));
    let original = number("original_max_position_embeddings");
    let of = |i: usize| {
        let frequency = 1.0 / number("rope_theta").powf((2 * i) as f64 / head_dim as f64);
        let wavelength = std::f64::consts::TAU / frequency;
        if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    (0..head_dim / 2).map(|i| of(i) as f32).collect()
}

fn gpt2(writer: Writer, config: &Json) -> Writer {
    writer
        .size("gpt2.block_count", size(config, "n_layer"))
        .size("gpt2.context_length", size(config, "n_positions"))
        .size("gpt2.embedding_length", size(config, "n_embd"))
        .size("gpt2.feed_forward_length", 4 * size(config, "n_embd"))
        .size("gpt2.attention.head_count", size(config, "n_head"))
        .number("gpt2.attention.layer_norm_epsilon", config["layer_norm_epsilon"].as_f64().unwrap())
}

/// The tokens and merges of a fixture.
fn with_tokenizer(writer: Writer, name: &str) -> Writer {
    let tokenizer = json_of(&fixture(name).join("tokenizer.json"));
    let mut tokens: Vec<(u64, String)> = Vec::new();
    for (token, id) in tokenizer["model"]["vocab"].as_object().unwrap() {
        tokens.push((id.as_u64().unwrap(), token.clone()));
    }
    tokens.sort();
    let types: Vec<u32> = tokens.iter().map(|(id, _)| if *id == 0 { 3 } else { 1 }).collect();
    let pair = |merge: &Json| format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap());
    let merges: Vec<String> = tokenizer["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
    writer
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", tokens.iter().map(|(_, token)| token.as_str()))
        .sizes("tokenizer.ggml.token_type", &types)
        .texts("tokenizer.ggml.merges", merges.iter().map(String::as_str))
        .size("tokenizer.ggml.bos_token_id", 0)
        .size("tokenizer.ggml.eos_token_id", 0)
}

fn logits(model: &LanguageModel, ids: &[u32]) -> Vec<f32> {
    let pool = Pool::new();
    let mut graph = Graph::infer(model.model.params(), &pool);
    model.model.logits(&mut graph, ids, &[0, ids.len() as u32]).values().to_vec()
}

#[test]
fn a_model_comes_back_as_it_was() {
    let texts = ["a red cat runs", "naïve café 🎉 12345", "  spaces  and\nlines<|endoftext|>the end"];
    for name in ["llama-tiny", "mistral-tiny", "qwen3-tiny", "gpt2-tiny"] {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::open(&written(name).save(folder.path())).unwrap();
        assert_eq!(source.notes(), [""; 0]);
        let out = folder.path().join("out");
        source.write(&out, FloatType::F32).unwrap();
        let (found, expected) = (LanguageModel::load(&out).unwrap(), LanguageModel::load(fixture(name)).unwrap());
        let config = |dir: &Path| ModelDir::open(dir).unwrap().model_config().unwrap().to_json().unwrap();
        let (mut written, mut original) = (config(&out), config(&fixture(name)));
        if name == "gpt2-tiny" {
            // A file says nothing of training.
            for key in ["resid_pdrop", "embd_pdrop", "attn_pdrop"] {
                assert_eq!((written.remove(key), original.remove(key)), (Some(json!(0.1)), Some(json!(0.0))));
            }
        }
        assert_eq!(written, original, "{name}");
        let parameters = expected.model.params().entries().iter().map(|entry| entry.weight.len());
        assert_eq!(source.parameters(), parameters.sum::<usize>());
        for text in texts {
            let ids = expected.tokenizer.encode_ids(text, true).unwrap();
            assert_eq!(found.tokenizer.encode_ids(text, true).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(found.tokenizer.decode(&ids, true).unwrap(), expected.tokenizer.decode(&ids, true).unwrap());
            let (a, b) = (logits(&found, &ids), logits(&expected, &ids));
            let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 1e-5, "{name}: {text:?}: {difference}");
        }
    }
}

#[test]
fn the_output_is_tied_where_it_is_missing_or_the_table_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (name, is_tied) in [("llama-tiny", true), ("mistral-tiny", false), ("gpt2-tiny", true)] {
        let mut writer = written(name);
        if is_tied {
            let table = writer.tensors.iter().find(|(name, ..)| name == "token_embd.weight").unwrap().clone();
            writer.tensors.push(("output.weight".into(), table.1, table.2, table.3));
        }
        let out = folder.path().join(name);
        Source::open(&writer.save(folder.path())).unwrap().write(&out, FloatType::Bf16).unwrap();
        let config = json_of(&out.join("config.json"));
        assert_eq!((&config["tie_word_embeddings"], &config["dtype"]), (&json!(is_tied), &json!("bfloat16")));
        LanguageModel::load(&out).unwrap();
    }
}

#[test]
fn quantized_models_compute_what_transformers_computes_with_the_same_file() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf");
    let expected = SafeTensors::open(&fixtures.join("logits.safetensors")).unwrap();
    for name in ["llama", "gpt2"] {
        let out = tempfile::tempdir().unwrap();
        let source = Source::open(&fixtures.join(format!("{name}.gguf"))).unwrap();
        source.write(out.path(), FloatType::F32).unwrap();
        let found = logits(&LanguageModel::load(out.path()).unwrap(), &Vec::from_iter(0..10));
        let expected = expected.read_f32(name, expected.get(name).unwrap().shape).unwrap();
        assert_eq!(found.len(), expected.len());
        let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-5, "{name}: {difference}");
        // The same from the blocks as they lie in the file, which stay so in memory.
        let kept = tempfile::tempdir().unwrap();
        source.write_with_file(kept.path()).unwrap();
        let dir = ModelDir::open(kept.path()).unwrap();
        assert!(dir.is_gguf());
        for model in [LanguageModel::mapped(&dir).unwrap(), LanguageModel::load(kept.path()).unwrap()] {
            let found = logits(&model, &Vec::from_iter(0..10));
            let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 1e-5, "{name}: {difference}");
            // Few rows take another way through the kernels.
            let few = logits(&model, &Vec::from_iter(0..5));
            let difference = few.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 2e-5, "{name}: {difference}");
        }
        let model = LanguageModel::mapped(&dir).unwrap();
        let params = model.model.params();
        let is_packed = |entry: &&ParamEntry| matches!(params.frozen(entry.weight), Some(Frozen::Blocks { .. }));
        let packed: Vec<&str> = params.entries().iter().filter(is_packed).map(|entry| &*entry.name).collect();
        assert!(packed.len() >= 3, "{name}: {packed:?}");
        assert!(params.entries().iter().all(|entry| entry.is_frozen()));
    }
}
