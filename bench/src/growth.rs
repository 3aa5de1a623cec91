//! P4 (instructions): what a decision costs as the number of agents grows, counted by callgrind.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Length;
use crate::decide;
use crate::report::{Bound, Figure, Rounds};
use crate::tenant::{self, Tenant};
use crate::world::World;

/// How many decisions are counted.
const DECISIONS: u32 = 4_096;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let (few, many) = (1_000, length.pick(32_000, 1_000_000));
    let (at_few, at_many) = (count(few), count(many));
    vec![Figure {
        id: "P4a",
        what: format!("instructions of a decision, {many} agents against {few}"),
        ours: format!("{at_many:.0}"),
        reference: format!("{at_few:.0}"),
        ratio: Rounds(vec![at_many / at_few]),
        must: Bound::AtMost(1.10),
        aim: Bound::AtMost(1.02),
    }]
}

/// Instructions of one decision, in a process that callgrind watches once everything is loaded.
fn count(agents: u32) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kavach.db");
    crate::runtime().block_on(tenant::create(&path, &world(agents)));
    let counts = directory.path().join("counts");
    let mut watched = Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().expect("this program"))
        .arg("count")
        .arg(&path)
        .arg(agents.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("valgrind; install it with your package manager");
    let mut lines = BufReader::new(watched.stdout.take().expect("its output")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let on = Command::new("callgrind_control")
        .args(["-i", "on", &watched.id().to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(on.expect("callgrind_control").success());
    let mut input = watched.stdin.take().expect("its input");
    input.write_all(b"go\n").expect("a write");
    assert!(watched.wait().expect("an end").success());
    let text = std::fs::read_to_string(counts).expect("the counts");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.expect("a total").trim().parse().expect("a number");
    total / f64::from(DECISIONS)
}

fn world(agents: u32) -> World {
    World {
        agents,
        permissions: 20,
        pool: 10_000,
    }
}

/// In a process of its own, under callgrind: loads the agents that will be asked about, waits, and decides.
pub(crate) fn watched(path: &Path, sizes: &[String]) {
    let agents: u32 = sizes[0].parse().expect("a number");
    let asks = world(agents).asks(DECISIONS, 3);
    let runtime = crate::runtime();
    let tenant = runtime.block_on(async {
        let tenant = Tenant::open(path, agents);
        tenant.warm(0..agents).await;
        tenant
    });
    println!("ready");
    std::io::stdin()
        .read_line(&mut String::new())
        .expect("a line");
    for ask in &asks {
        std::hint::black_box(decide::ours(&tenant.directory, ask).expect("a warm agent"));
    }
    // Whatever else the process does at its end would be counted too.
    std::process::exit(0);
}
