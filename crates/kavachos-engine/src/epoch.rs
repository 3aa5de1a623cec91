//! The number of the next epoch.

use kavachos_core::time::Timestamp;

use crate::error::{Error, Result};

/// The highest epoch: whoever reads numbers of JSON as floating-point ones reads it as it is.
const MAX_EPOCH: u64 = (1 << 53) - 1;
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
    fn the_next_epoch_is_above_the_last_and_not_below_the_clock() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * MICROS_OF_A_SECOND + 1);
        for (used, now, next) in [(1, 0, 2), (1, 7, 7), (6, 7, 7), (7, 7, 8), (9, 7, 10)] {
            assert_eq!(epoch_after(used, at(now)), Ok(next), "{used} {now}");
        }
        assert!(epoch_after(MAX_EPOCH, at(0)).is_err());
        assert_eq!(epoch_after(MAX_EPOCH - 1, at(0)), Ok(MAX_EPOCH));
    }
}
