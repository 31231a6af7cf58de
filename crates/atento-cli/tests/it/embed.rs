//! Vectors of texts, as `atento embed` gives them.

use atento::hub::safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{Folder, Ran, fixture};

const TEXTS: [&str; 3] = ["The red cat sees a dog.", "Naïve café ☃!", "x"];
const WIDTH: usize = 16;

fn model() -> String {
    fixture("bert-legacy").display().to_string()
}

/// The recorded states of a text: the embeddings and each of two blocks, token by token.
fn states(text: usize) -> Vec<Vec<Vec<f64>>> {
    let file = SafeTensors::open(&fixture("bert-legacy").join("expected.safetensors")).unwrap();
    let name = format!("{text}.hidden");
    let shape = file.get(&name).unwrap().shape.to_vec();
    let values: Vec<f64> = file.read_f32(&name, &shape).unwrap().into_iter().map(f64::from).collect();
    let rows: Vec<Vec<f64>> = values.chunks(WIDTH).map(<[f64]>::to_vec).collect();
    rows.chunks(shape[1]).map(<[Vec<f64>]>::to_vec).collect()
}

fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    (0..WIDTH).map(|column| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64).collect()
}

fn to_length_one(vector: &[f64]) -> Vec<f64> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(difference <= 1e-4, "{difference}: {found:?} {expected:?}");
}

fn embed(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["embed", &model(), "--quiet"], arguments].concat(), &(TEXTS.join("\n") + "\n"))
}

#[test]
fn poolings_and_layers_give_the_states_of_the_reference() {
    let folder = Folder::new();
    for (arguments, layer, pool) in [
        (&[][..], 2, mean as fn(&[Vec<f64>]) -> Vec<f64>),
        (&["--layer", "-1", "--pooling", "mean"], 2, mean),
        (&["--layer", "0", "--pooling", "cls"], 0, |rows| rows[0].clone()),
        (&["--layer", "-2", "--pooling", "last"], 1, |rows| rows[rows.len() - 1].clone()),
        (&["--layer", "1", "--pooling", "max"], 1, |rows| {
            (0..WIDTH).map(|column| rows.iter().map(|row| row[column]).fold(f64::MIN, f64::max)).collect()
        }),
        (&["--normalize"], 2, |rows| to_length_one(&mean(rows))),
    ] {
        for (i, object) in embed(&folder, arguments).objects().iter().enumerate() {
            assert_eq!(object["text"], TEXTS[i]);
            assert_close(&numbers(&object["embedding"]), &pool(&states(i)[layer]));
        }
    }
    for (i, object) in embed(&folder, &["--pooling", "none"]).objects().iter().enumerate() {
        let rows: Vec<f64> = object["embedding"].as_array().unwrap().iter().flat_map(numbers).collect();
        assert_close(&rows, &states(i)[2].concat());
        assert_eq!(object["input_ids"].as_array().unwrap().len(), states(i)[2].len());
    }
}

#[test]
fn several_layers_are_given_each_summed_or_side_by_side() {
    let folder = Folder::new();
    let layers = ["--layer", "2", "--layer", "0"];
    let means = |i: usize| [mean(&states(i)[2]), mean(&states(i)[0])];
    for (i, object) in embed(&folder, &layers).objects().iter().enumerate() {
        for (found, expected) in object["embedding"].as_array().unwrap().iter().zip(means(i)) {
            assert_close(&numbers(found), &expected);
        }
    }
    for (i, object) in embed(&folder, &[&layers[..], &["--combine", "sum"]].concat()).objects().iter().enumerate() {
        let [a, b] = means(i);
        let sum: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
        assert_close(&numbers(&object["embedding"]), &sum);
    }
    let concat = [&layers[..], &["--combine", "concat", "--normalize"]].concat();
    for (i, object) in embed(&folder, &concat).objects().iter().enumerate() {
        assert_close(&numbers(&object["embedding"]), &to_length_one(&means(i).concat()));
    }
    let message = embed(&folder, &["--layer", "3"]).refusal();
    assert!(message.contains("layer 3: the model has layers from 0 (the embeddings) to 2"), "{message}");
}

