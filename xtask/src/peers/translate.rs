//! Translating a test set beside transformers' `generate` and beside CTranslate2.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{data_dir, script};
use crate::options::Options;
use crate::rounds::{Contest, child, result_of, results_dir};
use crate::{build, venv};

/// The precision of the weights on both sides.
pub struct Weights {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
}

/// All in f32.
pub const F32: Weights = Weights { name: "translate-ct2", ours: "f32", theirs: "float32" };

/// Weights in 8 bits.
pub const INT8: Weights = Weights { name: "translate-ct2-int8", ours: "int8", theirs: "int8" };

/// What both sides translate, and where to.
struct Work {
    model: PathBuf,
    source: PathBuf,
    beam: String,
    ours_out: PathBuf,
    peer_out: PathBuf,
}

impl Work {
    fn of(options: &Options) -> Result<Self> {
        let dir = results_dir()?;
        let model = options.model.clone().unwrap_or_else(trained_model);
        let advice = "train one with `atento train recipes/multi30k-en-de.toml`, or name another with --model DIR";
        ensure!(model.exists(), "{}: there is no such model; {advice}", model.display());
        Ok(Self {
            model,
            source: unpacked(&data_dir(options)?, "test_2016_flickr.en", &dir)?,
            beam: options.beam.unwrap_or(4).to_string(),
            ours_out: dir.join("atento.de"),
            peer_out: dir.join("peer.de"),
        })
    }

    fn title(&self) -> String {
        format!("translating test_2016_flickr with {}, beam {}", self.model.display(), self.beam)
    }

    /// Runs the whole program, loading included, from file to file.
    fn ours(&self, atento: &Path, weights: &str) -> Result<Value> {
        let sentences = fs::read_to_string(&self.source)?.lines().count();
        let mut command = child(atento);
        command.arg("translate").arg(&self.model).args(["--beam", &self.beam, "--weights", weights]);
        command.stdin(File::open(&self.source)?).stdout(File::create(&self.ours_out)?);
        let start = Instant::now();
        venv::succeed(&mut command)?;
        let seconds = start.elapsed().as_secs_f64();
        let translated = fs::read_to_string(&self.ours_out)?.lines().count();
        ensure!(translated == sentences, "{sentences} sentences went in, {translated} lines came out");
        Ok(json!({"sentences_per_second": sentences as f64 / seconds, "seconds": seconds, "sentences": sentences}))
    }

    /// The peer's script with what it has to translate.
    fn peer(&self, python: &Path, name: &str) -> Command {
        let mut command = script(python, name);
        command.arg("--model").arg(&self.model).arg("--source").arg(&self.source);
        command.arg("--out").arg(&self.peer_out).args(["--beam", &self.beam]);
        command
    }

    /// How many lines came out alike.
    fn identical(&self) -> Result<usize> {
        let (ours, peer) = (fs::read_to_string(&self.ours_out)?, fs::read_to_string(&self.peer_out)?);
        Ok(ours.lines().zip(peer.lines()).filter(|(a, b)| a == b).count())
    }
}

/// Beam search beside `generate`, which runs at the best of several batch sizes.
pub fn beside_transformers<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let atento = build::cli()?;
    let work = Rc::new(Work::of(options)?);
    let of_peer = Rc::clone(&work);
    let mut batch_sizes = "1,16,64,128".to_owned();
    Ok(Contest {
        name: "translate",
        title: work.title(),
        measures: &["sentences_per_second", "batch_size", "identical"],
        ours: Box::new(move |_| work.ours(&atento, "f32")),
        peer: Box::new(move |_| {
            let mut peer = result_of(of_peer.peer(python, "translate.py").args(["--batch-sizes", &batch_sizes]))?;
            // The first round finds the best size, the others use it.
            batch_sizes = peer["batch_size"].to_string();
            peer["identical"] = json!(of_peer.identical()?);
            Ok(peer)
        }),
    })
}

/// Beam search beside CTranslate2, which runs with the best of several batch sizes and numbers of translators.
pub fn beside_ctranslate2<'a>(options: &Options, python: &'a Path, weights: &Weights) -> Result<Contest<'a>> {
    let atento = build::cli()?;
    let work = Rc::new(Work::of(options)?);
    let of_peer = Rc::clone(&work);
    let Weights { name, ours, theirs } = *weights;
    let mut found: Vec<String> = Vec::new();
    Ok(Contest {
        name,
        title: format!("{}, weights in {ours}", work.title()),
        measures: &["sentences_per_second", "batch_size", "inter_threads", "identical"],
        ours: Box::new(move |_| work.ours(&atento, ours)),
        peer: Box::new(move |_| {
            let mut command = of_peer.peer(python, "translate_ct2.py");
            let mut peer = result_of(command.args(["--compute-type", theirs]).args(&found))?;
            // The first round finds the best of both, the others use them.
            found = vec!["--batch-sizes".into(), peer["batch_size"].to_string()];
            found.extend(["--inter-threads".into(), peer["inter_threads"].to_string()]);
            peer["identical"] = json!(of_peer.identical()?);
            Ok(peer)
        }),
    })
}

/// The model that the recipe's run leaves.
fn trained_model() -> PathBuf {
    crate::root().join("runs/multi30k-en-de/model")
}

/// The file as plain text, unpacked into `into` where it is compressed.
fn unpacked(dir: &Path, name: &str, into: &Path) -> Result<PathBuf> {
    let (plain, packed, copy) = (dir.join(name), dir.join(format!("{name}.gz")), into.join(name));
    if plain.exists() {
        return Ok(plain);
    }
    let input = File::open(&packed).with_context(|| packed.display().to_string())?;
    venv::succeed(Command::new("gzip").arg("-dc").stdin(input).stdout(File::create(&copy)?))?;
    Ok(copy)
}
