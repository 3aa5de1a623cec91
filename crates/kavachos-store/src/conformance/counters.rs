//! Takes: exact whoever takes at the same time, and given back by whatever is undone.

use kavachos_core::counter::{Refusal, Rule};

use super::world::{Failure, World, conflicts_at, spend, turn};
use crate::answer::CommitError;
use crate::batch::{Batch, Take, Write};
use crate::counter;

/// How many take at the same time.
const TAKERS: usize = 64;

super::list_cases![
    takers_at_the_same_time_get_exactly_what_there_is,
    takes_one_after_another_get_exactly_what_there_is,
    takes_of_one_batch_add_up_and_hold_together,
    an_undone_batch_has_taken_nothing,
    a_refused_take_names_its_counter,
    what_was_taken_is_taken_after_a_restart,
    a_clock_that_goes_back_gives_nothing_back,
    a_counter_of_another_rule_is_rejected,
    a_rate_whose_period_is_over_is_removed_and_then_limits_as_ever,
    what_still_limits_is_not_removed,
    a_counter_that_was_taken_from_since_it_was_read_is_not_removed,
    counters_are_read_page_by_page,
];

async fn takers_at_the_same_time_get_exactly_what_there_is(world: World) -> Result<(), Failure> {
    let batches: Result<Vec<Batch>, Failure> = (0..TAKERS)
        .map(|_| world.taking(vec![spend(b"shared", 10, 1)]))
        .collect();
    let answers = world.race(batches?).await;
    let given = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(CommitError::Refused { .. })));
    assert_eq!((given, refused.count()), (10, TAKERS - 10));
    assert_eq!(world.count("ledger").await?, 10);
    // The twin: counters of their own refuse nobody.
    let apart: Result<Vec<Batch>, Failure> = (0..TAKERS)
        .map(|number| world.taking(vec![spend(&number.to_be_bytes(), 10, 1)]))
        .collect();
    assert!(world.race(apart?).await.iter().all(Result::is_ok));
    Ok(())
}

async fn takes_one_after_another_get_exactly_what_there_is(world: World) -> Result<(), Failure> {
    for _ in 0..10 {
        let take = world.taking(vec![spend(b"a", 10, 1)])?;
        world.store.commit(take).await?;
    }
    let one_more = world.taking(vec![spend(b"a", 10, 1)])?;
    let refused = world.store.commit(one_more).await;
    assert!(matches!(refused, Err(CommitError::Refused { .. })));
    Ok(())
}

async fn takes_of_one_batch_add_up_and_hold_together(world: World) -> Result<(), Failure> {
    let twice = vec![spend(b"a", 10, 4), spend(b"a", 10, 4)];
    world.store.commit(world.taking(twice)?).await?;
    let one_too_many = vec![spend(b"b", 10, 5), spend(b"a", 10, 3)];
    let refused = world.store.commit(world.taking(one_too_many)?).await;
    assert!(matches!(refused, Err(CommitError::Refused { .. })));
    // Nothing was taken from `b`, and 2 are left in `a`.
    let rest = vec![spend(b"b", 10, 10), spend(b"a", 10, 2)];
    world.store.commit(world.taking(rest)?).await?;
    Ok(())
}

async fn an_undone_batch_has_taken_nothing(world: World) -> Result<(), Failure> {
    let mut failing = world.taking(vec![spend(b"a", 10, 10)])?;
    failing.writes.push(turn("none", 0, 1));
    let whole = world.taking(vec![spend(b"a", 10, 10)])?;
    let answers = world.race(vec![failing, whole]).await;
    assert!(answers.iter().any(|answer| conflicts_at(answer, Some(0))));
    assert!(answers.iter().any(Result::is_ok));
    let more = world.store.commit(world.taking(vec![spend(b"a", 10, 1)])?);
    assert!(matches!(more.await, Err(CommitError::Refused { .. })));
    Ok(())
}

async fn a_refused_take_names_its_counter(world: World) -> Result<(), Failure> {
    let takes = vec![spend(b"wide", 10, 1), spend(b"narrow", 0, 1)];
    let refused = world.store.commit(world.taking(takes)?).await;
    let expected = CommitError::Refused {
        counter: b"narrow".as_slice().into(),
        refusal: Refusal::Exhausted,
    };
    assert_eq!(refused.err(), Some(expected));
    Ok(())
}

async fn what_was_taken_is_taken_after_a_restart(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.taking(vec![spend(b"a", 10, 9)])?)
        .await?;
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    let two = world
        .store
        .commit(world.taking(vec![spend(b"a", 10, 2)])?)
        .await;
    assert!(matches!(two, Err(CommitError::Refused { .. })));
    world
        .store
        .commit(world.taking(vec![spend(b"a", 10, 1)])?)
        .await?;
    Ok(())
}

async fn a_clock_that_goes_back_gives_nothing_back(world: World) -> Result<(), Failure> {
    let once_a_minute = || world.taking(vec![once_a_minute(b"rate")]);
    world.store.commit(once_a_minute()?).await?;
    world.clock.set_seconds(-3_600);
    let refused = world.store.commit(once_a_minute()?).await;
    assert!(
        matches!(refused, Err(CommitError::Refused { .. })),
        "{refused:?}"
    );
    world.clock.set_seconds(3_600);
    world.store.commit(once_a_minute()?).await?;
    Ok(())
}

