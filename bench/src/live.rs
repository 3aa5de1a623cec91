//! The live set: what a million revocations weigh in a verifier, and how long a look-up takes.

use std::hint::black_box;

use kavachos::core::revocation::{Handle, HandleKind, LiveSet, LogHead, Mark};

use crate::Length;
use crate::child;
use crate::machine::{resident_bytes, thread_seconds};
use crate::report::{Bound, Figure, Rounds};

const LOOK_UPS: u32 = 1_000_000;
const MEBIBYTE: f64 = 1_048_576.0;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let marks: u32 = 1_000_000;
    let rounds = length.pick(5, 21);
    let empty = std::path::Path::new("-");
    let output = child::output_held("marks", empty, &[marks.to_string(), rounds.to_string()]);
    let mut numbers = output
        .split_whitespace()
        .map(|number| number.parse::<f64>().expect("a number"));
    let mib = numbers.next().expect("a size");
    let ns = Rounds(numbers.collect());
    vec![
        Figure {
            id: "P17a",
            what: format!("live set of {marks} agents, MiB (RSS)"),
            ours: format!("{mib:.0} MiB"),
            reference: "-".to_owned(),
            ratio: Rounds(vec![mib]),
            must: Bound::AtMost(70.0),
            aim: Bound::AtMost(60.0),
        },
        Figure {
            id: "P17b",
            what: "a look-up in it, half of them found, ns (CPU)".to_owned(),
            ours: format!("{:.0} ns", ns.median()),
            reference: "-".to_owned(),
            ratio: ns,
            must: Bound::AtMost(100.0),
            aim: Bound::AtMost(50.0),
        },
    ]
}

/// In a process of its own: by how many MiB the set made it grow, then the nanoseconds of a look-up, a line each round.
pub(crate) fn hold(sizes: &[String]) {
    let [marks, rounds] = sizes else {
        panic!("two sizes");
    };
    let marks: u32 = marks.parse().expect("a number");
    let rounds: u32 = rounds.parse().expect("a number");
    // The first one brings the allocator and the code into memory.
    drop(black_box(set(1_000)));
    let before = resident_bytes(std::process::id());
    let set = set(marks);
    let after = resident_bytes(std::process::id());
    assert_eq!(set.len(), marks as usize);
    println!("{}", (after - before) as f64 / MEBIBYTE);
    for round in 0..rounds {
        println!("{}", look_up(&set, marks, round));
    }
}

fn look_up(set: &LiveSet, marks: u32, round: u32) -> f64 {
    let asked: Vec<Mark> = (0..LOOK_UPS)
        .map(|at| {
            // Every second one was never killed. The multiplier is odd: no two are alike.
            let number = (at ^ round).wrapping_mul(2_654_435_761) % (2 * marks);
            mark(number, 1)
        })
        .collect();
    let begun = thread_seconds();
    let dead = asked
        .iter()
        .filter(|mark| black_box(set.is_dead(black_box(mark))));
    let dead = dead.count();
    let seconds = thread_seconds() - begun;
    assert!(
        (0.4..0.6).contains(&(dead as f64 / f64::from(LOOK_UPS))),
        "{dead}"
    );
    seconds * 1e9 / f64::from(LOOK_UPS)
}

/// A set in which so many agents were killed, taken from a snapshot as a verifier takes it.
pub(crate) fn set(marks: u32) -> LiveSet {
    LiveSet::from_snapshot(1, LogHead::EMPTY, (0..marks).map(|number| mark(number, 2)))
}

fn mark(number: u32, generation: u64) -> Mark {
    Mark {
        handle: handle(HandleKind::Agent, number),
        generation,
    }
}

/// A handle that looks random, the same for the same number.
pub(crate) fn handle(kind: HandleKind, number: u32) -> Handle {
    // SplitMix64, twice.
    let mix = |seed: u64| {
        let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        seed ^ seed >> 31
    };
    let (high, low) = (mix(number.into()), mix(u64::from(number) << 32 | 1));
    Handle {
        kind,
        bytes: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
    }
}
