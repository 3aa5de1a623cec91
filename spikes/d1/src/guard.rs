//! Guards: statements that change nothing, and fail a `batch()` whose last write changed another number of rows than it
//! had to, or in which something is not as it was relied on.
//!
//! Inserting into the view `guard` runs a trigger, which raises an error that carries the step. So nothing is stored and
//! deleted again, and the number of the failed step is not lost. An error can carry a computed text since SQLite 3.47.

use kavachos_store::Param;

use crate::link::Statement;

/// The schema of guards. The trigger is one statement, semicolons and all.
pub(crate) const SCHEMA: [&str; 2] = [
    "CREATE VIEW guard (step, found, needed) AS SELECT 0, 0, 0 WHERE 0",
    "CREATE TRIGGER guard_fails INSTEAD OF INSERT ON guard WHEN new.found IS NOT new.needed \
     BEGIN SELECT RAISE(ABORT, 'kavachos guard ' || CAST(new.step AS INTEGER) || '.'); END",
];
const FAILED: &str = "kavachos guard ";

const CHANGES: &str = "INSERT INTO guard (step, found, needed) SELECT ?1, changes(), ?2";
const GENERATION: &str = "INSERT INTO guard (step, found, needed) \
    SELECT ?1, (SELECT generation FROM handles WHERE handle = ?2), ?3";
const COMMITS: &str =
    "INSERT INTO guard (step, found, needed) SELECT ?1, (SELECT commits FROM log), ?2";
const NEVER: &str = "INSERT INTO guard (step, found, needed) VALUES (?1, 0, 1)";

/// The write before it changed so many rows. It must follow that write directly.
pub(crate) fn changed(step: usize, rows: u64) -> Statement {
    guard(CHANGES, step, [rows.into()])
}

/// The handle is at exactly this generation; one that was never stored is at none.
pub(crate) fn generation(step: usize, handle: Param, generation: u64) -> Statement {
    guard(GENERATION, step, [handle, generation.into()])
}

/// So many groups were committed.
pub(crate) fn commits(step: usize, commits: u64) -> Statement {
    guard(COMMITS, step, [commits.into()])
}

/// Fails whatever is: everything before it is undone.
pub(crate) fn never(step: usize) -> Statement {
    guard(NEVER, step, [])
}

/// The step whose guard failed; `None` when the database refused something else.
pub(crate) fn failed_step(reason: &str) -> Option<usize> {
    let (step, _) = reason.strip_prefix(FAILED)?.split_once('.')?;
    step.parse().ok()
}

fn guard<const N: usize>(sql: &'static str, step: usize, params: [Param; N]) -> Statement {
    let step = u64::try_from(step).unwrap_or(u64::MAX);
    Statement::new(sql, std::iter::once(step.into()).chain(params).collect())
}
