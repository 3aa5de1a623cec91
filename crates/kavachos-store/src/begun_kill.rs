//! Kills that are begun and go on in steps, so that one who is killed is dead at once however much hangs on them, and
//! what hangs on them is raised also by a process that starts after a crash.

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// A kill that is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunKill {
    /// Of whom: the id of a human or of a session, or by what all clients of a host are known; of what a human made, their id
    /// behind a word for how much of it.
    pub id: String,
    /// The generation that the kill raised them to; of what a human made, the time until which they did; of a host, nothing.
    pub generation: u64,
    /// Up to where the rest was raised; empty before the first step.
    pub reached: String,
}

impl FromRow for BegunKill {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, generation, reached) = row.decode()?;
        Ok(Self {
            id,
            generation,
            reached,
        })
    }
}

/// Begins, from the first step on, also where an earlier kill is under way. Belongs into the batch of the kill.
pub fn begin(id: String, generation: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO begun_kills (id, generation, reached) VALUES (?1, ?2, '') \
         ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, reached = ''",
    )
    .bind(id)
    .bind(generation)
}

/// Notes a step: everything up to here is raised. Nobody else has made one meanwhile, or begun anew.
pub fn advance(begun: &BegunKill, reached: String) -> Write {
    Write::exactly(
        1,
        "UPDATE begun_kills SET reached = ?4 WHERE id = ?1 AND generation = ?2 AND reached = ?3",
    )
    .bind(begun.id.clone())
    .bind(begun.generation)
    .bind(begun.reached.clone())
    .bind(reached)
}

/// Notes the last step.
pub fn finish(begun: &BegunKill) -> Write {
    Write::exactly(
        1,
        "DELETE FROM begun_kills WHERE id = ?1 AND generation = ?2 AND reached = ?3",
    )
    .bind(begun.id.clone())
    .bind(begun.generation)
    .bind(begun.reached.clone())
}

/// The kill of whoever this is that is begun.
pub fn of(id: String) -> Select<BegunKill> {
    Query::new(
        1,
        "SELECT b.id, b.generation, b.reached FROM begun_kills b WHERE b.id = ?1",
    )
    .bind(id)
    .of()
}

/// One that ends, in steps, what was made in an account that its human took back; those have one of these words before the id.
pub fn any_ending() -> Select<(String,)> {
    Query::new(
        1,
        "SELECT b.id FROM begun_kills b WHERE b.id LIKE 'made:%' OR b.id LIKE 'given:%' LIMIT 1",
    )
    .of()
}

/// At most `limit` kills that are begun.
pub fn all(limit: usize) -> Select<BegunKill> {
    Query::new(
        limit,
        "SELECT b.id, b.generation, b.reached FROM begun_kills b ORDER BY b.id LIMIT ?1",
    )
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}
