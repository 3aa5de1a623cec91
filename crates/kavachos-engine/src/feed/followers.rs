//! Who follows the log, as far as this process knows: what each has applied, and until when each may go on without news.
//!
//! Kept in memory, and by the clock that nobody sets: a wall clock that jumps forward forgets nobody who holds a lease.
//! What was given out before this process started is not known one by one; until the longest lease after
//! the start is over it is taken for granted that somebody holds one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::revocation::{FollowerName, Instance, Lease};

use crate::error::{Error, Result};

/// How many processes follow, all in all.
const MAX_FOLLOWERS: usize = 4_096;
/// How many processes of one follower.
const MAX_INSTANCES: usize = 64;
/// After how many of its leases a follower that is not heard of is forgotten.
const LEASES_KNOWN: u32 = 2;

/// A process that follows: whose it is, and which.
pub(super) type Which = (FollowerName, Instance);

/// The followers.
#[derive(Default)]
pub(crate) struct Followers(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// INVARIANT: at most [`MAX_FOLLOWERS`].
    followers: HashMap<Which, Followed>,
    /// Until when somebody may hold a lease that was given out before the start.
    of_before: Option<Duration>,
}

struct Followed {
    /// The epoch and the number of the last record that it has applied.
    acknowledged: (u64, u64),
    /// The longest lease that it may hold.
    lease: Lease,
    /// When it is forgotten.
    forgotten: Duration,
}

/// How many know of a kill, and who may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) followers: u64,
    pub(super) acknowledged: u64,
    /// The longest lease of those that have not acknowledged.
    pub(super) longest: Option<Lease>,
    /// For how long yet somebody may hold a lease that was given out before the start.
    pub(super) of_before: Option<Duration>,
}

impl Tally {
    /// For how long yet somebody may accept what was killed; `None` when all know of it.
    pub(super) fn open_for(&self) -> Option<Duration> {
        // Whoever was given a lease before the start knows of nothing since.
        let by_lease = self.longest.map(Lease::duration);
        by_lease.max(self.of_before)
    }
}

impl Followers {
    /// Notes that a process is about to be given a lease. It counts from here on, so call it before the log is read that
    /// the lease is given for.
    pub(super) fn expect(&self, which: Which, lease: Lease, now: Duration) -> Result<()> {
        let mut known = self.known();
        known.forget(now);
        let forgotten = now.saturating_add(lease.duration().saturating_mul(LEASES_KNOWN));
        if let Some(followed) = known.followers.get_mut(&which) {
            // An earlier one that was longer may run still.
            followed.lease = followed.lease.max(lease);
            followed.forgotten = followed.forgotten.max(forgotten);
            return Ok(());
        }
        known.require_room(&which)?;
        let followed = Followed {
            acknowledged: (0, 0),
            lease,
            forgotten,
        };
        known.followers.insert(which, followed);
        Ok(())
    }

    /// Notes what a process has applied.
    pub(super) fn acknowledge(&self, which: &Which, applied: (u64, u64)) {
        if let Some(followed) = self.known().followers.get_mut(which) {
            followed.acknowledged = applied;
        }
    }

    /// Takes for granted that leases are out which this process did not give, until this time.
    pub(super) fn expect_strangers(&self, until: Option<Duration>) {
        self.known().of_before = until;
    }

    /// Who knows of a kill: of this record in this epoch.
    pub(super) fn tally(&self, (epoch, rseq): (u64, u64), now: Duration) -> Tally {
        let mut known = self.known();
        known.forget(now);
        let mut tally = Tally {
            of_before: (known.of_before)
                .and_then(|until| until.checked_sub(now))
                .filter(|rest| !rest.is_zero()),
            ..Tally::default()
        };
        for followed in known.followers.values() {
            tally.followers = tally.followers.saturating_add(1);
            let (its_epoch, its_rseq) = followed.acknowledged;
            if its_epoch == epoch && its_rseq >= rseq {
                tally.acknowledged = tally.acknowledged.saturating_add(1);
            } else {
                tally.longest = tally.longest.max(Some(followed.lease));
            }
        }
        tally
    }