#[test]
fn texts_beside_and_settings_of_the_machine_change_no_number() {
    let folder = Folder::new();
    let together = embed(&folder, &["--threads", "1"]).output();
    assert_eq!(embed(&folder, &["--threads", "3"]).output(), together);
    for (line, text) in together.lines().zip(TEXTS) {
        let alone = folder.run(&["embed", &model(), text, "--quiet"], "").objects().remove(0);
        let beside: Value = serde_json::from_str(line).unwrap();
        assert_close(&numbers(&alone["embedding"]), &numbers(&beside["embedding"]));
    }
}

/// Shape and values of a file of NumPy's format.
fn npy(bytes: &[u8]) -> (String, Vec<f64>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let (start, shape) = header.split_once("'shape': ").unwrap();
    assert_eq!(start, "{'descr': '<f4', 'fortran_order': False, ");
    let values = bytes[10 + length..].chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
    (shape.trim_end_matches(['\n', ' ', '}', ',']).to_owned(), values.collect())
}

#[test]
fn files_hold_what_the_lines_hold() {
    let folder = Folder::new();
    let vectors: Vec<f64> =
        embed(&folder, &[]).objects().iter().flat_map(|object| numbers(&object["embedding"])).collect();
    assert_eq!(embed(&folder, &["--format", "npy", "--out", "v.npy"]).output(), "");
    let (shape, values) = npy(&std::fs::read(folder.path("v.npy")).unwrap());
    assert_eq!(shape, "(3, 16)");
    assert_close(&values, &vectors);
    embed(&folder, &["--format", "npy", "-o", "layers.npy", "--layer", "0", "--layer", "2"]).output();
    let (shape, values) = npy(&std::fs::read(folder.path("layers.npy")).unwrap());
    assert_eq!(shape, "(3, 2, 16)");
    assert_close(&values[..WIDTH], &mean(&states(0)[0]));
    assert_close(&values[5 * WIDTH..], &mean(&states(2)[2]));
    embed(&folder, &["--format", "safetensors", "--out", "v.safetensors"]).output();
    let file = SafeTensors::open(&folder.path("v.safetensors")).unwrap();
    let values: Vec<f64> = file.read_f32("embeddings", &[3, WIDTH]).unwrap().into_iter().map(f64::from).collect();
    assert_close(&values, &vectors);
    embed(&folder, &["--format", "safetensors", "--out", "t.safetensors", "--pooling", "none"]).output();
    let file = SafeTensors::open(&folder.path("t.safetensors")).unwrap();
    for i in 0..3 {
        let rows = file.read_f32(&i.to_string(), &[states(i)[2].len(), WIDTH]).unwrap();
        assert_close(&rows.into_iter().map(f64::from).collect::<Vec<_>>(), &states(i)[2].concat());
    }
}

