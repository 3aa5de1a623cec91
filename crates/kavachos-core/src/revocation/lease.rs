//! For how long a follower may accept what it does not know to be dead, without trusting any clock by itself.
//!
//! A lease runs from the moment at which the poll was *sent* that confirmed the follower's state, and by the larger of
//! what two clocks say has passed: one that counts from boot, sleep included, and the wall clock. So it is over in time
//! if one of the two is right, a slow answer makes it shorter and never longer, and a machine that slept or was set back
//! wakes up with it over.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::invalid::Invalid;
use crate::time::Timestamp;

/// How long a confirmed state is good for: 1 to 60 whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(u8);

impl Lease {
    /// One second, for the issuer's own processes.
    pub const SHORTEST: Self = Self(1);
    /// A minute, for what only reads.
    pub const LONGEST: Self = Self(60);

    /// A lease of so many seconds.
    ///
    /// # Errors
    /// They are not between 1 and 60.
    pub fn from_seconds(seconds: u64) -> Result<Self, Invalid> {
        u8::try_from(seconds)
            .ok()
            .map(Self)
            .filter(|lease| (Self::SHORTEST..=Self::LONGEST).contains(lease))
            .ok_or_else(|| Invalid::new(format!("a lease is 1 to 60 seconds, not `{seconds}`")))
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl Serialize for Lease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Lease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_seconds(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What both clocks of a machine say at one moment.
///
/// Read them right when they are used, under whatever guards the [follower](super::Follower): a reading from before the
/// poll that started a lease is outside of that lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time since boot, sleep included: on Linux the clock `CLOCK_BOOTTIME`.
    pub boot: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Reading {
    /// How long ago an earlier reading was, by the clock that says more. `None` when the clock since boot has gone
    /// back, which it does only when the process was carried to another machine: then nothing is known.
    pub(super) fn since(&self, earlier: &Self) -> Option<Duration> {
        let boot = self.boot.checked_sub(earlier.boot)?;
        // A wall clock that was set back says nothing has passed, and the other clock decides.
        Some(boot.max(self.wall.since(earlier.wall)))
    }
}

/// A lease that was given, which may be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    /// When the poll was sent that confirmed the state.
    pub(super) sent: Reading,
    /// The shorter one of the follower's and the issuer's.
    pub(super) lease: Lease,
}

impl Running {
    /// What is left of it; nothing is left when it is over.
    pub(super) fn left(&self, now: &Reading) -> Duration {
        let passed = now.since(&self.sent);
        passed.map_or(Duration::ZERO, |passed| {
            self.lease.duration().saturating_sub(passed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: u64, wall: i64) -> Reading {
        Reading {
            boot: Duration::from_secs(boot),
            wall: Timestamp::from_micros(wall * 1_000_000),
        }
    }

    #[test]
    fn leases_are_one_to_sixty_whole_seconds() {
        let read = |text| serde_json::from_str::<Lease>(text).ok();
        assert_eq!(read("1"), Some(Lease::SHORTEST));
        assert_eq!(read("60"), Some(Lease::LONGEST));
        for wrong in ["0", "61", "300", "-1", "1.5", "\"10\""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Lease::LONGEST).unwrap(), "60");
    }

    #[test]
    fn a_lease_ends_by_whichever_clock_says_so_first() {
        let running = Running {
            sent: at(100, 1_000),
            lease: Lease::from_seconds(10).unwrap(),
        };
        for (now, left, why) in [
            (at(100, 1_000), 10, "at once"),
            (at(109, 1_009), 1, "both agree"),
            (at(110, 1_009), 0, "boot"),
            (
                at(101, 1_010),
                0,
                "wall: the machine slept and boot stood still",
            ),
            (at(109, 900), 1, "the wall clock was set back"),
            (at(110, 900), 0, "the wall clock was set back, boot goes on"),
            (at(99, 1_001), 0, "the clock since boot went back"),
        ] {
            assert_eq!(running.left(&now), Duration::from_secs(left), "{why}");
        }
    }
}
