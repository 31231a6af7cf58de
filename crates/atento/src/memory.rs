//! Whether what is asked for fits into this machine's memory, found out before any of it is taken: an allocation that
//! fails would end the program without a word.

use std::fs;

/// More memory than there is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what} needs {} of memory, and {} are free here", in_words(*needed), in_words(u128::from(*free)))]
pub struct TooLarge {
    /// What was asked for.
    pub what: String,
    /// Bytes that it takes.
    pub needed: u128,
    /// Bytes that there are.
    pub free: u64,
}

/// Refuses what takes more bytes than are free; where that is not known, more than can be addressed.
///
/// # Errors
/// [`TooLarge`].
pub fn require(needed: u128, what: &str) -> Result<(), TooLarge> {
    let free = free().unwrap_or(i64::MAX as u64);
    if needed <= u128::from(free) {
        return Ok(());
    }
    Err(TooLarge { what: what.to_owned(), needed, free })
}

/// Bytes that a program can still take: what the system has free and can free, and no more than the control group of
/// this process may have. `None` where the system does not say.
#[must_use]
pub fn free() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(of_meminfo);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = group.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let address_space = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(of_limits);
    [system, limit, address_space].into_iter().flatten().min()
}

/// The most memory that this process has had at a time, in bytes, where the system says.
#[must_use]
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Available memory and free swap in the text of `/proc/meminfo`, whose numbers are KiB.
fn of_meminfo(text: &str) -> Option<u64> {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    number("MemAvailable")?.checked_add(number("SwapFree").unwrap_or(0))
}

/// The limit of the address space (`ulimit -v`) in the text of `/proc/self/limits`.
fn of_limits(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A number of bytes as people say it.
#[must_use]
pub fn in_words(bytes: u128) -> String {
    const UNITS: [&str; 5] = ["MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64 / f64::from(1 << 20);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A size in the unit that fits it best: `3.1 MiB`.
#[must_use]
pub fn size_in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        assert_eq!(of_meminfo("MemTotal: 9 kB\nMemAvailable:   8 kB\nSwapFree: 2 kB\n"), Some(10 * 1024));
        assert_eq!(of_meminfo("MemAvailable:   8 kB\n"), Some(8 * 1024));
        assert_eq!((of_meminfo(""), of_meminfo("MemAvailable: x kB")), (None, None));
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax address space         4096      unlimited     bytes\n";
        assert_eq!(of_limits(limits), Some(4096));
        assert_eq!(of_limits("Max address space   unlimited   unlimited   bytes"), None);
    }

    #[test]
    fn more_than_there_is_is_refused_with_both_sizes() {
        require(1 << 20, "a little").unwrap();
        let message = require(u128::MAX, "the model").unwrap_err().to_string();
        assert!(message.starts_with("the model needs ") && message.contains("EiB of memory, and "), "{message}");
        for (bytes, text) in [(5 << 20, "5 MiB"), (3 << 29, "1.5 GiB"), (700 << 30, "700 GiB"), (1 << 45, "32.0 TiB")] {
            assert_eq!(in_words(bytes), text);
        }
    }
}
