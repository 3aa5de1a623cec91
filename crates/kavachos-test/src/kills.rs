//! The revocation log of a database file that no server holds: made long without a call for each kill, and what a kill
//! costs in rows.

use std::collections::{BTreeMap, BTreeSet};

use kavachos::core::revocation::{Handle, HandleKind, Mark};
use kavachos::store::handle::encode;
use rusqlite::{Connection, Row, params};

use crate::database::stored_head;

/// Kills so many sessions that there never were, each a handle of its own.
pub fn kill_strangers(database: &Connection, count: u32) {
    let mut head = stored_head(database).revocation;
    let begun = database.execute_batch("BEGIN");
    begun.expect("nobody else writes");
    for number in 0..count {
        let kill = Mark {
            handle: Handle {
                kind: HandleKind::Session,
                bytes: u128::from(number).to_be_bytes(),
            },
            generation: 1,
        };
        head = head.append(kill);
        let handle = encode(kill.handle);
        let rseq = i64::try_from(head.rseq).expect("the log is short");
        let record =
            "INSERT INTO revocation_log (rseq, handle, generation, rhash) VALUES (?1, ?2, 1, ?3)";
        let live = "INSERT INTO handles (handle, generation) VALUES (?1, 1)";
        database
            .execute(record, params![rseq, handle, head.rhash])
            .and_then(|_| database.execute(live, params![handle]))
            .expect("the handle is new");
    }
    let rseq = i64::try_from(head.rseq).expect("the log is short");
    let moved = "UPDATE log SET rseq = ?1, rhash = ?2";
    database
        .execute(moved, params![rseq, head.rhash])
        .and_then(|_| database.execute("COMMIT", []))
        .expect("there is one log");
}

/// Every row of every table, as text.
pub fn all_rows(database: &Connection) -> BTreeMap<String, BTreeSet<String>> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let names: Vec<String> = rows(database, names, |row| row.get(0));
    let read = |name: String| {
        let all = format!("SELECT * FROM \"{name}\"");
        let rows = rows(database, &all, |row| {
            let columns = row.as_ref().column_count();
            let cells: rusqlite::Result<Vec<_>> = (0..columns)
                .map(|column| Ok(format!("{:?}", row.get_ref(column)?)))
                .collect();
            Ok(cells?.join("|"))
        });
        (name, rows.into_iter().collect())
    };
    names.into_iter().map(read).collect()
}

fn rows<T>(
    database: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = database.prepare(sql).expect("the table is there");
    let rows = statement.query_map([], read);
    rows.and_then(Iterator::collect)
        .expect("every row can be read")
}
