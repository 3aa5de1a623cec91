//! From the common subset to PostgreSQL, and what a connection keeps prepared.

use tokio_postgres::{Client, Error, Statement};

use crate::writer::recent::Recent;

/// How many statements a connection keeps prepared for certain.
const PREPARED: usize = 256;

/// The statement with `$1` where the common subset has `?1`. What stands in quotes is left alone.
pub(super) fn rewrite(sql: &str) -> String {
    let mut quoted_by = None;
    sql.chars()
        .map(|letter| match (quoted_by, letter) {
            (None, '?') => '$',
            (None, '\'' | '"') => {
                quoted_by = Some(letter);
                letter
            }
            (Some(quote), _) if quote == letter => {
                quoted_by = None;
                letter
            }
            _ => letter,
        })
        .collect()
}

/// Whether the statement begins with one of these words.
pub(super) fn begins_with(sql: &str, words: &[&str]) -> bool {
    let sql = sql.trim_start();
    let end = sql.find(|letter: char| !letter.is_ascii_alphabetic());
    let first = end.and_then(|end| sql.get(..end)).unwrap_or(sql);
    words.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// The statements that a connection has prepared, by their text in the common subset.
pub(super) struct Prepared(Recent<String, Statement>);

impl Prepared {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Recent::new(PREPARED))
    }

    /// The statement, prepared now if need be. Not while a transaction is open: a wrong statement would end it.
    pub(super) async fn statement(
        &mut self,
        client: &Client,
        sql: &str,
    ) -> Result<Statement, Error> {
        if let Some(statement) = self.0.touch(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(&rewrite(sql)).await?;
        self.0.put(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_rewritten_and_what_is_quoted_is_not() {
        assert_eq!(
            rewrite("SELECT '?1', 'it''s ?2', \"?3\" FROM t WHERE a = ?1 AND b = ?12"),
            "SELECT '?1', 'it''s ?2', \"?3\" FROM t WHERE a = $1 AND b = $12"
        );
    }

    #[test]
    fn the_first_word_tells_what_a_statement_is() {
        let change = ["INSERT", "UPDATE"];
        assert!(begins_with(" update t SET a = 1", &change));
        assert!(begins_with("INSERT", &change));
        for other in ["COMMIT", "UPDATED", "", "-- UPDATE", "(INSERT)"] {
            assert!(!begins_with(other, &change), "{other}");
        }
    }
}
