//! The number of the next epoch.

use kavachos_core::time::Timestamp;

const MICROS: i64 = 1_000_000;

/// The epoch after all that are known to have been in use. It is never below the clock's seconds, so that two who begin
/// one from the same state, because neither knows of the other, hardly ever give it the same number.
pub(crate) fn next_epoch(used: u64, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.as_micros() / MICROS).unwrap_or_default();
    used.saturating_add(1).max(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_is_above_the_last_and_not_below_the_clock() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * MICROS + 1);
        for (used, now, next) in [(1, 0, 2), (1, 7, 7), (6, 7, 7), (7, 7, 8), (9, 7, 10)] {
            assert_eq!(next_epoch(used, at(now)), next, "{used} {now}");
        }
    }
}
