//! Chores that cargo alone does not do. `cargo xtask` lists them.

mod build;
mod fuzz;
mod golden;
mod options;
mod peers;
mod rounds;
mod table;
mod venv;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use options::Options;

const USAGE: &str = "\
cargo xtask peers [NAME]...   run atento and its peers in turn, print the ratios
    --rounds N         how often each runs (5)
    --venv DIR         a Python environment with bench/requirements.txt (.venv-peers, made if missing)
    --data DIR         Multi30k: train, val and test_2016_flickr, each .en.gz and .de.gz (../shared/data/multi30k)
    --recipe FILE      train: what is trained, and in which batches (recipes/multi30k-en-de.toml)
    --sentences FILE   encode-classify, embed: lines of sentence TAB label (../shared/data/sst2/train.tsv)
    --encoder DIR      encode-classify, embed: a sentence encoder and its tokenizer (models/all-MiniLM-L6-v2)
    --model DIR        translate: the Hugging Face directory to use (runs/multi30k-en-de/model)
    --gguf FILE        decode-gguf: a llama.cpp file with a chat template (models/SmolLM2-135M-Instruct.Q4_1.gguf)
    --steps N          train, step, encode-step, encode-classify: updates measured in each run (30, 15, 10 and 30)
    --beam N           translate: hypotheses kept (4)
cargo xtask golden [--venv DIR]               remake the recorded numbers of the tests with scripts/golden_*.py
cargo xtask fuzz              give damaged files to the program, which must refuse them in words
    --runs N           inputs of each target (1000)
    --seed S           other inputs (1)
    --target NAME      one kind of file alone
    --program FILE     the binary to try (built with the profile of the tests)
    --repeat FILE      one input that was kept, again";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let outcome = Options::parse(args).and_then(|options| match verb.as_str() {
        "peers" => peers::run(&options),
        "golden" => golden::run(&options),
        "fuzz" => fuzz::run(&options),
        other => anyhow::bail!("no chore named {other:?}\n\n{USAGE}"),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the directory above this crate's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
