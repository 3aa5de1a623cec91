//! Reads: of one moment, never cut off, and never a way to write.

use kavachos_core::id::UserId;
use kavachos_core::ledger::Pseudonym;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;

use super::world::{Failure, World, insert, turn};
use crate::answer::ReadError;
use crate::batch::{MAX_TEXT_BYTES, Write};
use crate::handle;
use crate::page::MAX_PAGE_BYTES;
use crate::row::{MAX_QUERIES, Query, Row};
use crate::user::{self, UserRow};

/// How often two rows are moved while they are read.
const MOVES: i64 = 100;

super::list_cases![
    a_write_that_was_answered_is_seen,
    queries_of_one_read_see_one_moment,
    more_rows_than_allowed_for_are_an_error,
    every_type_of_value_reads_back,
    a_query_that_is_wrong_is_rejected,
    a_query_cannot_write,
    a_page_ends_by_rows_or_by_bytes,
];

async fn a_write_that_was_answered_is_seen(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.writing(vec![insert("a", 0)])?)
        .await?;
    for value in 0..MOVES {
        assert_eq!(world.probe("a").await?, Some(value));
        world
            .store
            .commit(world.writing(vec![turn("a", value, value + 1)])?)
            .await?;
    }
    Ok(())
}

async fn queries_of_one_read_see_one_moment(world: World) -> Result<(), Failure> {
    let two = vec![insert("a", 0), insert("b", 0)];
    world.store.commit(world.writing(two)?).await?;
    let value =
        |name: &'static str| Query::new(1, "SELECT value FROM probe WHERE name = ?1").bind(name);
    let mut moves = Vec::new();
    let mut reads = Vec::new();
    for step in 0..MOVES {
        let both = vec![turn("a", step, step + 1), turn("b", step, step + 1)];
        moves.push(world.store.commit(world.writing(both)?));
        reads.push(world.store.read(vec![value("a"), value("b"), value("a")]));
    }
    for read in reads {
        let rows: Vec<Vec<Row>> = read.await?;
        assert_eq!(rows.len(), 3);
        assert!(
            rows.windows(2)
                .all(|pair| matches!(pair, [left, right] if left == right)),
            "{rows:?}"
        );
    }
    for done in moves {
        done.await?;
    }
    assert_eq!(world.store.read(vec![]).await?, Vec::<Vec<Row>>::new());
    Ok(())
}

async fn more_rows_than_allowed_for_are_an_error(world: World) -> Result<(), Failure> {
    let rows = vec![insert("a", 1), insert("b", 2)];
    world.store.commit(world.writing(rows)?).await?;
    let names = |max_rows| Query::new(max_rows, "SELECT name FROM probe ORDER BY name");
    let all: Vec<(String,)> = world.store.list(names(2).of()).await?;
    assert_eq!(all, [("a".to_owned(),), ("b".to_owned(),)]);
    let cut = world.store.query(names(1)).await;
    assert_eq!(cut, Err(ReadError::TooManyRows(1)));
    let one = world.store.find(names(5).of::<(String,)>()).await;
    assert_eq!(one, Err(ReadError::TooManyRows(1)));
    Ok(())
}

async fn every_type_of_value_reads_back(world: World) -> Result<(), Failure> {
    type Values = (i64, Option<String>, Option<Vec<u8>>);
    let write = |name: &'static str| {
        Write::exactly(
            1,
            "INSERT INTO probe (name, value, note, data) VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(name)
    };
    let full = write("full")
        .bind(i64::MIN)
        .bind("\u{20ac}\n\u{1f600}")
        .bind(vec![0_u8, 255]);
    let bare = write("bare")
        .bind(0_i64)
        .bind(None::<String>)
        .bind(None::<Vec<u8>>);
    world.store.commit(world.writing(vec![full, bare])?).await?;
    let query = Query::new(2, "SELECT value, note, data FROM probe ORDER BY name");
    let found: Vec<Values> = world.store.list(query.of()).await?;
    let full = (
        i64::MIN,
        Some("\u{20ac}\n\u{1f600}".to_owned()),
        Some(vec![0, 255]),
    );
    assert_eq!(found, [(0, None, None), full]);
    Ok(())
}

