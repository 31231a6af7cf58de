//! Whole directories: written, read back, and broken in every way a directory can be.

use super::generation::GenerationConfig;
use super::load::{NamedTensors, Names, Source, load};
use super::model_dir::{Checked, ModelDir};
use super::safetensors::{FloatType, NamedTensor, SafeTensors, write};
use super::save::{DirFiles, save_dir, tensors};
use super::tokenizer_config::TokenizerConfig;
use super::weights::Weights;
use super::{Error, Kept};
use crate::families::{self, Config, Head};
use crate::models::Transformer;
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};
use crate::models::parameters::NamedShape;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const TIES: [TieEmbeddings; 3] = [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None];

/// Parameters in a map, as the arena holds them in training.
struct Parameters {
    shapes: Vec<NamedShape>,
    values: HashMap<String, Vec<f32>>,
}

impl Parameters {
    /// Every element different from every other, so that a swap shows.
    fn distinct(config: &TransformerConfig) -> Self {
        let mut parameters = Self::zeros(config.parameters());
        let mut next = 0.0;
        for (name, _) in parameters.shapes.clone() {
            for value in parameters.slot(&name) {
                next += 0.001;
                *value = next;
            }
        }
        parameters
    }

    fn zeros(shapes: Vec<NamedShape>) -> Self {
        let values = shapes.iter().map(|(name, shape)| (name.clone(), vec![0.0; shape.iter().product()])).collect();
        Self { shapes, values }
    }
}

impl Parameters {
    fn slot(&mut self, name: &str) -> &mut [f32] {
        self.values.get_mut(name).unwrap()
    }
}

impl NamedTensors for Parameters {
    fn expected(&self) -> Vec<NamedShape> {
        self.shapes.clone()
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), Error> {
        source.read(self.slot(name))
    }
}

fn small(norm: Norm, tie_embeddings: TieEmbeddings) -> TransformerConfig {
    let mut config = TransformerConfig { tie_embeddings, ..TransformerConfig::tiny(11).with_norm(norm) };
    (config.d_model, config.encoder_ffn, config.decoder_ffn) = (8, 12, 20);
    (config.encoder_layers, config.decoder_layers, config.max_positions) = (1, 2, 16);
    config
}

fn tokenizer_config() -> TokenizerConfig {
    TokenizerConfig {
        model_max_length: 16,
        pad_token: Some("<pad>".into()),
        eos_token: Some("</s>".into()),
        bos_token: None,
        unk_token: Some("<unk>".into()),
        cls_token: None,
        sep_token: None,
        mask_token: None,
        has_token_types: false,
    }
}

fn save(dir: &Path, config: &TransformerConfig, parameters: &Parameters) {
    let (generation, tokenizer_config) = (GenerationConfig::of_model(config), tokenizer_config());
    let files = DirFiles {
        generation: Some(&generation),
        floats: FloatType::F32,
        tokenizer_json: b"{}",
        tokenizer_config: &tokenizer_config,
        kept: &Kept::default(),
    };
    save_dir(dir, config.to_json().unwrap(), &files, hf_tensors(config, parameters)).unwrap();
}

/// The tensors that are written for a model with these parameters.
fn hf_tensors(config: &TransformerConfig, parameters: &Parameters) -> Vec<NamedTensor<'static>> {
    let mut params = Transformer::init(config.clone(), 0).params;
    for entry in params.entries().to_vec() {
        params.get_mut(entry.weight).copy_from_slice(&parameters.values[&entry.name]);
    }
    let (tensors, is_int8) = tensors(config, Box::leak(Box::new(params)), None);
    assert!(!is_int8);
    tensors
}

fn names(config: &dyn Config) -> Names<'_> {
    Names { config, is_int8: false }
}

/// A saved directory of distinct parameters.
fn saved(config: &TransformerConfig) -> (tempfile::TempDir, Parameters) {
    let directory = tempfile::tempdir().unwrap();
    let parameters = Parameters::distinct(config);
    save(directory.path(), config, &parameters);
    (directory, parameters)
}

/// Loads the file at `path` into a model of `config`.
fn load_file(path: &Path, config: &TransformerConfig) -> Result<Parameters, Error> {
    let mut parameters = Parameters::zeros(config.parameters());
    load(&Weights::open(path)?, names(config), &mut parameters)?;
    Ok(parameters)
}

