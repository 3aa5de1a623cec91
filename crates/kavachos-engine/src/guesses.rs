//! Guesses at an account: paid for before they are looked at, given back to whoever was right.
//!
//! Every account has one budget, whether it exists or not, and one more for each browser in which its human signed in
//! before: so a stranger who guesses does not lock them out.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::secret::SecretHash;
use kavachos_store::guess::{self, Budget};
use kavachos_store::{Batch, CommitError, Write, known_device};
use sha2::{Digest, Sha256};

use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};

/// Before the account is named in it, so that a hash for one purpose is none for another.
const PURPOSE: &str = "kavachos guesses 1";
/// The first pause beyond the budget; each further guess waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// The window in which guesses are counted.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// A guess that was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "whoever was right gets it back: hand it to the sign-in"]
pub struct Guess {
    bucket: [u8; 32],
}

impl Guess {
    pub(crate) fn stored(bucket: [u8; 32]) -> Self {
        Self { bucket }
    }

    pub(crate) fn bucket(&self) -> [u8; 32] {
        self.bucket
    }

    /// Gives the whole budget back.
    pub(crate) fn give_back(&self) -> Write {
        guess::give_back(self.bucket)
    }
}

impl Engine {
    /// Pays for one guess at an account, as it is named by whoever guesses; `user` where there is such an account.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] while the budget is used up; those of the store.
    pub(crate) async fn pay_for_guess(
        &self,
        account: &str,
        user: Option<UserId>,
        device: Option<SecretHash>,
    ) -> Result<Guess> {
        let known = self.known_device(user, device).await?;
        let bucket = bucket(account, known);
        let budget = Budget {
            guesses: self.settings().guesses_per_account,
            window: WINDOW,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
        };
        for _ in 0..MAX_CONFLICTS {
            let now = self.now();
            let batch = Batch {
                writes: vec![guess::pay(bucket, budget, now)],
                ..Batch::default()
            };
            match self.store().commit(batch).await {
                Ok(_) => return Ok(Guess { bucket }),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some((free_at,)) = self.store().find(guess::free_at(bucket)).await?
                && free_at > now
            {
                let retry_after = free_at.since(now);
                return Err(Error::TooManyCalls { retry_after });
            }
        }
        Err(Error::Busy)
    }

    /// The device, if this human signed in with it before.
    pub(crate) async fn known_device(
        &self,
        user: Option<UserId>,
        device: Option<SecretHash>,
    ) -> Result<Option<SecretHash>> {
        let (Some(user), Some(device)) = (user, device) else {
            return Ok(None);
        };
        let owner = self.store().find(known_device::owner(device)).await?;
        Ok((owner == Some((user,))).then_some(device))
    }
}

fn bucket(account: &str, device: Option<SecretHash>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(PURPOSE);
    hash.update([u8::from(device.is_some())]);
    if let Some(device) = device {
        hash.update(device.as_bytes());
    }
    hash.update(account);
    hash.finalize().into()
}
