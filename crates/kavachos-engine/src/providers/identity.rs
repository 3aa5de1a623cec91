//! From a provider's token to a human of ours.

use std::net::IpAddr;
use std::sync::Arc;

use kavachos_core::id::RequestId;
use kavachos_core::id_token::{IdToken, UnverifiedIdToken};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Actor as Name, Outcome, Pseudonym, Record};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::User;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Code, Failure};
use kavachos_store::{Batch, former_identity, user};
use serde_json::{Map, Value};

use super::vouched::{FROM_BEFORE, SECOND_FACTOR, STOPPED, TAKEN};
use super::{NewHumans, Provided, Provider, ProviderClient, ProviderName};
use crate::act::Act;
use crate::actor::{Actor, Caller, OperatorKey};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::users::{External, NewUser};

/// The kind of the record of a token that was not given.
const KIND: &str = "token.issued";

/// Who presents a provider's token.
#[derive(Debug, Clone)]
pub enum Presenter {
    /// A client of the provider, with its secret.
    Client(Arc<ProviderClient>),
    /// An operator, with a live key.
    Operator(Arc<OperatorKey>),
    /// The program that embeds the engine.
    Local,
}

impl Presenter {
    /// The presenter that a caller is; `None` for callers who present nobody.
    pub fn of(caller: &Caller) -> Option<Self> {
        match caller {
            Caller::Local => Some(Self::Local),
            Caller::Operator(key) => Some(Self::Operator(Arc::clone(key))),
            Caller::Agent(_)
            | Caller::Person(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => None,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Client(client) => client.id.to_string(),
            Self::Operator(key) => key.id.to_string(),
            Self::Local => "system".to_owned(),
        }
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Operator(key) => Some(key.mark),
            Self::Client(_) | Self::Local => None,
        }
    }

    pub(super) fn ceiling(&self) -> Option<&PermissionSet> {
        match self {
            Self::Operator(key) => key.ceiling.as_ref(),
            Self::Client(_) | Self::Local => None,
        }
    }

    /// What records say of it.
    pub(super) fn details(&self, provider: Option<&ProviderName>) -> Map<String, Value> {
        let provider = provider.map(|name| ("provider".to_owned(), name.as_str().into()));
        let presenter = ("presenter".to_owned(), self.name().into());
        provider.into_iter().chain([presenter]).collect()
    }

    fn may_present(&self, provider: &ProviderName) -> bool {
        match self {
            Self::Client(client) => client.provider == *provider,
            Self::Operator(key) => key.scopes.may_exchange(provider),
            Self::Local => true,
        }
    }
}

/// A provider's token, as it was presented.
#[derive(Debug, Clone)]
pub struct Presentation<'a> {
    /// Who presents it.
    pub presenter: Presenter,
    /// The id of the request.
    pub request: RequestId,
    /// The address that the call came from.
    pub ip: Option<IpAddr>,
    /// What the presenter says it is.
    pub user_agent: Option<String>,
    /// The token.
    pub token: &'a str,
}

/// Why a token is not believed, with what is known by then.
struct Refusal {
    provider: Option<ProviderName>,
    subject: Option<Pseudonym>,
    code: &'static str,
    error: Error,
}

impl Refusal {
    fn of(provider: Option<&Provider>, failure: &Failure) -> Self {
        Self {
            provider: provider.map(|provider| provider.name.clone()),
            subject: None,
            code: failure.code.as_str(),
            error: match failure.code {
                // It is none of identity, or cannot be read as one.
                Code::Malformed | Code::WrongType | Code::AlgNotAllowed => {
                    Invalid::at("subject_token", failure.to_string()).into()
                }
                _ => Error::Forbidden(failure.to_string()),
            },
        }
    }

    fn forbidden(provider: &Provider, subject: Option<Pseudonym>, why: &str) -> Self {
        Self::with(provider, subject, Error::Forbidden(why.to_owned()))
    }

    fn with(provider: &Provider, subject: Option<Pseudonym>, error: Error) -> Self {
        Self {
            provider: Some(provider.name.clone()),
            subject,
            code: error.code(),
            error,
        }
    }
}

impl Engine {
    /// The client that calls with this id and secret.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when there is none; counted like every guess of a stranger.
    pub fn provider_client(
        &self,
        stranger: Stranger<'_>,
        (id, secret): (&str, &str),
    ) -> Result<Arc<ProviderClient>> {
        self.settings().providers.client(id, secret).ok_or_else(|| {
            self.note_stranger(stranger, "unauthenticated");
            Error::Unauthenticated("there is no client with this id and secret")
        })
    }

