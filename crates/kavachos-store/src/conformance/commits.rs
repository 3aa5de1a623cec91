//! Batches: all or nothing, in order, answered after they are on disk.

use kavachos_core::id::AuditId;
use kavachos_core::time::Timestamp;

use super::world::{Failure, World, conflicts_at, insert, rejected_at, seal, turn};
use crate::answer::{CommitError, Health};
use crate::batch::{Batch, Effect, Rows, Write};
use crate::host::Clock;

/// How often a race is run.
const ROUNDS: i64 = 64;

super::list_cases![
    a_receipt_numbers_the_entries_without_a_gap,
    an_empty_batch_is_applied,
    a_batch_sees_all_before_it,
    a_conflict_is_answered_when_the_winner_is_on_disk,
    a_batch_that_fails_leaves_no_trace_and_no_gap,
    a_write_that_changes_more_rows_than_stated_is_undone,
    any_number_of_rows_is_accepted_where_stated,
    a_single_use_row_is_used_once,
    a_rejected_batch_fails_alone,
    a_deferred_constraint_fails_its_batch_alone,
    a_record_that_is_there_already_is_rejected,
    a_batch_past_its_deadline_is_skipped,
    effects_are_told_in_order_before_the_answer,
    a_closed_store_answers_what_was_queued_and_nothing_else,
];

async fn a_receipt_numbers_the_entries_without_a_gap(world: World) -> Result<(), Failure> {
    assert_eq!(world.store.head().size, 0);
    let three = Batch {
        entries: vec![world.entry()?, world.entry()?, world.entry()?],
        ..Batch::default()
    };
    let answers = world
        .race(vec![
            three,
            world.recorded()?,
            Batch::default(),
            world.recorded()?,
        ])
        .await;
    let mut first = Vec::new();
    for answer in answers {
        let receipt = answer?;
        assert_eq!(receipt.head.log, world.store.head().log);
        first.push(receipt.first_seq);
    }
    assert_eq!(first, [Some(0), Some(3), None, Some(4)]);
    assert_eq!(world.store.head().size, 5);
    assert_eq!(world.count("ledger").await?, 5);
    assert_eq!(world.store.health(), Health::Ready);
    Ok(())
}

async fn an_empty_batch_is_applied(world: World) -> Result<(), Failure> {
    let receipt = world.store.commit(Batch::default()).await?;
    assert_eq!(receipt.first_seq, None);
    assert_eq!(receipt.head.size, 0);
    Ok(())
}

async fn a_batch_sees_all_before_it(world: World) -> Result<(), Failure> {
    let steps = vec![
        world.writing(vec![insert("a", 0)])?,
        world.writing(vec![turn("a", 0, 1), turn("a", 1, 2)])?,
        world.writing(vec![turn("a", 2, 3)])?,
    ];
    for answer in world.race(steps).await {
        answer?;
    }
    assert_eq!(world.probe("a").await?, Some(3));
    Ok(())
}

async fn a_conflict_is_answered_when_the_winner_is_on_disk(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.writing(vec![insert("a", 0)])?)
        .await?;
    for round in 0..ROUNDS {
        let winner = world
            .store
            .commit(world.writing(vec![turn("a", round, round + 1)])?);
        let loser = world
            .store
            .commit(world.writing(vec![turn("a", round, -1)])?);
        assert!(conflicts_at(&loser.await, Some(0)));
        assert_eq!(world.probe("a").await?, Some(round + 1));
        winner.await?;
    }
    Ok(())
}

async fn a_batch_that_fails_leaves_no_trace_and_no_gap(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.writing(vec![insert("a", 0)])?)
        .await?;
    let answers = world
        .race(vec![
            world.recorded()?,
            world.writing(vec![turn("a", 0, 5), insert("b", 1), turn("a", 77, 78)])?,
            world.recorded()?,
        ])
        .await;
    assert!(conflicts_at(
        answers.get(1).unwrap_or(&Err(CommitError::Unknown)),
        Some(2)
    ));
    let last = answers.into_iter().next_back().ok_or("no answer")??;
    assert_eq!(last.first_seq, Some(2));
    assert_eq!(world.probe("a").await?, Some(0));
    assert_eq!(world.probe("b").await?, None);
    assert_eq!(world.count("ledger").await?, 3);
    // The twin: the same writes without the one that fails.
    world
        .store
        .commit(world.writing(vec![turn("a", 0, 5), insert("b", 1)])?)
        .await?;
    assert_eq!(world.probe("a").await?, Some(5));
    Ok(())
}

