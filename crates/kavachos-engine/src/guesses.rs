//! Guesses at an account: paid for before they are looked at, given back to whoever was right.
//!
//! Every account has one budget, whether it exists or not, and one more for each browser in which its human signed in
//! before: so a stranger who guesses does not lock them out. Codes of six digits are paid for out of one more budget, which
//! all accounts share, for each method: whoever tries a few codes at each of many accounts finds none either. One network
//! gets a tenth of that one, so that nobody uses it up for everybody else.
//!
//! Guesses that are wrong in a row have an end besides, however slowly they come: after `Settings::guesses_in_a_row` nothing that is
//! shown in a browser that is not known proves the human by it, and the answers stay those of wrong guesses. The run ends
//! when the human signs in, in a known browser or by other means, or has what is guessed set anew.

use std::net::IpAddr;
use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::secret::SecretHash;
use kavachos_store::guess::{self, Budget};
use kavachos_store::guess_run::{self, Run};
use kavachos_store::{Batch, CommitError, Write, known_device};
use sha2::{Digest, Sha256};

use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};
use crate::flood::{network, site};
use crate::mail::{MAX_ASKED_FOR, Mail, MailKind};

/// Before the account is named in it, so that a hash for one purpose is none for another.
const PURPOSE: &str = "kavachos guesses 1";
/// The first pause beyond the budget; each further guess waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// The window in which guesses are counted.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// Which part of the budget of all codes one network may take.
const PART_OF_SOURCE: u64 = 10;
/// What a password is called among the things that are guessed.
pub(crate) const PASSWORD: &str = "password";
/// Who is guessed at where there is no such account; nobody has this id.
const NOBODY: UserId = UserId::from_bits(0);

