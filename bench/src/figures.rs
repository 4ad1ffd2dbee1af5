//! What is read off a process, and how many values become one.

use std::fs;
use std::process::Child;
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A figure of /proc/PID/status in kB.
pub(crate) fn status_kb(process: &Child, key: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .ok_or("no such figure in /proc")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

/// CPU time used so far, in clock ticks of 10 ms.
pub(crate) fn cpu_ticks(process: &Child) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let after_name = stat.rsplit(") ").next().ok_or("unreadable /proc stat")?;
    let mut fields = after_name.split(' ').skip(11);
    let mut next = || -> Outcome<u64> { Ok(fields.next().ok_or("short /proc stat")?.parse()?) };
    Ok(next()? + next()?)
}

pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
