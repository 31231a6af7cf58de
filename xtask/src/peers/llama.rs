//! Decoding beside llama.cpp: from the blocks of a GGUF file that it reads too, and a GPT-2 of random weights.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::script;
use crate::options::Options;
use crate::rounds::{Contest, child, result_of, results_dir};
use crate::{build, venv};

/// What both go on with.
const PROMPT: &str = "Write a long story about a cat and a dog who live in a small house by the sea.";

/// Tokens of a short answer and of a long one, whose times are subtracted.
const TOKENS: [usize; 2] = [20, 220];

/// Greedy decoding of a chat with the weights of a GGUF file.
pub fn decode<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let atento = build::cli()?;
    let named = options.gguf.clone();
    let file = named.unwrap_or_else(|| crate::root().join("models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    let advice = "scripts/fetch_smollm2.sh unpacks one; or name another with --gguf FILE";
    ensure!(file.is_file(), "{}: there is no such file; {advice}", file.display());
    let kept = results_dir()?.join("gguf");
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    venv::succeed(child(&atento).arg("convert").arg(&file).args(["--weights", "gguf", "--out"]).arg(&kept))?;
    Ok(Contest {
        name: "decode-gguf",
        title: format!("greedy decoding of a chat, {}, the blocks of the file, batch 1", file.display()),
        measures: &["tokens_per_second"],
        ours: Box::new(move |_| {
            let of = |tokens: usize| {
                let mut command = child(&atento);
                command.arg("generate").arg(&kept).args(["--chat", "--greedy", "--json", "--prompt", PROMPT]);
                // The answer is to be as long as is asked for: no token ends it.
                timed(command.args(["--min-new-tokens", &tokens.to_string()]), tokens)
            };
            let [short, long] = [of(TOKENS[0])?, of(TOKENS[1])?];
            let rate = (TOKENS[1] - TOKENS[0]) as f64 / (long - short);
            Ok(json!({ "tokens_per_second": rate, "seconds_of_the_long": long, "seconds_of_the_short": short }))
        }),
        peer: Box::new(move |_| {
            let mut command = script(python, "llama_cpp.py");
            command.arg("--model").arg(&file).args(["--prompt", PROMPT]);
            result_of(command.args(["--new-tokens", &(TOKENS[1] - TOKENS[0]).to_string()]))
        }),
    })
}

/// The seconds of the whole program, which must give so many tokens.
fn timed(command: &mut Command, tokens: usize) -> Result<f64> {
    let start = Instant::now();
    let found: Value = result_of(command.args(["--max-new-tokens", &tokens.to_string()]))?;
    let seconds = start.elapsed().as_secs_f64();
    let count = found["ids"].as_array().map_or(0, Vec::len);
    ensure!(count == tokens, "{count} tokens, where {tokens} were asked for");
    Ok(seconds)
}

/// Greedy decoding of a GPT-2 of 124 million random weights; `weights` are the types of its matrices here and there.
pub fn decode_gpt2<'a>(python: &'a Path, name: &'static str, weights: [&'static str; 2]) -> Result<Contest<'a>> {
    let bench = build::bench("gpt2_decode")?;
    Ok(Contest {
        name,
        title: format!(
            "greedy decoding, GPT-2 124M, batch 1, prompt 32, 64 new tokens, {} here, llama.cpp's {} there",
            weights[0], weights[1]
        ),
        measures: &["tokens_per_second", "ms"],
        ours: Box::new(move |_| result_of(child(&bench).args(["gpt2", "1", "32", "64", weights[0]]))),
        peer: Box::new(move |_| result_of(script(python, "llama_gpt2.py").args(["--type", weights[1]]))),
    })
}
