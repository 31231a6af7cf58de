//! The sound files that inputs begin as, made by the program itself: text, tokenizers, runs with their models.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::archive::{self, Tensor};

const SENTENCES: [(&str, &str); 5] = [
    ("the cat sees the dog", "die Katze sieht den Hund"),
    ("a dog runs home", "ein Hund rennt heim"),
    ("two dogs don't sleep", "zwei Hunde schlafen nicht"),
    ("the café has 12 mats", "das Café hat 12 Matten"),
    ("a cat naps", "eine Katze döst"),
];

/// A recipe: its first lines, its data and model, and what all have in common.
fn recipe(head: &str, data: &str, model: &str, batch: &str) -> String {
    format!(
        "{head}seed = 3\n[data]\n{data}\n[model]\n{model}\ndropout = 0.0\n[train]\nmax_steps = 4\n{batch}\nlog_every = 1\n\
         eval_every = 2\nsave_every = 2\n[optimizer]\nlr = 0.01\n[schedule]\nkind = \"constant\"\nwarmup_steps = 1\n"
    )
}

/// Makes all files in `folder`.
pub fn make(program: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    texts(folder)?;
    recipes(folder)?;
    let run = |arguments: &[&str]| -> Result<()> {
        let output = Command::new(program).args(arguments).current_dir(folder).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "atento {}: {said}", arguments.join(" "));
        Ok(())
    };
    for kind in ["bpe", "byte-bpe", "wordpiece", "unigram", "char"] {
        let name = format!("{kind}.json");
        run(&["tokenizer", "train", "text.txt", "pairs.tsv", "--kind", kind, "--vocab-size", "400", "--out", &name])?;
    }
    for name in ["lm", "mt", "pre", "rnn", "llama", "mistral", "qwen"] {
        run(&["train", &format!("{name}.toml"), "--out", name, "-q"])?;
    }
    for name in ENCODERS {
        run(&["train", &format!("{name}.toml"), "--out", name, "-q"])?;
    }
    run(&["convert", "lm", "--out", "int8", "--weights", "int8"])?;
    for (method, set) in [("lora", "lora.rank=2"), ("prefix", "prompt.tokens=2")] {
        let of = format!("train.method={method}");
        run(&["train", "lm.toml", "--from", "lm", "--set", &of, "--set", set, "--out", method, "-q"])?;
    }
    copies(folder)?;
    models_of_llama_cpp(folder)?;
    vocabularies(folder)
}

/// Encoders, each with a head.
const ENCODERS: [&str; 7] = ["labels", "values", "tags", "answers", "choices", "words", "modern"];

fn texts(folder: &Path) -> Result<()> {
    let write = |name: &str, text: String| fs::write(folder.join(name), text);
    let lines = |line: fn(&(&str, &str)) -> String| SENTENCES.iter().map(line).collect::<String>();
    write("text.txt", lines(|(source, _)| format!("{source}.\n")).repeat(12))?;
    write("pairs.tsv", lines(|(source, target)| format!("{source}\t{target}\n")).repeat(3))?;
    write("source.txt", lines(|(source, _)| format!("{source}\n")).repeat(3))?;
    write(
        "prompts.jsonl",
        lines(|(source, target)| format!("{}\n", json!({ "prompt": source, "completion": target }))),
    )?;
    let row = |(source, target): &(&str, &str)| format!("\"{source}\",{target}\n");
    write("prompts.csv", format!("prompt,completion\n{}", lines(row)))?;
    write("labels.tsv", lines(|(source, target)| format!("{source}\t{}\n", target.len() % 2)).repeat(2))?;
    write(
        "values.csv",
        "text,label\n".to_owned() + &lines(|(source, target)| format!("\"{source}\",{}.5\n", target.len())),
    )?;
    write("tags.txt", lines(|(source, _)| source.split(' ').map(tagged).collect::<String>() + "\n"))?;
    let asked = SENTENCES.iter().enumerate().map(|(at, (source, _))| {
        let answer = source.split(' ').next().unwrap_or_default();
        json!({ "context": source, "qas": [{ "id": at.to_string(), "question": "who",
            "answers": [{ "text": answer, "answer_start": 0 }] }] })
    });
    let asked = json!({ "data": [{ "title": "t", "paragraphs": asked.collect::<Vec<_>>() }] });
    write("squad.json", asked.to_string())?;
    write("choices.jsonl", lines(|(a, b)| format!("{}\n", json!({ "prompt": a, "choices": [a, b], "label": 1 }))))?;
    write("documents.txt", lines(|(source, _)| format!("{source}. {source} again.\n\n")).repeat(2))?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, lines(|(_, target)| format!("{target}\n")).repeat(3).as_bytes())?;
    fs::write(folder.join("target.gz"), gzip.finish()?)?;
    Ok(())
}

