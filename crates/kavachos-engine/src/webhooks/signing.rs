//! Secrets of webhooks and signatures with them, after Standard Webhooks (symmetric, `v1`).
//!
//! A secret is derived from the master key, the webhook's id and the number of its rotation: it is stored nowhere, so a
//! copy of the database signs nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kavachos_core::id::WebhookId;
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;

use crate::master::{derived, mac};

/// What a webhook's messages are signed with. Without `Debug` and `Display`: only [`SigningSecret::reveal`] shows it.
#[derive(Clone)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    pub(super) fn derive(master: &Secret, webhook: WebhookId, number: u64) -> Self {
        let text = format!("kavachos webhook secret 1\n{webhook}\n{number}");
        Self(derived(master, &[text.as_bytes()]))
    }

    /// The secret in the form that receivers are given: `whsec_` and base64.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The signature of a message: `v1,` and base64.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let head = format!("{id}.{seconds}.");
        let signature = mac(&self.0, &[head.as_bytes(), body]);
        format!("v1,{}", STANDARD.encode(signature))
    }
}

/// Seconds since the epoch.
pub(super) fn seconds(time: Timestamp) -> i64 {
    time.as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use kavachos_core::secret::SecretKind;

    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification_s_libraries() {
        // The example that the reference libraries test themselves with.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let head = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.";
        let signature = mac(&key, &[head.as_bytes(), b"{\"test\": 2432232314}"]);
        assert_eq!(
            STANDARD.encode(signature),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_depends_on_master_key_webhook_and_number() {
        let master = |byte| Secret::new(SecretKind::Master, [byte; 32]);
        let id = |bits| WebhookId::from_bits(bits);
        let secret = |byte, bits, number| SigningSecret::derive(&master(byte), id(bits), number).0;
        let one = secret(1, 1, 1);
        assert_eq!(one, secret(1, 1, 1));
        assert!(![secret(2, 1, 1), secret(1, 2, 1), secret(1, 1, 2)].contains(&one));
    }
}
