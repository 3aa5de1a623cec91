//! What a database says of its own schema, held against the migrations of this binary.

use std::collections::HashMap;

use kavachos_core::time::Timestamp;

use crate::migration::{History, Migration, Progress, SchemaError, Told};

/// What marks a database as ours.
pub(crate) const APPLICATION_NAME: &str = "kavachos";

/// The schema of a database that may be used.
pub(crate) enum Schema {
    /// Nothing is in it.
    Empty,
    /// These were applied, by owner and number.
    Ours(Applied),
}

/// The migrations that a database has.
pub(crate) type Applied = HashMap<(String, u32), Step>;

/// One of them.
pub(crate) struct Step {
    pub(crate) checksum: Vec<u8>,
    pub(crate) min_binary: u32,
    pub(crate) name: String,
    pub(crate) time: Timestamp,
}

impl Schema {
    /// The migrations that are still to be applied, in order.
    pub(crate) fn pending(&self, known: &[Migration]) -> Result<Vec<Migration>, SchemaError> {
        match self {
            Self::Empty => Ok(known.to_vec()),
            Self::Ours(applied) => {
                check_level(applied, known)?;
                check_history(applied, known)?;
                let is_new = |step: &&Migration| !applied.contains_key(&key(step));
                Ok(known.iter().filter(is_new).copied().collect())
            }
        }
    }
}

impl Schema {
    /// Every migration and how far it has come.
    pub(crate) fn history(&self, known: &[Migration]) -> History {
        let none = Applied::new();
        let applied = match self {
            Self::Empty => &none,
            Self::Ours(applied) => applied,
        };
        let mut migrations: Vec<Told> = known.iter().map(|step| told(step, applied)).collect();
        migrations.extend(unknown(applied, known));
        History {
            migrations,
            obstacle: self.pending(known).err(),
        }
    }
}

fn told(step: &Migration, applied: &Applied) -> Told {
    let done = applied.get(&key(step));
    let checksum = done.map_or_else(|| step.checksum().to_vec(), |done| done.checksum.clone());
    let progress = match done {
        None => Progress::Pending,
        Some(_) if checksum == step.checksum() => Progress::Applied,
        Some(_) => Progress::Edited,
    };
    Told {
        owner: step.owner.to_owned(),
        number: step.number,
        name: step.name.to_owned(),
        checksum,
        progress,
        time: done.map(|done| done.time),
    }
}

/// What only the database has, in order.
fn unknown(applied: &Applied, known: &[Migration]) -> Vec<Told> {
    let is_known = |owner: &str, number: u32| {
        known
            .iter()
            .any(|step| step.owner == owner && step.number == number)
    };
    let others = applied
        .iter()
        .filter(|((owner, number), _)| !is_known(owner, *number));
    let mut others: Vec<Told> = others
        .map(|((owner, number), step)| Told {
            owner: owner.clone(),
            number: *number,
            name: step.name.clone(),
            checksum: step.checksum.clone(),
            progress: Progress::Unknown,
            time: Some(step.time),
        })
        .collect();
    others.sort_by(|left, right| (&left.owner, left.number).cmp(&(&right.owner, right.number)));
    others
}

/// Only a binary that is too old is refused; a database that is ahead of it otherwise is fine. Tables of a plugin
/// that is not there do not matter.
fn check_level(applied: &Applied, known: &[Migration]) -> Result<(), SchemaError> {
    let mut levels: HashMap<&str, u32> = HashMap::new();
    for step in known {
        let level = levels.entry(step.owner).or_default();
        *level = step.number.max(*level);
    }
    for ((owner, _), step) in applied {
        if let Some(level) = levels.get(owner.as_str())
            && step.min_binary > *level
        {
            return Err(SchemaError::BinaryTooOld {
                owner: owner.clone(),
                needs: step.min_binary,
                known: *level,
            });
        }
    }
    Ok(())
}

/// What was applied is what is embedded, and nothing was left out in between.
fn check_history(applied: &Applied, known: &[Migration]) -> Result<(), SchemaError> {
    for step in known {
        let edited = applied
            .get(&key(step))
            .is_some_and(|done| done.checksum != step.checksum());
        let skipped = !applied.contains_key(&key(step))
            && applied
                .keys()
                .any(|(owner, number)| owner == step.owner && *number > step.number);
        if edited || skipped {
            return Err(SchemaError::Edited {
                owner: step.owner.to_owned(),
                number: step.number,
            });
        }
    }
    Ok(())
}

fn key(step: &Migration) -> (String, u32) {
    (step.owner.to_owned(), step.number)
}
