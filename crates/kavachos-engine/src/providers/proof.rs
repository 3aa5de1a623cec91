//! A provider's token as a proof of who somebody is, good once: to open a session of ours, or to link an account.
//!
//! Promises: it must be as young as one that is exchanged; it is used up in the commit of what it proves; it never finds an
//! account by an e-mail address. Whose it is says the pair of provider and `sub`, and nothing else.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::principal::Status;
use kavachos_core::time::Timestamp;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, given_identity, user};
use serde_json::Value;

use super::vouched::Believed;
use super::{Provider, Providers};
use crate::act::Act;
use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::mail::MailKind;
use crate::users::User;

/// How the method of a session begins that was opened for a provider's token.
pub(super) const METHOD: &str = "provider:";

/// A provider's token that somebody shows to prove who they are.
#[derive(Debug, Clone, Copy)]
pub struct ShownProof<'a> {
    /// The provider that it is of, where that was said: another's is refused.
    pub provider: Option<&'a str>,
    /// The token.
    pub token: &'a str,
    /// What it was asked for with.
    pub nonce: Option<&'a str>,
}

/// A human whom a provider's token names, and the token, which is used up by what it proves.
#[derive(Debug, Clone)]
pub struct ProviderProof {
    user: UserId,
    method: String,
    proved_at: Option<Timestamp>,
    used: UsedToken,
}

/// What a token is remembered by once it is used.
#[derive(Debug, Clone, Copy)]
struct UsedToken {
    digest: [u8; 32],
    ends_at: Timestamp,
}

impl UsedToken {
    fn of(believed: &Believed) -> Self {
        Self {
            digest: believed.bearer.token.digest,
            ends_at: believed.bearer.token.expires_at,
        }
    }

    fn write(self) -> Write {
        kavachos_store::id_token::use_once(self.digest, self.ends_at)
    }
}

impl ProviderProof {
    /// The human.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The method, as the session names it: `provider:clerk`, for instance.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// When the human proved to the provider who they are; `None` where it does not say it.
    pub(crate) fn proved_at(&self) -> Option<Timestamp> {
        self.proved_at
    }

    /// Uses the token up.
    pub(crate) fn write(&self) -> Write {
        self.used.write()
    }
}

impl Providers {
    /// What the configuration says of a session that is opened by this method.
    pub(crate) fn session_bound(&self, method: &str) -> SessionBound {
        let first = method.split('+').next().unwrap_or_default();
        let Some(name) = first.strip_prefix(METHOD) else {
            return SessionBound::None;
        };
        let provider = self.iter().find(|provider| provider.name.as_str() == name);
        match provider.and_then(|provider| provider.session_life) {
            Some(life) => SessionBound::Life(life),
            None => SessionBound::Refused,
        }
    }
}

/// What a provider's configuration says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionBound {
    /// Nothing: no provider opened it.
    None,
    /// It lives so long at most.
    Life(Duration),
    /// No session is opened for its tokens.
    Refused,
}

impl Engine {
    /// The human whom a provider's token names, to be signed in with it; created on first mention.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a token that is not believed, is another provider's, or was used before;
    /// [`Error::Forbidden`] for a human who is new where none are made; [`Error::ProviderUnavailable`].
    pub async fn proved_by_provider(
        &self,
        stranger: Stranger<'_>,
        shown: ShownProof<'_>,
    ) -> Result<ProviderProof> {
        let believed = self
            .believed_once(shown, |provider| provider.session_life.is_some())
            .await?;
        // Who was stopped is told so after the proof, as by every method.
        let human = self.human_of(&believed, stranger).await;
        let human = human.map_err(as_forbidden)?;
        Ok(ProviderProof {
            user: human.user.id,
            method: format!("{METHOD}{}", believed.provider.name),
            proved_at: human.proved_at(),
            used: UsedToken::of(&believed),
        })
    }

    /// Gives the human who calls an identity at a provider: they show a fresh session and that provider's token. They are
    /// told by mail.
    ///
    /// # Errors
    /// The caller has no session that is fresh; the token is not believed; the identity is somebody's, or was; the account
    /// has one already.
    pub async fn link_provider(&self, actor: &Actor, shown: ShownProof<'_>) -> Result<User> {
        let id = linking(actor)?;
        self.change(actor, Act::on_user("user.linked", id), || {
            self.plan_link(actor, id, shown)
        })
        .await
    }

    async fn plan_link(
        &self,
        actor: &Actor,
        id: UserId,
        shown: ShownProof<'_>,
    ) -> Result<Plan<User>> {
        self.require_fresh(actor)?;
        let believed = self
            .believed_once(shown, |_| true)
            .await
            .map_err(as_forbidden)?;
        let external = believed.external();
        external.check()?;
        let row = self.user_row(id).await?;
        if row.status != Status::Active {
            return Err(Error::WrongState("the user is not active".to_owned()));
        }
        if row.external.is_some() {
            return Err(Error::WrongState(
                "this account has an identity at a provider already; it has one at the most"
                    .to_owned(),
            ));
        }
        if self.mentioned(&external).await?.is_some() {
            return Err(Error::WrongState(
                "this identity is another account's, or was: two accounts are never made one"
                    .to_owned(),
            ));
        }
        let next = UserRow {
            external: Some(external.pair()),
            ..row
        };
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![
                UsedToken::of(&believed).write(),
                user::update(next.clone()),
                // Theirs, whatever an operator gave them before.
                given_identity::used(id),
            ],
            entries: vec![self.linked_record(actor, &next, &believed)?],
            effects: vec![Changed::User(id).into()],
            ..Batch::default()
        };
        let told = self.told_of_identity(&next, MailKind::FactorAdded)?;
        batch.writes.extend(told);
        Ok(Plan::commit(batch, User::of(next, self.now())?))
    }

    fn linked_record(&self, actor: &Actor, row: &UserRow, believed: &Believed) -> Result<Entry> {
        let details = Value::Object(believed.vouched().details());
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "user.linked", Outcome::Allowed, "done");
        record.subject = Some(row.pseudonym);
        record.details = Some(&details);
        self.seal(&record)
    }

    /// A token that counts once, and was not used; made as lately as one that is exchanged.
    async fn believed_once(
        &self,
        shown: ShownProof<'_>,
        opens: impl Fn(&Provider) -> bool,
    ) -> Result<Believed> {
        let accepted = |provider: &Provider| match opens(provider) {
            true => provider.proofs(),
            false => Vec::new(),
        };
        let believed = self
            .believed_bearer(shown.token, shown.nonce, accepted)
            .await?;
        let named = believed.provider.name.as_str();
        if shown.provider.is_some_and(|provider| provider != named) {
            return Err(Error::Unauthenticated("the token is another provider's"));
        }
        let token = &believed.bearer.token;
        if self.is_used(token.digest, token.issued_at).await? {
            return Err(Error::Unauthenticated(
                "the provider's token was used before, or made before this server was restored: it is good for one sign-in; \
                 get a new one",
            ));
        }
        Ok(believed)
    }
}

/// The human who links, or ends that: one with a session of ours, for a provider's token proves nothing about the account.
pub(super) fn linking(actor: &Actor) -> Result<UserId> {
    let person = actor.person().filter(|person| person.session().is_some());
    person
        .map(|person| person.user.id)
        .ok_or_else(|| Error::Forbidden("this needs a session of the account".to_owned()))
}

/// The caller is known, or the token is believed: what is wrong is no credential.
fn as_forbidden(error: Error) -> Error {
    match error {
        Error::Unauthenticated(why) => Error::Forbidden(why.to_owned()),
        other => other,
    }
}
