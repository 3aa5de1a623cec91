//! The number of the next epoch.

use kavachos_core::time::Timestamp;

use crate::error::{Error, Result};

/// The highest epoch: whoever reads numbers of JSON as floating-point ones reads it as it is.
pub const MAX_EPOCH: u64 = (1 << 53) - 1;
const MICROS_OF_A_SECOND: i64 = 1_000_000;

/// An epoch above all that were in use, and above any that was begun from the same state by somebody of whom nothing here
/// may tell: the clock is ahead of all of them.
pub(crate) fn epoch_after(used: u64, now: Timestamp) -> Result<u64> {
    let seconds = now.as_micros().div_euclid(MICROS_OF_A_SECOND);
    let epoch = (used.saturating_add(1)).max(u64::try_from(seconds).unwrap_or(0));
    if epoch <= MAX_EPOCH {
        return Ok(epoch);
    }
    Err(Error::WrongState(format!(
        "the epoch {used} is the last one there can be, or lies above it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_above_all_that_were_in_use_and_never_behind_the_clock() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * MICROS_OF_A_SECOND + 999_999);
        for (used, now, epoch) in [
            (1, 1_795_255_200, 1_795_255_200),
            (1_795_255_199, 1_795_255_200, 1_795_255_200),
            // The clock was set back.
            (1_795_255_300, 1_795_255_200, 1_795_255_301),
            (7, -1, 8),
            (MAX_EPOCH - 1, 0, MAX_EPOCH),
        ] {
            assert_eq!(epoch_after(used, at(now)), Ok(epoch), "{used} at {now}");
        }
        for used in [MAX_EPOCH, u64::MAX] {
            assert!(epoch_after(used, at(0)).is_err(), "{used}");
        }
        let last = epoch_after(1, Timestamp::MAX).unwrap();
        assert!(last < MAX_EPOCH);
    }
}