    /// The human whom a provider's token names, as one who may ask for a token: found, or created on first mention.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no token of identity, [`Error::Forbidden`] for one that is not believed or was used
    /// before, a presenter who may not present it, and a human who is banned or deleted, has a second factor, or is new while
    /// first mentions wait for an operator; each on record. [`Error::ProviderUnavailable`]
    /// when the provider's keys are not known.
    pub async fn identified(&self, shown: Presentation<'_>) -> Result<Actor> {
        let (provider, token) = match self.believed(&shown).await? {
            Ok(believed) => believed,
            Err(refusal) => return Err(self.refused_token(&shown, refusal).await?),
        };
        match self.named_human(&shown, &provider, &token).await? {
            Ok(user) => {
                let provided = Provided {
                    user,
                    external: provider.names(&token),
                    provider,
                    presenter: shown.presenter.clone(),
                    issued_at: token.issued_at,
                    ends_at: token.expires_at,
                    digest: token.digest,
                };
                Ok(shown.actor(Caller::Provided(Arc::new(provided))))
            }
            Err(refusal) => Err(self.refused_token(&shown, refusal).await?),
        }
    }

    /// The token as its provider's configuration lets it count, or why it does not.
    async fn believed(
        &self,
        shown: &Presentation<'_>,
    ) -> Result<std::result::Result<(Arc<Provider>, IdToken), Refusal>> {
        let token = match UnverifiedIdToken::split(shown.token) {
            Ok(token) => token,
            Err(failure) => return Ok(Err(Refusal::of(None, &failure))),
        };
        let provider = token
            .issuer()
            .and_then(|issuer| self.settings().providers.of_issuer(issuer));
        let Some(provider) = provider else {
            let failure = Failure::new(
                Code::UnknownKey,
                "`iss` is the issuer of no provider in the configuration",
            );
            return Ok(Err(Refusal::of(None, &failure)));
        };
        if !shown.presenter.may_present(&provider.name) {
            let why = "this token is of a provider whose tokens the caller may not present: register it as a client of \
                       the provider, or give the key the scope `exchange:<provider>`";
            return Ok(Err(Refusal::forbidden(provider, None, why)));
        }
        let Some(key) = self.provider_key(provider, token.kid()).await? else {
            let failure = Failure::new(
                Code::UnknownKey,
                "the provider has no key with the token's `kid`",
            );
            return Ok(Err(Refusal::of(Some(provider), &failure)));
        };
        let claims = token.verify(&key, &provider.algorithms, self.rsa());
        let token = claims.and_then(|claims| claims.check(&provider.rules(), self.now()));
        Ok(token
            .map(|token| (Arc::clone(provider), token))
            .map_err(|failure| Refusal::of(Some(provider), &failure)))
    }

    async fn named_human(
        &self,
        shown: &Presentation<'_>,
        provider: &Arc<Provider>,
        token: &IdToken,
    ) -> Result<std::result::Result<Arc<User>, Refusal>> {
        let external = provider.names(token);
        if let Err(invalid) = external.check() {
            return Ok(Err(Refusal::with(provider, None, invalid.into())));
        }
        if self.is_used(token.digest, token.issued_at).await? {
            return Ok(Err(Refusal::with(provider, None, used_before())));
        }
        let user = match self.mentioned(&external).await? {
            Some(user) => user,
            None => match self
                .first_presented(shown, (provider, token), &external)
                .await
            {
                Ok(user) => user,
                Err(error) if error.is_refusal() => {
                    return Ok(Err(Refusal::with(provider, None, error)));
                }
                Err(error) => return Err(error),
            },
        };
        let why = if !user.is_live(self.now()) {
            STOPPED
        } else if self.is_from_before(&user, token.issued_at).await? {
            FROM_BEFORE
        } else if self.has_second_factor(user.id).await? {
            SECOND_FACTOR
        } else {
            let subject = Some(user.pseudonym);
            let demanded = self.refuse_demanded(&user);
            return Ok(demanded.map_or_else(
                |error| Err(Refusal::with(provider, subject, error)),
                |()| Ok(user),
            ));
        };
        Ok(Err(Refusal::forbidden(provider, Some(user.pseudonym), why)))
    }

    /// The human with this outside identity, if they were ever mentioned.
    pub(super) async fn mentioned(&self, external: &External) -> Result<Option<Arc<User>>> {
        let (provider, external_id) = external.pair();
        let row = self
            .store()
            .find(user::by_external(provider, external_id))
            .await?;
        row.map(|row| compile::user(&row).map(Arc::new)).transpose()
    }

    /// Creates the human whom somebody else presents, whose own ceiling must cover the provider's.
    async fn first_presented(
        &self,
        shown: &Presentation<'_>,
        (provider, token): (&Arc<Provider>, &IdToken),
        external: &External,
    ) -> Result<Arc<User>> {
        if shown
            .presenter
            .ceiling()
            .is_some_and(|own| !own.includes(&provider.ceiling))
        {
            return Err(Error::Forbidden(
                "a human on first mention may do what the provider's ceiling says, which lies above this key's; create \
                 the user with `permissions` first"
                    .to_owned(),
            ));
        }
        let named = |user| {
            Caller::Provided(Arc::new(Provided {
                user,
                external: external.clone(),
                provider: Arc::clone(provider),
                presenter: shown.presenter.clone(),
                issued_at: token.issued_at,
                ends_at: token.expires_at,
                digest: token.digest,
            }))
        };
        let planner = shown.presenter_actor();
        self.first_mention(&planner, (provider, external), named)
            .await
    }

