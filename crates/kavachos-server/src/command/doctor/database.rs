//! The database: whether it is there and can be used, who holds it, and what it holds.
//!
//! Nothing of it is changed, and no migration applied. What a server would find when it opens it is found by opening it,
//! where nobody else has it; everything else is read beside whoever has.

use std::path::{Path, PathBuf};

use kavachos_store::checkup::{self, Checkup};
use kavachos_store::migration::Migration;
use kavachos_store::{postgres, sqlite};

use super::{Finding, catalogue, checkpoint, ledger, opening, private};
use crate::config::{Database, Server};
use crate::methods::migrations;
use crate::tenant;

/// Less free space than this is too little to go on.
const BAD_FREE_BYTES: u64 = 64 << 20;
/// Less free space than this should be looked at.
const WARN_FREE_BYTES: u64 = 1 << 30;

/// Who has the database open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Another process.
    Other,
    /// Nobody.
    Nobody,
}

/// Everything about the database, and who holds it.
pub(super) fn look(config: &Server) -> (Holder, Vec<Finding>) {
    let database = &config.database;
    let pending = match planned(database) {
        Ok(pending) => pending,
        Err(finding) => return (Holder::Nobody, vec![*finding]),
    };
    let (holder, mut findings) = match database {
        Database::File(path) => held(path),
        Database::Postgres(_) => (Holder::Nobody, Vec::new()),
    };
    let is_current = pending.is_empty();
    findings.push(schema(database, pending.len()));
    if is_current {
        findings.extend(contents(config));
    }
    // Last, since a writer takes away the files that readers leave beside a database.
    let holder = match holder {
        Holder::Other => Holder::Other,
        Holder::Nobody => {
            let (holder, found) = opening::try_it(database);
            findings.extend(found);
            holder
        }
    };
    if let Database::File(path) = database {
        findings.extend(files(path));
        findings.extend(room(path));
    }
    (holder, findings)
}

/// The migrations that the database lacks; or why it cannot be read at all.
fn planned(database: &Database) -> Result<Vec<Migration>, Box<Finding>> {
    let missing = || Finding::of(&catalogue::DATABASE_MISSING, tenant::not_there(database));
    let all = migrations();
    let pending = match database {
        Database::File(path) if !path.exists() => return Err(Box::new(missing())),
        Database::File(path) => sqlite::plan(path, &all).map_err(|error| opening::of_file(&error)),
        Database::Postgres(url) => {
            postgres::plan(url, &all).map_err(|error| opening::of_server(&error))
        }
    };
    match pending {
        // A server's database without tables of ours.
        Ok(pending) if pending.len() == all.len() => Err(Box::new(missing())),
        pending => pending.map_err(Box::new),
    }
}

fn schema(database: &Database, pending: usize) -> Finding {
    match pending {
        0 => Finding::ok(
            "schema",
            format!("`{database}` has the schema of this binary"),
        ),
        count => Finding::of(
            &catalogue::SCHEMA_PENDING,
            format!("`{database}` lacks {count} migrations of this binary"),
        ),
    }
}

/// What is in it, read in one snapshot.
fn contents(config: &Server) -> Vec<Finding> {
    let answers = match &config.database {
        Database::File(path) => sqlite::read(path, &checkup::queries()),
        Database::Postgres(url) => postgres::read(url, &checkup::queries()),
    };
    let found = answers.and_then(|answers| Ok(Checkup::of(answers)?));
    match found {
        Ok(found) => {
            let mut findings = ledger::judge(config, &found);
            findings.extend(checkpoint::look(config));
            findings
        }
        Err(error) => {
            let says = format!("what is stored cannot be read: {error}");
            vec![Finding::of(&catalogue::DATABASE_DAMAGED, says)]
        }
    }
}

/// The files of the database: only their owner should read them.
fn files(path: &Path) -> Vec<Finding> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let all = [path.to_owned(), beside("-wal")];
    all.iter()
        .filter(|path| path.exists())
        .map(|path| private("database", &catalogue::DATABASE_MODE, path))
        .collect()
}