async fn a_query_that_is_wrong_is_rejected(world: World) -> Result<(), Failure> {
    let wrong = [
        Query::new(1, "SELECT nothing FROM nowhere"),
        Query::new(1, "SELECT name FROM probe WHERE name = ?1"),
        Query::new(1, "SELECT name FROM probe").bind(1_i64),
        Query::new(1, "SELECT name FROM probe WHERE name = ?1").bind("a\0b"),
    ];
    for query in wrong {
        let answer = world.store.query(query.clone()).await;
        assert!(
            matches!(answer, Err(ReadError::Rejected(_))),
            "{query:?}: {answer:?}"
        );
    }
    let many = vec![Query::new(1, "SELECT name FROM probe"); MAX_QUERIES + 1];
    assert!(matches!(
        world.store.read(many).await,
        Err(ReadError::Rejected(_))
    ));
    assert_eq!(world.probe("a").await?, None);
    Ok(())
}

async fn a_query_cannot_write(world: World) -> Result<(), Failure> {
    world
        .store
        .commit(world.writing(vec![insert("a", 1)])?)
        .await?;
    for sql in [
        "DELETE FROM probe",
        "UPDATE probe SET value = 2 RETURNING value",
    ] {
        let select = || Query::new(10, "SELECT name FROM probe");
        let answer = world
            .store
            .read(vec![select(), Query::new(10, sql), select()])
            .await;
        assert!(answer.is_err(), "{sql}");
    }
    assert_eq!(world.probe("a").await?, Some(1));
    Ok(())
}

/// A human with so much text.
fn human(number: u8, bytes: usize) -> UserRow {
    let mark = Mark {
        handle: Handle {
            kind: HandleKind::User,
            bytes: [number; 16],
        },
        generation: 1,
    };
    UserRow {
        id: UserId::from_bits(number.into()),
        status: Status::Active,
        email: None,
        name: None,
        external: None,
        // Two bytes a character: what counts is bytes.
        permissions: Some("\u{e9}".repeat(bytes / 2)),
        mark,
        kills: 0,
        pseudonym: Pseudonym::from_bits(number.into()),
        agents: 0,
        version: 0,
        created_at: Timestamp::from_micros(0),
        email_verified_at: None,
        role: None,
        banned_until: None,
    }
}

async fn a_page_ends_by_rows_or_by_bytes(world: World) -> Result<(), Failure> {
    let fitting = u8::try_from(MAX_PAGE_BYTES / MAX_TEXT_BYTES)?;
    let heavy = (1..=fitting + 2).map(|number| human(number, MAX_TEXT_BYTES));
    let light = (fitting + 3..=fitting + 4).map(|number| human(number, 2));
    for row in heavy.chain(light) {
        let writes = vec![user::insert(row.clone()), handle::born(row.mark)];
        world.store.commit(world.writing(writes)?).await?;
    }
    let all = fitting + 4;
    // After how many of the rows, how many are asked for, how many come, and whether more follow.
    for (after, limit, count, more) in [
        (0, 1, 1, true),
        (0, 2, 2, true),
        // The row that reaches the bound is the last.
        (0, 100, fitting + 2, true),
        (2, 100, fitting, true),
        (3, 100, fitting, true),
        (4, 100, fitting, false),
        (4, usize::from(fitting), fitting, false),
        (all, 100, 0, false),
    ] {
        let before = (after > 0).then(|| UserId::from_bits((all - after + 1).into()));
        let page = world.store.list(user::page(before, limit)).await?;
        let found: Vec<UserId> = page.iter().map(|row| row.thing.id).collect();
        let wanted = (0..count).map(|place| UserId::from_bits((all - after - place).into()));
        assert_eq!(found, wanted.collect::<Vec<_>>(), "{limit} after {after}");
        let follows = page.last().is_some_and(|last| last.more);
        assert_eq!(follows, more, "{limit} after {after}");
    }
    Ok(())
}
