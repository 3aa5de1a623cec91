//! Memory is bounded by configuration, and a warm decision reads no database.

use kavachos::Settings;
use serde_json::{Value, json};

use crate::support::world::{Setup, World, reading};

/// How many agents ask, many more than a small directory holds.
const AGENTS: usize = 200;

/// How many heavy agents ask.
const HEAVY_AGENTS: usize = 20;

/// Nearly as much as a grant may hold, and the right to what is asked for.
fn heavy() -> Value {
    let filler = "x".repeat(480);
    let more =
        |number| json!({ "resource": format!("fat:{number}:{filler}"), "actions": ["read"] });
    let own = json!({ "resource": "mcp:github:*", "actions": ["read"] });
    (0..235).map(more).chain([own]).collect()
}

/// Lets every agent ask twice in turn; how often the database was read in the second turn.
fn reads_of_the_second_turn(directory_entries: usize) -> (World, u64) {
    let light = reading("mcp:github:*");
    reads_of_the_second_turn_of(AGENTS, &light, directory_entries)
}

fn reads_of_the_second_turn_of(
    count: usize,
    permissions: &Value,
    directory_entries: usize,
) -> (World, u64) {
    let mut settings = Settings::default();
    settings.directory_entries = directory_entries;
    settings.agents_per_owner = 1_000;
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let agents: Vec<_> = (0..count)
        .map(|_| world.agent(&ada, permissions.clone()))
        .collect();
    let turn = || {
        let before = world.store.reads();
        for agent in &agents {
            let decision = world.decide(&agent.id, "mcp:github:repos").unwrap();
            assert!(decision.allowed);
        }
        world.store.reads() - before
    };
    turn();
    let reads = turn();
    (world, reads)
}

#[test]
fn a_warm_decision_reads_no_database() {
    let (_, reads) = reads_of_the_second_turn(10_000);
    assert_eq!(reads, 0);
}

#[test]
fn a_directory_keeps_no_more_than_it_may_and_decides_the_same() {
    for entries in [1, 2, 4, 20] {
        let (_, reads) = reads_of_the_second_turn(entries);
        let again = u64::try_from(AGENTS - entries).unwrap();
        assert!(reads >= again, "{entries} entries, {reads} reads");
    }
}

/// The bound of a directory holds in bytes: a grant of 128 KiB counts as many entries.
#[test]
fn a_directory_keeps_fewer_of_heavy_agents_and_decides_the_same() {
    let entries = 64;
    let fitting = entries * 4_096 / (100 << 10);
    let (_, reads) = reads_of_the_second_turn_of(HEAVY_AGENTS, &heavy(), entries);
    let again = u64::try_from(HEAVY_AGENTS - fitting).unwrap();
    assert!(reads >= again, "{reads} reads");
    // The twins: as many light ones fit, and so do these where there is room.
    let light = reading("mcp:github:*");
    let (_, reads) = reads_of_the_second_turn_of(HEAVY_AGENTS, &light, entries);
    assert_eq!(reads, 0);
    let (_, reads) = reads_of_the_second_turn_of(HEAVY_AGENTS, &heavy(), 100_000);
    assert_eq!(reads, 0);
}

#[test]
fn strangers_and_unknown_agents_fill_no_memory_of_the_directory() {
    let mut settings = Settings::default();
    settings.directory_entries = 64;
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let agent = world.agent(&ada, reading("mcp:github:*"));
    assert!(world.decide(&agent.id, "mcp:github:repos").unwrap().allowed);
    let before = world.store.reads();
    for number in 0..500_u128 {
        let id = kavachos::AgentId::from_bits(number).to_string();
        let decision = world.decide(&id, "mcp:github:repos").unwrap();
        assert_eq!(decision.code.as_str(), "unknown_agent");
    }
    assert_eq!(
        world.store.reads() - before,
        500,
        "nothing is kept of what is not there"
    );
    assert!(world.decide(&agent.id, "mcp:github:repos").unwrap().allowed);
    assert_eq!(
        world.store.reads() - before,
        500,
        "the warm agent stayed warm"
    );
}
