//! What a plugin's handler changes, and what that came to.

use std::fmt;

use kavachos_core::id::{AgentId, UserId};
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_store::user::UserRow;
use kavachos_store::{Write, guess_run, password, session};
use serde_json::Value;

use super::route::Allowance;
use crate::guesses::{Guess, PASSWORD};
use crate::mail::{EmailAddress, Mail, MailKind};
use crate::sign_in::{Browser, SignIn, SignedIn};
use crate::turning::Turning;

/// What a plugin changes: its own rows, limits to take from, who signs in by it, and what the record says. Everything, or
/// nothing.
#[derive(Debug, Clone, Default)]
#[must_use = "a change that is not returned changes nothing"]
pub struct Change {
    pub(super) thing: String,
    pub(super) writes: Vec<Write>,
    pub(super) takes: Vec<(String, Allowance)>,
    pub(super) agent: Option<AgentId>,
    pub(super) human: Option<UserId>,
    pub(super) details: Option<Value>,
    pub(super) creates: Option<NewHuman>,
    pub(super) turns: Option<(UserId, Turning)>,
    pub(super) factor: Option<(UserId, Arming)>,
    pub(super) password: Option<(UserId, Setting)>,
    pub(super) proof: Option<SignIn>,
    pub(super) as_if_mailed: Vec<(EmailAddress, MailKind)>,
    pub(super) remembers: Option<UserId>,
    pub(super) given_back: Vec<Guess>,
    pub(super) mails: Vec<Mail>,
}

/// What becomes of a password, as its hash.
#[derive(Clone)]
pub(super) enum Setting {
    /// It is set.
    Set(String),
    /// It stays the same.
    Kept(String),
    /// It stays the same, as another hash.
    Rehashed { old: String, new: String },
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "set",
            Self::Kept(_) => "kept",
            Self::Rehashed { .. } => "hashed again",
        })
    }
}

/// An address for a human who had none.
#[derive(Debug, Clone)]
pub struct Address {
    /// The address, [in its one form](crate::email_address).
    pub email: String,
    /// A name, where they gave one.
    pub name: Option<String>,
    /// Whether they showed that they read mail sent to it.
    pub verified: bool,
}

/// Whether a method becomes a second factor of a human, or is one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arming {
    Armed,
    Disarmed,
}

/// A human to be created by a change.
#[derive(Debug, Clone)]
pub struct NewHuman {
    pub(super) row: UserRow,
}

impl NewHuman {
    /// The id that they will have.
    pub fn id(&self) -> UserId {
        self.row.id
    }

    /// They have shown that they read mail sent to their address.
    #[must_use]
    pub fn verified(mut self) -> Self {
        self.row.email_verified_at = Some(self.row.created_at);
        self
    }
}

impl Setting {
    pub(super) fn writes(&self, human: UserId, now: Timestamp) -> Vec<Write> {
        match self {
            Self::Set(phc) => vec![
                password::set(human, phc.clone(), now),
                guess_run::end(human, PASSWORD),
            ],
            Self::Kept(phc) => vec![password::still(human, phc.clone())],
            Self::Rehashed { old, new } => vec![
                password::still(human, old.clone()),
                password::rehash(human, old.clone(), new.clone()),
            ],
        }
    }
}

/// What a change came to.
#[derive(Clone)]
pub struct Changed {
    /// What was made or done, as the plugin named it.
    pub thing: String,
    /// It was done before under the same `Idempotency-Key`, and nothing was done now.
    pub replayed: bool,
    /// What its proof came to, if it carried one.
    pub signed_in: Option<SignedIn>,
    /// What the browser is remembered by, where the change remembers it.
    pub device: Option<Secret>,
}

impl Change {
    /// A change that makes or does this thing: the id of what is created, for instance. The name is kept with an
    /// `Idempotency-Key`.
    pub fn of(thing: impl Into<String>) -> Self {
        Self {
            thing: thing.into(),
            ..Self::default()
        }
    }

    /// Writes to a table of the plugin. A write that changes another number of rows than it states is a conflict: the
    /// change is planned again. So put into its WHERE clause what the plan relied on.
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Takes one from a limit, which is counted exactly and over restarts: `account:user_01...`, for instance. Where
    /// nothing is left, nothing is done, and the caller is told when there will be.
    pub fn taking(mut self, name: impl Into<String>, of: Allowance) -> Self {
        self.takes.push((name.into(), of));
        self
    }

    /// Queues a mail, which is sent if and only if this change is committed.
    pub fn mailing(mut self, mail: Mail) -> Self {
        self.mails.push(mail);
        self
    }

    /// The agent that the record is about.
    pub fn about_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// The human that the record is about; in the ledger they stand under their pseudonym.
    pub fn about_human(mut self, human: UserId) -> Self {
        self.human = Some(human);
        self
    }

    /// What else the record says, for ever and for everyone who may read the ledger: nothing personal.
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Creates a human. Where somebody else has their address by now, the change is planned again.
    pub fn creates(mut self, human: NewHuman) -> Self {
        self.human = Some(human.id());
        self.creates = Some(human);
        self
    }

    /// The human has shown that they read mail sent to their address, and that they are who made the account: by its
    /// password, or in the same browser.
    pub fn verifies(mut self, human: UserId) -> Self {
        self.turns = Some((human, Turning::Verified));
        self
    }

