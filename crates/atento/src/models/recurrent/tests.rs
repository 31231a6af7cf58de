use atento_tensor::{Grads, Pool};

use super::*;
use crate::data::batches::Pair;
use crate::generate::StepDecoder;
use crate::models::Translator;
use crate::models::recurrent_decoder::RecurrentDecoder;
use crate::pipelines::Pretrained;
use crate::text::{self, Tokenizer};
use crate::train::recipe::{OptimizerSettings, Precision};
use crate::train::step::{StepOptions, train_step};
use crate::train::{Optimizer, Recipe, build};

fn config(layers: usize, tie_embeddings: TieEmbeddings) -> RecurrentConfig {
    RecurrentConfig {
        vocab_size: 23,
        embedding: 6,
        hidden: 8,
        layers,
        dropout: 0.0,
        tie_embeddings,
        pad_id: 0,
        eos_id: 1,
        bos_id: None,
        unk_id: Some(2),
        decoder_start_id: 0,
    }
}

/// A model with biases that are not zero, so that forgetting one would show.
fn model(layers: usize) -> Recurrent {
    let mut model = Recurrent::init(config(layers, TieEmbeddings::All), 7);
    let biases: Vec<Weight> =
        model.params.entries().iter().filter(|e| e.name.contains("bias")).map(|e| e.weight).collect();
    for (i, bias) in biases.into_iter().enumerate() {
        for (j, value) in model.params.get_mut(bias).iter_mut().enumerate() {
            *value = ((i * 7 + j * 5) % 11) as f32 / 20.0 - 0.25;
        }
    }
    model
}

/// Sentences of different lengths, unsorted.
fn pairs() -> Vec<Pair> {
    let sentence = |length: usize, salt: usize| -> Vec<u32> {
        (0..length).map(|i| if i + 1 == length { 1 } else { 3 + ((i * 7 + salt * 5) % 20) as u32 }).collect()
    };
    let lengths = [(3, 2), (1, 5), (6, 4), (4, 5), (2, 1)];
    let pair =
        |(id, (source, target))| Pair { id: id as u64, source: sentence(source, id), target: sentence(target, id + 9) };
    lengths.into_iter().enumerate().map(pair).collect()
}

fn batch(pairs: &[Pair]) -> PackedBatch {
    PackedBatch::new(pairs, 0)
}

fn loss_sum(model: &Recurrent, batch: &PackedBatch) -> f64 {
    model.loss(&mut Graph::infer(&model.params, &Pool::new()), batch, 0.1, 1.0).loss_sum
}

fn gradients(model: &Recurrent, batch: &PackedBatch) -> Grads {
    let mut grads = Grads::zeros(&model.params);
    let mut g = Graph::train(&model.params, &mut grads, &Pool::new(), 3);
    let loss = model.loss(&mut g, batch, 0.1, 1.0).loss;
    g.backward(&loss);
    drop(g);
    grads
}

fn logits(model: &Recurrent, batch: &PackedBatch) -> Vec<f32> {
    model.logits(&mut Graph::infer(&model.params, &Pool::new()), batch).values().to_vec()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= 1e-5, "differ by {largest}");
}

#[test]
fn the_arena_holds_the_parameters_of_the_table() {
    for layers in [1, 3] {
        for tie in [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None] {
            let model = Recurrent::init(config(layers, tie), 1);
            let arena: Vec<_> = model.params.entries().iter().map(|e| (e.name.clone(), e.dims.clone())).collect();
            assert_eq!(arena, model.config.parameters());
        }
    }
}

#[test]
fn the_gradient_of_each_parameter_is_the_slope_of_the_loss_along_it() {
    const STEP: f32 = 1e-2;
    let (mut model, batch) = (model(2), batch(&pairs()));
    let grads = gradients(&model, &batch);
    for entry in model.params.entries().to_vec() {
        let gradient = grads.get(entry.weight);
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let original = model.params.get(entry.weight).to_vec();
        let mut at = |step: f32| {
            let values = original.iter().zip(gradient).map(|(x, g)| x + step * g / norm as f32);
            let values: Vec<f32> = values.collect();
            model.params.get_mut(entry.weight).copy_from_slice(&values);
            loss_sum(&model, &batch)
        };
        let slope = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
        at(0.0);
        let name = &entry.name;
        assert!((slope - norm).abs() <= 5e-3 * norm + 1e-3, "{name}: slope {slope}, gradient {norm}");
    }
}

#[test]
fn every_parameter_receives_a_gradient_under_dropout() {
    for tie in [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None] {
        let model = Recurrent::init(RecurrentConfig { dropout: 0.3, ..config(2, tie) }, 1);
        let grads = gradients(&model, &batch(&pairs()));
        for entry in model.params.entries() {
            assert!(entry.is_trained(), "{}", entry.name);
            let gradient = grads.get(entry.weight);
            assert!(gradient.iter().all(|g| g.is_finite()), "{}", entry.name);
            assert!(gradient.iter().any(|&g| g != 0.0), "{}", entry.name);
        }
    }
}

#[test]
fn a_sentence_alone_has_the_logits_it_has_in_a_batch() {
    let (model, pairs) = (model(2), pairs());
    let together = logits(&model, &batch(&pairs));
    let alone: Vec<f32> = pairs.iter().flat_map(|pair| logits(&model, &batch(std::slice::from_ref(pair)))).collect();
    assert_close(&together, &alone);
    let alone: f64 = pairs.iter().map(|pair| loss_sum(&model, &batch(std::slice::from_ref(pair)))).sum();
    assert!((loss_sum(&model, &batch(&pairs)) - alone).abs() <= 1e-4);
}

