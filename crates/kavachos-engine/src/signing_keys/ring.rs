//! The keys in memory: read once, and again after each change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kavachos_core::hex;
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, PublicKey, SigningKey};
use kavachos_store::signing_key::{self, KeyState, SigningKeyRow};

use super::{KeyPurpose, public_of};
use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};
use crate::master::{derived, fingerprint};

/// The keys, once they were read.
#[derive(Default)]
pub(crate) struct Ring(Mutex<Option<Arc<Keys>>>);

/// The keys that are in use or still published.
pub(crate) struct Keys(Vec<Key>);

/// One key, with its private half where the master key makes it.
pub(crate) struct Key {
    pub(super) row: SigningKeyRow,
    pub(super) state: KeyState,
    pub(super) public: PublicKey,
    pub(super) secret: Option<SigningKey>,
}

impl Ring {
    fn held(&self) -> MutexGuard<'_, Option<Arc<Keys>>> {
        // Nothing under the lock can leave it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    pub(super) fn of(&self, purpose: KeyPurpose) -> impl Iterator<Item = &Key> {
        (self.0.iter()).filter(move |key| key.row.purpose == purpose.as_str())
    }

    pub(super) fn find(
        &self,
        purpose: KeyPurpose,
        algorithm: Algorithm,
        state: KeyState,
    ) -> Option<&Key> {
        self.of(purpose)
            .find(|key| key.state == state && key.public.algorithm() == algorithm)
    }

    /// Whether every purpose has a key that signs.
    fn is_complete(&self) -> bool {
        KeyPurpose::ALL.into_iter().all(|purpose| {
            let mut algorithms = purpose.algorithms().iter();
            algorithms.all(|algorithm| self.find(purpose, *algorithm, KeyState::Current).is_some())
        })
    }
}

impl Key {
    pub(super) fn is_published(&self, now: Timestamp) -> bool {
        self.row.published_until.is_none_or(|until| now < until)
    }
}

/// The private key of a row. `None` when its bytes are no key, which one salt in 2^32 gives.
pub(super) fn secret_of(
    master: &Secret,
    purpose: &str,
    algorithm: Algorithm,
    salt: &[u8; 32],
) -> Option<SigningKey> {
    let name = format!(
        "kavachos signing key 1\n{purpose}\n{algorithm}\n{}",
        hex::encode(salt)
    );
    SigningKey::from_seed(algorithm, &derived(master, &[name.as_bytes()])).ok()
}

impl Engine {
    /// The keys; the first ones are made here.
    pub(crate) async fn ring(&self) -> Result<Arc<Keys>> {
        // The upkeep may have read them before there were any.
        let held = self.keyring().held().clone();
        if let Some(keys) = held.filter(|keys| keys.is_complete()) {
            return Ok(keys);
        }
        for _ in 0..MAX_CONFLICTS {
            let keys = self.read_ring().await?;
            if keys.is_complete() {
                return Ok(self.keep_ring(keys));
            }
            self.make_missing(&keys).await?;
        }
        Err(Error::Busy)
    }

    /// Reads the keys again, after they were changed from elsewhere.
    pub(crate) async fn renew_keys(&self) -> Result<()> {
        self.renew_ring().await.map(drop)
    }

    /// Reads the keys again, after a change.
    pub(super) async fn renew_ring(&self) -> Result<Arc<Keys>> {
        let keys = self.read_ring().await?;
        Ok(self.keep_ring(keys))
    }

    fn keep_ring(&self, keys: Keys) -> Arc<Keys> {
        let keys = Arc::new(keys);
        *self.keyring().held() = Some(Arc::clone(&keys));
        keys
    }

    async fn read_ring(&self) -> Result<Keys> {
        let rows = self
            .store()
            .list(signing_key::published(self.now()))
            .await?;
        let keys: Result<Vec<Key>> = rows.into_iter().map(|row| self.key_of(row)).collect();
        Ok(Keys(keys?))
    }

    fn key_of(&self, row: SigningKeyRow) -> Result<Key> {
        let public = public_of(&row)?;
        let master = (self.master_key()).filter(|master| fingerprint(master) == row.master);
        let secret = master
            .and_then(|master| secret_of(master, &row.purpose, public.algorithm(), &row.salt))
            // A row that was edited makes another key: it must not sign in this one's name.
            .filter(|secret| secret.public() == &public);
        Ok(Key {
            state: row.state,
            row,
            public,
            secret,
        })
    }
}