async fn a_write_that_changes_more_rows_than_stated_is_undone(world: World) -> Result<(), Failure> {
    let rows = vec![insert("a", 0), insert("b", 0)];
    world.store.commit(world.writing(rows)?).await?;
    for stated in [0, 1, 3] {
        let all = Write::exactly(stated, "UPDATE probe SET value = 9 WHERE value = 0");
        let batch = Batch {
            writes: vec![all],
            ..Batch::default()
        };
        assert!(conflicts_at(&world.store.commit(batch).await, Some(0)));
        assert_eq!(world.probe("a").await?, Some(0));
    }
    let all = Write::exactly(2, "UPDATE probe SET value = 9 WHERE value = 0");
    world.store.commit(world.writing(vec![all])?).await?;
    assert_eq!(world.probe("b").await?, Some(9));
    Ok(())
}

async fn any_number_of_rows_is_accepted_where_stated(world: World) -> Result<(), Failure> {
    let all = || Write {
        rows: Rows::Any,
        ..turn("a", 0, 1)
    };
    world.store.commit(world.writing(vec![all()])?).await?;
    world
        .store
        .commit(world.writing(vec![insert("a", 0), all()])?)
        .await?;
    assert_eq!(world.probe("a").await?, Some(1));
    Ok(())
}

async fn a_single_use_row_is_used_once(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.writing(vec![insert("code", 0)])?)
        .await?;
    for round in 0..ROUNDS {
        let consume = || world.writing(vec![turn("code", round, round + 1)]);
        let answers = world.race(vec![consume()?, consume()?]).await;
        let used = answers.iter().filter(|answer| answer.is_ok()).count();
        let lost = answers
            .iter()
            .filter(|answer| conflicts_at(answer, Some(0)));
        assert_eq!((used, lost.count()), (1, 1), "round {round}");
    }
    // The twin: without the condition both would have used it.
    let careless = || {
        let write = Write::exactly(1, "UPDATE probe SET value = 0 WHERE name = 'code'");
        world.writing(vec![write])
    };
    let answers = world.race(vec![careless()?, careless()?]).await;
    assert!(answers.iter().all(Result::is_ok));
    Ok(())
}

async fn a_rejected_batch_fails_alone(world: World) -> Result<(), Failure> {
    let number_as_text = Write::exactly(1, "INSERT INTO probe (name, value) VALUES ('t', ?1)");
    let poisons = [
        vec![insert("ok", 1), insert("ok", 2)],
        vec![insert("ok", 1), insert("large", 1000)],
        vec![insert("ok", 1), number_as_text.bind("many")],
        vec![insert("ok", 1), Write::any("UPDATE nowhere SET value = 1")],
        vec![insert("ok", 1), Write::any("no statement")],
        vec![insert("ok", 1), Write::any("SELECT value FROM probe")],
        vec![insert("ok", 1), Write::any("COMMIT")],
        vec![insert("ok", 1), Write::any("ROLLBACK")],
        vec![
            insert("ok", 1),
            Write::any("DELETE FROM probe; DELETE FROM probe"),
        ],
        vec![
            insert("ok", 1),
            Write::any("UPDATE probe SET value = 2 RETURNING value"),
        ],
        vec![insert("ok", 1), insert("more", 1).bind("than asked for")],
    ];
    for poison in poisons {
        let before = world.count("ledger").await?;
        let answers = world
            .race(vec![
                world.recorded()?,
                world.writing(poison)?,
                world.recorded()?,
            ])
            .await;
        let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, true], "{answers:?}");
        assert!(
            answers.iter().any(|answer| rejected_at(answer, Some(1))),
            "{answers:?}"
        );
        assert_eq!(world.count("ledger").await?, before + 2);
        assert_eq!(world.probe("ok").await?, None);
    }
    Ok(())
}

