//! Memory is bounded by configuration, and a warm decision reads no database.

use kavachos::Settings;

use crate::support::world::{Setup, World, reading};

/// How many agents ask, many more than a small directory holds.
const AGENTS: usize = 200;

/// Lets every agent ask twice in turn; how often the database was read in the second turn.
fn reads_of_the_second_turn(directory_entries: usize) -> (World, u64) {
    let mut settings = Settings::default();
    settings.directory_entries = directory_entries;
    settings.agents_per_owner = 1_000;
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let agents: Vec<_> = (0..AGENTS)
        .map(|_| world.agent(&ada, reading("mcp:github:*")))
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