    /// Nothing under the lock can leave it half written.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, now: Duration) {
        self.followers
            .retain(|_, followed| now < followed.forgotten);
    }

    /// One that is not noted could not be counted, so it gets no lease.
    fn require_room(&self, (name, _): &Which) -> Result<()> {
        let mut same = self.followers.keys().filter(|(other, _)| other == name);
        if same.nth(MAX_INSTANCES.saturating_sub(1)).is_some() {
            return Err(Error::LimitExceeded {
                code: "follower_limit_exceeded",
                message: format!(
                    "{MAX_INSTANCES} processes follow with this key already; keep one `instance` as long as a process lives"
                ),
            });
        }
        if self.followers.len() >= MAX_FOLLOWERS {
            return Err(Error::LimitExceeded {
                code: "follower_limit_exceeded",
                message: format!("{MAX_FOLLOWERS} processes follow already, which is the most"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn which(instance: usize) -> Which {
        let instance = format!("i{instance}").parse().unwrap();
        ("tools".parse().unwrap(), instance)
    }

    fn lease(seconds: u64) -> Lease {
        Lease::from_seconds(seconds).unwrap()
    }

    #[test]
    fn a_follower_counts_from_before_it_has_a_lease_until_two_of_its_leases_are_over() {
        let followers = Followers::default();
        assert_eq!(followers.tally((1, 1), at(0)), Tally::default());
        followers.expect(which(1), lease(10), at(0)).unwrap();
        let waited_for = Tally {
            followers: 1,
            longest: Some(lease(10)),
            ..Tally::default()
        };
        assert_eq!(followers.tally((1, 1), at(19)), waited_for);
        assert_eq!(followers.tally((1, 1), at(20)), Tally::default());
    }

    #[test]
    fn only_the_same_epoch_and_as_many_records_acknowledge() {
        for (applied, does) in [
            ((1, 6), false),
            ((1, 7), true),
            ((1, 8), true),
            ((0, 8), false),
            ((2, 8), false),
        ] {
            let followers = Followers::default();
            followers.expect(which(1), lease(10), at(0)).unwrap();
            followers.acknowledge(&which(1), applied);
            let tally = followers.tally((1, 7), at(0));
            assert_eq!(tally.acknowledged, u64::from(does), "{applied:?}");
            assert_eq!(tally.longest.is_none(), does, "{applied:?}");
        }
    }

    #[test]
    fn a_shorter_lease_does_not_take_a_longer_one_back() {
        let followers = Followers::default();
        followers.expect(which(1), lease(60), at(0)).unwrap();
        followers.expect(which(1), lease(2), at(1)).unwrap();
        assert_eq!(followers.tally((1, 1), at(119)).longest, Some(lease(60)));
        assert_eq!(followers.tally((1, 1), at(120)).longest, None);
    }

    #[test]
    fn of_one_follower_only_so_many_processes_are_noted_and_others_are_not_held_up() {
        let followers = Followers::default();
        for instance in 0..MAX_INSTANCES {
            followers.expect(which(instance), lease(10), at(0)).unwrap();
        }
        let one_more = which(MAX_INSTANCES);
        assert!(
            followers
                .expect(one_more.clone(), lease(10), at(0))
                .is_err()
        );
        followers.expect(which(0), lease(10), at(0)).unwrap();
        let other = ("others".parse().unwrap(), one_more.1.clone());
        followers.expect(other, lease(10), at(0)).unwrap();
        // The twin: once the others are forgotten there is room.
        followers.expect(one_more, lease(10), at(20)).unwrap();
    }

    #[test]
    fn leases_of_before_the_start_end() {
        let followers = Followers::default();
        followers.expect_strangers(Some(at(60)));
        assert_eq!(followers.tally((1, 1), at(59)).of_before, Some(at(1)));
        assert_eq!(followers.tally((1, 1), at(60)).of_before, None);
    }
}