fn recipes(folder: &Path) -> Result<()> {
    const CAUSAL: &str = "arch = \"gpt2\"\nlayers = 1\nheads = 2\nd_model = 8\nd_ff = 16\nmax_positions = 32";
    const TRANSFORMER: &str =
        "d_model = 8\nheads = 2\nd_ff = 16\nencoder_layers = 1\ndecoder_layers = 1\nmax_positions = 32";
    const PAIRS: &str = "max_length = 32\ndrop_duplicates = false\n";
    const VOCABULARY: &str = "\n[tokenizer]\nvocab_size = 150\nmin_frequency = 1";
    const BATCH: &str = "batch_tokens = 64\neval_beam = 0";
    const SEARCH: &str = "[search]\nbeam = 2\nmax_length = 12\n";
    let write = |name: &str, text: String| fs::write(folder.join(name), text);
    let causal = |data: &str| recipe("task = \"causal-lm\"\n", data, CAUSAL, "batch_tokens = 64");
    write("lm.toml", causal("text = \"text.txt\"\n[tokenizer]\nkind = \"byte_bpe\"\nvocab_size = 280"))?;
    let llama = CAUSAL.replace("gpt2", "llama");
    for (name, more) in [
        ("llama", "attention_bias = true\nkv_heads = 1"),
        ("mistral", "sliding_window = 8\nhead_dim = 6\nrope_theta = 500.0"),
        ("qwen", "sliding_window = 8\nqk_norm = true\ntie_embeddings = \"none\""),
    ] {
        let data = "text = \"text.txt\"\n[tokenizer]\nkind = \"byte_bpe\"\nvocab_size = 280";
        let text = recipe("task = \"causal-lm\"\n", data, &format!("{llama}\n{more}"), "batch_tokens = 64");
        write(&format!("{name}.toml"), text)?;
    }
    write("tokens.toml", causal("tokens = \"tokens\"\nblock_size = 16\n[tokenizer]\nfile = \"lm/tokenizer.json\""))?;
    let prompts =
        "train = { jsonl = \"prompts.jsonl\" }\nvalid = { csv = \"prompts.csv\" }\n[tokenizer]\nkind = \"char\"";
    write("instruct.toml", recipe("task = \"instruct\"\n", prompts, &CAUSAL.replace("32", "64"), "batch_tokens = 64"))?;
    let tsv = format!("train = {{ tsv = \"pairs.tsv\" }}\n{PAIRS}{VOCABULARY}");
    write("mt.toml", recipe("", &tsv, TRANSFORMER, BATCH) + SEARCH)?;
    write("pre.toml", recipe("", &tsv, &format!("{TRANSFORMER}\nnorm = \"pre\""), BATCH) + SEARCH)?;
    const ENCODER: &str = "arch = \"bert\"\nlayers = 1\nheads = 2\nd_model = 8\nd_ff = 16\nmax_positions = 32";
    let labelled = |task: &str, file: &str| {
        let data = format!("train = {{ {file} }}\nvalid = {{ {file} }}{VOCABULARY}");
        recipe(&format!("task = \"{task}\"\n"), &data, ENCODER, "batch_tokens = 64")
    };
    write("labels.toml", labelled("classify", "tsv = \"labels.tsv\""))?;
    write("values.toml", labelled("regress", "csv = \"values.csv\""))?;
    write("tags.toml", labelled("tag", "conll = \"tags.txt\"").replace("\"bert\"", "\"roberta\""))?;
    write("answers.toml", labelled("qa", "squad = \"squad.json\"").replace("\"bert\"", "\"deberta\""))?;
    write("choices.toml", labelled("multiple-choice", "jsonl = \"choices.jsonl\""))?;
    let text = format!("text = \"documents.txt\"\nvalid_text = \"documents.txt\"\nblock_size = 16{VOCABULARY}");
    write("words.toml", recipe("task = \"bert-pretrain\"\n", &text, ENCODER, "batch_tokens = 64"))?;
    let modern = ENCODER.replace("\"bert\"", "\"modernbert\"");
    write("modern.toml", recipe("task = \"masked-lm\"\n", &text, &modern, "batch_tokens = 64"))?;
    let files = format!("train = {{ source = \"source.txt\", target = \"target.gz\" }}\n{PAIRS}{VOCABULARY}");
    write("rnn.toml", recipe("", &files, "arch = \"rnn\"\nhidden = 8\nembedding = 8", BATCH) + SEARCH)?;
    Ok(())
}

/// A word of CoNLL: words that begin with d are entities.
fn tagged(word: &str) -> String {
    format!("{word} {}\n", if word.starts_with('d') { "B-DOG" } else { "O" })
}

