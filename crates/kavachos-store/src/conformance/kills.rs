//! Kills: what relied on a generation that was raised is a conflict from then on.

use kavachos_core::revocation::{HandleKind, LogHead, Mark, Record};

use super::world::{Failure, World, conflicts_at, mark, turn};
use crate::answer::CommitError;
use crate::row::Query;
use crate::{handle, revocation};

/// How often a race is run.
const ROUNDS: u64 = 64;

super::list_cases![
    a_read_must_be_current_and_known,
    a_handle_born_in_the_batch_before_is_known,
    a_kill_stops_what_comes_after_it,
    a_kill_racing_a_decision_is_before_or_after_it,
    a_kill_must_raise_the_generation,
    an_undone_kill_leaves_no_trace,
    the_revocation_log_is_dense_and_linked,
    kills_outlive_a_restart,
    what_was_killed_is_read_as_of_any_record,
];

async fn a_read_must_be_current_and_known(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    world.store.commit(world.relying(vec![mark(1, 1)])?).await?;
    for wrong in [mark(1, 0), mark(1, 2), mark(2, 1), mark(2, 0)] {
        let answer = world.store.commit(world.relying(vec![mark(1, 1), wrong])?);
        assert!(conflicts_at(&answer.await, None), "{wrong:?}");
    }
    Ok(())
}

async fn a_handle_born_in_the_batch_before_is_known(world: World) -> Result<(), Failure> {
    let answers = world
        .race(vec![
            world.relying(vec![mark(1, 1)])?,
            world.writing(vec![handle::born(mark(1, 1))])?,
            world.relying(vec![mark(1, 1)])?,
        ])
        .await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [false, true, true], "{answers:?}");
    Ok(())
}

async fn a_kill_stops_what_comes_after_it(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    let answers = world
        .race(vec![
            world.relying(vec![mark(1, 1)])?,
            world.killing(vec![mark(1, 2)])?,
            world.relying(vec![mark(1, 1)])?,
            world.relying(vec![mark(1, 2)])?,
        ])
        .await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, true, false, true], "{answers:?}");
    assert!(answers.iter().any(|answer| conflicts_at(answer, None)));
    Ok(())
}

async fn a_kill_racing_a_decision_is_before_or_after_it(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    for generation in 1..=ROUNDS {
        let decide = world.relying(vec![mark(1, generation)])?;
        let kill = world.killing(vec![mark(1, generation + 1)])?;
        let kill_first = generation % 2 == 0;
        let mut answers = if kill_first {
            world.race(vec![kill, decide]).await
        } else {
            let mut answers = world.race(vec![decide, kill]).await;
            answers.reverse();
            answers
        };
        let decided = answers.pop().ok_or("no answer")?;
        let killed = answers.pop().ok_or("no answer")??;
        match decided {
            Ok(receipt) => assert!(receipt.first_seq < killed.first_seq && !kill_first),
            Err(error) => {
                assert_eq!(error, CommitError::Conflict { write: None });
                assert!(kill_first);
            }
        }
    }
    Ok(())
}

async fn a_kill_must_raise_the_generation(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    world.store.commit(world.killing(vec![mark(1, 5)])?).await?;
    for wrong in [
        vec![mark(1, 5)],
        vec![mark(1, 4)],
        vec![mark(2, 0)],
        vec![mark(1, 6), mark(1, 6)],
    ] {
        let answer = world.store.commit(world.killing(wrong)?).await;
        assert!(conflicts_at(&answer, None), "{answer:?}");
    }
    // One that was never stored is at 0.
    world
        .store
        .commit(world.killing(vec![mark(2, 1), mark(1, 6)])?)
        .await?;
    world
        .store
        .commit(world.relying(vec![mark(2, 1), mark(1, 6)])?)
        .await?;
    assert_eq!(world.store.head().revocation.rseq, 3);
    Ok(())
}