/// Writes `tensors` and loads them into a model of `config`; the message where that fails.
fn load_tensors(tensors: &[NamedTensor<'_>], config: &TransformerConfig) -> Result<Parameters, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    write(&path, tensors, &[]).unwrap();
    load_file(&path, config).map_err(|error| error.to_string())
}

#[test]
fn a_saved_directory_is_loaded_back_whole() {
    for norm in [Norm::Post, Norm::Pre] {
        for tie in TIES {
            let config = small(norm, tie);
            let (directory, parameters) = saved(&config);
            let dir = ModelDir::open(directory.path()).unwrap();
            let class = if norm == Norm::Post { "Marian" } else { "M2M100" };
            let Checked { config: read, weights, notes } = dir.checked().unwrap();
            assert_eq!((read.class(), dir.head(), notes.len()), (class, Head::Translation, 0));
            assert_eq!(read.to_json().unwrap(), config.to_json().unwrap());
            let generation = GenerationConfig::of_model(&config);
            let file = generation.to_json();
            assert_eq!(dir.generation_config().unwrap(), generation.with_file(&file));
            let mut loaded = Parameters::zeros(config.parameters());
            load(&weights, names(&config), &mut loaded).unwrap();
            assert_eq!(loaded.values, parameters.values);
            assert!(dir.tokenizer_path().unwrap().ends_with("tokenizer.json"));
        }
    }
}

#[test]
fn a_run_directory_is_opened_by_the_model_in_it() {
    let run = tempfile::tempdir().unwrap();
    let config = small(Norm::Post, TieEmbeddings::All);
    save(&run.path().join("model"), &config, &Parameters::distinct(&config));
    assert_eq!(ModelDir::open(run.path()).unwrap().path(), run.path().join("model"));
}

#[test]
fn tied_copies_and_positions_of_older_writers_are_accepted_when_equal() {
    for norm in [Norm::Post, Norm::Pre] {
        let config = small(norm, TieEmbeddings::All);
        let parameters = Parameters::distinct(&config);
        let table = &parameters.values["shared.weight"];
        let rows = config.max_positions + 2;
        let mut positions = vec![0.0; rows * config.d_model];
        for (index, row) in positions.chunks_exact_mut(config.d_model).enumerate() {
            config.sinusoid().write_row(index, row);
        }
        if norm == Norm::Pre {
            positions[config.pad_id as usize * config.d_model..][..config.d_model].fill(0.0);
        }
        let mut tensors = hf_tensors(&config, &parameters);
        for name in ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"] {
            tensors.push(NamedTensor::new(name, [config.vocab_size, config.d_model], table));
        }
        let name = "model.encoder.embed_positions.weight";
        tensors.push(NamedTensor::new(name, [rows, config.d_model], &positions));
        assert_eq!(load_tensors(&tensors, &config).unwrap().values, parameters.values);
    }
}

#[test]
fn a_table_under_another_of_its_tied_names_is_found() {
    let config = small(Norm::Post, TieEmbeddings::All);
    let parameters = Parameters::distinct(&config);
    let mut tensors = hf_tensors(&config, &parameters);
    tensors[0].name = "lm_head.weight".into();
    // The bias is a buffer that transformers does not ask for either.
    tensors.retain(|tensor| tensor.name != "final_logits_bias");
    let loaded = load_tensors(&tensors, &config).unwrap();
    assert_eq!(loaded.values["shared.weight"], parameters.values["shared.weight"]);
    assert_eq!(loaded.values["final_logits_bias"], vec![0.0; config.vocab_size]);
}

