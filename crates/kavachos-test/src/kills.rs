//! The revocation log of a database file that no server holds: made long without a call for each kill, and what a kill
//! costs in rows.

use std::collections::{BTreeMap, BTreeSet};

use kavachos::core::revocation::{Handle, HandleKind, Mark};
use kavachos::store::handle::encode;
use rusqlite::{Connection, Row, ToSql, params};

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

/// Puts so many copies of an agent that has one grant and one key beside it: below the same owner, each with a grant and a
/// key of its own. Gives the id of the last one.
pub fn copy_agent(database: &Connection, agent: &str, count: u32) -> String {
    const INSERT: &str = "INSERT INTO agents SELECT * FROM copied_agents; \
        INSERT INTO grants SELECT * FROM copied_grants; \
        INSERT INTO agent_keys SELECT * FROM copied_agent_keys;";
    let tables = [
        ("agents", "id"),
        ("grants", "receiver"),
        ("agent_keys", "agent"),
    ];
    let copies = tables.map(|(table, column)| {
        format!(
            "CREATE TEMP TABLE copied_{table} AS SELECT * FROM {table} WHERE {column} = '{agent}';"
        )
    });
    let run = |sql: &str| database.execute_batch(sql).expect("nobody else writes");
    run(&format!("BEGIN; {}", copies.concat()));
    let mut copy = agent.to_owned();
    for number in 1..=count {
        copy = format!("agent_{number:026}");
        rename(database, &copy, number).expect("nobody is called so");
        run(INSERT);
    }
    let counted = format!(
        "UPDATE users SET agents = agents + {count} \
         WHERE id = (SELECT root FROM agents WHERE id = '{agent}'); COMMIT"
    );
    run(&counted);
    copy
}

/// Gives what was copied ids and handles that nothing else has.
fn rename(database: &Connection, agent: &str, number: u32) -> rusqlite::Result<()> {
    let bytes = u128::from(number).to_be_bytes();
    let grant = format!("grant_{number:026}");
    let [of_agent, of_grant, of_key] = [HandleKind::Agent, HandleKind::Grant, HandleKind::Key]
        .map(|kind| encode(Handle { kind, bytes }));
    let execute = |sql: &str, params: &[&dyn ToSql]| database.execute(sql, params);
    execute(
        "UPDATE copied_agents SET id = ?1, root_grant = ?2, handle = ?3",
        params![agent, grant, of_agent],
    )?;
    execute(
        "UPDATE copied_grants SET id = ?1, receiver = ?2, handle = ?3",
        params![grant, agent, of_grant],
    )?;
    execute(
        "UPDATE copied_agent_keys SET hash = ?1, agent = ?2, handle = ?3",
        params![[bytes, bytes].concat(), agent, of_key],
    )?;
    execute(
        "INSERT INTO handles (handle, generation) VALUES (?1, 1), (?2, 1), (?3, 1)",
        params![of_agent, of_grant, of_key],
    )?;
    Ok(())
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
