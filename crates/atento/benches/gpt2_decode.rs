//! Greedy decoding with a cache: the time of a token and the share of the memory's bandwidth.
//!
//! ```text
//! cargo bench --bench gpt2_decode -- [preset batch prompt new_tokens weights]
//! ```
//!
//! `weights` is f32, bf16 or int8. Weights are random; reading the prompt is not counted. Prints one line of JSON;
//! bytes are those of the weights, each read once a step; the bandwidths of a triad and of reading alone are measured in the
//! same run.
//! `bench/gpt2_decode.py` is the same in PyTorch.

use std::time::Instant;

use atento::generate::{Prompt, SearchOptions, search};
use atento::models::Precision;
use atento::models::gpt2::config;
use atento::models::{CachedCausal, Gpt2, Gpt2Config};
use atento_kernels::memory::LargePages;
use atento_kernels::peak::{read_gigabytes_per_second, triad_gigabytes_per_second};
use atento_kernels::philox::Rng;
use atento_tensor::Pool;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() {
    // Cargo adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let text = |i: usize, default: &str| args.get(i).map_or(default, String::as_str).to_owned();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |arg| arg.parse().expect("a number"));
    let (batch, prompt_len, new_tokens) = (number(1, 1), number(2, 32), number(3, 64));
    let (precision, bytes_each) = match text(4, "f32").as_str() {
        "f32" => (Precision::F32, 4),
        "bf16" => (Precision::Bf16, 2),
        "int8" => (Precision::Int8, 1),
        other => panic!("weights {other}: expected f32, bf16 or int8"),
    };
    let config = Gpt2Config::preset(&text(0, "gpt2"), config::VOCAB_SIZE).expect("a preset");
    let mut model = Gpt2::init(config, 1);
    precision.hold_all(&mut model.params).expect("initial weights are finite");
    let read = bytes_each * (model.params.count() - model.config.max_positions * model.config.d_model);
    let rng = &mut Rng::new(3, 3);
    let prompts: Vec<Vec<u32>> =
        (0..batch).map(|_| (0..prompt_len).map(|_| rng.below(model.config.vocab_size) as u32).collect()).collect();
    let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let pool = Pool::new();
    let run = |new_tokens: usize| {
        let mut decoder = CachedCausal::new(&model, &pool, &slices, prompt_len + new_tokens);
        let prompts: Vec<Prompt> =
            prompts.iter().map(|prefix| Prompt { prefix: prefix.clone(), max_new_tokens: new_tokens }).collect();
        let start = Instant::now();
        let found = search(&mut decoder, &prompts, &SearchOptions::default()).expect("finite logits");
        assert!(found.iter().all(|hypotheses| hypotheses[0].ids.len() == new_tokens));
        start.elapsed().as_secs_f64() / new_tokens as f64
    };
    run(4);
    let seconds = (0..3).map(|_| run(new_tokens)).fold(f64::INFINITY, f64::min);
    let bandwidth = read as f64 / seconds / 1e9;
    let (reading, triad) = (read_gigabytes_per_second(), triad_gigabytes_per_second());
    println!(
        "{{\"ms\": {:.3}, \"tokens_per_second\": {:.1}, \"gigabytes_per_second\": {bandwidth:.2}, \"triad\": {triad:.2}, \
         \"share_of_triad\": {:.3}, \"reading\": {reading:.2}, \"share_of_reading\": {:.3}}}",
        seconds * 1e3,
        batch as f64 / seconds,
        bandwidth / triad,
        bandwidth / reading,
    );
}
