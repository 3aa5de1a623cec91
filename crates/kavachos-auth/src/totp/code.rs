//! Codes of six digits that an app and we make of one seed and the time (RFC 6238).
//!
//! SHA-1, six digits and steps of 30 seconds, because that is what every app reads; HMAC needs no more of SHA-1 than it has
//! (RFC 6238, section B). A code of the step before and of the step after is taken, and none further away.

use kavachos_core::time::Timestamp;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

/// The length of a seed: that of the hash (RFC 4226, section 4).
pub(super) const SEED_BYTES: usize = 20;
/// How many digits a code has.
pub(super) const DIGITS: u8 = 6;
/// How long a code is shown, in seconds.
pub(super) const STEP_SECONDS: u64 = 30;
/// How many steps a clock may be ahead or behind (RFC 6238, section 5.2).
const MAX_STEPS_OFF: u16 = 1;

/// What codes are made of.
pub(super) struct Seed(Zeroizing<[u8; SEED_BYTES]>);

/// A step: the number of half minutes since 1970. Each is accepted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step(pub(super) u64);

impl Seed {
    pub(super) fn new(random: [u8; SEED_BYTES]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub(super) fn bytes(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }

    /// As people type it into an app, and as apps read it.
    pub(super) fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(Secret::new_stack(*self.0).to_base32())
    }

    /// Which step the code is of; `None` of every other text.
    pub(super) fn step_of(&self, code: &str, now: Timestamp) -> Option<Step> {
        let seconds = u64::try_from(now.as_micros()).ok()? / 1_000_000;
        self.totp().check(code, seconds).map(Step)
    }

    fn totp(&self) -> Totp {
        // All that `build` would check is fixed here.
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_skew(MAX_STEPS_OFF)
            .with_step_duration(STEP_SECONDS)
            .with_secret(Secret::new_stack(*self.0))
            .build_noncompliant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed of both standards.
    fn seed() -> Seed {
        Seed::new(*b"12345678901234567890")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_vectors_of_rfc_4226_are_accepted_each_at_its_step() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (code, step) in codes.into_iter().zip(0..) {
            let now = at(i64::try_from(step).unwrap() * 30 + 29);
            assert_eq!(seed().step_of(code, now), Some(Step(step)), "{code}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_6238_are_accepted_by_their_last_six_digits() {
        let codes = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (seconds, code) in codes {
            let step = u64::try_from(seconds).unwrap() / 30;
            assert_eq!(
                seed().step_of(code.split_at(2).1, at(seconds)),
                Some(Step(step)),
                "{code}"
            );
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_and_one_step_late_and_no_further() {
        // The code of step 5 is shown from 150 to 180.
        let taken = |seconds| seed().step_of("254676", at(seconds));
        for seconds in [120, 149, 150, 179, 180, 209] {
            assert_eq!(taken(seconds), Some(Step(5)), "{seconds}");
        }
        for seconds in [0, 119, 210, 240, 100_000] {
            assert_eq!(taken(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in [
            "",
            "25467",
            "2546760",
            "+54676",
            "25467a",
            "２５４６７６",
            "254676\0",
            " 254676",
        ] {
            assert_eq!(seed().step_of(text, at(150)), None, "{text}");
        }
        assert_eq!(seed().step_of("254676", at(-150)), None);
    }

    #[test]
    fn a_seed_is_shown_as_apps_read_it() {
        assert_eq!(*seed().base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
