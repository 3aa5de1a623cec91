//! Nonces that proofs must repeat (RFC 9449, section 9): a proof made ahead of time, or for another process, is worth
//! nothing here. They are computed, so that giving one out costs no memory.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How often the nonce changes; the one before is still taken.
const PERIOD: Duration = Duration::from_secs(120);

/// The nonces of one process.
#[derive(Clone)]
pub(crate) struct Nonces([u8; 32]);

impl Nonces {
    /// Nonces of this secret, which no other process has.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The nonce to give out, at this time since the start of the machine.
    pub(crate) fn current(&self, at: Duration) -> String {
        self.of(at.as_secs() / PERIOD.as_secs())
    }

    /// Whether a proof repeats a nonce that was given out lately.
    pub(crate) fn accepts(&self, nonce: &str, at: Duration) -> bool {
        let period = at.as_secs() / PERIOD.as_secs();
        let mut periods = [Some(period), period.checked_sub(1)].into_iter().flatten();
        // Whoever can ask gets the nonce told: there is nothing to find out by timing.
        periods.any(|period| self.of(period) == nonce)
    }

    fn of(&self, period: u64) -> String {
        let mut hash = Sha256::new();
        hash.update(b"kavachos dpop nonce");
        hash.update(self.0);
        hash.update(period.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        URL_SAFE_NO_PAD.encode(hash.first_chunk::<16>().unwrap_or(&[0; 16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_holds_for_its_period_and_the_next_in_its_own_process() {
        let (nonces, other) = (Nonces::new([1; 32]), Nonces::new([2; 32]));
        let start = PERIOD * 7;
        let nonce = nonces.current(start);
        for (later, holds) in [(0, true), (1, true), (2, false)] {
            assert_eq!(nonces.accepts(&nonce, start + PERIOD * later), holds);
        }
        assert!(!other.accepts(&nonce, start));
        assert!(!nonces.accepts("", start));
    }
}