#[test]
fn a_line_that_cannot_be_used_is_a_row_of_nan() {
    let folder = Folder::new();
    let arguments = ["embed", &model(), "--format", "npy", "--out", "v.npy"];
    let ran = folder.run(&arguments, "x\n\nTwo dogs\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let (shape, values) = npy(&std::fs::read(folder.path("v.npy")).unwrap());
    assert_eq!(shape, "(3, 16)");
    let is_nan: Vec<bool> = values.chunks(WIDTH).map(|row| row.iter().all(|x| x.is_nan())).collect();
    assert_eq!(is_nan, [false, true, false]);
    let ran = folder.run(&["embed", &model(), "--format", "npy", "--out", "none.npy"], "\n");
    assert!(ran.stderr.contains("no line has a vector") && !folder.path("none.npy").exists(), "{ran:?}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let folder = Folder::new();
    for (arguments, expected) in [
        (&["--format", "npy"][..], "--format npy needs --out FILE"),
        (&["--out", "v.npy"], "--out is for --format npy or safetensors"),
        (&["--format", "npy", "--out", "v.npy", "--pooling", "none"], "--format npy holds one vector a text"),
        (&["--prompt-name", "query"], "has no prompts"),
        (&["--pooling", "middle"], "cls, mean, max, last, none"),
        (&["--prompt", "a", "--prompt-name", "b"], "cannot be used with"),
    ] {
        let message = embed(&folder, arguments).refusal();
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(!folder.path("v.npy").exists());
}

/// A directory `st` of sentence-transformers whose model is the fixture.
fn sentence_transformer(folder: &Folder, pooling: &str) {
    std::fs::create_dir_all(folder.path("st/1_Pooling")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture("bert-legacy").join(file), folder.path("st").join(file)).unwrap();
    }
    let step = |kind: &str, path: &str| json!({ "type": format!("sentence_transformers.models.{kind}"), "path": path });
    let steps = json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2_Normalize")]);
    folder.write("st/modules.json", steps.to_string());
    folder.write("st/1_Pooling/config.json", json!({ "word_embedding_dimension": 16, pooling: true }).to_string());
    folder.write("st/sentence_bert_config.json", r#"{"max_seq_length": 5}"#);
    let prompts = json!({ "prompts": { "query": "the dog: ", "passage": "a cat: " }, "default_prompt_name": null });
    folder.write("st/config_sentence_transformers.json", prompts.to_string());
}

#[test]
fn a_directory_of_sentence_transformers_says_how_vectors_are_made() {
    let folder = Folder::new();
    sentence_transformer(&folder, "pooling_mode_cls_token");
    let run = |arguments: &[&str]| folder.run(&[&["embed", "st"], arguments].concat(), "");
    let object = run(&["x"]).objects().remove(0);
    assert_close(&numbers(&object["embedding"]), &to_length_one(&states(2)[2][0]));
    let object = run(&["x", "--pooling", "mean"]).objects().remove(0);
    assert_close(&numbers(&object["embedding"]), &mean(&states(2)[2]));
    // Longer texts are cut to what the directory says, which is told.
    let ran = run(&[TEXTS[0]]);
    assert!(ran.stderr.contains("4 tokens beyond the 5 that the model's settings allow are cut off"), "{ran:?}");
    assert_eq!(ran.objects()[0]["input_ids"].as_array().unwrap().len(), 5);
    // A prompt is set before the text.
    let named = run(&["x", "--prompt-name", "query", "--json"]).objects().remove(0);
    let given = run(&["x", "--prompt", "the dog: "]).objects().remove(0);
    assert_eq!((&named["input_ids"], &named["text"]), (&given["input_ids"], &json!("x")));
    assert_ne!(named["input_ids"], object["input_ids"]);
    let message = run(&["x", "--prompt-name", "document"]).refusal();
    assert!(message.contains("--prompt-name is \"document\", but st has passage, query"), "{message}");
    let message = run(&["x", "--prompt-name", "quary"]).refusal();
    assert!(message.contains("st has passage, query"), "{message}");
}

#[test]
fn settings_that_are_not_here_are_named() {
    let folder = Folder::new();
    sentence_transformer(&folder, "pooling_mode_weightedmean_tokens");
    let message = folder.run(&["embed", "st", "x"], "").refusal();
    assert!(message.contains("`pooling_mode_weightedmean_tokens` is true, expected false"), "{message}");
    folder.write("st/modules.json", r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#);
    let message = folder.run(&["embed", "st", "x"], "").refusal();
    assert!(message.contains("a Transformer, a Pooling and perhaps a Normalize, in this order"), "{message}");
}

#[test]
fn every_model_with_states_is_embedded() {
    let folder = Folder::new();
    for name in ["bert-labels", "electra-words", "xlm-roberta-words", "gpt2-tags", "llama-span", "gpt2-tiny", "bert"] {
        let path = fixture(name).display().to_string();
        let object = folder.run(&["embed", &path, "Two dogs", "--quiet"], "").objects().remove(0);
        assert_eq!(numbers(&object["embedding"]).len(), WIDTH, "{name}");
    }
    let message = folder.run(&["embed", &fixture("marian-tiny").display().to_string(), "x"], "").refusal();
    assert!(message.contains("this model translates; its states cannot be asked for"), "{message}");
}
