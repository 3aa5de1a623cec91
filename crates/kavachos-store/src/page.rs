//! Pages: bounded in rows and in bytes, both by the database, so that no reader holds more than it may answer.

use crate::row::{FromRow, Malformed, Query, Row};

/// How much stored text of unlimited kind (permissions, guards, ceilings, metadata) a page holds before it ends. The
/// row that reaches the bound is its last, so a page has at least one row, and at most this and one row's text.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// One row of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The row.
    pub thing: T,
    /// Whether others come after it, on this page or the next.
    pub more: bool,
}

impl<T: FromRow> FromRow for Listed<T> {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (more, thing) = row.split_first();
        Ok(Self {
            more: Row::new(more.into_iter().collect()).decode::<(bool,)>()?.0,
            thing: thing.decode()?,
        })
    }
}

/// A page of at most `limit` rows, the highest ids first.
///
/// `candidates` selects the id and the bytes of every row that the filters leave; its placeholders begin at `?2`, and
/// are to be bound by the caller. `columns` selects what is read of each row, its `id` among it.
pub(crate) fn of(candidates: &str, columns: &str, limit: usize) -> Query {
    let sql = format!(
        "WITH candidates (id, bytes) AS ({candidates} ORDER BY 1 DESC LIMIT ?1), \
         placed (id, place, known, above) AS (\
           SELECT c.id, ROW_NUMBER() OVER (ORDER BY c.id DESC), COUNT(*) OVER (), \
             COALESCE(SUM(c.bytes) OVER (ORDER BY c.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) \
           FROM candidates c) \
         SELECT CAST(CASE WHEN p.place < p.known THEN 1 ELSE 0 END AS BIGINT), t.* \
         FROM placed p JOIN ({columns}) t ON t.id = p.id \
         WHERE p.place < ?1 AND p.above < {MAX_PAGE_BYTES} ORDER BY p.place"
    );
    // One row more than asked for tells whether there is a next page.
    let rows = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    Query::new(limit, sql).bind(rows)
}

/// A page of at most `limit` rows, the newest first, and of the same time the highest ids: for ids that do not tell when.
///
/// As [`of`], but that `candidates` selects the id, the time and the bytes.
pub(crate) fn by_time(candidates: &str, columns: &str, limit: usize) -> Query {
    let sql = format!(
        "WITH candidates (id, since, bytes) AS ({candidates} ORDER BY 2 DESC, 1 DESC LIMIT ?1), \
         placed (id, place, known, above) AS (\
           SELECT c.id, ROW_NUMBER() OVER (ORDER BY c.since DESC, c.id DESC), COUNT(*) OVER (), \
             COALESCE(SUM(c.bytes) OVER (ORDER BY c.since DESC, c.id DESC \
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) \
           FROM candidates c) \
         SELECT CAST(CASE WHEN p.place < p.known THEN 1 ELSE 0 END AS BIGINT), t.* \
         FROM placed p JOIN ({columns}) t ON t.id = p.id \
         WHERE p.place < ?1 AND p.above < {MAX_PAGE_BYTES} ORDER BY p.place"
    );
    let rows = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    Query::new(limit, sql).bind(rows)
}