    /// The human has shown that they read mail sent to their address, and nothing else. What was made before is worth
    /// nothing from now on: credentials of every method, factors, sessions, keys, agents, an identity at a provider. What this change writes comes
    /// before that, and the password that it sets after it.
    pub fn claims(mut self, human: UserId) -> Self {
        self.turns = Some((human, Turning::Claimed));
        self
    }

    /// Gives a human who had no e-mail address this one, and this name if any. Where somebody else has the address by now,
    /// the change is planned again.
    pub fn addresses(mut self, human: UserId, of: Address) -> Self {
        let Address {
            email,
            name,
            verified,
        } = of;
        let turning = Turning::Addressed {
            email,
            name,
            verified,
        };
        self.turns = Some((human, turning));
        self
    }

    /// Gives a human another e-mail address, which they have shown to read. All that is open ends, nothing is good any
    /// more that was mailed to either address, and the old one is told. Where somebody else has the address by now, the change is planned again.
    pub fn readdresses(mut self, human: UserId, email: impl Into<String>) -> Self {
        let email = email.into();
        self.turns = Some((human, Turning::Readdressed { email }));
        self
    }

    /// Counts as a mail of this kind to this address and sends none: what is asked of an address that nobody has is answered like what
    /// is asked of one that somebody has.
    pub fn as_if_mailing(mut self, to: EmailAddress, kind: MailKind) -> Self {
        self.as_if_mailed.push((to, kind));
        self
    }

    /// Ends all sessions of the human and all keys of their agents, and forgets in which browsers they signed in.
    pub fn signs_out(mut self, human: UserId) -> Self {
        self.turns = Some((human, Turning::SignedOut));
        self
    }

    /// The same where somebody else may have been in the account, for whoever has shown that it is theirs: also ends the
    /// agents and grants that were made by whoever was signed in, and changes that wait to be confirmed, and takes the
    /// account's identity at a provider away.
    pub fn recovers(mut self, human: UserId) -> Self {
        self.turns = Some((human, Turning::Recovered(None)));
        self
    }

    /// What shows the sessions as ended that die with what becomes of the human.
    pub(super) fn end_of_dead(&self) -> Option<Write> {
        let (user, turning) = self.turns.as_ref()?;
        turning.ends_sessions().then(|| session::end_dead(*user))
    }

    /// What a proof is worth behind what becomes of the human in the same commit. Where all ends that was open the browser is
    /// known no more; where the account is claimed the factors of whoever had it before are gone.
    pub(super) fn after_turning(
        &self,
        browser: Option<Browser>,
        proof: &SignIn,
    ) -> (Option<Browser>, SignIn) {
        match &self.turns {
            Some((_, Turning::Claimed)) => (
                browser.map(|_| Browser::default()),
                proof.clone().unguarded(),
            ),
            Some((
                _,
                Turning::SignedOut
                | Turning::Recovered(_)
                | Turning::Readdressed { .. }
                | Turning::TakenBack { .. },
            )) => (browser.map(|_| Browser::default()), proof.clone()),
            Some((_, Turning::Verified | Turning::Addressed { .. })) | None => {
                (browser, proof.clone())
            }
        }
    }

    /// The method of this plugin is a second factor of the human from now on. All their sessions end but the one that calls.
    pub fn arms(mut self, human: UserId) -> Self {
        self.factor = Some((human, Arming::Armed));
        self
    }

    /// It is one no more.
    pub fn disarms(mut self, human: UserId) -> Self {
        self.factor = Some((human, Arming::Disarmed));
        self
    }

    /// Sets the human's password, as its hash.
    pub fn sets_password(mut self, human: UserId, phc: impl Into<String>) -> Self {
        self.password = Some((human, Setting::Set(phc.into())));
        self
    }

    /// Relies on it that the human's password is still this one, as its hash, and opens something.
    pub fn by_password(mut self, human: UserId, phc: impl Into<String>) -> Self {
        self.password = Some((human, Setting::Kept(phc.into())));
        self
    }

    /// The same, and keeps it as another hash from now on.
    pub fn rehashing(
        mut self,
        human: UserId,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        let (old, new) = (old.into(), new.into());
        self.password = Some((human, Setting::Rehashed { old, new }));
        self
    }

    /// Remembers the browser as one of this human's: a stranger who guesses keeps nobody out of it. What it is remembered
    /// by goes into the answer ([`Answer::remembering`](super::Answer::remembering)).
    pub fn remembers(mut self, human: UserId) -> Self {
        self.remembers = Some(human);
        self
    }

    /// Gives the budget of this guess back: it was right.
    pub fn gives_back(mut self, guess: Guess) -> Self {
        self.given_back.push(guess);
        self
    }

    /// The human proved who they are: the commit opens a session, or begins a sign-in whose second factor is still to be
    /// proved. It is refused where the human was stopped.
    pub fn signs_in(mut self, proof: SignIn) -> Self {
        self.human = self.human.or(Some(proof.user()));
        self.proof = Some(proof);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_stores_shows_in_no_log() {
        let human = UserId::from_bits(1);
        let write = Write::any("UPDATE a_b SET phc = ?1").bind("canary");
        let mail = Mail::new("a@example.com".parse().unwrap(), MailKind::EmailOtp);
        let change = Change::of("thing")
            .write(write)
            .mailing(mail.with("code", "canary"))
            .sets_password(human, "canary");
        let shown = format!("{change:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(
            shown.contains("UPDATE a_b") && shown.contains("Mail(email_otp)"),
            "{shown}"
        );
    }
}
