//! The ledger in a database that no server holds, seen as an auditor sees it: every leaf computed again from its row.

use kavachos::Timestamp;
use kavachos::core::hex;
use kavachos::core::ledger::{Frontier, LogId, leaf};
use kavachos::core::revocation::LogHead;
use kavachos::store::Head;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::postgres::Cluster;

/// What a check of a database reads.
const TABLES: [&str; 5] = ["log", "ledger", "users", "agents", "grants"];

/// One row, as far as the tree and the filters rest on it.
struct Row {
    seq: u64,
    time: i64,
    body: String,
    leaf: Vec<u8>,
    salt: Vec<u8>,
    personal: String,
    columns: [(&'static str, Option<String>); 6],
}

const ROWS: &str = "SELECT seq, time, body, leaf, salt, personal, id, kind, outcome, code, agent, resource \
                    FROM ledger ORDER BY seq";

/// The tables that a check reads, out of one snapshot of a PostgreSQL database, as they would stand in an SQLite file.
pub fn copied(cluster: &Cluster, database: &str) -> Connection {
    let copy = Connection::open_in_memory().expect("memory can be had");
    let listed = |table: &str| {
        let sql = "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_name = ";
        let columns = cluster.psql(
            database,
            &format!("{sql}'{table}' ORDER BY ordinal_position"),
        );
        columns.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut selects = vec!["BEGIN ISOLATION LEVEL REPEATABLE READ".to_owned()];
    for table in TABLES {
        let columns = listed(table);
        let names: Vec<_> = columns
            .iter()
            .filter_map(|column| column.split(' ').next())
            .collect();
        let made = format!("CREATE TABLE {table} ({})", names.join(", "));
        copy.execute_batch(&made)
            .expect("the columns have plain names");
        let cells: Vec<_> = columns.iter().map(|column| literal(column)).collect();
        selects.push(format!(
            "SELECT 'INSERT INTO {table} VALUES (' || concat_ws(',', {}) || ');' FROM {table}",
            cells.join(", ")
        ));
    }
    let rows = cluster.psql(database, &selects.join("; "));
    copy.execute_batch(&rows).expect("the rows are literals");
    copy
}

/// What PostgreSQL computes for a cell as a literal of SQLite.
fn literal(column: &str) -> String {
    let (name, kind) = column.split_once(' ').unwrap_or((column, "text"));
    let literal = match kind {
        "bytea" => format!("'X''' || encode(\"{name}\", 'hex') || ''''"),
        "text" => format!("'''' || replace(\"{name}\", '''', '''''') || ''''"),
        _ => format!("\"{name}\"::text"),
    };
    format!("coalesce({literal}, 'NULL')")
}

/// What is wrong with the ledger of this database: the first bad record, or how the tree differs from a head that was
/// seen before. `None` when it is the ledger of that head.
pub fn damage(database: &Connection, head: &Head) -> Option<String> {
    let mut frontier = Frontier::default();
    for row in rows(database) {
        if let Some(fault) = fault(&row, head, frontier.size()) {
            return Some(format!("record {}: {fault}", frontier.size()));
        }
        let time = Timestamp::from_micros(row.time);
        frontier.append(leaf(head.log, row.seq, time, &row.body));
    }
    if frontier.size() != head.size {
        return Some(format!("{} of {} records", frontier.size(), head.size));
    }
    (frontier.root() != head.root).then(|| "the tree has another root".to_owned())
}

/// The head that the database itself says its ledger has.
pub fn stored_head(database: &Connection) -> Head {
    let sql = "SELECT log, epoch, frontier, rseq, rhash FROM log";
    let head = database.query_row(sql, [], |row| {
        let frontier = Frontier::decode(&row.get::<_, Vec<u8>>(2)?).expect("a tree is stored");
        Ok(Head {
            log: LogId(row.get(0)?),
            epoch: row.get::<_, i64>(1)?.try_into().unwrap_or(u64::MAX),
            size: frontier.size(),
            root: frontier.root(),
            revocation: LogHead {
                rseq: row.get::<_, i64>(3)?.try_into().unwrap_or(u64::MAX),
                rhash: row.get(4)?,
            },
        })
    });
    head.expect("the database has one log")
}

fn fault(row: &Row, head: &Head, expected: u64) -> Option<String> {
    if row.seq != expected {
        return Some(format!("it has the number {}", row.seq));
    }
    let time = Timestamp::from_micros(row.time);
    if leaf(head.log, row.seq, time, &row.body).as_slice() != row.leaf {
        return Some("its body or time is not what was recorded".to_owned());
    }
    let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let personal = Sha256::digest([row.salt.as_slice(), row.personal.as_bytes()].concat());
    let personal = hex::encode(&personal);
    if body.get("priv").and_then(Value::as_str) != Some(&personal) {
        return Some("its personal part is not what was recorded".to_owned());
    }
    let wrong = |(name, column): &(&'static str, Option<String>)| {
        (body.get(name).and_then(Value::as_str) != column.as_deref())
            .then(|| format!("its column `{name}` is wrong"))
    };
    row.columns.iter().find_map(wrong)
}

fn rows(database: &Connection) -> Vec<Row> {
    let mut statement = database.prepare(ROWS).expect("the ledger is a table");
    let rows = statement.query_map([], |row| {
        Ok(Row {
            seq: row.get::<_, i64>(0)?.try_into().unwrap_or(u64::MAX),
            time: row.get(1)?,
            body: row.get(2)?,
            leaf: row.get(3)?,
            salt: row.get(4)?,
            personal: row.get(5)?,
            columns: [
                ("id", row.get(6)?),
                ("kind", row.get(7)?),
                ("outcome", row.get(8)?),
                ("code", row.get(9)?),
                ("agent", row.get(10)?),
                ("resource", row.get(11)?),
            ],
        })
    });
    rows.and_then(Iterator::collect)
        .expect("the ledger can be read")
}
