//! What the operating system says about this process, in Prometheus' text form.
//!
//! Read from `/proc` at each scrape; on a system without it the metrics are absent.

use std::fmt::Write as _;

/// Clock ticks a second in `/proc/self/stat`: 100 on every Linux that exists (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// `process_cpu_seconds_total` and `process_resident_memory_bytes`, or nothing.
pub(super) fn metrics() -> String {
    let mut text = String::new();
    if let Some(seconds) = read("/proc/self/stat").as_deref().and_then(cpu_seconds) {
        let name = "process_cpu_seconds_total";
        let _ = writeln!(text, "# TYPE {name} counter\n{name} {seconds}");
    }
    if let Some(bytes) = read("/proc/self/status").as_deref().and_then(resident_bytes) {
        let name = "process_resident_memory_bytes";
        let _ = writeln!(text, "# TYPE {name} gauge\n{name} {bytes}");
    }
    text
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// User and system time: fields 14 and 15, counted behind the command in brackets, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_hostile_command_name() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