/// A guess that was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "whoever was right gets it back: hand it to the sign-in"]
pub struct Guess {
    bucket: [u8; 32],
    /// The budget of all codes and the part of it of one network, where it was paid out of those too.
    shared: Vec<[u8; 32]>,
    /// What proves whom, if it is right.
    at: Option<(UserId, &'static str)>,
    judged: bool,
    /// Whether the code was sent to nobody: then it takes nothing from those of others.
    nobodys: bool,
}

/// What is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guessing {
    /// What one person chose, a machine made long, or an app shows: what lasts, by its name.
    Secret(&'static str),
    /// One of a million codes, of the method with this name.
    Code(&'static str),
    /// One of 25,600,000,000 codes that devices show: so many that all who guess need no budget together, which somebody
    /// could use up for everybody.
    DeviceCode,
}

impl Guess {
    /// A guess of somebody in a browser that is not known.
    pub(crate) fn of_strangers(account: &str) -> Self {
        Self::stored(bucket(account, None))
    }

    pub(crate) fn stored(bucket: [u8; 32]) -> Self {
        Self {
            bucket,
            shared: Vec::new(),
            at: None,
            judged: true,
            nobodys: false,
        }
    }

    /// It is at a code that nobody was sent: the same is asked of it, and what it took from the codes of others is given
    /// back with its record.
    pub fn at_nobodys_code(mut self) -> Self {
        self.nobodys = true;
        self
    }

    /// Whether it may prove anything. After too many wrong ones in a row it does not: it takes as long as any other, and is
    /// answered as a wrong one.
    pub fn is_judged(&self) -> bool {
        self.judged
    }

    pub(crate) fn bucket(&self) -> [u8; 32] {
        self.bucket
    }

    /// Ends the guesses in a row at what was right, whatever else is still to be proved.
    pub(crate) fn end_run(&self) -> Option<Write> {
        self.at.map(|(user, what)| guess_run::end(user, what))
    }

    /// Gives this one guess back: whoever has right codes for nothing gets no more wrong ones for them.
    pub(crate) fn give_one_back(&self) -> impl Iterator<Item = Write> {
        let all = [self.bucket].into_iter().chain(self.shared.clone());
        all.map(guess::give_one_back)
    }

    /// Gives the whole budget of the account back, and of the one that others pay out of too this one guess. The guesses in
    /// a row end with it.
    pub(crate) fn give_back(&self) -> impl Iterator<Item = Write> {
        let shared = self.shared.iter().copied().map(guess::give_one_back);
        let own = [guess::give_back(self.bucket)];
        own.into_iter().chain(shared).chain(self.end_run())
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
        (device, ip): (Option<SecretHash>, Option<IpAddr>),
    ) -> Result<Guess> {
        let settings = self.settings();
        let known = self.known_device(user, device).await?;
        let shared = match guessing {
            Guessing::Code(method) if known.is_none() => self.shared_budgets(method, ip),
            Guessing::DeviceCode => self.budget_of_source("device", ip).into_iter().collect(),
            Guessing::Code(_) | Guessing::Secret(_) => Vec::new(),
        };
        let run = match guessing {
            Guessing::Secret(authenticator) => Some(Run {
                user: user.unwrap_or(NOBODY),
                authenticator,
                browser: known.map_or_else(Vec::new, |known| known.as_bytes().to_vec()),
            }),
            Guessing::Code(_) | Guessing::DeviceCode => None,
        };
        let mut guess = Guess {
            bucket: bucket(account, known),
            shared: shared.iter().map(|(bucket, _)| *bucket).collect(),
            at: run
                .as_ref()
                .and_then(|run| Some((user?, run.authenticator))),
            judged: true,
            nobodys: false,
        };
        for _ in 0..MAX_CONFLICTS {
            let now = self.now();
            let own = guess::pay(guess.bucket, budget(settings.guesses_per_account), now);
            let shared = shared
                .iter()
                .map(|(bucket, of)| guess::pay(*bucket, *of, now));
            let mut writes: Vec<Write> = [own].into_iter().chain(shared).collect();
            if let Some(run) = &run {
                guess.judged = self.count_in_a_row(run, &mut writes).await?;
            }
            let batch = Batch {
                writes,
                ..Batch::default()
            };
            match self.store().commit(batch).await {
                Ok(_) => return Ok(guess),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            for bucket in [&guess.bucket].into_iter().chain(&guess.shared) {
                if let Some((free_at,)) = self.store().find(guess::free_at(*bucket)).await?
                    && free_at > now
                {
                    let retry_after = free_at.since(now);
                    return Err(Error::TooManyCalls { retry_after });
                }
            }
        }
        Err(Error::Busy)
    }

    /// What all codes of a method are paid out of, and the part that the network of this address may take of it; of IPv6 that
    /// of its whole site, which has 65,536 networks for nothing.
    fn shared_budgets(&self, method: &str, ip: Option<IpAddr>) -> Vec<([u8; 32], Budget)> {
        let all = (
            all_codes(method),
            budget_of_codes(self.settings().wrong_codes),
        );
        let source = self.budget_of_source(method, ip);
        [all].into_iter().chain(source).collect()
    }

    fn budget_of_source(&self, method: &str, ip: Option<IpAddr>) -> Option<([u8; 32], Budget)> {
        let source = ip.map(|ip| site(ip).unwrap_or_else(|| network(ip)))?;
        let part = (self.settings().wrong_codes / PART_OF_SOURCE).max(1);
        Some((codes_from(method, source), budget_of_codes(part)))
    }

    /// Adds one to the guesses in a row, and tells whether this one is looked at. The human is told once that no more are.
    async fn count_in_a_row(&self, run: &Run, writes: &mut Vec<Write>) -> Result<bool> {
        let length = self.store().find(guess_run::length(run)).await?;
        let length = length.map_or(0, |(length,)| length);
        let limit = self.settings().guesses_in_a_row;
        if run.user == NOBODY {
            writes.push(guess_run::touch(run));
            return Ok(true);
        }
        if length < limit {
            writes.push(guess_run::count_below(run, limit));
            return Ok(true);
        }
        if length > limit {
            writes.push(guess_run::touch(run));
            return Ok(false);
        }
        writes.push(guess_run::close(run, limit));
        let human = self.user_row(run.user).await?;
        if let Some(to) = self.told_at(&human)
            && self.require_mail_room(MAX_ASKED_FOR).await.is_ok()
        {
            let mail = Mail::new(to, MailKind::GuessesStopped)
                .with("name", human.name.unwrap_or_default())
                .with("method", run.authenticator);
            writes.extend(self.mail(&mail)?);
        }
        Ok(false)
    }

    /// Takes as long as putting a wrong guess on record, for a guess at an account that is not there: what strangers type is
    /// not kept for ever.
    pub(crate) async fn pass_over_guess(&self, guess: &Guess) -> Result<()> {
        let mut writes = vec![guess::touch(guess.bucket)];
        if guess.nobodys {
            writes.extend(guess.shared.iter().copied().map(guess::give_one_back));
        }
        let batch = Batch {
            writes,
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

/// The same of codes, whose pauses do not grow.
const fn budget_of_codes(guesses: u64) -> Budget {
    Budget {
        longest_pause: FIRST_PAUSE,
        ..budget(guesses)
    }
}

/// The budget of all codes of a method. No account is called so: the purpose is another one.
fn all_codes(method: &str) -> [u8; 32] {
    Sha256::digest(format!("{PURPOSE} of codes {method}")).into()
}

/// The part of it that one network may take.
fn codes_from(method: &str, source: IpAddr) -> [u8; 32] {
    Sha256::digest(format!("{PURPOSE} of codes {method} from {source}")).into()
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
