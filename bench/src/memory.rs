//! P12: what an agent costs in the directory, by the resident memory of a process that holds them all.

use std::path::Path;

use crate::Length;
use crate::child;
use crate::machine::resident_bytes;
use crate::report::{Bound, Figure, Rounds};
use crate::tenant::{self, Tenant};
use crate::world::World;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let agents = length.pick(100_000, 1_000_000);
    let shared = measure(agents, 10_000, Bound::AtMost(500.0), Bound::AtMost(250.0));
    let distinct = measure(agents, 0, Bound::None, Bound::None);
    vec![shared, distinct]
}

fn measure(agents: u32, pool: u32, must: Bound, aim: Bound) -> Figure {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kavach.db");
    let world = World {
        agents,
        permissions: 20,
        pool,
    };
    crate::runtime().block_on(tenant::create(&path, &world));
    let sizes = [agents.to_string(), pool.to_string()];
    let bytes = child::output("hold", &path, &sizes);
    let bytes: f64 = bytes.trim().parse().expect("a number");
    let kinds = match pool {
        0 => "no two permissions alike".to_owned(),
        pool => format!("drawn from {pool} permissions"),
    };
    Figure {
        id: "P12",
        what: format!("memory an agent, {agents} x 20, {kinds} (RSS)"),
        ours: format!("{bytes:.0} B"),
        reference: "-".to_owned(),
        ratio: Rounds(vec![bytes]),
        must,
        aim,
    }
}

/// In a process of its own: loads all agents and prints by how much an agent made it grow.
pub(crate) fn hold(path: &Path, sizes: &[String]) {
    let agents: u32 = sizes[0].parse().expect("a number");
    // The first ones bring connections, threads, caches and the shared permissions into memory.
    let first = agents / 10;
    crate::runtime().block_on(async {
        let tenant = Tenant::open(path, agents);
        tenant.warm(0..first).await;
        let before = resident_bytes(std::process::id());
        tenant.warm(first..agents).await;
        let after = resident_bytes(std::process::id());
        println!("{}", (after - before) as f64 / f64::from(agents - first));
        tenant.engine.close().await;
    });
}
