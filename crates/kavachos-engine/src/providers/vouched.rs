//! A human who calls with the token of their own provider: as with a session, for as long as the token lives.
//!
//! Promises: the token is checked with every request, and nothing of it is remembered; the human is read from the store
//! with every request, so that one who was stopped is nobody at the next; a token that was made before its human was last
//! banned, or before a backup was put back, counts no more; what is done with it stays within the provider's ceiling. It
//! proves one factor, so of a human with a second one it proves too little; that, and whose the identity is, is so at the
//! moment of each commit.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_core::id_token::{Accepted, BearerRules, BearerToken, TokenKind, UnverifiedIdToken};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::User;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{CLOCK_SKEW, Code, Failure};
use kavachos_store::{Write, second_factor, vouching};
use serde_json::{Map, Value};

use super::Provider;
use super::sign_in::SignIn;
use crate::actor::{Actor, Caller, Credential, Person};
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::users::External;

/// How our own credentials begin. None of them is a provider's token.
const OWN: &str = "kv_";
/// How many dots a signed token has.
const DOTS: usize = 2;

/// What a provider says of a human who calls with its token.
#[derive(Debug)]
pub struct Vouched {
    provider: Arc<Provider>,
    external: External,
    kind: TokenKind,
    issued_at: Timestamp,
    proved_at: Option<Timestamp>,
    ends_at: Timestamp,
}

impl Vouched {
    /// The provider's name.
    pub fn provider(&self) -> &str {
        self.provider.name.as_str()
    }

    /// What the token is.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// When the human last proved to the provider who they are; `None` where it does not say it.
    pub fn proved_at(&self) -> Option<Timestamp> {
        self.proved_at
    }

    /// When the token ends; nothing that comes of it lives longer.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// What must still be so when the writer comes to what its human does, besides that they are not stopped.
    pub(crate) fn still(&self, human: UserId) -> Write {
        vouching::still(human, self.external.pair())
    }

    /// What nothing that comes of it may exceed.
    pub(crate) fn ceiling(&self) -> &PermissionSet {
        &self.provider.ceiling
    }

    /// What records say of it.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let members = [("provider", self.provider()), ("token", self.kind.as_str())];
        let members = members.map(|(name, text)| (name.to_owned(), text.into()));
        members.into_iter().collect()
    }
}

/// A token of a provider whose signature and claims hold.
pub(super) struct Believed {
    pub(super) provider: Arc<Provider>,
    pub(super) bearer: BearerToken,
}

impl Believed {
    pub(super) fn rule(&self) -> Option<&SignIn> {
        self.provider.sign_in_of(self.bearer.kind)
    }

    /// The human whom it names.
    pub(super) fn external(&self) -> External {
        self.provider.names(&self.bearer.token)
    }

    pub(super) fn vouched(&self) -> Vouched {
        let token = &self.bearer.token;
        Vouched {
            provider: Arc::clone(&self.provider),
            external: self.external(),
            kind: self.bearer.kind,
            issued_at: token.issued_at,
            proved_at: self.rule().and_then(|rule| rule.proved_at(&self.bearer)),
            ends_at: token.expires_at,
        }
    }
}

/// Whether a credential is to be read as a provider's token.
fn is_signed(credential: &str) -> bool {
    let dots = credential.bytes().filter(|byte| *byte == b'.').count();
    dots == DOTS && !credential.starts_with(OWN)
}

impl Engine {
    /// Finds out who calls with this credential: one of ours, or the token of a provider whose tokens sign in. A human
    /// whom it names is created on first mention.
    ///
    /// # Errors
    /// Those of [`Self::authenticate`]; [`Error::Forbidden`] for a human who has a second factor, or is new where none are
    /// made; [`Error::SecondFactorRequired`] for one of whom a second factor is demanded; and [`Error::ProviderUnavailable`] when the provider's keys are not known.
    pub async fn caller(&self, credential: &str, stranger: Stranger<'_>) -> Result<Caller> {
        match self.caller_owing(credential, stranger).await? {
            Caller::Person(person) => person.settled().map(Caller::Person),
            other => Ok(other),
        }
    }

