//! What is over in the tables of plugins, which upkeep removes.
//!
//! Promises: a plugin names a table, a time in its rows and no statement, so that each step removes a bounded number of rows;
//! that they are its own is found out before anything starts.

use std::time::Duration;

use kavachos_core::time::Timestamp;
use kavachos_store::{Query, Select, Write};

use super::statement;
use super::tables::Tables;

/// How many rows one step removes.
pub(crate) const ROWS_PER_STEP: usize = 1_000;

/// Rows of a plugin that are over by a time that stands in them. Upkeep removes them within about an hour, without a record:
/// that they would be over was written when they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// The table.
    pub table: &'static str,
    /// The column by which its rows are told apart.
    pub key: &'static str,
    /// The column with the time: an index on it helps.
    pub time: &'static str,
    /// How long after that time a row is over.
    pub life: Duration,
    /// Which rows, where it is not all of them: a condition.
    pub only: Option<&'static str>,
}

impl Sweep {
    /// Rows that are over at the time in this column, and from then on.
    pub const fn ended(table: &'static str, key: &'static str, time: &'static str) -> Self {
        Self {
            table,
            key,
            time,
            life: Duration::ZERO,
            only: None,
        }
    }

    /// What is wrong with it.
    pub(super) fn check(&self, id: &str, tables: &Tables) -> Result<(), String> {
        for column in [self.key, self.time] {
            if !tables.has(self.table, column) {
                let table = self.table;
                return Err(format!("it sweeps `{table}` by `{column}`, and has none"));
            }
        }
        let wrong = |why| format!("it sweeps `{}`: {why}", self.table);
        statement::check_read(id, &self.listing()).map_err(wrong)?;
        statement::check_write(id, &self.removing()).map_err(wrong)
    }

    /// The rows that are over, as many as one step removes.
    pub(crate) fn over(&self, now: Timestamp) -> Select<(i64,)> {
        let query = Query::new(ROWS_PER_STEP, self.listing());
        query.bind(now.minus(self.life)).of()
    }

    /// Removes them.
    pub(crate) fn remove(&self, now: Timestamp) -> Write {
        Write::any(self.removing()).bind(now.minus(self.life))
    }

    fn listing(&self) -> String {
        self.selecting(self.time)
    }

    fn removing(&self) -> String {
        let (table, key) = (self.table, self.key);
        let over = self.selecting(key);
        format!("DELETE FROM {table} WHERE {key} IN ({over})")
    }

    fn selecting(&self, column: &str) -> String {
        let (table, time) = (self.table, self.time);
        let only = self.only.map(|only| format!(" AND ({only})"));
        let only = only.unwrap_or_default();
        format!("SELECT {column} FROM {table} WHERE {time} <= ?1{only} LIMIT {ROWS_PER_STEP}")
    }
}

#[cfg(test)]
mod tests {
    use kavachos_store::migration::Migration;

    use super::*;

    fn tables() -> Tables {
        Tables::of(&[Migration {
            owner: "notes",
            number: 1,
            name: "notes",
            sql: "CREATE TABLE notes_note (id {text} NOT NULL PRIMARY KEY, until {int} NOT NULL) {keyed};",
            min_binary: 1,
        }])
        .unwrap()
    }

    #[test]
    fn a_sweep_is_of_a_table_of_its_own_and_bounded() {
        let right = Sweep::ended("notes_note", "id", "until");
        assert_eq!(right.check("notes", &tables()), Ok(()));
        let some = Sweep {
            only: Some("id <> 'x'"),
            ..right
        };
        assert_eq!(some.check("notes", &tables()), Ok(()));
        assert_eq!(
            some.removing(),
            "DELETE FROM notes_note WHERE id IN (SELECT id FROM notes_note WHERE until <= ?1 AND (id <> 'x') LIMIT 1000)"
        );
        for wrong in [
            Sweep::ended("agents", "id", "created_at"),
            Sweep::ended("notes_other", "id", "until"),
            Sweep::ended("notes_note", "hash", "until"),
            Sweep::ended("notes_note", "id", "expires_at"),
            Sweep {
                only: Some("id IN (SELECT id FROM agents)"),
                ..right
            },
            Sweep {
                only: Some("1 = 1); DELETE FROM agents WHERE (1 = 1"),
                ..right
            },
        ] {
            assert!(wrong.check("notes", &tables()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rows_are_over_so_long_after_their_time() {
        let day = Sweep {
            life: Duration::from_secs(86_400),
            ..Sweep::ended("notes_note", "id", "until")
        };
        let now = Timestamp::from_micros(86_400_000_007);
        let bound = Query::new(1, "").bind(Timestamp::from_micros(7)).params;
        assert_eq!(day.remove(now).params, bound);
        assert_eq!(day.over(now).into_query().params, bound);
    }
}
