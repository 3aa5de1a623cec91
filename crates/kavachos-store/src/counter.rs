//! Counters, read back, and those removed that limit nobody any more. Only the writer takes from them.

use kavachos_core::counter::is_spent;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// How many counters one query names.
pub const COUNTERS_PER_QUERY: usize = 64;
/// How many counters a page holds.
pub const COUNTERS_PER_PAGE: usize = 256;

/// The stored states of these counters, at most [`COUNTERS_PER_QUERY`]; one from which nothing was ever taken has none.
///
/// They may be old by the time they are read: nothing may be allowed on them.
pub fn states(counters: &[&[u8]]) -> Select<(Vec<u8>, Vec<u8>)> {
    let slots: Vec<String> = (1..=counters.len())
        .map(|slot| format!("?{slot}"))
        .collect();
    let sql = format!(
        "SELECT c.counter, c.state FROM counters c WHERE c.counter IN ({})",
        slots.join(", ")
    );
    let query = Query::new(COUNTERS_PER_QUERY, sql);
    counters
        .iter()
        .fold(query, |query, counter| query.bind(counter.to_vec()))
        .of()
}

/// A counter, and where the log was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Its key.
    pub key: Vec<u8>,
    state: Vec<u8>,
    /// When the last batch before was committed. The writer takes at this time or later, whatever the clock says.
    time: Timestamp,
}

impl FromRow for Counter {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (key, state, time) = row.decode()?;
        Ok(Self { key, state, time })
    }
}

/// A page of counters in the order of their keys, after this one; the empty key is before all.
///
/// It walks the primary key: an index by age would cost every decision that takes from a counter a write.
pub fn page(after: &[u8]) -> Select<Counter> {
    let sql = format!(
        "SELECT c.counter, c.state, (SELECT l.last_time FROM log l) FROM counters c WHERE c.counter > ?1 \
         ORDER BY c.counter LIMIT {COUNTERS_PER_PAGE}"
    );
    Query::new(COUNTERS_PER_PAGE, sql).bind(after.to_vec()).of()
}

/// Removes a counter that limits nobody any more, unless something was taken from it meanwhile. `None` for one that
/// still counts: a rate whose period is open, and every budget.
///
/// The writer may remember the state. That is no matter: it comes to the same as none, see [`is_spent`].
pub fn forget(counter: Counter) -> Option<Write> {
    let Counter { key, state, time } = counter;
    is_spent(&state, time).then(|| {
        Write::any("DELETE FROM counters WHERE counter = ?1 AND state = ?2")
            .bind(key)
            .bind(state)
    })
}