    /// The same, also a human with a session who is yet to show a second factor: for what leads to one, and for leaving.
    ///
    /// # Errors
    /// Those of [`Self::caller`]; a second factor that a provider's token does not prove is one of them here too.
    pub async fn caller_owing(&self, credential: &str, stranger: Stranger<'_>) -> Result<Caller> {
        if !is_signed(credential) || !self.settings().providers.sign_in() {
            return self.authenticate_owing(credential).await;
        }
        Box::pin(self.vouched_caller(credential, stranger)).await
    }

    async fn vouched_caller(&self, credential: &str, stranger: Stranger<'_>) -> Result<Caller> {
        let believed = self
            .believed_bearer(credential, None, |provider| provider.bearers())
            .await?;
        let person = self.bearer_of(&believed, stranger).await;
        if let Err(error @ (Error::Forbidden(_) | Error::SecondFactorRequired(_))) = &person {
            self.note_stranger(stranger, error.code());
        }
        person.map(Caller::Person)
    }

    async fn bearer_of(&self, believed: &Believed, stranger: Stranger<'_>) -> Result<Person> {
        let person = self.human_of(believed, stranger).await?;
        self.refuse_one_factor(&person.user).await?;
        Ok(person)
    }

    /// Refuses what one factor proves of a human who has two, or of whom two are demanded.
    pub(super) async fn refuse_one_factor(&self, human: &User) -> Result<()> {
        match self.has_second_factor(human.id).await? {
            false => self.refuse_demanded(human),
            true => Err(Error::Forbidden(SECOND_FACTOR.to_owned())),
        }
    }

    /// Whether a human has a second factor.
    pub(crate) async fn has_second_factor(&self, human: UserId) -> Result<bool> {
        let factors = self.store().list(second_factor::of(human)).await?;
        Ok(!factors.is_empty())
    }

    /// A token that its provider's configuration lets count; `accepted` says which kinds.
    pub(super) async fn believed_bearer(
        &self,
        text: &str,
        nonce: Option<&str>,
        accepted: impl Fn(&Provider) -> Vec<Accepted>,
    ) -> Result<Believed> {
        let token = UnverifiedIdToken::split_any(text).map_err(|failure| disbelieved(&failure))?;
        let provider = token
            .issuer()
            .and_then(|issuer| self.settings().providers.of_issuer(issuer))
            .filter(|provider| !provider.sign_in.is_empty())
            .ok_or(Error::Unauthenticated(
                "the token is of no provider whose tokens sign in here",
            ))?;
        let accepted = accepted(provider);
        let key = self.provider_key(provider, token.kid()).await?;
        let key = key.ok_or(Error::Unauthenticated(
            "the provider has no key with the token's `kid`",
        ))?;
        let rules = BearerRules {
            issuer: &provider.issuer,
            accepted: &accepted,
            max_sign_in_age: self.settings().session_life,
            nonce,
        };
        let bearer = token
            .verify(&key, &provider.algorithms, self.rsa())
            .and_then(|claims| claims.check_bearer(&rules, self.now()));
        Ok(Believed {
            bearer: bearer.map_err(|failure| disbelieved(&failure))?,
            provider: Arc::clone(provider),
        })
    }

    /// The human whom a token names: found, or created on first mention, and live.
    pub(super) async fn human_of(
        &self,
        believed: &Believed,
        stranger: Stranger<'_>,
    ) -> Result<Person> {
        let external = believed.external();
        external.check()?;
        let by = Credential::Provider(Arc::new(believed.vouched()));
        let user = match self.mentioned(&external).await? {
            Some(user) => user,
            None => {
                let planner = Actor::of_stranger(stranger);
                let named = |user: Arc<User>| {
                    let by = by.clone();
                    Caller::Person(Person::of_provider(by, user))
                };
                self.first_mention(&planner, (&believed.provider, &external), named)
                    .await?
            }
        };
        self.refuse_stopped(&user, believed.bearer.token.issued_at)
            .await?;
        Ok(Person::of_provider(by, user))
    }

