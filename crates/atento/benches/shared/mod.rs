//! What the benchmarks of encoders share: their arguments, and the memory of the process.

use std::str::FromStr;

/// `--name value` pairs of the command line.
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Reads the command line; cargo adds a flag of its own.
    pub fn parse() -> Self {
        let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let pair = |pair: &[String]| (pair[0].trim_start_matches('-').to_owned(), pair[1].clone());
        Self(args.chunks_exact(2).map(pair).collect())
    }

    /// The value of an option, or the default.
    ///
    /// # Panics
    /// If it is no value of this option.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        let found = self.0.iter().find(|(given, _)| given == name);
        let parse =
            |value: &str| value.parse().unwrap_or_else(|_| panic!("--{name} {value}: not a value of this option"));
        found.map_or(default, |(_, value)| parse(value))
    }
}

/// The process's largest resident set in MiB, from the kernel's own accounting; 0 where there is no `/proc`.
pub fn peak_rss_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}

/// The middle of some numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
