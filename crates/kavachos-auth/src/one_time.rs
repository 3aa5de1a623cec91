//! Secrets that are good once: 256 random bits, of which the hash alone is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_engine::plugin::Context;
use sha2::{Digest, Sha256};

/// One of them, in clear: for a link, or for the browser that asked for it. Nothing shows it but [`OneTime::reveal`].
pub(crate) struct OneTime(String);

impl OneTime {
    pub(crate) fn new(context: &Context) -> Self {
        Self(URL_SAFE_NO_PAD.encode(context.random::<32>()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    pub(crate) fn hash(&self) -> [u8; 32] {
        hash_of(&self.0)
    }
}

/// What is stored of a secret that somebody shows. It is random and as long as its hash, so no salt is needed.
pub(crate) fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
