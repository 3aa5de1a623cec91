//! Counters: how much of a rate or a budget is used, as bytes that the store keeps.
//!
//! Promises: [`take`] is pure; it either returns the new state or changes nothing; a state it cannot read is an error
//! and never a fresh start; a clock that goes backwards forgives nothing. It knows nothing of whose counter it is:
//! a counter belongs to one kind of rule and one period, and its key must say so.

use std::time::Duration;

use crate::time::Timestamp;

/// In how many slices a period is counted. The one that the period only touches counts whole, so there is one more.
const SLICES: u64 = 60;
/// How many slices a period of the full length can touch, and so how many are kept.
const KEPT: usize = 61;
/// The first byte of every state.
const VERSION: u8 = 1;
/// The second byte of a rate's state.
const KIND_RATE: u8 = 1;
/// The second byte of a budget's state.
const KIND_BUDGET: u8 = 2;

/// What a counter enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// In no period of `per_seconds` are more than `limit` taken.
    Rate {
        /// How many in one period; 0 is none at all.
        limit: u64,
        /// The length of the period, at least one second.
        per_seconds: u32,
    },
    /// In the whole life of the counter not more than `amount` is taken.
    Budget {
        /// The total; 0 is none at all.
        amount: u64,
    },
}

/// Why a counter gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The period is full; the same take fits after this long, if nobody else takes.
    RetryAfter(Duration),
    /// It will never fit: the budget is used up, or more is asked for than the rule ever allows.
    Exhausted,
}

/// Why [`take`] returned no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// The rule says no.
    #[error("the limit is reached")]
    Refused(Refusal),
    /// The stored state is unreadable or of another rule. Nothing may be allowed on it.
    #[error("the stored state of the counter is not readable as a state of this rule")]
    Corrupt,
}

/// Takes `n` from a counter and returns its new state; `None` is a counter that was never used.
///
/// The state is a version byte and at most about 300 bytes for every limit that a [rate](crate::constraint::Rate)
/// may have.
///
/// # Errors
/// [`TakeError::Refused`] when `n` does not fit, [`TakeError::Corrupt`] when the state is not one of this rule.
pub fn take(
    state: Option<&[u8]>,
    rule: &Rule,
    n: u64,
    now: Timestamp,
) -> Result<Vec<u8>, TakeError> {
    match *rule {
        Rule::Rate { limit, per_seconds } => {
            let mut slices = Slices::decode(state, per_seconds).ok_or(TakeError::Corrupt)?;
            slices.take(limit, n, now).map_err(TakeError::Refused)?;
            Ok(slices.encode())
        }
        Rule::Budget { amount } => {
            let used = decode_total(state).ok_or(TakeError::Corrupt)?;
            let total = used
                .checked_add(n)
                .filter(|total| *total <= amount && amount > 0)
                .ok_or(TakeError::Refused(Refusal::Exhausted))?;
            let mut bytes = vec![VERSION, KIND_BUDGET];
            push_number(&mut bytes, total);
            Ok(bytes)
        }
    }
}

/// Whether a state is that of a rate none of whose calls lies in a period that is still open at this time: from then on,
/// taking from it comes to the same as taking from a counter that was never used. Never that of a budget, and never
/// what is no state.
pub fn is_spent(state: &[u8], now: Timestamp) -> bool {
    let (Some(slices), Ok(now)) = (Slices::read(state), u64::try_from(now.as_micros())) else {
        return false;
    };
    // As `advance` lets go: all that are kept have gone by since the newest one.
    (now / slices.length()).saturating_sub(slices.newest) > SLICES
}

/// The calls of one rate, slice by slice.
///
/// Slices lie on a fixed grid: number `k` is `[k * length, (k + 1) * length)` in microseconds since the epoch. A period
/// that ends in slice `k` begins in slice `k - 60` at the earliest, so 61 slices are counted, the oldest one whole.
struct Slices {
    per_seconds: u32,
    /// The number of the newest slice that was ever taken from.
    newest: u64,
    /// Counts from the newest slice backwards, at most [`KEPT`].
    counts: Vec<u64>,
}

impl Slices {
    /// `None` when the bytes are no state of a rate with this period.
    fn decode(state: Option<&[u8]>, per_seconds: u32) -> Option<Self> {
        let Some(state) = state else {
            return Some(Self {
                per_seconds,
                newest: 0,
                counts: Vec::new(),
            });
        };
        Self::read(state).filter(|slices| slices.per_seconds == per_seconds)
    }

