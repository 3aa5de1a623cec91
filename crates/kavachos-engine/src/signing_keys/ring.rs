//! The keys in memory: read once, and again after each change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kavachos_core::hex;
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, PublicKey, SigningKey};
use kavachos_store::revocation;
use kavachos_store::signing_key::{self, KeyState, SigningKeyRow};

use super::{KeyPurpose, public_of};
use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};
use crate::feed::decoded;
use crate::master::{derived, fingerprint};

/// The keys, once they were read.
#[derive(Default)]
pub(crate) struct Ring(Mutex<Option<Arc<Keys>>>);

/// The keys that are in use or still published.
pub(crate) struct Keys {
    keys: Vec<Key>,
    read: Version,
}

/// In which state of the database keys were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    log: [u8; 16],
    epoch: u64,
    commits: u64,
}

impl Version {
    /// Whether this is a later state of the same log. A later epoch is one, whatever the commits: its keys are others.
    fn is_after(&self, other: &Self) -> bool {
        self.log == other.log && (self.epoch, self.commits) > (other.epoch, other.commits)
    }
}

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

    /// Lets go of the keys, so that whoever wants them reads them.
    pub(super) fn forget(&self) {
        self.held().take();
    }

    /// Keeps keys that were read, unless later ones were read meanwhile: a key that was retired would sign again. Returns
    /// those that are kept.
    fn keep(&self, read: Keys) -> Arc<Keys> {
        let mut held = self.held();
        match &*held {
            Some(later) if later.read.is_after(&read.read) => Arc::clone(later),
            _ => Arc::clone(held.insert(Arc::new(read))),
        }
    }
}

impl Keys {
    pub(super) fn of(&self, purpose: KeyPurpose) -> impl Iterator<Item = &Key> {
        (self.keys.iter()).filter(move |key| key.row.purpose == purpose.as_str())
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
                return Ok(self.keyring().keep(keys));
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
        Ok(self.keyring().keep(keys))
    }

    async fn read_ring(&self) -> Result<Keys> {
        let queries = vec![
            revocation::version().into_query(),
            signing_key::published(self.now()).into_query(),
        ];
        let mut answers = self.store().read(queries).await?.into_iter();
        let version: Vec<([u8; 16], u64, u64)> = decoded(answers.next())?;
        let (log, epoch, commits) = version
            .into_iter()
            .next()
            .ok_or_else(|| Error::Internal("the database has no log".to_owned()))?;
        let rows: Vec<SigningKeyRow> = decoded(answers.next())?;
        let keys: Result<Vec<Key>> = rows.into_iter().map(|row| self.key_of(row)).collect();
        Ok(Keys {
            keys: keys?,
            read: Version {
                log,
                epoch,
                commits,
            },
        })
    }

    pub(super) fn key_of(&self, row: SigningKeyRow) -> Result<Key> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: u8, epoch: u64, commits: u64) -> Keys {
        Keys {
            keys: Vec::new(),
            read: Version {
                log: [log; 16],
                epoch,
                commits,
            },
        }
    }

    #[test]
    fn keys_that_were_read_earlier_replace_none_that_were_read_later() {
        for (late, kept) in [
            (read(1, 1, 6), 7),
            // The twins: what is as new or newer, and another database, where nothing can be compared.
            (read(1, 1, 7), 7),
            (read(1, 1, 8), 8),
            (read(1, 2, 1), 1),
            (read(2, 1, 1), 1),
        ] {
            let ring = Ring::default();
            assert_eq!(ring.keep(read(1, 1, 7)).read.commits, 7);
            assert_eq!(ring.keep(late).read.commits, kept);
            let held = ring.held().clone().unwrap();
            assert_eq!(held.read.commits, kept);
        }
    }

    #[test]
    fn keys_of_an_epoch_that_is_over_never_come_back() {
        let ring = Ring::default();
        ring.keep(read(1, 2, 7));
        assert_eq!(ring.keep(read(1, 1, 9)).read.epoch, 2);
        // The twin: another log, of which no epoch is known.
        assert_eq!(ring.keep(read(2, 1, 9)).read.epoch, 1);
        ring.forget();
        assert!(ring.held().is_none());
    }
}
