//! What the machine says of itself: load, CPU time, memory, how long an fsync takes right now.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one probe of the disk writes before it syncs: about what a small group of records writes.
const PROBE_BYTES: usize = 64 * 1024;

/// The load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The CPU time that all living threads of a process have used, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum()).as_secs_f64()
}

/// The CPU time that this thread has used, in seconds.
pub(crate) fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The resident memory of a process in bytes.
pub(crate) fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS") * 1024
}

/// Appends to a file and syncs it, so many times; the times, sorted.
pub(crate) fn fsyncs(directory: &Path, count: usize) -> Vec<Duration> {
    let path = directory.join("probe");
    let mut file = File::create(&path).expect("a file");
    let bytes = vec![7; PROBE_BYTES];
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            file.write_all(&bytes).expect("a write");
            let begun = Instant::now();
            file.sync_data().expect("a sync");
            begun.elapsed()
        })
        .collect();
    fs::remove_file(path).expect("a file");
    times.sort();
    times
}

/// The time below which so much of a sorted list lies.
pub(crate) fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part) as usize;
    sorted[at.min(sorted.len() - 1)]
}

/// One line about this machine at this moment.
pub(crate) fn moment(directory: &Path) -> String {
    let fsyncs = fsyncs(directory, 50);
    format!(
        "{} cores, load {}, SQLite in WAL with synchronous=FULL, fsync of 64 KiB: median {:.2?}, p99 {:.2?}",
        std::thread::available_parallelism().map_or(0, usize::from),
        load(),
        quantile(&fsyncs, 0.5),
        quantile(&fsyncs, 0.99)
    )
}
