//! What the operating system says about this process.
//!
//! Read from `/proc` at each scrape; on a system without it the metrics are absent.

use super::sampled::{Sample, sample};

/// Clock ticks a second in `/proc/self/stat`: 100 on every Linux that exists (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Whatever of it is told here.
pub(super) fn samples() -> Vec<Sample> {
    let stat = read("/proc/self/stat").unwrap_or_default();
    let status = read("/proc/self/status").unwrap_or_default();
    let limits = read("/proc/self/limits").unwrap_or_default();
    let boot = read("/proc/stat").as_deref().and_then(boot_seconds);
    let begun = boot.zip(ticks(&stat, BEGAN)).map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND);
    let found = [
        ("process_cpu_seconds_total", cpu_seconds(&stat)),
        ("process_resident_memory_bytes", resident_bytes(&status).map(|bytes| bytes as f64)),
        ("process_open_fds", open_files()),
        ("process_max_fds", files_max(&limits)),
        ("process_threads", ticks(&stat, THREADS)),
        ("process_start_time_seconds", begun),
    ];
    found.into_iter().filter_map(|(name, value)| Some(sample(name, value?))).collect()
}

/// Places of fields of `/proc/self/stat`, counted behind the command: proc(5), less 3.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const THREADS: usize = 17;
const BEGAN: usize = 19;

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A field of `stat`, behind the command in brackets, which may hold anything.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(field)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((ticks(stat, USER_TIME)? + ticks(stat, SYSTEM_TIME)?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_files() -> Option<f64> {
    // One of them is the folder that is being read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The soft limit; `unlimited` is no number and is left out.
fn files_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 7 0 900 1 1";

    #[test]
    fn fields_are_found_behind_a_hostile_command_name() {
        assert_eq!(cpu_seconds(STAT), Some(3.0));
        assert_eq!(ticks(STAT, THREADS), Some(7.0));
        assert_eq!(ticks(STAT, BEGAN), Some(900.0));
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn the_file_limit_is_the_soft_one() {
        let limits =
            "Max processes  1 2 processes\nMax open files            1024   524288  files\n";
        assert_eq!(files_max(limits), Some(1024.0));
        assert_eq!(files_max("Max open files  unlimited unlimited files\n"), None);
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
