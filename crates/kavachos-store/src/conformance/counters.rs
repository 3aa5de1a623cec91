//! Takes: exact whoever takes at the same time, and given back by whatever is undone.

use kavachos_core::counter::{Refusal, Rule};

use super::world::{Failure, World, conflicts_at, spend, turn};
use crate::answer::CommitError;
use crate::batch::{Batch, Take};

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
    let once_a_minute = || {
        world.taking(vec![Take {
            counter: b"rate".as_slice().into(),
            rule: Rule::Rate {
                limit: 1,
                per_seconds: 60,
            },
            n: 1,
        }])
    };
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
