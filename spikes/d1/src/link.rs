//! The one way into a D1 database, and what was sent through it held against D1's limits.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use kavachos_store::{Param, Row};

use crate::text;

/// The largest whole number up to which JavaScript, through which all of D1's values go, tells every two apart.
const MAX_EXACT: i64 = (1 << 53) - 1;

/// One statement of a `batch()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// With placeholders `?1`, `?2`, ...
    pub sql: Cow<'static, str>,
    /// Their values; no number among them is beyond 2^53.
    pub params: Vec<Param>,
}

impl Statement {
    /// A statement. A number that D1 would round goes as text and is made a number again by the statement.
    pub fn new(sql: impl Into<Cow<'static, str>>, params: Vec<Param>) -> Self {
        let (mut sql, mut params) = (sql.into(), params);
        for (index, param) in params.iter_mut().enumerate() {
            let large = match *param {
                Param::Integer(number) if number.unsigned_abs() > MAX_EXACT.unsigned_abs() => {
                    Some(number.to_string())
                }
                Param::Unsigned(number) if number > MAX_EXACT.unsigned_abs() => {
                    Some(number.to_string())
                }
                _ => None,
            };
            if let Some(number) = large {
                sql = text::cast_placeholder(&sql, index.saturating_add(1)).into();
                *param = number.into();
            }
        }
        Self { sql, params }
    }
}

/// Why a `batch()` gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// D1 says why; nothing was applied.
    #[error("{0}")]
    Refused(String),
    /// No answer came: it may be applied, or may still be.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Runs statements in one D1 database.
pub trait Link: Send + Sync {
    /// Runs them in order, all or nothing, and returns the rows of each.
    ///
    /// # Errors
    /// Nothing was applied, or it is not known; see [`LinkError`].
    fn batch(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, LinkError>;
}

/// What went through a link, and the largest of each that D1 limits.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many times `batch()` was called.
    pub round_trips: AtomicU64,
    /// How many statements there were in all.
    pub statements: AtomicU64,
    /// The most statements of one `batch()`.
    pub most_statements: AtomicU64,
    /// The most parameters of one statement.
    pub most_params: AtomicU64,
    /// The longest statement in bytes.
    pub longest_sql: AtomicU64,
    /// The most bytes bound to one statement: a row has about as many.
    pub most_bound: AtomicU64,
}

impl Tally {
    /// Counts one `batch()`.
    pub fn count(&self, statements: &[Statement]) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let sent = count(statements.len());
        self.statements.fetch_add(sent, Ordering::Relaxed);
        self.most_statements.fetch_max(sent, Ordering::Relaxed);
        for statement in statements {
            let bound: usize = statement.params.iter().map(bytes).sum();
            for (most, found) in [
                (&self.most_params, statement.params.len()),
                (&self.longest_sql, statement.sql.len()),
                (&self.most_bound, bound),
            ] {
                most.fetch_max(count(found), Ordering::Relaxed);
            }
        }
    }
}

fn bytes(param: &Param) -> usize {
    match param {
        Param::Null => 0,
        Param::Integer(_) | Param::Unsigned(_) => size_of::<i64>(),
        Param::Text(text) => text.len(),
        Param::Blob(bytes) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_be_rounded_goes_as_text() {
        let sql = "SELECT '?1', ?1, ?11, ?2";
        let large = Statement::new(sql, vec![i64::MIN.into(), MAX_EXACT.into()]);
        assert_eq!(large.sql, "SELECT '?1', CAST(?1 AS INTEGER), ?11, ?2");
        assert_eq!(
            large.params,
            [i64::MIN.to_string().into(), MAX_EXACT.into()]
        );
        let small = Statement::new(sql, vec![1_i64.into(), 2_i64.into()]);
        assert_eq!(small.sql, sql);
    }
}
