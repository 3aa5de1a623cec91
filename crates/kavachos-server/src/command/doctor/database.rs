//! The database: whether it opens, who holds it, whether there is room, and whether the clock agrees with it.

use std::path::Path;

use kavachos::{BuildError, Kavach};
use kavachos_engine::AuditFilter;
use kavachos_engine::actor::Actor;
use kavachos_engine::page::PageOf;
use kavachos_store::migration::MIGRATIONS;
use kavachos_store::{postgres, sqlite};

use super::{Finding, private};
use crate::config::{Database, Server};
use crate::failure::Failure;
use crate::tenant::{self, Missing};

/// Less free space than this is too little to go on.
const BAD_FREE_BYTES: u64 = 64 << 20;
/// Less free space than this should be looked at.
const WARN_FREE_BYTES: u64 = 1 << 30;
/// How far the newest record may lie in the future before the clock is wrong.
const CLOCK_SLACK_MICROS: i64 = 5_000_000;

/// Who has the database open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Another process.
    Other,
    /// Nobody.
    Nobody,
}

/// Everything about the database, and who holds it.
pub(super) async fn look(config: &Server) -> (Holder, Vec<Finding>) {
    match tenant::exists(&config.database) {
        Ok(true) => {}
        Ok(false) => {
            let missing = Finding::bad("database", tenant::not_there(&config.database));
            return (Holder::Nobody, vec![missing]);
        }
        Err(failure) => {
            let unusable = Finding::bad("database", failure.to_string());
            return (Holder::Nobody, vec![unusable]);
        }
    }
    let mut findings = vec![schema(&config.database)];
    let holder = match &config.database {
        Database::File(path) => {
            findings.push(private("database", path));
            findings.extend(room(path));
            holder(path)
        }
        Database::Postgres(url) => holder_of_log(url).await,
    };
    match holder {
        Some(holder) => {
            findings.push(Finding::ok(
                "lock",
                format!("held by {holder}, which is the server if one runs"),
            ));
            (Holder::Other, findings)
        }
        None => {
            findings.extend(opened(config).await);
            (Holder::Nobody, findings)
        }
    }
}

/// Who holds the log in a PostgreSQL database. What else is wrong with it comes up when it is opened.
async fn holder_of_log(url: &str) -> Option<String> {
    match Kavach::builder().postgres(url).build().await {
        Err(BuildError::Postgres(postgres::OpenError::Held { holder })) => Some(holder),
        Err(_) => None,
        Ok(kavach) => {
            kavach.close().await;
            None
        }
    }
}

/// Whether this binary knows the schema. Reads only.
fn schema(database: &Database) -> Finding {
    let planned = match database {
        Database::File(path) => sqlite::plan(path, MIGRATIONS).map_err(|error| error.to_string()),
        Database::Postgres(url) => {
            postgres::plan(url, MIGRATIONS).map_err(|error| error.to_string())
        }
    };
    match planned {
        Ok(pending) if pending.is_empty() => Finding::ok(
            "database",
            format!("`{database}` has the schema of this binary"),
        ),
        Ok(pending) => Finding::warn(
            "database",
            format!(
                "`{database}` lacks {} migrations; the next start applies them",
                pending.len()
            ),
        ),
        Err(error) => Finding::bad("database", error),
    }
}

/// Opens the database as a server would, which checks its settings and its log, and closes it again.
async fn opened(config: &Server) -> Vec<Finding> {
    let kavach = match tenant::of_server(config, Missing::Refuse).await {
        Ok(kavach) => kavach,
        Err(failure) => return vec![Finding::bad("open", failure.to_string())],
    };
    let head = kavach.engine().head();
    let mut findings = vec![
        Finding::ok(
            "open",
            format!("{}; {} records", durability(&config.database), head.size),
        ),
        clock(&kavach)
            .await
            .unwrap_or_else(|failure| Finding::bad("clock", failure.to_string())),
    ];
    if let Ok(false) = kavach.engine().has_keys().await {
        findings.push(Finding::bad(
            "keys",
            "there is no operator key: run `kavach init`, or set KAVACH_ADMIN_KEY",
        ));
    }
    kavach.close().await;
    findings
}

/// What stands for an acknowledged record; weaker is not opened.
fn durability(database: &Database) -> &'static str {
    match database {
        Database::File(_) => "write-ahead log, synchronous FULL",
        Database::Postgres(_) => "fsync, full_page_writes and synchronous_commit are on",
    }
}

/// Whether the newest record was written before now.
async fn clock(kavach: &Kavach) -> Result<Finding, Failure> {
    let engine = kavach.engine();
    let now = engine.now();
    let newest = engine
        .audit(
            &Actor::local(engine.id()),
            &AuditFilter::default(),
            PageOf {
                after: None,
                limit: 1,
            },
        )
        .await;
    let newest = newest.map_err(|error| tenant::failure(&error))?;
    let time = newest
        .items
        .first()
        .and_then(|record| record.members.get("time")?.as_str()?.parse().ok());
    let is_ahead = |time: kavachos_core::time::Timestamp| {
        time.as_micros() > now.as_micros().saturating_add(CLOCK_SLACK_MICROS)
    };
    Ok(match time {
        Some(time) if is_ahead(time) => Finding::bad(
            "clock",
            format!("it is {now}, but the newest record is of {time}: set the clock right"),
        ),
        _ => Finding::ok("clock", format!("it is {now}, after every record")),
    })
}

#[cfg(unix)]
fn room(path: &Path) -> Option<Finding> {
    let directory = path.canonicalize().ok()?;
    let found = rustix::fs::statvfs(directory.parent()?);
    let free = match found {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            return Some(Finding::warn(
                "disk",
                format!("free space is not known: {error}"),
            ));
        }
    };
    let says = format!("{} MiB are free", free >> 20);
    Some(match free {
        ..BAD_FREE_BYTES => Finding::bad("disk", format!("{says}: make room")),
        BAD_FREE_BYTES..WARN_FREE_BYTES => Finding::warn("disk", format!("{says}: make room soon")),
        WARN_FREE_BYTES.. => Finding::ok("disk", says),
    })
}

#[cfg(not(unix))]
fn room(_: &Path) -> Option<Finding> {
    None
}

/// Who holds the lock beside the database; the process's number where the system tells.
fn holder(path: &Path) -> Option<String> {
    let mut lock = path.canonicalize().ok()?.into_os_string();
    lock.push(".lock");
    let file = std::fs::File::options().read(true).open(&lock).ok()?;
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => Some(
            process(&file).map_or("another process".to_owned(), |pid| format!("process {pid}")),
        ),
        _ => None,
    }
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
