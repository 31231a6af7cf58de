//! What choosing a token costs beside the model: one row of logits over GPT-2's vocabulary, by options.
//!
//! ```text
//! cargo bench --bench sampling_step -- [vocab_size steps]
//! ```
//!
//! Prints microseconds a token. The logits are normal with standard deviation 3, as sharp as a language model's; the
//! last line's are 30 times flatter, so that top-p keeps nearly all.

use std::time::Instant;

use atento::generate::{Flow, ProcessorOptions, SampleOptions, SamplePrompt, StepDecoder, TokenEvent};
use atento::generate::{WarperOptions, sample};
use atento_kernels::philox::fill_normal;

/// Says the same again and again, shifted by a token a step.
struct Fixed {
    logits: Vec<f32>,
    step: usize,
}

impl StepDecoder for Fixed {
    fn vocab_size(&self) -> usize {
        self.logits.len()
    }

    fn step(&mut self, _: &[u32], logits: &mut [f32]) {
        let (start, end) = self.logits.split_at(self.step % self.logits.len());
        logits[..end.len()].copy_from_slice(end);
        logits[end.len()..].copy_from_slice(start);
        self.step += 1;
    }

    fn reorder(&mut self, _: &[usize]) {}
}

fn microseconds(std: f32, vocab_size: usize, steps: usize, options: &SampleOptions) -> f64 {
    let mut logits = vec![0.0; vocab_size];
    fill_normal(1, 0, std, &mut logits);
    let prefix: Vec<u32> = (0..64).collect();
    let prompts = [SamplePrompt { prefix, max_new_tokens: steps, sequence: 0 }];
    let start = Instant::now();
    let mut decoder = Fixed { logits, step: 0 };
    sample(&mut decoder, &prompts, options, &mut |_: &TokenEvent<'_>| Flow::Continue).expect("valid options");
    start.elapsed().as_secs_f64() * 1e6 / steps as f64
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (vocab_size, steps) = (at(0, 50_257), at(1, 300));
    let warpers = WarperOptions::default();
    let penalties = ProcessorOptions { repetition_penalty: 1.2, no_repeat_ngram: 3, ..Default::default() };
    let with = |warpers, processors| SampleOptions { warpers, processors, ..Default::default() };
    let none = ProcessorOptions::default;
    let nucleus = WarperOptions { top_p: 0.9, ..warpers };
    for (name, std, options) in [
        ("greedy", 3.0, with(WarperOptions { temperature: 0.0, ..warpers }, none())),
        ("the model's distribution", 3.0, with(warpers, none())),
        ("temperature 0.8, top-k 50", 3.0, with(WarperOptions { temperature: 0.8, top_k: 50, ..warpers }, none())),
        ("top-k 50, top-p 0.9, penalties", 3.0, with(WarperOptions { top_k: 50, ..nucleus }, penalties)),
        ("top-p 0.9", 3.0, with(nucleus, none())),
        ("min-p 0.05", 3.0, with(WarperOptions { min_p: 0.05, ..warpers }, none())),
        ("typical-p 0.9", 3.0, with(WarperOptions { typical_p: 0.9, ..warpers }, none())),
        ("top-p 0.9, flat", 0.1, with(nucleus, none())),
    ] {
        println!("{name:<32}{:>8.0} µs", microseconds(std, vocab_size, steps, &options));
    }
}