    /// `None` when the bytes are no state of a rate.
    fn read(state: &[u8]) -> Option<Self> {
        let mut rest = state.strip_prefix(&[VERSION, KIND_RATE])?;
        let per_seconds = u32::try_from(pop_number(&mut rest)?).ok()?;
        let newest = pop_number(&mut rest)?;
        let mut counts = Vec::new();
        while !rest.is_empty() {
            if counts.len() == KEPT {
                return None;
            }
            counts.push(pop_number(&mut rest)?);
        }
        Some(Self {
            per_seconds,
            newest,
            counts,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, KIND_RATE];
        push_number(&mut bytes, u64::from(self.per_seconds));
        push_number(&mut bytes, self.newest);
        let used = self.counts.iter().rposition(|count| *count > 0);
        for count in self.counts.iter().take(used.map_or(0, |last| last + 1)) {
            push_number(&mut bytes, *count);
        }
        bytes
    }

    fn take(&mut self, limit: u64, n: u64, now: Timestamp) -> Result<(), Refusal> {
        if n > limit || limit == 0 {
            return Err(Refusal::Exhausted);
        }
        let now = now.as_micros().unsigned_abs();
        self.advance(now / self.length());
        let total = self.counts.iter().copied().fold(0, u64::saturating_add);
        if total.checked_add(n).is_none_or(|sum| sum > limit) {
            return Err(Refusal::RetryAfter(self.wait(limit - n, now)));
        }
        if let Some(count) = self.counts.first_mut() {
            *count += n;
        }
        Ok(())
    }

    /// The length of a slice in microseconds, rounded up so that 60 of them are never shorter than the period.
    fn length(&self) -> u64 {
        (u64::from(self.per_seconds.max(1)) * 1_000_000).div_ceil(SLICES)
    }

    /// Opens the slice with this number and lets go of those that no period can touch any more.
    ///
    /// A number from the past opens nothing: the call then counts in the newest slice, as if no time had gone back.
    fn advance(&mut self, slice: u64) {
        let passed = slice.saturating_sub(self.newest);
        self.newest = self.newest.max(slice);
        let opened = usize::try_from(passed).unwrap_or(KEPT).min(KEPT);
        self.counts.splice(
            0..0,
            std::iter::repeat_n(0, opened.max(usize::from(self.counts.is_empty()))),
        );
        self.counts.truncate(KEPT);
    }

    /// How long until so many slices are let go that at most `room` is left in the others.
    fn wait(&self, room: u64, now: u64) -> Duration {
        let mut left = self.counts.iter().copied().fold(0, u64::saturating_add);
        let mut free_at = now;
        for (age, count) in self.counts.iter().enumerate().rev() {
            if left <= room {
                break;
            }
            left = left.saturating_sub(*count);
            // INVARIANT: a slice is let go when the one that is 61 later opens; an age is below 61.
            let later = SLICES + 1 - u64::try_from(age).unwrap_or(0);
            free_at = self
                .newest
                .saturating_add(later)
                .saturating_mul(self.length());
        }
        Duration::from_micros(free_at.saturating_sub(now))
    }
}

fn decode_total(state: Option<&[u8]>) -> Option<u64> {
    let Some(state) = state else { return Some(0) };
    let mut rest = state.strip_prefix(&[VERSION, KIND_BUDGET])?;
    let total = pop_number(&mut rest)?;
    rest.is_empty().then_some(total)
}

/// Appends a number in LEB128: seven bits a byte, the lowest first, the high bit set on all but the last.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low_bits(number));
}

fn low_bits(number: u64) -> u8 {
    // INVARIANT: seven bits fit, so the fallback is never taken.
    u8::try_from(number & 0x7f).unwrap_or(0)
}

