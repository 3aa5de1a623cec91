//! The human is told of sign-ins from where they never signed in, and says when it was not them.
//!
//! Promises: a session that is opened elsewhere than in a browser that is known to its human is told to them by mail, in
//! the commit that opens it, where mail is sent and the address is known to be theirs. The mail has a link, good once and
//! for a week, of which the hash is stored; opening it changes nothing. Following it ends all that is open of the account,
//! the agents and grants that were made by whoever was signed in, the ways in that were added since, and the password, until
//! it is set anew by mail. A mail more or less never decides over a sign-in. See ADR 0035.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_store::not_me::{self, NotMeRow};
use kavachos_store::session::{self, SessionRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, password};
use sha2::{Digest, Sha256};

use crate::act::Act;
use crate::actor::Actor;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::mail::{EmailAddress, MAX_WAITING, Mail, MailKind};
use crate::raising::Dying;
use crate::revoked::Revoked;
use crate::sign_in::Browser;
use crate::turning::Turning;

/// For how long after a sign-in its link takes away the ways in that were added since, too.
pub(crate) const DOUBT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a link is good: as long as a session is that nobody uses, by default.
const LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// In which time a human gets so many mails about sign-ins.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The one answer to links that are over, used, or were never made.
const GONE: Error = Error::Unauthenticated(
    "this link is over or was used; if you think that somebody else signs in to your account, set a new password",
);

impl Engine {
    /// Adds the mail about a session that is opened now to its batch, where the human is to be told of it.
    pub(crate) async fn tell_of_sign_in(
        &self,
        (human, session): (&UserRow, &SessionRow),
        browser: Option<Browser>,
        batch: &mut Batch,
    ) -> Result<()> {
        let device = browser.and_then(|browser| browser.device);
        let Some(to) = self.told_at(human) else {
            return Ok(());
        };
        if self.known_device(Some(human.id), device).await?.is_some() {
            return Ok(());
        }
        let (now, limit) = (self.now(), self.settings().mails_per_recipient);
        let since = now.minus(HOUR);
        let sent = self.store().find(not_me::since(human.id, since)).await?;
        if sent.is_none_or(|(sent,)| sent >= limit) {
            return Ok(());
        }
        // Where no more mail may wait it is left out: a mail server that is away keeps nobody from signing in.
        if self.require_mail_room(MAX_WAITING).await.is_err() {
            return Ok(());
        }
        let (token, hash) = self.new_link();
        let link = NotMeRow {
            hash,
            user: human.id,
            session: session.id,
            expires_at: now.plus(LIFE),
            created_at: now,
        };
        batch.writes.push(not_me::insert(&link, (limit, since)));
        let site = self.settings().issuer.as_str();
        let mail = Mail::new(to, MailKind::NewDevice)
            .with("url", format!("{site}/not-me?token={token}"))
            .with("name", human.name.clone().unwrap_or_default())
            .with("ip", session.ip.clone().unwrap_or_default())
            .with("device", session.user_agent.clone().unwrap_or_default())
            .with("method", session.method.clone().unwrap_or_default());
        batch.writes.extend(self.mail(&mail)?);
        Ok(())
    }

    /// Where a human is told of what happens to their account, if anywhere.
    pub(crate) fn told_at(&self, human: &UserRow) -> Option<EmailAddress> {
        let email = human.email.as_deref().filter(|_| self.can_mail())?;
        human.email_verified_at?;
        // An address of before these rules may be none by them.
        email.parse().ok()
    }

    /// Takes an account back by the link of a mail about a sign-in: what is open of it ends, what was made in it by whoever
    /// was signed in, and the password until it is set anew.
    ///
    /// # Errors
    /// The link is over, was used, or was never made: one and the same answer.
    pub async fn not_me(&self, stranger: Stranger<'_>, token: &str) -> Result<Revoked> {
        let actor = Actor::of_stranger(stranger);
        let plan = || self.plan_not_me(&actor, hash_of(token));
        let act = Act::new("user.recovered");
        let dying = self.change(&actor, act, plan).await;
        self.recovered(stranger, dying).await
    }

    /// A token for a link, and what is stored of it.
    pub(crate) fn new_link(&self) -> (String, [u8; 32]) {
        let token = URL_SAFE_NO_PAD.encode(self.random::<32>());
        let hash = hash_of(&token);
        (token, hash)
    }

    /// How far an account is taken back, for whoever followed a link.
    pub(crate) async fn recovered(
        &self,
        stranger: Stranger<'_>,
        dying: Result<Vec<Dying>>,
    ) -> Result<Revoked> {
        let dying = match dying {
            Err(error @ Error::Unauthenticated(_)) => {
                self.note_stranger(stranger, error.code());
                return Err(error);
            }
            dying => dying?,
        };
        let mut told = self.reached_now();
        for whose in dying {
            told = told.and(self.carried_through(whose).await);
        }
        Ok(told)
    }

    async fn plan_not_me(&self, actor: &Actor, hash: [u8; 32]) -> Result<Plan<Vec<Dying>>> {
        let now = self.now();
        let link = self.store().find(not_me::by_hash(hash, now)).await?;
        let link = link.ok_or(GONE)?;
        let human = self.user_row(link.user).await?;
        let id = human.id;
        let mut batch = Batch {
            reads: vec![human.mark],
            writes: vec![not_me::consume(hash, now)],
            ..Batch::default()
        };
        let mut dying = Vec::new();
        // Whoever reads mail proves one factor: for long they do not take away the other one.
        let is_late = now > link.created_at.plus(DOUBT);
        let since = if is_late { now } else { link.created_at };
        let turned = (human, Turning::Recovered(Some(since)));
        self.turn_human(actor, turned, (&mut batch, &mut dying))
            .await?;
        batch
            .writes
            .extend([session::end_dead(id), password::require_reset(id)]);
        Ok(Plan::commit(batch, dying))
    }
}

/// What is stored of a token. It is random and as long as its hash, so no salt is needed.
pub(crate) fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
