//! What a live set of a million kills costs, measured on this machine:
//! `cargo test --release -p kavachos-core --test live_set -- --ignored --nocapture`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::hint::black_box;
use std::time::Instant;

use kavachos_core::revocation::{Handle, HandleKind, LiveSet, Mark};
use sha2::{Digest, Sha256};

const KILLS: u64 = 1_000_000;
const LOOK_UPS: u64 = 1_000_000;
const MOST_MEGABYTES: u64 = 70;

/// The kill of this number: all of one kind, which is the worst case.
fn kill(number: u64) -> Mark {
    let digest = Sha256::digest(number.to_be_bytes());
    Mark {
        handle: Handle {
            kind: HandleKind::Grant,
            bytes: digest.first_chunk().copied().unwrap(),
        },
        generation: 1,
    }
}

/// A line of `/proc/self/status`, in megabytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes: u64 = (line.unwrap().trim_start_matches(':').split_whitespace())
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap();
    kilobytes / 1_024
}

#[test]
#[ignore = "measures the machine: run it alone, in a release build"]
#[expect(
    clippy::print_stdout,
    reason = "what was measured is for people to read"
)]
fn a_million_kills_take_at_most_seventy_megabytes() {
    let before = memory("VmRSS");
    let mut set = LiveSet::new(1);
    (0..KILLS).for_each(|number| set.apply(kill(number)));
    let (after, peak) = (memory("VmRSS") - before, memory("VmHWM") - before);
    println!("{} kills: {after} MB, {peak} MB while it grew", set.len());
    println!(
        "look-ups: {} ns each, of what is alive {} ns",
        time(&set, 0),
        time(&set, KILLS)
    );
    assert!(peak <= MOST_MEGABYTES, "{peak} MB");
}

/// The nanoseconds of one look-up, in no order that a cache could like.
#[expect(
    clippy::disallowed_methods,
    reason = "this measures, and asserts nothing"
)]
fn time(set: &LiveSet, first: u64) -> u64 {
    let marks: Vec<Mark> = (0..LOOK_UPS)
        .map(|number| kill(first + number * 7_919 % LOOK_UPS))
        .collect();
    let start = Instant::now();
    for mark in &marks {
        black_box(set.is_dead(black_box(mark)));
    }
    u64::try_from(start.elapsed().as_nanos()).unwrap() / LOOK_UPS
}
