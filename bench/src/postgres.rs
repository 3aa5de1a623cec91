//! A PostgreSQL server of the run's own, with ours in one database and the bare one in another.
//!
//! The bare database gets the rows of a group as one statement that commits itself: one round trip, one fsync, an array
//! for each column. Nothing that waits for each group is faster.

use std::fmt::Write as _;
use std::time::Instant;

use kavachos::store::Store;
use kavachos_test::postgres::Cluster;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::rows::{Again, Beside};
use crate::tenant;

const NUMBERS: [&str; 2] = ["seq", "time"];
const BYTES: [&str; 2] = ["leaf", "salt"];
const TEXTS: [&str; 12] = [
    "id",
    "kind",
    "outcome",
    "code",
    "actor",
    "subject",
    "agent",
    "action",
    "resource",
    "request_id",
    "body",
    "personal",
];

/// One row of a ledger, as it is stored.
struct Row {
    numbers: [i64; NUMBERS.len()],
    bytes: [Option<Vec<u8>>; BYTES.len()],
    texts: [Option<String>; TEXTS.len()],
}

/// Looks into the database of ours, and fills the bare one.
pub(crate) struct Bare {
    ours: Client,
    bare: Client,
    insert: Statement,
}

impl Bare {
    /// Beside the tenant at `ours`, in another database of the same server.
    pub(crate) async fn create(cluster: &Cluster, ours: &str) -> Self {
        let url = cluster.database();
        let made = tenant::open_on_postgres(&url, std::sync::Arc::new(()));
        made.close().await;
        drop(made);
        let bare = connect(&url).await;
        let insert = bare.prepare(&insert()).await.expect("a statement");
        Self {
            ours: connect(ours).await,
            bare,
            insert,
        }
    }

    async fn rows(&self, first: u64) -> Vec<Row> {
        let sql = format!(
            "SELECT {} FROM ledger WHERE seq >= $1 ORDER BY seq",
            names()
        );
        let rows = self.ours.query(&sql, &[&(first as i64)]).await;
        let rows = rows.expect("rows");
        rows.iter()
            .map(|row| {
                let texts = NUMBERS.len() + BYTES.len();
                Row {
                    numbers: std::array::from_fn(|at| row.get(at)),
                    bytes: std::array::from_fn(|at| row.get(NUMBERS.len() + at)),
                    texts: std::array::from_fn(|at| row.get(texts + at)),
                }
            })
            .collect()
    }

    async fn insert(&self, rows: &[Row]) {
        let numbers: [Vec<i64>; NUMBERS.len()] =
            std::array::from_fn(|at| rows.iter().map(|row| row.numbers[at]).collect());
        let bytes: [Vec<Option<&[u8]>>; BYTES.len()] =
            std::array::from_fn(|at| rows.iter().map(|row| row.bytes[at].as_deref()).collect());
        let texts: [Vec<Option<&str>>; TEXTS.len()] =
            std::array::from_fn(|at| rows.iter().map(|row| row.texts[at].as_deref()).collect());
        let mut params: Vec<&(dyn ToSql + Sync)> = Vec::new();
        params.extend(numbers.iter().map(|column| column as &(dyn ToSql + Sync)));
        params.extend(bytes.iter().map(|column| column as &(dyn ToSql + Sync)));
        params.extend(texts.iter().map(|column| column as &(dyn ToSql + Sync)));
        let inserted = self.bare.execute(&self.insert, &params).await;
        assert_eq!(inserted.expect("rows"), rows.len() as u64);
    }
}

impl Beside for Bare {
    const NAME: &str = "PostgreSQL";

    async fn counts(&self) -> (u64, u64) {
        let sql = "SELECT commits, (SELECT COALESCE(MAX(seq) + 1, 0) FROM ledger) FROM log";
        let row = self.ours.query_one(sql, &[]).await.expect("the log");
        let (commits, records): (i64, i64) = (row.get(0), row.get(1));
        (commits as u64, records as u64)
    }

    async fn again(&mut self, first: u64, group: usize) -> Again {
        let rows = self.rows(first).await;
        let begun = Instant::now();
        for group in rows.chunks(group.max(1)) {
            self.insert(group).await;
        }
        Again {
            rows: rows.len(),
            wall: begun.elapsed().as_secs_f64(),
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
    tokio::spawn(async move { connection.await.expect("a connection") });
    client
}

fn names() -> String {
    [&NUMBERS[..], &BYTES[..], &TEXTS[..]].concat().join(", ")
}

fn insert() -> String {
    let types = [
        ("bigint", NUMBERS.len()),
        ("bytea", BYTES.len()),
        ("text", TEXTS.len()),
    ];
    let types = types
        .iter()
        .flat_map(|(name, count)| std::iter::repeat_n(name, *count));
    let mut arrays = String::new();
    for (number, name) in (1..).zip(types) {
        let comma = if number == 1 { "" } else { ", " };
        write!(arrays, "{comma}${number}::{name}[]").expect("a string");
    }
    format!(
        "INSERT INTO ledger ({}) SELECT * FROM unnest({arrays})",
        names()
    )
}
