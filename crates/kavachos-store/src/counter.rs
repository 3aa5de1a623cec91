//! Counters, read back. Only the writer takes from them.

use crate::row::{Query, Select};

/// How many counters one query names.
pub const COUNTERS_PER_QUERY: usize = 64;

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
