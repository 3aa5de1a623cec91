//! Reads: one thread, one `batch()` for all queries of a read, which makes them of one moment.
//!
//! Each query becomes a table in the FROM of another. That makes a statement that changes something a syntax error,
//! gives columns of one name different ones (rows come as objects), and bounds the rows that are sent.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use kavachos_store::{Query, ReadError};

use crate::link::{Link, LinkError, Statement};
use crate::writer::job::{ReadJob, Rows};
use crate::writer::queue::{Limit, Queue};

const ONE: Limit = Limit {
    items: 1,
    bytes: usize::MAX,
};

/// Starts the reader. It ends when the queue is closed and empty.
pub(crate) fn start(
    link: Arc<dyn Link>,
    queue: Arc<Queue<ReadJob>>,
) -> std::io::Result<JoinHandle<()>> {
    let serve = move || {
        let mut jobs = Vec::with_capacity(1);
        while queue.drain(&mut jobs, ONE) {
            for job in jobs.drain(..) {
                // A caller that no longer waits needs no answer.
                let _ = job.answer.send(run(&*link, &job.queries));
            }
        }
    };
    Builder::new()
        .name("kavach-d1-read".to_owned())
        .spawn(serve)
}

fn run(link: &dyn Link, queries: &[Query]) -> Rows {
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let statements: Vec<Statement> = queries.iter().map(wrapped).collect();
    let lists = link.batch(&statements).map_err(|error| match error {
        LinkError::Refused(reason) => ReadError::Rejected(reason),
        LinkError::Lost(reason) => ReadError::Unavailable(reason.into()),
    })?;
    match queries
        .iter()
        .zip(&lists)
        .find(|(query, rows)| rows.len() > query.max_rows)
    {
        Some((query, _)) => Err(ReadError::TooManyRows(query.max_rows)),
        None => Ok(lists),
    }
}

fn wrapped(query: &Query) -> Statement {
    let rows = query.max_rows.saturating_add(1);
    let sql = format!("SELECT * FROM (\n{}\n) LIMIT {rows}", query.sql);
    Statement::new(sql, query.params.clone())
}