async fn a_deferred_constraint_fails_its_batch_alone(world: World) -> Result<(), Failure> {
    let orphan = || {
        Write::exactly(
            1,
            "INSERT INTO probe_child (name, parent) VALUES ('c', 'p')",
        )
    };
    let answers = world
        .race(vec![
            world.writing(vec![insert("a", 1)])?,
            world.writing(vec![orphan()])?,
            world.writing(vec![turn("a", 1, 2)])?,
        ])
        .await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true], "{answers:?}");
    assert_eq!(world.probe("a").await?, Some(2));
    assert_eq!(world.count("probe_child").await?, 0);
    assert_eq!(world.count("ledger").await?, 2);
    world
        .store
        .commit(world.writing(vec![orphan(), insert("p", 1)])?)
        .await?;
    Ok(())
}

async fn a_record_that_is_there_already_is_rejected(world: World) -> Result<(), Failure> {
    let twice = || -> Result<Batch, Failure> {
        Ok(Batch {
            entries: vec![seal(AuditId::from_bits(1 << 90), &[])?],
            ..Batch::default()
        })
    };
    let mut with_others = twice()?;
    with_others.entries.insert(0, world.entry()?);
    with_others.writes.push(insert("a", 1));
    let mut with_another = twice()?;
    with_another.entries.insert(0, world.entry()?);
    let batches = vec![
        twice()?,
        twice()?,
        with_others,
        with_another,
        world.recorded()?,
    ];
    let answers = world.race(batches).await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, false, false, true], "{answers:?}");
    assert_eq!(world.count("ledger").await?, 2);
    assert_eq!(world.store.head().size, 2);
    assert_eq!(world.probe("a").await?, None);
    Ok(())
}

async fn a_batch_past_its_deadline_is_skipped(world: World) -> Result<(), Failure> {
    let at = |deadline| -> Result<Batch, Failure> {
        Ok(Batch {
            deadline: Some(deadline),
            ..world.recorded()?
        })
    };
    let now = world.clock.now();
    let earlier = Timestamp::from_micros(now.as_micros() - 1);
    let late = world.store.commit(at(earlier)?).await;
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
    assert_eq!(world.count("ledger").await?, 0);
    world.store.commit(at(now)?).await?;
    // The log's time stays ahead of a clock that is set back; a deadline is about the clock.
    world.clock.set_seconds(-1_000);
    world.store.commit(at(world.clock.now())?).await?;
    Ok(())
}

async fn effects_are_told_in_order_before_the_answer(world: World) -> Result<(), Failure> {
    let telling = |key, writes| -> Result<Batch, Failure> {
        Ok(Batch {
            effects: vec![Effect { kind: 1, key }, Effect { kind: 2, key }],
            ..world.writing(writes)?
        })
    };
    let first = world.store.commit(telling(1, vec![])?);
    let failing = world.store.commit(telling(2, vec![turn("none", 0, 1)])?);
    let last = world.store.commit(telling(3, vec![])?);
    last.await?;
    let told: Vec<_> = world
        .recorder
        .effects()
        .iter()
        .map(|effect| (effect.key, effect.kind))
        .collect();
    assert_eq!(told, [(1, 1), (1, 2), (3, 1), (3, 2)]);
    first.await?;
    assert!(failing.await.is_err());
    Ok(())
}

async fn a_closed_store_answers_what_was_queued_and_nothing_else(
    world: World,
) -> Result<(), Failure> {
    let mut queued = Vec::new();
    for _ in 0..100 {
        queued.push(world.store.commit(world.recorded()?));
    }
    world.store.close().await;
    let late = world.store.commit(world.recorded()?).await;
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
    assert!(world.count("ledger").await.is_err());
    for answer in queued {
        answer.await?;
    }
    assert_eq!(world.store.head().size, 100);
    world.store.close().await;
    Ok(())
}