async fn an_undone_kill_leaves_no_trace(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    let mut failing = world.killing(vec![mark(1, 2)])?;
    failing.writes.push(turn("none", 0, 1));
    let answers = world
        .race(vec![failing, world.relying(vec![mark(1, 1)])?])
        .await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [false, true], "{answers:?}");
    assert_eq!(world.store.head().revocation, LogHead::EMPTY);
    assert_eq!(world.count("revocation_log").await?, 0);
    Ok(())
}

async fn the_revocation_log_is_dense_and_linked(world: World) -> Result<(), Failure> {
    let kills = [mark(1, 1), mark(2, 9), mark(1, 4), mark(3, 1)];
    for pair in kills.chunks(2) {
        world.store.commit(world.killing(pair.to_vec())?).await?;
    }
    let stored = Query::new(
        10,
        "SELECT rseq, handle, generation, rhash FROM revocation_log ORDER BY rseq",
    );
    let mut head = LogHead::EMPTY;
    let mut found = Vec::new();
    for (rseq, handle, generation, rhash) in world.store.list(stored.of()).await? {
        let kill = Mark { handle, generation };
        head = head.append(kill);
        assert_eq!(head, LogHead { rseq, rhash });
        found.push(kill);
    }
    assert_eq!(found, kills);
    assert_eq!(world.store.head().revocation, head);
    Ok(())
}

async fn kills_outlive_a_restart(world: World) -> Result<(), Failure> {
    world.birth(1).await?;
    world.store.commit(world.killing(vec![mark(1, 2)])?).await?;
    let before = world.store.head();
    let Some(world) = world.reopened().await else {
        return Ok(());
    };
    assert_eq!(world.store.head(), before);
    let stale = world.store.commit(world.relying(vec![mark(1, 1)])?).await;
    assert!(conflicts_at(&stale, None));
    let receipt = world.store.commit(world.killing(vec![mark(1, 3)])?).await?;
    let expected = before.revocation.append(mark(1, 3));
    assert_eq!(receipt.head.revocation, expected);
    Ok(())
}

async fn what_was_killed_is_read_as_of_any_record(world: World) -> Result<(), Failure> {
    let store = &*world.store;
    let of_kind = |kind, byte, generation| {
        let mut mark = mark(byte, generation);
        mark.handle.kind = kind;
        mark
    };
    let kills = [
        of_kind(HandleKind::Key, 1, 2),
        of_kind(HandleKind::Agent, 200, 2),
        of_kind(HandleKind::User, 9, 1),
        of_kind(HandleKind::Agent, 200, 7),
    ];
    for kill in kills {
        store.commit(world.killing(vec![kill])?).await?;
    }
    let head = store.head();
    let state = store.find(revocation::state()).await?;
    assert_eq!(
        state.map(|state| (state.epoch, state.head)),
        Some((head.epoch, head.revocation))
    );
    let hash = store.find(revocation::hash_at(4)).await?;
    assert_eq!(hash, Some((head.revocation.rhash,)));
    assert_eq!(store.find(revocation::hash_at(u64::MAX)).await?, None);

    let records: Vec<Record> = (1..)
        .zip(kills)
        .map(|(rseq, kill)| Record { rseq, kill })
        .collect();
    assert_eq!(store.list(revocation::after(0, 10)).await?, records);
    let two: Vec<Record> = records.iter().skip(1).take(2).copied().collect();
    assert_eq!(store.list(revocation::after(1, 2)).await?, two);
    assert_eq!(store.list(revocation::after(u64::MAX, 2)).await?, []);

    // In the order of kind and handle, each once; and earlier, as it was then.
    let [key, early, user, late] = kills;
    let killed = |up_to, after| store.list(revocation::killed(up_to, after, 2));
    assert_eq!(killed(4, None).await?, [user, late]);
    assert_eq!(killed(4, Some(late.handle)).await?, [key]);
    assert_eq!(killed(3, Some(user.handle)).await?, [early, key]);
    assert_eq!(killed(0, None).await?, []);
    Ok(())
}