#[test]
fn tensors_at_odds_with_the_configuration_are_named() {
    let config = small(Norm::Post, TieEmbeddings::All);
    let parameters = Parameters::distinct(&config);
    let whole = hf_tensors(&config, &parameters);
    let (short, bias, table) = ([1.0], [0.5; 12], [0.0; 11 * 8]);
    let nan = [f32::NAN; 8];
    let tensor = |name: &str, shape: &[usize], values| Some(NamedTensor::new(name, shape, values));
    let fc1 = "model.encoder.layers.0.fc1.bias";
    let norm = "model.encoder.layers.0.final_layer_norm.bias";
    // What is taken out, what is put in, what is said.
    let cases = [
        (
            fc1,
            tensor("model.encoder.layers.0.fc_1.bias", &[12], &bias[..]),
            "missing tensor `model.encoder.layers.0.fc1.bias` \
             (the file has `model.encoder.layers.0.fc_1.bias`)",
        ),
        ("encoder_attn.", None, "16 missing tensors: `model.decoder.layers.0.encoder_attn.q_proj.weight`"),
        (fc1, tensor(fc1, &[1], &short), "layers.0.fc1.bias` has shape [1], expected [12]"),
        (norm, tensor(norm, &[8], &nan), "layers.0.final_layer_norm.bias` holds NaN at element 0"),
        (
            "-",
            tensor("lm_head.weight", &[11, 8], &table),
            "`lm_head.weight` differs from `shared.weight`, which the configuration ties it to",
        ),
    ];
    for (without, with, expected) in cases {
        let mut tensors = whole.clone();
        tensors.retain(|tensor| !tensor.name.contains(without));
        tensors.extend(with);
        let message = load_tensors(&tensors, &config).err().expect(expected);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn marian_positions_are_taken_as_they_are_stored_and_m2m100s_are_not() {
    let positions = |norm: Norm, name: &str, shape: &[usize], values: &[f32]| {
        let config = small(norm, TieEmbeddings::All);
        let parameters = Parameters::distinct(&config);
        let mut tensors = hf_tensors(&config, &parameters);
        tensors.push(NamedTensor::new(name, shape, values));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        write(&path, &tensors, &[]).unwrap();
        let weights = Weights::open(&path).unwrap();
        let loaded = load(&weights, names(&config), &mut Parameters::zeros(config.parameters()));
        loaded.and_then(|()| config.positions(&weights)).map_err(|error| error.to_string())
    };
    let (decoder, longer) = ("model.decoder.embed_positions.weight", [0.25; 18 * 8]);
    let config = small(Norm::Post, TieEmbeddings::All);
    let sinusoids = config.sinusoid().table(16, 8, config.pad_id);
    let [source, target] = positions(Norm::Post, decoder, &[18, 8], &longer).unwrap().expect("its own");
    assert_eq!((&source, &target[..]), (&sinusoids, &longer[..16 * 8]));
    assert_eq!(positions(Norm::Post, decoder, &[16, 8], &sinusoids).unwrap(), None);
    for (norm, name, shape, expected) in [
        (Norm::Post, decoder, [9, 16], "has shape [9, 16], expected [16, 8]"),
        (Norm::Post, decoder, [15, 8], "has shape [15, 8], expected [16, 8]"),
        (Norm::Post, "model.decoder.embed_positions.weights", [16, 8], "row 0 is not the sinusoid of its position"),
        (Norm::Pre, decoder, [16, 8], "row 0 is not the sinusoid of its position"),
    ] {
        let message = positions(norm, name, &shape, &longer[..shape[0] * shape[1]]).expect_err(expected);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_configuration_of_absurd_size_fails_on_the_header_alone() {
    let (directory, _) = saved(&small(Norm::Post, TieEmbeddings::All));
    let path = directory.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("vocab_size\": 11", "vocab_size\": 16777216")).unwrap();
    let message = ModelDir::open(directory.path()).unwrap().checked().unwrap_err().to_string();
    assert!(message.contains("has shape [11, 8], expected [16777216, 8]"), "{message}");
}

#[test]
fn what_a_directory_lacks_is_said_with_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let open = || ModelDir::open(directory.path());
    let message = |error: Error| error.to_string();
    assert!(message(open().unwrap_err()).ends_with("config.json: not found; the directory is empty"));
    fs::write(path("confg.json"), "{}").unwrap();
    assert!(message(open().unwrap_err()).ends_with("the nearest there is `confg.json`"));
    assert!(message(ModelDir::open(&path("confg.json")).unwrap_err()).contains("a model is a directory"));
    assert!(message(ModelDir::open(&path("config.json")).unwrap_err()).contains("there is `confg.json` beside it"));

    fs::write(path("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    let supported = "key `model_type` is \"t5\", expected one of \"marian\", \"m2m_100\", \"atento_rnn\", \"gpt2\", \"llama\", \"mistral\", \"qwen2\", \"qwen3\", \"bert\", \"roberta\", \"xlm-roberta\", \"camembert\", \"distilbert\", \"electra\", \"deberta-v2\", \"modernbert\"";
    assert!(message(open().unwrap_err()).ends_with(supported));
    fs::write(path("config.json"), r#"{"modeltype": "bert"}"#).unwrap();
    assert!(message(open().unwrap_err()).contains("`model_type` is missing; the nearest there is `modeltype`"));

    fs::write(path("config.json"), r#"{"model_type": "marian", "vocab_size": 100}"#).unwrap();
    let dir = open().unwrap();
    assert!(message(dir.weights().unwrap_err()).contains("model.safetensors: not found"));
    fs::write(path("pytorch_model.bin"), "").unwrap();
    assert!(
        message(dir.weights().unwrap_err()).contains("pytorch_model.bin: not a usable PyTorch file: the file is empty")
    );
    fs::write(path("model.safetensors"), "").unwrap();
    assert!(message(dir.weights().unwrap_err()).contains("model.safetensors: not a usable safetensors file"));
    fs::write(path("source.spm"), "").unwrap();
    assert!(dir.tokenizer_path().unwrap().ends_with("source.spm"));
    fs::rename(path("source.spm"), path("spm.model")).unwrap();
    let expected = "there is spm.model, but MarianTokenizer has its vocabulary in source.spm";
    assert!(message(dir.tokenizer_path().unwrap_err()).contains(expected));
    assert!(message(dir.model_config().unwrap_err()).contains("`d_model` is missing"));
}

#[test]
fn sharded_weights_are_found_through_their_index() {
    let config = small(Norm::Pre, TieEmbeddings::All);
    let (directory, parameters) = saved(&config);
    let path = |name: &str| directory.path().join(name);
    let tensors = hf_tensors(&config, &parameters);
    let mut weight_map = Map::new();
    for (file, part) in ["one.safetensors", "two.safetensors"].iter().zip(tensors.chunks(tensors.len() / 2 + 1)) {
        write(&path(file), part, &[]).unwrap();
        weight_map.extend(part.iter().map(|tensor| (tensor.name.clone(), json!(file))));
    }
    fs::write(path("model.safetensors.index.json"), json!({ "weight_map": weight_map }).to_string()).unwrap();
    fs::remove_file(path("model.safetensors")).unwrap();
    let Checked { weights, .. } = ModelDir::open(directory.path()).unwrap().checked().unwrap();
    let mut loaded = Parameters::zeros(config.parameters());
    load(&weights, names(&config), &mut loaded).unwrap();
    assert_eq!(loaded.values, parameters.values);
}

#[test]
fn weights_that_pytorch_saved_load_to_the_values_of_safetensors() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let load_dir = |dir: &Path| {
        let Checked { config, weights, .. } = ModelDir::open(dir).unwrap().checked().unwrap();
        let mut loaded = Parameters::zeros(config.parameters());
        load(&weights, names(&*config), &mut loaded).unwrap();
        (weights.path().file_name().unwrap().to_owned(), loaded.values)
    };
    let reference = fixtures.join("conformance/marian-tiny");
    let (_, expected) = load_dir(&reference);

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::copy(reference.join("config.json"), path("config.json")).unwrap();
    fs::copy(fixtures.join("torch_bin/marian-tiny.bin"), path("pytorch_model.bin")).unwrap();
    assert_eq!(load_dir(directory.path()), ("pytorch_model.bin".into(), expected.clone()));

    let shard = "pytorch_model-00001-of-00001.bin";
    fs::rename(path("pytorch_model.bin"), path(shard)).unwrap();
    let weights = Weights::open(&path(shard)).unwrap();
    let weight_map: Map<String, Value> = weights.names().map(|name| (name.to_owned(), json!(shard))).collect();
    fs::write(path("pytorch_model.bin.index.json"), json!({ "weight_map": weight_map }).to_string()).unwrap();
    assert_eq!(load_dir(directory.path()), ("pytorch_model.bin.index.json".into(), expected.clone()));

    // Where a directory has both, safetensors are read.
    fs::copy(reference.join("model.safetensors"), path("model.safetensors")).unwrap();
    assert_eq!(load_dir(directory.path()), ("model.safetensors".into(), expected));
}

/// Reads the reference directory where a checkout has it.
#[test]
fn the_reference_directory_loads_where_it_is_present() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/marian");
    if !path.exists() {
        return;
    }
    let dir = ModelDir::open(&path).unwrap();
    let Checked { config, weights, .. } = dir.checked().unwrap();
    assert_eq!((config.sizes().d_model, config.sizes().vocab_size, config.class()), (48, 700, "Marian"));
    let mut loaded = Parameters::zeros(config.parameters());
    load(&weights, names(&*config), &mut loaded).unwrap();
    assert_eq!(dir.generation_config().unwrap().banned_ids(), [0]);
    // What is written from it says the same as what was read.
    let written = config.to_json().unwrap();
    assert_eq!(families::read(&path, &written, None).unwrap().to_json().unwrap(), written);
    let gradients = SafeTensors::open(&path.join("grads.safetensors")).unwrap();
    assert!(gradients.names().len() > 10);
}