async fn a_counter_of_another_rule_is_rejected(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.taking(vec![spend(b"a", 10, 1)])?)
        .await?;
    let rate = Take {
        rule: Rule::Rate {
            limit: 100,
            per_seconds: 60,
        },
        ..spend(b"a", 10, 1)
    };
    let rejected = world.store.commit(world.taking(vec![rate])?).await;
    assert!(matches!(rejected, Err(CommitError::Rejected { .. })));
    Ok(())
}

/// A take of the one that a minute allows.
fn once_a_minute(counter: &[u8]) -> Take {
    Take {
        counter: counter.into(),
        rule: Rule::Rate {
            limit: 1,
            per_seconds: 60,
        },
        n: 1,
    }
}

/// Whether this counter gives what it gives in a minute.
async fn gives(world: &World, counter: &[u8]) -> Result<bool, Failure> {
    let take = world.taking(vec![once_a_minute(counter)])?;
    match world.store.commit(take).await {
        Ok(_) => Ok(true),
        Err(CommitError::Refused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What there is to remove now that everything stored is read.
async fn to_remove(world: &World) -> Result<Vec<Write>, Failure> {
    let counters = world.store.list(counter::page(&[])).await?;
    Ok(counters.into_iter().filter_map(counter::forget).collect())
}

/// Lets the log come to this time, in seconds after the start.
async fn come_to(world: &World, seconds: i64) -> Result<(), Failure> {
    world.clock.set_seconds(seconds);
    world.store.commit(world.recorded()?).await?;
    Ok(())
}

async fn a_rate_whose_period_is_over_is_removed_and_then_limits_as_ever(
    world: World,
) -> Result<(), Failure> {
    assert!(gives(&world, b"a").await? && gives(&world, b"b").await?);
    come_to(&world, 3_600).await?;
    let removed = to_remove(&world).await?;
    assert_eq!(removed.len(), 2);
    world.store.commit(world.writing(removed)?).await?;
    assert_eq!(world.count("counters").await?, 0);
    // The writer remembers it, or has lost it with a restart; it limits either way.
    assert!(gives(&world, b"a").await? && !gives(&world, b"a").await?);
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    assert!(!gives(&world, b"a").await?);
    assert!(gives(&world, b"b").await? && !gives(&world, b"b").await?);
    Ok(())
}

async fn what_still_limits_is_not_removed(world: World) -> Result<(), Failure> {
    let taken = vec![once_a_minute(b"rate"), spend(b"budget", 10, 10)];
    world.store.commit(world.taking(taken)?).await?;
    come_to(&world, 59).await?;
    assert_eq!(to_remove(&world).await?, []);
    // A clock that runs ahead of the log removes nothing: it may go back before anything is committed.
    world.clock.set_seconds(3_600);
    assert_eq!(to_remove(&world).await?, []);
    // The twin: when the log has come so far too, the rate is over, and the budget is still used up.
    come_to(&world, 3_600).await?;
    let removed = to_remove(&world).await?;
    assert_eq!(removed.len(), 1);
    world.store.commit(world.writing(removed)?).await?;
    assert_eq!(world.count("counters").await?, 1);
    let more = world.taking(vec![spend(b"budget", 10, 1)])?;
    let refused = world.store.commit(more).await;
    assert!(matches!(refused, Err(CommitError::Refused { .. })));
    Ok(())
}

async fn a_counter_that_was_taken_from_since_it_was_read_is_not_removed(
    world: World,
) -> Result<(), Failure> {
    for counter in [b"before", b"beside"] {
        assert!(gives(&world, counter).await?);
    }
    come_to(&world, 3_600).await?;
    let removed = to_remove(&world).await?;
    assert_eq!(removed.len(), 2);
    assert!(gives(&world, b"before").await?);
    // The other is taken from in the very group that removes what was read, or in one after it.
    let taking = world.taking(vec![once_a_minute(b"beside")])?;
    for answer in world.race(vec![taking, world.writing(removed)?]).await {
        answer?;
    }
    assert_eq!(world.count("counters").await?, 2);
    for counter in [b"before", b"beside"] {
        assert!(!gives(&world, counter).await?);
    }
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    for counter in [b"before", b"beside"] {
        assert!(!gives(&world, counter).await?);
    }
    Ok(())
}

async fn counters_are_read_page_by_page(world: World) -> Result<(), Failure> {
    let more = 2;
    let keys = (0..counter::COUNTERS_PER_PAGE.saturating_add(more)).map(usize::to_be_bytes);
    let takes = keys.map(|key| spend(&key, 1, 1)).collect();
    world.store.commit(world.taking(takes)?).await?;
    let first = world.store.list(counter::page(&[])).await?;
    assert_eq!(first.len(), counter::COUNTERS_PER_PAGE);
    assert!(first.is_sorted_by(|one, next| one.key < next.key));
    let last = first.last().map(|counter| counter.key.clone());
    let rest = counter::page(&last.unwrap_or_default());
    assert_eq!(world.store.list(rest).await?.len(), more);
    Ok(())
}
