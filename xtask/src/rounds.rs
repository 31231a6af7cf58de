//! Runs two programs in turn, so that whatever else the machine does meets both alike.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// One side of a comparison: runs once, given what the other side of this round measured, if it ran already.
pub type Side<'a> = Box<dyn FnMut(&Value) -> Result<Value> + 'a>;

/// What is compared.
pub struct Contest<'a> {
    /// Names the file of results.
    pub name: &'static str,
    /// One line on what both sides do.
    pub title: String,
    /// Keys of the results that are shown, the first being the one that decides.
    pub measures: &'static [&'static str],
    /// Runs atento.
    pub ours: Side<'a>,
    /// Runs the peer.
    pub peer: Side<'a>,
}

/// What both sides measured in one round.
pub struct Round {
    /// atento's results.
    pub ours: Value,
    /// The peer's results.
    pub peer: Value,
    /// Load average of the last minute when the round began.
    pub load: f64,
}

/// Runs both sides in turn.
pub fn run(contest: &mut Contest<'_>, rounds: usize) -> Result<Vec<Round>> {
    eprintln!("{}", contest.title);
    (1..=rounds)
        .map(|round| {
            let load = load_average();
            let ours = (contest.ours)(&Value::Null)?;
            eprintln!("  {round}/{rounds} atento {ours}");
            let peer = (contest.peer)(&ours)?;
            eprintln!("  {round}/{rounds} peer   {peer}");
            Ok(Round { ours, peer, load })
        })
        .collect()
}

/// Writes all results under the target directory; returns the file.
pub fn save(contest: &Contest<'_>, rounds: &[Round]) -> Result<PathBuf> {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let runs: Vec<Value> =
        rounds.iter().map(|r| json!({"atento": r.ours, "peer": r.peer, "load_average": r.load})).collect();
    let report = json!({
        "title": contest.title,
        "unix_time": unix_time,
        "processor": processor(),
        "threads": threads(),
        "rounds": runs,
    });
    let path = results_dir()?.join(format!("{}-{unix_time}.json", contest.name));
    fs::write(&path, serde_json::to_string_pretty(&report)?)?;
    Ok(path)
}

/// Where results and what the runs share are kept.
pub fn results_dir() -> Result<PathBuf> {
    let dir = crate::build::target_dir().join("peers");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// A child process that computes with as many threads as there are cores, and asks the network for nothing.
pub fn child(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    let threads = threads().to_string();
    for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
        command.env(name, &threads);
    }
    // Choices made for another BLAS on this machine would reach numpy's.
    command.env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
    command.env("HF_HUB_OFFLINE", "1").env("TRANSFORMERS_VERBOSITY", "error");
    command.current_dir(crate::root()).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// Runs the command and reads the last line it prints.
pub fn result_of(command: &mut Command) -> Result<Value> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdout(Stdio::piped()).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{program} printed no JSON but {last:?}"))
}

/// Cores this process may use.
pub fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The processor's name, where the system tells.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
