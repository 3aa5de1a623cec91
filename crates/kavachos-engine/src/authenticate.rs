//! From a credential to a caller.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::principal::Status;
use kavachos_core::secret::{Secret, SecretHash, SecretKind};

use crate::actor::{AgentKey, Caller, Credential, OperatorKey, Owes};
use crate::compile;
use crate::directory::KnownKey;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// How long a dead agent key is still told apart from an unknown one.
pub(crate) const DEAD_KEYS_KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Engine {
    /// Finds out who calls with this credential.
    ///
    /// The keys of operators and tool servers and the sessions of humans must be live. An agent's key may be dead: whether it is decides each use (a decision says so
    /// with a code, everything else refuses).
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the credential is malformed, unknown, of a kind that calls nothing here, or dead;
    /// [`Error::SecondFactorRequired`] for a human of whom a second factor is demanded and whose session did not show one.
    pub async fn authenticate(&self, credential: &str) -> Result<Caller> {
        match self.authenticate_owing(credential).await? {
            Caller::Person(person) => person.settled().map(Caller::Person),
            other => Ok(other),
        }
    }

    /// The same, also of a human who is yet to show a second factor: for what leads to one, and for leaving.
    ///
    /// # Errors
    /// Those of [`Self::authenticate`] but the last one.
    pub async fn authenticate_owing(&self, credential: &str) -> Result<Caller> {
        let secret = Secret::parse(credential).map_err(|_| {
            Error::Unauthenticated(
                "the credential is not well-formed: copy all of it, without quotes",
            )
        })?;
        self.caller_of(secret.kind(), secret.hash()).await
    }

    /// The caller as its credential stands now: read again when the writer found that something had changed.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is dead by now.
    pub(crate) async fn renewed(&self, caller: &Caller) -> Result<Caller> {
        match caller {
            Caller::Local => Ok(Caller::Local),
            Caller::Stranger => Ok(Caller::Stranger),
            Caller::Operator(key) => self.caller_of(SecretKind::Operator, key.hash).await,
            Caller::Agent(key) => self.caller_of(SecretKind::Agent, key.hash).await,
            Caller::Person(person) => match &person.by {
                Credential::Session(session) => {
                    self.renewed_session(person.owes, session.hash).await
                }
                Credential::Provider(vouched) => self.renewed_vouched(person, vouched).await,
            },
            Caller::ToolServer(key) => self.caller_of(SecretKind::Resource, key.hash).await,
            Caller::Provided(provided) => self.renewed_provided(provided).await,
            // What it comes from is read again with each plan.
            Caller::Root(holder) => Ok(Caller::Root(Arc::clone(holder))),
        }
    }

    /// The human with this session, who owes no more than when they called.
    async fn renewed_session(&self, owed: Owes, hash: SecretHash) -> Result<Caller> {
        match self.caller_of(SecretKind::Session, hash).await? {
            Caller::Person(person) if owed == Owes::Nothing => person.settled().map(Caller::Person),
            other => Ok(other),
        }
    }

    /// The agent's key as it stands now.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody knows it any more.
    pub(crate) async fn renewed_key(&self, key: &AgentKey) -> Result<Arc<AgentKey>> {
        match self.caller_of(SecretKind::Agent, key.hash).await? {
            Caller::Agent(key) => Ok(key),
            _ => Err(Error::Internal(
                "an agent's key became another's".to_owned(),
            )),
        }
    }

    /// The agent's key with this hash, dead or not.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody knows it.
    pub(crate) async fn agent_key(&self, hash: SecretHash) -> Result<Arc<AgentKey>> {
        match self.caller_of(SecretKind::Agent, hash).await? {
            Caller::Agent(key) => Ok(key),
            _ => Err(Error::Internal("an agent's key is another's".to_owned())),
        }
    }

    async fn caller_of(&self, kind: SecretKind, hash: SecretHash) -> Result<Caller> {
        const UNKNOWN: Error = Error::Unauthenticated("the credential is unknown");
        let Some(known) = self.known_key(kind, hash).await? else {
            return Err(UNKNOWN);
        };
        match known {
            KnownKey::Operator(key) => self.live_operator(&key).then_some(Caller::Operator(key)),
            KnownKey::Agent(key) => self.still_told_apart(&key).then_some(Caller::Agent(key)),
            KnownKey::Session(session) => self.person(session).await?.map(Caller::Person),
            KnownKey::ToolServer(key) => {
                (key.status == Status::Active).then_some(Caller::ToolServer(key))
            }
        }
        .ok_or(UNKNOWN)
    }

    fn live_operator(&self, key: &OperatorKey) -> bool {
        key.status == Status::Active && key.expires_at.is_none_or(|end| self.now() < end)
    }

    fn still_told_apart(&self, key: &AgentKey) -> bool {
        let dead_since = key
            .ended_at
            .map_or(key.expires_at, |ended| ended.min(key.expires_at));
        self.now().since(dead_since) < DEAD_KEYS_KNOWN
    }

    async fn known_key(&self, kind: SecretKind, hash: SecretHash) -> Result<Option<KnownKey>> {
        if let Some(key) = self.directory().key(hash) {
            return Ok(Some(key));
        }
        let load = self.directory().begin();
        let found = self.load_key(kind, hash).await?;
        if let Some(key) = &found {
            self.directory().keep_key(load, hash, key);
        }
        Ok(found)
    }

    async fn load_key(&self, kind: SecretKind, hash: SecretHash) -> Result<Option<KnownKey>> {
        match kind {
            SecretKind::Operator => {
                let row = self
                    .store()
                    .find(kavachos_store::operator_key::by_hash(hash))
                    .await?;
                row.map(|row| Ok(KnownKey::Operator(Arc::new(compile::operator_key(&row)?))))
                    .transpose()
            }
            SecretKind::Agent => {
                let row = self
                    .store()
                    .find(kavachos_store::agent::key_by_hash(hash))
                    .await?;
                Ok(row.map(|row| KnownKey::Agent(Arc::new(compile::agent_key(&row)))))
            }
            SecretKind::Session => {
                let row = self
                    .store()
                    .find(kavachos_store::session::by_hash(hash))
                    .await?;
                row.map(|row| Ok(KnownKey::Session(Arc::new(compile::session(&row)?))))
                    .transpose()
            }
            SecretKind::Resource => {
                let row = self
                    .store()
                    .find(kavachos_store::tool_server::by_hash(hash))
                    .await?;
                row.map(|row| {
                    Ok(KnownKey::ToolServer(Arc::new(compile::tool_server_key(
                        &row,
                    )?)))
                })
                .transpose()
            }
            SecretKind::Master
            | SecretKind::SignIn
            | SecretKind::Device
            | SecretKind::Code
            | SecretKind::DeviceCode
            | SecretKind::Refresh
            | SecretKind::Client
            | SecretKind::Registration
            | SecretKind::Request => Ok(None),
        }
    }
}
