//! The ledger as it is stored: every leaf can be computed again from its row, and the tree from the leaves.

use kavachos_core::id::AgentId;
use kavachos_core::ledger::{Frontier, Hash, leaf};
use kavachos_core::time::Timestamp;

use super::world::{Failure, World};
use crate::answer::Head;
use crate::batch::Batch;
use crate::contract::Store;
use crate::row::{Cell, Query, Row};

/// How many records a case may leave.
const MAX_RECORDS: usize = 1_000_000;

super::list_cases![
    the_tree_is_the_one_over_the_stored_bodies,
    the_log_goes_on_after_a_restart,
    time_never_goes_back,
    what_is_stored_of_a_record_is_what_was_given,
    a_record_is_found_by_the_ancestors_of_its_agent,
];

/// Computes the size and the root of the tree again from the stored records. Panics where they contradict each other.
///
/// # Errors
/// The store cannot be read.
pub async fn recompute(store: &dyn Store) -> Result<(u64, Hash), Failure> {
    let log = store.head().log;
    let query = Query::new(
        MAX_RECORDS,
        "SELECT seq, time, body, leaf FROM ledger ORDER BY seq",
    );
    let mut frontier = Frontier::default();
    for (seq, time, body, stored) in store
        .list(query.of::<(u64, Timestamp, String, Hash)>())
        .await?
    {
        assert_eq!(seq, frontier.size(), "the numbers have a gap");
        let computed = leaf(log, seq, time, &body);
        assert_eq!(computed, stored);
        frontier.append(computed);
    }
    Ok((frontier.size(), frontier.root()))
}

async fn matches(world: &World, head: Head) -> Result<(), Failure> {
    assert_eq!(recompute(&*world.store).await?, (head.size, head.root));
    Ok(())
}

async fn the_tree_is_the_one_over_the_stored_bodies(world: World) -> Result<(), Failure> {
    matches(&world, world.store.head()).await?;
    for size in 0..20 {
        let entries: Result<_, Failure> = (0..size).map(|_| world.entry()).collect();
        let batch = Batch {
            entries: entries?,
            ..Batch::default()
        };
        let receipt = world.store.commit(batch).await?;
        assert_eq!(receipt.head, world.store.head());
        matches(&world, receipt.head).await?;
    }
    Ok(())
}

async fn the_log_goes_on_after_a_restart(world: World) -> Result<(), Failure> {
    for _ in 0..5 {
        world.store.commit(world.recorded()?).await?;
    }
    let before = world.store.head();
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    assert_eq!(world.store.head(), before);
    let receipt = world.store.commit(world.recorded()?).await?;
    assert_eq!(receipt.first_seq, Some(5));
    assert_eq!(receipt.head.log, before.log);
    matches(&world, receipt.head).await
}

async fn time_never_goes_back(world: World) -> Result<(), Failure> {
    let mut last = Timestamp::MIN;
    for seconds in [0, 10, -1_000, 5, 11] {
        world.clock.set_seconds(seconds);
        let receipt = world.store.commit(world.recorded()?).await?;
        assert!(receipt.time >= last, "at {seconds}");
        last = receipt.time;
    }
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    world.clock.set_seconds(-1_000_000);
    let receipt = world.store.commit(world.recorded()?).await?;
    assert_eq!(receipt.time, last);
    matches(&world, receipt.head).await
}

async fn what_is_stored_of_a_record_is_what_was_given(world: World) -> Result<(), Failure> {
    let entry = world.entry()?;
    let batch = Batch {
        entries: vec![entry.clone()],
        ..Batch::default()
    };
    world.store.commit(batch).await?;
    let query = Query::new(
        1,
        "SELECT id, kind, outcome, code, actor, subject, agent, action, resource, request_id, body, salt, personal \
         FROM ledger",
    );
    let columns = entry.projections().clone();
    let text = |text: &str| Cell::Text(text.to_owned());
    let optional = |text: Option<String>| text.map_or(Cell::Null, Cell::Text);
    let expected = Row::new(vec![
        text(&columns.id),
        text(columns.kind),
        text(columns.outcome),
        text(columns.code),
        text(&columns.actor),
        optional(columns.subject),
        optional(columns.agent),
        optional(columns.action),
        optional(columns.resource),
        optional(columns.request_id),
        text(entry.body()),
        Cell::Blob(entry.salt().to_vec()),
        text(entry.personal()),
    ]);
    assert_eq!(world.store.query(query).await?, [expected]);
    Ok(())
}

async fn a_record_is_found_by_the_ancestors_of_its_agent(world: World) -> Result<(), Failure> {
    let (parent, root) = (AgentId::from_bits(20), AgentId::from_bits(21));
    let chains: [&[AgentId]; 4] = [&[], &[parent, root], &[root], &[root, root]];
    for chain in chains {
        let batch = Batch {
            entries: vec![world.entry_with(chain)?],
            ..Batch::default()
        };
        world.store.commit(batch).await?;
    }
    for (member, expected) in [(parent, vec![1]), (root, vec![1, 2, 3])] {
        let query = Query::new(
            10,
            "SELECT seq FROM ledger_member WHERE member = ?1 ORDER BY seq",
        );
        let found: Vec<(i64,)> = world.store.list(query.bind(member).of()).await?;
        let found: Vec<i64> = found.into_iter().map(|(seq,)| seq).collect();
        assert_eq!(found, expected);
    }
    Ok(())
}
