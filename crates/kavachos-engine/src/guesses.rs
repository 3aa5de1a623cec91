//! Guesses at an account: paid for before they are looked at, given back to whoever was right.
//!
//! Every account has one budget, whether it exists or not, and one more for each browser in which its human signed in
//! before: so a stranger who guesses does not lock them out. Codes of six digits are paid for out of one more budget, which
//! all accounts share, for each method: whoever tries a few codes at each of many accounts finds none either.

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
    /// The budget of all codes, where it was paid out of that one too.
    shared: Option<[u8; 32]>,
}

/// What is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guessing {
    /// What one person chose, or a machine made long.
    Password,
    /// One of a million codes, of the method with this name.
    Code(&'static str),
}

impl Guess {
    /// A guess of somebody in a browser that is not known.
    pub(crate) fn of_strangers(account: &str) -> Self {
        Self::stored(bucket(account, None))
    }

    pub(crate) fn stored(bucket: [u8; 32]) -> Self {
        Self {
            bucket,
            shared: None,
        }
    }

    pub(crate) fn bucket(&self) -> [u8; 32] {
        self.bucket
    }

    /// Gives the whole budget of the account back, and of the one that others pay out of too this one guess.
    pub(crate) fn give_back(&self) -> impl Iterator<Item = Write> {
        let shared = self.shared.map(guess::give_one_back);
        [guess::give_back(self.bucket)].into_iter().chain(shared)
    }
}

impl Engine {
    /// Pays for one guess at an account, as it is named by whoever guesses; `user` where there is such an account.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] while the budget is used up; those of the store.
    pub(crate) async fn pay_for_guess(
        &self,
        guessing: Guessing,
        (account, user): (&str, Option<UserId>),
        device: Option<SecretHash>,
    ) -> Result<Guess> {
        let settings = self.settings();
        let known = self.known_device(user, device).await?;
        let shared = match guessing {
            Guessing::Code(method) if known.is_none() => Some(all_codes(method)),
            Guessing::Code(_) | Guessing::Password => None,
        };
        let guess = Guess {
            bucket: bucket(account, known),
            shared,
        };
        let of_all = Budget {
            guesses: settings.wrong_codes,
            longest_pause: FIRST_PAUSE,
            ..budget(settings.guesses_per_account)
        };
        for _ in 0..MAX_CONFLICTS {
            let now = self.now();
            let own = guess::pay(guess.bucket, budget(settings.guesses_per_account), now);
            let shared = guess.shared.map(|bucket| guess::pay(bucket, of_all, now));
            let batch = Batch {
                writes: [own].into_iter().chain(shared).collect(),
                ..Batch::default()
            };
            match self.store().commit(batch).await {
                Ok(_) => return Ok(guess),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            for bucket in [Some(guess.bucket), guess.shared].into_iter().flatten() {
                if let Some((free_at,)) = self.store().find(guess::free_at(bucket)).await?
                    && free_at > now
                {
                    let retry_after = free_at.since(now);
                    return Err(Error::TooManyCalls { retry_after });
                }
            }
        }
        Err(Error::Busy)
    }

    /// Takes as long as putting a wrong guess on record, for a guess at an account that is not there: what strangers type is
    /// not kept for ever.
    pub(crate) async fn pass_over_guess(&self, guess: &Guess) -> Result<()> {
        let batch = Batch {
            writes: vec![guess::touch(guess.bucket)],
            ..Batch::default()
        };
        self.store().commit(batch).await?;
        Ok(())
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

/// So many wrong guesses in an hour, then pauses that grow.
const fn budget(guesses: u64) -> Budget {
    Budget {
        guesses,
        window: WINDOW,
        first_pause: FIRST_PAUSE,
        longest_pause: LONGEST_PAUSE,
    }
}

/// The budget of all codes of a method. No account is called so: the purpose is another one.
fn all_codes(method: &str) -> [u8; 32] {
    Sha256::digest(format!("{PURPOSE} of codes {method}")).into()
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
