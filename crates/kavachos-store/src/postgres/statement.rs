//! What a connection keeps prepared.

use tokio_postgres::{Client, Error, Statement};

use super::rewrite::rewrite;
use crate::writer::recent::Recent;

/// How many statements a connection keeps prepared for certain.
const PREPARED: usize = 256;

/// Whether the statement begins with one of these words.
fn begins_with(sql: &str, words: &[&str]) -> bool {
    let sql = sql.trim_start();
    let end = sql.find(|letter: char| !letter.is_ascii_alphabetic());
    let first = end.and_then(|end| sql.get(..end)).unwrap_or(sql);
    words.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// Why a statement was not prepared.
pub(super) enum Unprepared {
    /// It is not in the common subset, or not for this.
    Refused(String),
    /// The server does not take it.
    Failed(Error),
}

/// What statements are for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Read,
    Change,
}

impl Purpose {
    fn check(self, sql: &str) -> Result<(), String> {
        let (words, otherwise): (&[&str], _) = match self {
            Self::Read => (
                &["SELECT", "WITH"],
                "it changes something: that is what `commit` is for",
            ),
            Self::Change => (
                &["INSERT", "UPDATE", "DELETE", "WITH"],
                "the statement changes no rows",
            ),
        };
        match begins_with(sql, words) {
            true => Ok(()),
            false => Err(otherwise.to_owned()),
        }
    }
}

/// The statements that a connection has prepared, by their text in the common subset.
pub(super) struct Prepared {
    purpose: Purpose,
    statements: Recent<String, Statement>,
}

impl Prepared {
    /// None yet, all of them for this.
    pub(super) fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            statements: Recent::new(PREPARED),
        }
    }

    /// The statement, prepared now if need be. Not while a transaction is open: a wrong statement would end it.
    pub(super) async fn statement(
        &mut self,
        client: &Client,
        sql: &str,
    ) -> Result<Statement, Unprepared> {
        if let Some(statement) = self.statements.touch(sql) {
            return Ok(statement.clone());
        }
        let rewritten = rewrite(sql).map_err(Unprepared::Refused)?;
        self.purpose
            .check(&rewritten)
            .map_err(Unprepared::Refused)?;
        let statement = client.prepare(&rewritten).await;
        let statement = statement.map_err(Unprepared::Failed)?;
        self.statements.put(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_tells_what_a_statement_is() {
        let change = ["INSERT", "UPDATE"];
        assert!(begins_with(" update t SET a = 1", &change));
        assert!(begins_with("INSERT", &change));
        for other in ["COMMIT", "UPDATED", "", "-- UPDATE", "(INSERT)"] {
            assert!(!begins_with(other, &change), "{other}");
        }
    }

    #[test]
    fn a_comment_before_it_is_not_its_first_word() {
        let sql = "-- a note\n/* and another */ UPDATE t SET a = 1";
        let rewritten = rewrite(sql).unwrap();
        assert_eq!(Purpose::Change.check(&rewritten), Ok(()));
        assert!(Purpose::Read.check(&rewritten).is_err());
        // The twin: the comment says nothing of what it is.
        let hidden = rewrite("/* UPDATE */ COMMIT").unwrap();
        assert!(Purpose::Change.check(&hidden).is_err());
    }
}