    /// Creates the human with no more than the provider's ceiling. `planner` is whose credential must not change
    /// meanwhile, `named` the caller in the record.
    pub(super) async fn first_mention(
        &self,
        planner: &Actor,
        (provider, external): (&Provider, &External),
        named: impl FnOnce(Arc<User>) -> Caller,
    ) -> Result<Arc<User>> {
        if provider.new_humans == NewHumans::Refused {
            return Err(Error::Forbidden(
                "this human is not known here, and this provider's word makes none: an operator creates the user".to_owned(),
            ));
        }
        self.refuse_first_mention().await?;
        self.refuse_former(external).await?;
        let row = self.new_user_row(NewUser {
            external: Some(external.clone()),
            permissions: provider.first_permissions(),
            ..NewUser::default()
        })?;
        let caller = named(Arc::new(compile::user(&row)?));
        let actor = Actor {
            caller,
            ..planner.clone()
        };
        // Who mentions them at the same time finds them when planning again.
        self.change(planner, Act::new("user.created"), || async {
            if let Some(user) = self.mentioned(external).await? {
                return Ok(Plan::Done(user));
            }
            self.refuse_former(external).await?;
            let mut batch = self.user_born(&actor, &row)?;
            let new = former_identity::still_new(row.id, external.pair());
            batch.writes.push(new);
            // There is no generation of theirs to be checked yet.
            batch.reads = planner.reads();
            Ok(Plan::commit(batch, Arc::new(compile::user(&row)?)))
        })
        .await
    }

    /// Whether a provider's token was used before, or may have been: it was made before the database was restored.
    pub(super) async fn is_used(&self, digest: [u8; 32], issued_at: Timestamp) -> Result<bool> {
        let used = kavachos_store::id_token::used(digest, issued_at, self.now());
        Ok(self.store().find(used).await?.is_some())
    }

    /// Refuses a provider's token that was used meanwhile; the batch makes sure of it.
    pub(crate) async fn refuse_used_token(&self, actor: &Actor) -> Result<()> {
        match &actor.caller {
            Caller::Provided(provided)
                if self.is_used(provided.digest, provided.issued_at).await? =>
            {
                Err(used_before())
            }
            _ => Ok(()),
        }
    }

    /// What the batch of a token does with the provider's token that it comes of.
    pub(crate) fn use_token(actor: &Actor, batch: &mut Batch) {
        if let Caller::Provided(provided) = &actor.caller {
            let used = kavachos_store::id_token::use_once(provided.digest, provided.ends_at);
            batch.writes.insert(0, used);
        }
    }

    /// The caller as human and presenter stand now.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when one of them is dead by now.
    pub(crate) async fn renewed_provided(&self, provided: &Provided) -> Result<Caller> {
        let mut presenter = provided.presenter.clone();
        if let Presenter::Operator(key) = &presenter {
            let caller = Caller::Operator(Arc::clone(key));
            let renewed = Box::pin(self.renewed(&caller)).await?;
            presenter = Presenter::of(&renewed).unwrap_or(presenter);
        }
        let row = self.user_row(provided.user.id).await?;
        if row.external != Some(provided.external.pair()) {
            return Err(Error::Unauthenticated(TAKEN));
        }
        let user = Arc::new(compile::user(&row)?);
        self.refuse_stopped(&user, provided.issued_at).await?;
        self.refuse_one_factor(&user).await?;
        Ok(Caller::Provided(Arc::new(Provided {
            user,
            presenter,
            ..provided.clone()
        })))
    }

    /// Records that a token was not believed; the presenter gets the reason back.
    async fn refused_token(&self, shown: &Presentation<'_>, refusal: Refusal) -> Result<Error> {
        let details = Value::Object(shown.presenter.details(refusal.provider.as_ref()));
        let reason = refusal.error.to_string();
        let ip = shown.ip.map(|ip| ip.to_canonical().to_string());
        let name = match &shown.presenter {
            Presenter::Operator(key) => Name::Key(key.id),
            Presenter::Client(_) | Presenter::Local => Name::System,
        };
        let mut record = Record::new(self.id(), KIND, Outcome::Denied, refusal.code, name);
        record.request_id = Some(shown.request);
        record.subject = refusal.subject;
        record.reason = Some(&reason);
        record.details = Some(&details);
        record.personal.ip = ip.as_deref();
        record.personal.user_agent = shown.user_agent.as_deref();
        self.record(self.seal(&record)?).await?;
        Ok(refusal.error)
    }
}

impl Presentation<'_> {
    fn actor(&self, caller: Caller) -> Actor {
        Actor {
            caller,
            request: self.request,
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            once: None,
        }
    }

    /// The presenter as a caller, whose credential must not change while something is planned.
    fn presenter_actor(&self) -> Actor {
        self.actor(match &self.presenter {
            Presenter::Operator(key) => Caller::Operator(Arc::clone(key)),
            Presenter::Client(_) | Presenter::Local => Caller::Local,
        })
    }
}

fn used_before() -> Error {
    Error::Forbidden(
        "the provider's token was used before, or made before this server was restored: it is good for one exchange; get a \
         new one"
            .to_owned(),
    )
}
