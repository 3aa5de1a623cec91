//! The database: whether it opens, who holds it, whether there is room, and whether the clock agrees with it.

use std::path::Path;

use kavachos::Kavach;
use kavachos_engine::AuditFilter;
use kavachos_engine::actor::Actor;
use kavachos_engine::page::PageOf;
use kavachos_store::migration::MIGRATIONS;
use kavachos_store::sqlite;

use super::{Finding, private};
use crate::config::Server;
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
    let path = &config.database;
    if !path.exists() {
        let findings = vec![Finding::bad("database", tenant::not_there(path))];
        return (Holder::Nobody, findings);
    }
    let mut findings = vec![schema(path), private("database", path)];
    findings.extend(room(path));
    let holder = match holder(path) {
        Some(holder) => {
            findings.push(Finding::ok(
                "lock",
                format!("held by {holder}, which is the server if one runs"),
            ));
            Holder::Other
        }
        None => {
            findings.extend(opened(config).await);
            Holder::Nobody
        }
    };
    (holder, findings)
}

/// Whether this binary knows the schema. Reads only.
fn schema(path: &Path) -> Finding {
    let shown = path.display();
    match sqlite::plan(path, MIGRATIONS) {
        Ok(pending) if pending.is_empty() => Finding::ok(
            "database",
            format!("`{shown}` has the schema of this binary"),
        ),
        Ok(pending) => Finding::warn(
            "database",
            format!(
                "`{shown}` lacks {} migrations; the next start applies them",
                pending.len()
            ),
        ),
        Err(error) => Finding::bad("database", error.to_string()),
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
            format!("write-ahead log, synchronous FULL; {} records", head.size),
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
