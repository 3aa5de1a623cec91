//! Nonces that proofs of clients must repeat (RFC 9449, section 8): a proof that somebody made ahead of time, or elsewhere, is
//! worth nothing here. They are computed, so that giving one out costs no memory, and of one master key they are the same in
//! every process.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::engine::Engine;
use crate::master::{derived, mac};

/// How often the nonce changes; the one before is still taken.
const PERIOD: Duration = Duration::from_secs(120);

/// Whether clients repeat a nonce in the proofs of their keys with which they ask for tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProofNonces {
    /// They do: whoever has none is told one, and asks again.
    #[default]
    Required,
    /// They need not.
    Off,
}

impl Engine {
    /// The nonce that a proof must repeat from now on.
    pub fn proof_nonce(&self) -> String {
        self.nonce_of(self.nonce_period())
    }

    /// Whether a proof repeats a nonce that was given out lately.
    pub fn is_proof_nonce(&self, nonce: &str) -> bool {
        let period = self.nonce_period();
        // Whoever asks is told the nonce: there is nothing to find out by timing.
        [period, period - 1]
            .into_iter()
            .any(|period| self.nonce_of(period) == nonce)
    }

    fn nonce_period(&self) -> i64 {
        const MICROS: i64 = 1_000_000 * PERIOD.as_secs().cast_signed();
        self.now().as_micros().div_euclid(MICROS)
    }

    fn nonce_of(&self, period: i64) -> String {
        const PURPOSE: &[u8] = b"kavachos proof nonce 1\n";
        let secret = match self.master_key() {
            Some(master) => derived(master, &[PURPOSE]),
            None => *self.own_nonces(),
        };
        let nonce = mac(&secret, &[PURPOSE, &period.to_be_bytes()]);
        URL_SAFE_NO_PAD.encode(nonce.first_chunk::<16>().unwrap_or(&[0; 16]))
    }
}