#[cfg(unix)]
fn room(path: &Path) -> Option<Finding> {
    let directory = path.canonicalize().ok()?;
    let found = rustix::fs::statvfs(directory.parent()?);
    Some(match found {
        Ok(found) => free(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => {
            let says = format!("free space is not known: {error}");
            Finding::of(&catalogue::DISK_UNKNOWN, says)
        }
    })
}

#[cfg(not(unix))]
fn room(_: &Path) -> Option<Finding> {
    None
}

fn free(bytes: u64) -> Finding {
    let says = format!("{} MiB are free", bytes >> 20);
    match bytes {
        ..BAD_FREE_BYTES => Finding::of(&catalogue::DISK_FULL, says),
        BAD_FREE_BYTES..WARN_FREE_BYTES => Finding::of(&catalogue::DISK_LOW, says),
        WARN_FREE_BYTES.. => Finding::ok("disk", says),
    }
}

/// Who holds the file. A lock that nobody holds any more is no obstacle: the system took it back with the process.
fn held(path: &Path) -> (Holder, Vec<Finding>) {
    let lock = with_end(path, ".lock")
        .and_then(|lock| std::fs::File::options().read(true).open(lock).ok());
    let is_held = |file: &std::fs::File| {
        matches!(
            file.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    };
    let Some(lock) = lock.filter(is_held) else {
        return (Holder::Nobody, unclean(path).into_iter().collect());
    };
    let finding = match process(&lock) {
        None => Finding::ok(
            "lock",
            "held by another process, which is the server if one runs",
        ),
        Some(pid) if is_stopped(pid) => {
            let says = format!("held by process {pid}, which is stopped or dead");
            Finding::of(&catalogue::LOCK_STALLED, says)
        }
        Some(pid) => Finding::ok(
            "lock",
            format!("held by process {pid}, which is the server if one runs"),
        ),
    };
    (Holder::Other, vec![finding])
}

/// What a server left that did not end in order.
fn unclean(path: &Path) -> Option<Finding> {
    let log = std::fs::metadata(with_end(path, "-wal")?).ok()?.len();
    let says = format!("the write-ahead log holds {log} bytes, and no server runs");
    (log > 0).then(|| Finding::of(&catalogue::DATABASE_UNCLEAN, says))
}

fn with_end(path: &Path, end: &str) -> Option<PathBuf> {
    let mut name = path.canonicalize().ok()?.into_os_string();
    name.push(end);
    Some(name.into())
}

/// Whether the process does not run: stopped by a signal or a debugger, or a zombie.
#[cfg(target_os = "linux")]
fn is_stopped(pid: u32) -> bool {
    let Ok(state) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // "1234 (name) S ...", and the name may hold anything.
    let after_name = state.rsplit(')').next().unwrap_or_default();
    matches!(
        after_name.trim_start().chars().next(),
        Some('T' | 't' | 'Z' | 'X')
    )
}

#[cfg(not(target_os = "linux"))]
fn is_stopped(_: u32) -> bool {
    false
}

/// The process with a lock on this file, from the kernel's list of locks.
#[cfg(target_os = "linux")]
fn process(file: &std::fs::File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = file.metadata().ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let of = |line: &str| {
        // "1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF"
        let mut words = line.split_whitespace().skip(4);
        let (pid, place) = (words.next()?, words.next()?);
        let number = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (number == inode).then_some(pid)?.parse().ok()
    };
    locks.lines().find_map(of)
}

#[cfg(not(target_os = "linux"))]
fn process(_: &std::fs::File) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Level;

    #[test]
    fn the_less_is_free_the_worse_it_is() {
        let level = |bytes| free(bytes).level;
        assert_eq!(level(WARN_FREE_BYTES), Level::Ok);
        assert_eq!(level(WARN_FREE_BYTES - 1), Level::Warning);
        assert_eq!(level(BAD_FREE_BYTES), Level::Warning);
        assert_eq!(level(BAD_FREE_BYTES - 1), Level::Bad);
        assert_eq!(level(0), Level::Bad);
    }
}