/// Feeds the tokens and returns each row's next logits.
fn step(decoder: &mut RecurrentDecoder<'_>, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut logits = vec![0.0; tokens.len() * 23];
    decoder.step(tokens, &mut logits);
    logits.chunks(23).map(<[f32]>::to_vec).collect()
}

fn best(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

#[test]
fn greedy_steps_have_the_logits_of_teacher_forcing() {
    const LENGTH: usize = 6;
    let (model, mut pairs) = (model(2), pairs());
    let sources = batch(&pairs);
    let mut decoder = RecurrentDecoder::new(&model, &Pool::new(), &sources.source, &sources.cu_source);
    let mut tokens = vec![0; pairs.len()];
    let mut stepped = vec![Vec::new(); pairs.len()];
    pairs.iter_mut().for_each(|pair| pair.target.clear());
    for _ in 0..LENGTH {
        let logits = step(&mut decoder, &tokens);
        tokens = logits.iter().map(|row| best(row)).collect();
        for (row, logits) in logits.into_iter().enumerate() {
            stepped[row].extend(logits);
            pairs[row].target.push(tokens[row]);
        }
    }
    let forced = logits(&model, &batch(&pairs));
    assert_close(&forced, &stepped.concat());
    let targets: Vec<u32> = forced.chunks(23).map(best).collect();
    assert_eq!(targets, pairs.iter().flat_map(|pair| pair.target.clone()).collect::<Vec<_>>());
}

#[test]
fn a_reordered_row_goes_on_as_its_parent_would_have() {
    let (model, pairs) = (model(2), pairs());
    let decoder_of = |pairs: &[Pair]| {
        let sources = batch(pairs);
        RecurrentDecoder::new(&model, &Pool::new(), &sources.source, &sources.cu_source)
    };
    let mut decoder = decoder_of(&pairs);
    step(&mut decoder, &[0; 5]);
    // Rows of one sentence in several copies, another sentence gone, then a swap within a sentence.
    let first = [5, 6, 7, 8, 9];
    step(&mut decoder, &first);
    let parents = [3, 3, 0, 2];
    decoder.reorder(&parents);
    let second = [10, 11, 12, 13];
    step(&mut decoder, &second);
    decoder.reorder(&[1, 0, 2, 3]);
    let found = step(&mut decoder, &[14, 15, 16, 17]);
    for (row, (before, last)) in [(1, 14), (0, 15), (2, 16), (3, 17)].into_iter().enumerate() {
        let sentence = parents[before];
        let mut alone = decoder_of(&pairs[sentence..=sentence]);
        for token in [0, first[sentence], second[before]] {
            step(&mut alone, &[token]);
        }
        assert_close(&found[row], &step(&mut alone, &[last])[0]);
    }
}

#[test]
fn a_batch_can_be_learned_by_heart() {
    let mut model: Box<dyn Translator> = Box::new(model(1));
    let batches = [batch(&pairs())];
    let settings = OptimizerSettings::default();
    let mut optimizer = Optimizer::new(&settings, model.params());
    let (mut grads, pool) = (Grads::zeros(model.params()), Pool::new());
    let options = StepOptions { smoothing: 0.0, clip_norm: 1.0, seed: 1, precision: Precision::F32 };
    let mut losses = Vec::new();
    for step in 1..=400 {
        let stats = train_step(&mut model, &mut optimizer, &mut grads, &pool, &batches, step, 1e-2, &options).unwrap();
        losses.push(stats.loss);
    }
    assert!(losses[0] > 2.5 && losses[399] < 0.08, "{} {}", losses[0], losses[399]);
}

fn tokenizer() -> Tokenizer {
    let options = text::train::TrainOptions {
        kind: text::train::Kind::Characters,
        byte_fallback: Some(false),
        min_frequency: 1,
        ..text::train::TrainOptions::default()
    };
    Tokenizer::train([Ok::<_, text::Error>("a small text".to_owned())], &options).unwrap()
}

#[test]
fn a_saved_model_is_loaded_with_the_same_logits() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    let recipe = "[data]\ncorpus = \"demo\"\n[model]\narch = \"rnn\"\npreset = \"tiny\"\nlayers = 2\ntie_embeddings = \"decoder\"";
    let recipe = Recipe::parse(recipe, "r.toml", &[]).unwrap().recipe;
    let model = build::build_model(&recipe, &tokenizer).unwrap();
    let generation = model.generation_defaults();
    let saved = Pretrained::new(model, tokenizer, generation);
    saved.save(directory.path()).unwrap();
    let loaded = Pretrained::load(directory.path()).unwrap();
    assert_eq!(loaded.model.config().to_json().unwrap(), saved.model.config().to_json().unwrap());
    assert_eq!(loaded.model.config().sizes().d_model, 128);
    assert_eq!(loaded.generation.to_json(), saved.generation.to_json());
    let vocab_size = saved.tokenizer.vocab_size() as u32;
    let pair = Pair { id: 0, source: (2..vocab_size).chain([1]).collect(), target: (0..vocab_size).collect() };
    let batch = batch(&[pair]);
    let logits = |model: &dyn Translator| {
        model.logits(&mut Graph::infer(model.params(), &Pool::new()), &batch).values().to_vec()
    };
    assert_eq!(logits(&*loaded.model), logits(&*saved.model));
}

#[test]
fn the_recipe_for_multi30k_describes_a_recurrent_model() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/multi30k-en-de-rnn.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let loaded = Recipe::parse(&text, "multi30k-en-de-rnn.toml", &[]).unwrap();
    assert_eq!(loaded.notes, Vec::<String>::new());
    let config = build::model_config(&loaded.recipe, &tokenizer()).unwrap().to_json().unwrap();
    assert_eq!((&config["model_type"], &config["embedding_size"]), (&"atento_rnn".into(), &256.into()));
}