    /// Refuses a human who is not live, and a provider's word of before they were stopped last.
    pub(super) async fn refuse_stopped(&self, user: &User, issued_at: Timestamp) -> Result<()> {
        if !user.is_live(self.now()) {
            return Err(Error::Unauthenticated(STOPPED));
        }
        if self.is_from_before(user, issued_at).await? {
            return Err(Error::Unauthenticated(FROM_BEFORE));
        }
        Ok(())
    }

    /// Whether a token was made before its human was last banned, by a clock that may go a little wrong, or before the
    /// database was restored.
    pub(super) async fn is_from_before(&self, user: &User, issued_at: Timestamp) -> Result<bool> {
        let skew = i64::try_from(CLOCK_SKEW.as_micros()).unwrap_or(i64::MAX);
        let surely = Timestamp::from_micros(issued_at.as_micros().saturating_sub(skew));
        let before = vouching::before(user.id, (surely, issued_at), self.now());
        Ok(self.store().find(before).await?.is_some())
    }

    /// The caller as the human stands now, with a token that was checked when the request came.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the token is over or the human was stopped by now.
    pub(crate) async fn renewed_vouched(
        &self,
        person: &Person,
        vouched: &Arc<Vouched>,
    ) -> Result<Caller> {
        if vouched.ends_at <= self.now() {
            return Err(Error::Unauthenticated(OVER));
        }
        let row = self.user_row(person.user.id).await?;
        if row.external != Some(vouched.external.pair()) {
            return Err(Error::Unauthenticated(TAKEN));
        }
        let user = Arc::new(compile::user(&row)?);
        self.refuse_stopped(&user, vouched.issued_at).await?;
        self.refuse_one_factor(&user).await?;
        let by = Credential::Provider(Arc::clone(vouched));
        Ok(Caller::Person(Person::of_provider(by, user)))
    }
}

pub(super) const STOPPED: &str = "the human whom the token names is banned or deleted here";
pub(super) const FROM_BEFORE: &str = "the token was made before its human was stopped here, or before this server was restored: get a new one from the \
     provider";
pub(super) const SECOND_FACTOR: &str = "the human has a second factor here, which a provider's token does not prove: sign in for a session, with both";
pub(super) const TAKEN: &str = "the identity that the token names was taken from its account";
const OVER: &str =
    "the token's time is over, or it was made too long ago: get a new one from the provider";

/// Why a token is not believed, for whoever shows it.
fn disbelieved(failure: &Failure) -> Error {
    Error::Unauthenticated(match failure.code {
        Code::Malformed => {
            "the credential is neither a key nor a token that can be read: copy all of it, without quotes"
        }
        Code::WrongType => {
            "the token is of a kind that does not sign in here: use one that `sign_in` of its provider names"
        }
        Code::AlgNotAllowed => {
            "the token is not signed in a way that is accepted from its provider"
        }
        Code::UnknownKey => "the token's issuer is not the provider whose key signed it",
        Code::BadSignature => "the signature does not fit the token",
        Code::AudienceMismatch => {
            "the token is made out to somebody else: its `aud`, `azp` or `nonce` is not the one that is asked for"
        }
        Code::Expired => OVER,
        Code::NotYetValid => {
            "the token is from the future: its `iat`, `nbf` or `auth_time` has not come"
        }
        _ => "the token is not believed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_foreign_token_is_read_as_one() {
        assert!(is_signed("a.b.c") && is_signed(".."));
        for own in ["kv_sess_a.b.c", "kv_sess_abc", "", "a.b", "a.b.c.d.e"] {
            assert!(!is_signed(own), "{own}");
        }
    }
}