fn pop_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOURLY: Rule = Rule::Rate {
        limit: 5,
        per_seconds: 3600,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    /// Takes one call at each time and says which were allowed.
    fn run(rule: &Rule, times: &[Timestamp]) -> Vec<bool> {
        let mut state: Option<Vec<u8>> = None;
        times
            .iter()
            .map(|now| match take(state.as_deref(), rule, 1, *now) {
                Ok(next) => {
                    state = Some(next);
                    true
                }
                Err(TakeError::Refused(_)) => false,
                Err(TakeError::Corrupt) => panic!("our own state is readable"),
            })
            .collect()
    }

    #[test]
    fn a_rate_allows_its_limit_and_then_says_when_to_come_back() {
        let times = [at(0); 6];
        assert_eq!(run(&HOURLY, &times), [true, true, true, true, true, false]);
        let mut state = None;
        for now in &times[..5] {
            state = Some(take(state.as_deref(), &HOURLY, 1, *now).unwrap());
        }
        let Err(TakeError::Refused(Refusal::RetryAfter(wait))) =
            take(state.as_deref(), &HOURLY, 1, at(0))
        else {
            panic!("the sixth call is refused")
        };
        let early = at(0).plus(wait - Duration::from_micros(1));
        assert!(take(state.as_deref(), &HOURLY, 1, early).is_err());
        assert!(take(state.as_deref(), &HOURLY, 1, at(0).plus(wait)).is_ok());
        assert!(wait >= Duration::from_secs(3600) && wait <= Duration::from_secs(3660));
    }

    #[test]
    fn the_wait_is_for_as_many_slices_as_the_take_needs() {
        let mut state = None;
        for now in [at(0), at(600), at(1200)] {
            state = Some(take(state.as_deref(), &HOURLY, 1, now).unwrap());
        }
        let Err(TakeError::Refused(Refusal::RetryAfter(wait))) =
            take(state.as_deref(), &HOURLY, 4, at(1200))
        else {
            panic!("3 and 4 are more than 5")
        };
        let free = at(1200).plus(wait);
        assert!(take(state.as_deref(), &HOURLY, 4, free).is_ok());
        assert!(free >= at(600 + 3600) && free <= at(600 + 3660));
    }

    #[test]
    fn zero_is_none_and_more_than_the_limit_never_fits() {
        let never = |rule, n| {
            assert_eq!(
                take(None, &rule, n, at(0)),
                Err(TakeError::Refused(Refusal::Exhausted))
            );
        };
        let rate = |limit| Rule::Rate {
            limit,
            per_seconds: 60,
        };
        never(rate(0), 0);
        never(rate(0), 1);
        never(rate(3), 4);
        never(Rule::Budget { amount: 0 }, 0);
        never(Rule::Budget { amount: 0 }, 1);
        assert!(take(None, &rate(3), 3, at(0)).is_ok());
        assert!(take(None, &Rule::Budget { amount: 1 }, 1, at(0)).is_ok());
    }

    #[test]
    fn a_budget_is_exact_over_its_whole_life() {
        let rule = Rule::Budget { amount: 10 };
        let first = take(None, &rule, 7, at(0)).unwrap();
        let refused = Err(TakeError::Refused(Refusal::Exhausted));
        assert_eq!(take(Some(&first), &rule, 4, at(0)), refused);
        let full = take(Some(&first), &rule, 3, at(0)).unwrap();
        assert_eq!(take(Some(&full), &rule, 1, at(1_000_000_000)), refused);
        let wider = Rule::Budget { amount: u64::MAX };
        assert_eq!(take(Some(&full), &wider, u64::MAX, at(0)), refused);
        assert!(take(Some(&full), &wider, u64::MAX - 10, at(0)).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_forgives_nothing() {
        let mut times = vec![at(7200); 5];
        times.extend([at(7199), at(0), at(-1_000_000), at(7200)]);
        let mut expected = vec![true; 5];
        expected.extend([false; 4]);
        assert_eq!(run(&HOURLY, &times), expected);
        // A call that was allowed while the clock was back does not drag the others into the past with it.
        let times = [at(7200), at(7200), at(7200), at(7200), at(0), at(7201)];
        assert_eq!(run(&HOURLY, &times), [true, true, true, true, true, false]);
        // The twin: without the calls before, the earlier times are open.
        assert_eq!(run(&HOURLY, &[at(0), at(-10)]), [true, true]);
    }

    #[test]
    fn what_is_no_state_of_the_rule_is_corrupt() {
        let good = take(None, &HOURLY, 1, at(0)).unwrap();
        let budget = Rule::Budget { amount: 9 };
        let spent = take(None, &budget, 1, at(0)).unwrap();
        let other_period = Rule::Rate {
            limit: 5,
            per_seconds: 60,
        };
        let cut = &good[..good.len() - 1];
        let long = [good.clone(), vec![0; KEPT]].concat();
        let overflow = [vec![VERSION, KIND_BUDGET], vec![0xff; 10], vec![0x7f]].concat();
        let newer = [vec![VERSION + 1], good[1..].to_vec()].concat();
        for (state, rule) in [
            (&[][..], HOURLY),
            (&[VERSION], HOURLY),
            (&spent, HOURLY),
            (&good, budget),
            (&good, other_period),
            (&long, HOURLY),
            (&newer, HOURLY),
            (&overflow, budget),
            (&[spent.clone(), vec![0]].concat(), budget),
            (&cut[..3], HOURLY),
        ] {
            assert_eq!(take(Some(state), &rule, 1, at(0)), Err(TakeError::Corrupt));
        }
        assert!(take(Some(&good), &HOURLY, 1, at(0)).is_ok());
        assert!(take(Some(&spent), &budget, 1, at(0)).is_ok());
    }

    #[test]
    fn states_stay_small() {
        let rule = Rule::Rate {
            limit: 1_000_000_000,
            per_seconds: 60,
        };
        let mut state = None;
        for second in 0..61 {
            state = Some(take(state.as_deref(), &rule, 16_393_442, at(second)).unwrap());
        }
        assert!(state.unwrap().len() <= 300);
        assert!(take(None, &HOURLY, 1, at(0)).unwrap().len() <= 12);
    }

    #[test]
    fn a_rate_is_spent_when_its_last_slice_is_let_go_and_a_budget_never() {
        let full = take(None, &HOURLY, 5, at(0)).unwrap();
        let Err(TakeError::Refused(Refusal::RetryAfter(wait))) =
            take(Some(&full), &HOURLY, 1, at(0))
        else {
            panic!("it is full")
        };
        let free = at(0).plus(wait);
        assert!(is_spent(&full, free));
        assert!(!is_spent(&full, free.minus(Duration::from_micros(1))));
        assert!(!is_spent(&full, at(-10_000)));
        let budget = take(None, &Rule::Budget { amount: 9 }, 1, at(0)).unwrap();
        for never in [&budget[..], &[], &[VERSION, KIND_RATE], &full[..3]] {
            assert!(!is_spent(never, Timestamp::from_micros(i64::MAX)));
        }
        assert!(!is_spent(&full, Timestamp::MIN));
    }

    proptest! {
        #[test]
        fn what_is_spent_is_as_if_it_had_never_been_and_what_is_not_still_limits(
            per_seconds in prop_oneof![Just(1_u32), Just(7), Just(60), Just(3600), Just(86_400)],
            gaps in prop::collection::vec(0_u64..90, 1..40),
            later in 0_u64..200,
            n in 0_u64..9,
            limit in 0_u64..9,
        ) {
            let slice = u64::from(per_seconds) * 1_000_000 / 60;
            let wide = Rule::Rate { limit: 1_000, per_seconds };
            let (mut now, mut state) = (at(0), None);
            for gap in gaps {
                now = now.plus(Duration::from_micros(slice * gap));
                state = Some(take(state.as_deref(), &wide, 1, now).unwrap());
            }
            let state = state.unwrap();
            let later = now.plus(Duration::from_micros(slice * later));
            let rule = Rule::Rate { limit, per_seconds };
            if is_spent(&state, later) {
                prop_assert_eq!(take(Some(&state), &rule, n, later), take(None, &rule, n, later));
            } else {
                let once = Rule::Rate { limit: 1, per_seconds };
                prop_assert!(take(Some(&state), &once, 1, later).is_err());
                prop_assert!(take(None, &once, 1, later).is_ok());
            }
        }

        #[test]
        fn no_period_ever_holds_more_than_the_limit(
            limit in 1_u64..6,
            per_seconds in prop_oneof![Just(1_u32), Just(7), Just(60), Just(3600)],
            gaps in prop::collection::vec((0_u64..10_000, 1_u64..200), 1..200),
        ) {
            let period = u64::from(per_seconds) * 1_000_000;
            let rule = Rule::Rate { limit, per_seconds };
            let mut now = at(0);
            let times: Vec<Timestamp> = gaps.iter().map(|(part, divisor)| {
                now = now.plus(Duration::from_micros(period * part / 10_000 / divisor));
                now
            }).collect();
            let allowed: Vec<Timestamp> = times.iter().zip(run(&rule, &times))
                .filter_map(|(time, allowed)| allowed.then_some(*time)).collect();
            let within = |end: Timestamp, length: u64| allowed.iter()
                .filter(|time| **time <= end && end.since(**time) <= Duration::from_micros(length))
                .count() as u64;
            for time in &times {
                prop_assert!(within(*time, period) <= limit);
                // Not stricter than it says: what was refused is full when one more slice is counted.
                if !allowed.contains(time) {
                    prop_assert!(within(*time, period.div_ceil(60) * 61) >= limit);
                }
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(
            state in prop::collection::vec(any::<u8>(), 0..80),
            kind in 1_u8..3,
            limit in any::<u64>(),
            per_seconds in any::<u32>(),
            n in any::<u64>(),
        ) {
            let state = [vec![VERSION, kind], state].concat();
            let _ = take(Some(&state), &Rule::Rate { limit, per_seconds }, n, at(0));
            let _ = take(Some(&state), &Rule::Budget { amount: limit }, n, at(0));
        }

        #[test]
        fn numbers_read_back(number in any::<u64>()) {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(pop_number(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }
    }
}
