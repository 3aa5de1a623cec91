//! How many connections there is room for.
//!
//! A process may have only so many files and sockets open. The database comes first: it opens files while the server
//! runs, so strangers who open connections must not be able to take the last one.

/// What is kept for the database, its readers, the log and the listeners: about twice what they need.
#[cfg(unix)]
const RESERVED: u64 = 64;

/// How many of the wanted connections this process can have. Raises its limit of open files as far as it may.
#[cfg(unix)]
pub(crate) fn fitting(wanted: u32) -> u32 {
    let Some(limit) = raised(u64::from(wanted).saturating_add(RESERVED)) else {
        return wanted;
    };
    let room = room(wanted, limit);
    if room < wanted {
        tracing::warn!(
            "at most {room} connections at the same time, not {wanted}: this process may have {limit} files open \
             (ulimit -n)"
        );
    }
    room
}

/// How many of the wanted connections this process can have.
#[cfg(not(unix))]
pub(crate) fn fitting(wanted: u32) -> u32 {
    wanted
}

/// How many connections this process could have at most and its limit of open files, if it could not have all of these.
#[cfg(unix)]
pub(crate) fn shortfall(wanted: u32) -> Option<(u32, u64)> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum?;
    let room = room(wanted, limit);
    (room < wanted).then_some((room, limit))
}

/// How many connections this process could have at most and its limit of open files, if it could not have all of these.
#[cfg(not(unix))]
pub(crate) fn shortfall(_: u32) -> Option<(u32, u64)> {
    None
}

/// The limit of open files, after it was raised to what is needed or to what is allowed; `None` when there is none.
#[cfg(unix)]
fn raised(needed: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if allowed <= current {
        return Some(current);
    }
    let raised = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    Some(setrlimit(Resource::Nofile, raised).map_or(current, |()| allowed))
}

/// How many of the wanted connections fit under a limit of open files; under a very low one they get half of it.
#[cfg(unix)]
fn room(wanted: u32, limit: u64) -> u32 {
    let room = limit.saturating_sub(RESERVED.min(limit / 2));
    u32::try_from(room).unwrap_or(u32::MAX).clamp(1, wanted)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_database_keeps_its_share_of_the_open_files() {
        for (wanted, limit, expected) in [
            (10_000, 20_000, 10_000),
            (10_000, 10_064, 10_000),
            (10_000, 10_063, 9_999),
            (10_000, 1_024, 960),
            (10_000, 64, 32),
            (10, 64, 10),
            (10_000, 0, 1),
            (1, u64::MAX, 1),
        ] {
            assert_eq!(room(wanted, limit), expected, "{wanted} under {limit}");
        }
    }
}