/// Vocabularies in files of older kinds than tokenizer.json.
fn vocabularies(folder: &Path) -> Result<()> {
    let tokenizers = Path::new(TOKENIZERS);
    for (name, file, own) in
        [("vocab-txt", "bert/vocab.txt", "vocab.txt"), ("sentencepiece", "deberta/spm.model", "spm.model")]
    {
        let from = tokenizers.join(file);
        fs::create_dir_all(folder.join(name))?;
        fs::copy(&from, folder.join(name).join(own)).with_context(|| format!("no {}", from.display()))?;
    }
    Ok(())
}

/// Models in files of llama.cpp, which the program reads and does not write.
fn models_of_llama_cpp(folder: &Path) -> Result<()> {
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/atento/tests/fixtures/gguf"));
    fs::create_dir_all(folder.join("gguf"))?;
    for name in ["llama.gguf", "gpt2.gguf"] {
        let from = from.join(name);
        fs::copy(&from, folder.join("gguf").join(name)).with_context(|| format!("no {}", from.display()))?;
    }
    Ok(())
}

/// Vocabularies that the tests of tokenizers read.
const TOKENIZERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/atento/tests/fixtures/tokenizers");

/// The language model again, in the other ways in which models are stored.
fn copies(folder: &Path) -> Result<()> {
    let model = folder.join("lm/model");
    for name in ["sharded", "torch", "legacy", "pairs"] {
        fs::create_dir_all(folder.join(name))?;
        for file in ["config.json", "tokenizer.json", "generation_config.json", "tokenizer_config.json"] {
            fs::copy(model.join(file), folder.join(name).join(file))
                .with_context(|| format!("no {file} of the model"))?;
        }
    }
    fs::copy(model.join("model.safetensors"), folder.join("pairs/model.safetensors"))?;
    split_tokenizer(&folder.join("pairs"))?;
    let bytes = fs::read(model.join("model.safetensors"))?;
    let length = u64::from_le_bytes(*bytes.first_chunk().context("an empty model")?) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length])?;
    let numbers =
        |value: &Value| -> Vec<u64> { value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect() };
    let tensor = |(name, about): (_, &Value)| {
        let (shape, place) = (numbers(&about["shape"]), numbers(&about["data_offsets"]));
        let start = 8 + length;
        Tensor { name, shape, data: &bytes[start + place[0] as usize..start + place[1] as usize] }
    };
    let tensors: Vec<Tensor<'_>> = header
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, about)| tensor((name.as_str(), about)))
        .collect();
    fs::write(folder.join("torch/pytorch_model.bin"), archive::torch(&tensors))?;
    fs::write(folder.join("legacy/pytorch_model.bin"), archive::legacy(&tensors))?;
    shards(&folder.join("sharded"), &tensors)?;
    copy_tokens(folder)
}

/// Two files of weights and the index that says what is where.
fn shards(folder: &Path, tensors: &[Tensor<'_>]) -> Result<()> {
    let mut map = Map::new();
    for (number, half) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        let (mut header, mut data) = (Map::new(), Vec::new());
        for tensor in half {
            let start = data.len();
            data.extend(tensor.data);
            let place = [start, data.len()];
            header.insert(tensor.name.into(), json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": place }));
            map.insert(tensor.name.into(), json!(name));
        }
        let header = serde_json::to_vec(&header)?;
        fs::write(folder.join(&name), [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat())?;
    }
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    fs::write(folder.join("model.safetensors.index.json"), serde_json::to_vec_pretty(&index)?)?;
    Ok(())
}

/// vocab.json and merges.txt in the place of tokenizer.json.
fn split_tokenizer(folder: &Path) -> Result<()> {
    let path = folder.join("tokenizer.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path)?)?;
    fs::remove_file(path)?;
    let tokens = |merge: &Value| -> String {
        merge.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    };
    let merges: Vec<String> = whole["model"]["merges"].as_array().into_iter().flatten().map(tokens).collect();
    fs::write(folder.join("vocab.json"), serde_json::to_vec(&whole["model"]["vocab"])?)?;
    // Without it, the reader adds GPT-2's own special token.
    let special = json!({ "bos_token": null, "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>" });
    fs::write(folder.join("special_tokens_map.json"), special.to_string())?;
    fs::write(folder.join("merges.txt"), format!("#version: 0.2\n{}\n", merges.join("\n")))?;
    Ok(())
}

/// The token files of the run, as data of another.
fn copy_tokens(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("tokens"))?;
    for file in ["train.bin", "val.bin", "tokens.json"] {
        let from = folder.join("lm/data").join(file);
        fs::copy(&from, folder.join("tokens").join(file)).with_context(|| format!("no {}", from.display()))?;
    }
    Ok(())
}
