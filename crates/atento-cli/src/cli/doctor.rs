//! `atento doctor`: what this machine has, and how fast it is at best.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use atento_kernels::matmul::Precision;
use atento_kernels::matmul::packed::{Unit, usable_unit};
use atento_kernels::{peak, simd};
use serde_json::{Value, json};

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align, bytes};

/// Show what this machine has: CPU features in use, threads, memory, devices, versions
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Measure nothing; takes no time
    #[arg(long)]
    no_measure: bool,
}

/// What was found. Sizes are bytes; what a system does not tell is left out.
struct Findings {
    cpu: Option<String>,
    memory: Option<Memory>,
    /// Free space where runs are written by default, and where temporary files are.
    disk: Option<u64>,
    temporary: Option<u64>,
    /// Fused multiply-add in GFLOP/s and the triad in GB/s.
    measured: Option<(f64, f64)>,
    /// How many times as fast as in f32 products are in bf16 and in bf16x3.
    gains: Option<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
}

/// Runs the verb.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &DoctorArgs, options: &Options) -> Result<(), Failure> {
    let findings = Findings {
        cpu: fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(cpu_model),
        memory: fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory),
        disk: free_space(Path::new(".")),
        temporary: free_space(&std::env::temp_dir()),
        measured: (!args.no_measure).then(|| (peak::fma_gflops(), peak::triad_gigabytes_per_second())),
        gains: (!args.no_measure && usable_unit().is_some()).then(gains),
    };
    let mut out = Output::open();
    if options.json {
        out.json(&object(&findings))?;
    } else {
        let lines = table::lines(&[Align::Left, Align::Left], &rows(&findings));
        lines.into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

fn features() -> Vec<&'static str> {
    simd::available().into_iter().map(simd::Level::name).collect()
}

fn gains() -> (f64, f64) {
    let [plain, bf16, bf16x3] = Precision::ALL.map(peak::product_gflops);
    (bf16 / plain, bf16x3 / plain)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn object(findings: &Findings) -> Value {
    json!({
        "version": env!("ATENTO_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": findings.cpu,
        "simd": simd::level().name(),
        "simd_available": features(),
        "threads": rayon::current_num_threads(),
        "cores": cores(),
        "memory_total": findings.memory.map(|memory| memory.total),
        "memory_available": findings.memory.map(|memory| memory.available),
        "disk_free": findings.disk,
        "temp_free": findings.temporary,
        "fma_gflops": findings.measured.map(|(fma, _)| fma),
        "triad_gigabytes_per_second": findings.measured.map(|(_, triad)| triad),
        "bf16_unit": usable_unit().map(Unit::name),
        "bf16_gain": findings.gains.map(|(bf16, _)| bf16),
        "bf16x3_gain": findings.gains.map(|(_, bf16x3)| bf16x3),
        "devices": ["cpu"],
    })
}

fn rows(findings: &Findings) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    row("version", format!("atento {} on {system}", env!("ATENTO_VERSION")));
    row("cpu", findings.cpu.clone().unwrap_or_else(|| "unknown".into()));
    row("simd", format!("{} in use, of {}", simd::level().name(), features().join(", ")));
    row("threads", format!("{} of {} cores", rayon::current_num_threads(), cores()));
    if let Some(memory) = findings.memory {
        row("memory", format!("{} available of {}", bytes(memory.available), bytes(memory.total)));
    }
    for (name, free) in [("disk here", findings.disk), ("disk for temp", findings.temporary)] {
        if let Some(free) = free {
            row(name, format!("{} free", bytes(free)));
        }
    }
    if let Some((fma, triad)) = findings.measured {
        row("multiply-add", format!("{fma:.0} GFLOP/s"));
        row("memory speed", format!("{triad:.1} GB/s (triad)"));
    }
    row("bf16", bf16(findings.gains));
    row("devices", "cpu".into());
    rows
}

/// What `train.precision` "bf16" and "bf16x3" would gain here.
fn bf16(gains: Option<(f64, f64)>) -> String {
    match (usable_unit(), gains) {
        (None, _) => "no unit for it: `train.precision` stays \"f32\"".into(),
        (Some(unit), None) => format!("on the unit {}", unit.name()),
        (Some(unit), Some((bf16, bf16x3))) => {
            format!(
                "on the unit {}: products {bf16:.1} times as fast as in f32, in bf16x3 {bf16x3:.1} times",
                unit.name()
            )
        }
    }
}

/// The processor's name in the text of `/proc/cpuinfo`.
fn cpu_model(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Memory in the text of `/proc/meminfo`, whose numbers are KiB.
fn memory(text: &str) -> Option<Memory> {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { total: number("MemTotal")?, available: number("MemAvailable")? })
}

/// Free space at `path` as the system's `df` tells it; the standard library does not.
fn free_space(path: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(path).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_name_and_memory() {
        assert_eq!(cpu_model("processor : 0\nmodel name\t: Some CPU @ 2\n").unwrap(), "Some CPU @ 2");
        let text = "MemTotal:       16 kB\nMemFree: 1 kB\nMemAvailable:   8 kB\n";
        assert_eq!(memory(text), Some(Memory { total: 16 * 1024, available: 8 * 1024 }));
        assert_eq!((cpu_model(""), memory("MemTotal: x kB")), (None, None));
    }
}
