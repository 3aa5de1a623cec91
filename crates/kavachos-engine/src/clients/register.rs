//! Clients are registered: by operators, who may let them do everything that clients do, and by themselves, where that is
//! let (RFC 7591), with what strangers get.

use std::time::Duration;

use kavachos_core::client::{AuthMethod, ClientId, ClientMetadata};
use kavachos_core::id::RegisteredClientId;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::oauth_client::{self, ClientRow};
use kavachos_store::{Batch, handle};
use serde::Serialize;
use serde_json::json;

use super::{ITSELF, OPERATOR};
use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::issued::Issued;
use crate::plugin::{Allowance, Flood};
use crate::users::{raised, to_text};

/// Whether clients register themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registration {
    /// Whoever comes.
    Open,
    /// Whoever shows an operator's key that registers clients.
    Token,
    /// Nobody.
    #[default]
    Off,
}

/// How often strangers may come to register: of one network, and all together, in an hour.
const FLOOD: Flood = Flood {
    per_source: Allowance::new(20, Duration::from_secs(60 * 60)),
    overall: Allowance::new(1_000, Duration::from_secs(60 * 60)),
};

/// A client that registered itself, with what only this answer shows.
#[derive(Clone)]
pub struct SelfRegistered {
    /// By what it is known.
    pub id: ClientId,
    /// What it says of itself, as it was taken.
    pub metadata: ClientMetadata,
    /// Since when.
    pub created_at: Timestamp,
    /// Its secret, if it shows one.
    pub secret: Option<Secret>,
    /// By which it changes what it says of itself.
    pub manager: Option<Secret>,
}

/// A client to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClient {
    /// What it says of itself.
    pub metadata: ClientMetadata,
}

/// A client, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegisteredClient {
    /// By what it is known: its `client_id`.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Where browsers are sent back to.
    pub redirect_uris: Vec<String>,
    /// What it may ask for.
    pub grant_types: Vec<&'static str>,
    /// How it shows who it is.
    pub auth_method: &'static str,
    /// Who says what it is: `operator`, `itself` or `document`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["operator", "itself", "document"])))]
    pub source: &'static str,
    /// Since when.
    pub created_at: Timestamp,
}

impl RegisteredClient {
    fn of(id: String, metadata: &ClientMetadata, source: &'static str, since: Timestamp) -> Self {
        Self {
            id,
            name: metadata.client_name.clone(),
            redirect_uris: metadata
                .redirect_uris
                .iter()
                .map(ToString::to_string)
                .collect(),
            grant_types: metadata
                .grant_types
                .iter()
                .map(|grant| grant.as_str())
                .collect(),
            auth_method: metadata.token_endpoint_auth_method.as_str(),
            source,
            created_at: since,
        }
    }
}

impl Engine {
    /// Registers a client, with a secret if it shows one.
    ///
    /// # Errors
    /// The caller may not; those of the store.
    pub async fn register_client(
        &self,
        actor: &Actor,
        new: &NewClient,
    ) -> Result<Issued<RegisteredClient>> {
        let secret = self.secret(SecretKind::Client);
        let id: RegisteredClientId = self.id();
        self.change(actor, Act::new("client.created"), || {
            self.plan_client(actor, new, (id, &secret))
        })
        .await
    }

    async fn plan_client(
        &self,
        actor: &Actor,
        new: &NewClient,
        (id, secret): (RegisteredClientId, &Secret),
    ) -> Result<Plan<Issued<RegisteredClient>>> {
        actor.require(Scope::ResourcesWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let row = self.store().find(oauth_client::by_id(done)).await?;
            let row = row.ok_or(Error::NotFound("client"))?;
            let metadata: ClientMetadata = compile::stored("metadata", &row.metadata)?;
            let view = RegisteredClient::of(row.id, &metadata, OPERATOR, row.created_at);
            return Ok(Plan::Done(Issued::replay(view)));
        }
        let now = self.now();
        let has_secret = new.metadata.token_endpoint_auth_method.has_secret();
        let row = self.client_row(id, OPERATOR, &new.metadata)?;
        let row = ClientRow {
            secret: has_secret.then(|| secret.hash()),
            ..row
        };
        let mut batch = self.client_born(actor, &row, &new.metadata)?;
        self.claim_once(actor, &mut batch, row.id);
        let view = RegisteredClient::of(id.to_string(), &new.metadata, OPERATOR, now);
        let issued = match has_secret {
            true => Issued::new(view, secret.clone()),
            false => Issued::without_token(view),
        };
        Ok(Plan::commit(batch, issued))
    }

    fn client_row(
        &self,
        id: RegisteredClientId,
        source: &'static str,
        metadata: &ClientMetadata,
    ) -> Result<ClientRow> {
        Ok(ClientRow {
            id: id.to_string(),
            source: source.to_owned(),
            metadata: to_text(metadata)?,
            secret: None,
            manager: None,
            agent: None,
            status: Status::Active,
            mark: self.mark(HandleKind::Client),
            version: 0,
            created_at: self.now(),
        })
    }

    fn client_born(
        &self,
        actor: &Actor,
        row: &ClientRow,
        metadata: &ClientMetadata,
    ) -> Result<Batch> {
        Ok(Batch {
            reads: actor.reads(),
            writes: vec![oauth_client::insert(row.clone()), handle::born(row.mark)],
            entries: vec![self.client_record(actor, "client.created", (row, metadata))?],
            ..Batch::default()
        })
    }

    /// Has a client register itself, as one that strangers may be.
    ///
    /// # Errors
    /// Nobody registers here, or not without an operator's key; too many did.
    pub async fn register_itself(
        &self,
        call: &Actor,
        metadata: &ClientMetadata,
    ) -> Result<SelfRegistered> {
        match (self.settings().registration, &call.caller) {
            (Registration::Off, _) => return Err(Error::NotFound("endpoint")),
            (Registration::Open, _) => {}
            (Registration::Token, Caller::Operator(_)) => call.require(Scope::ResourcesWrite)?,
            (Registration::Token, _) => {
                return Err(Error::Unauthenticated(
                    "clients register here with an operator's key that has the scope `resources:write`",
                ));
            }
        }
        let stranger = Stranger {
            ip: call.ip,
            user_agent: call.user_agent.as_deref(),
            request: call.request,
        };
        self.admit_stranger(("register", FLOOD), stranger).await?;
        let (secret, manager) = (
            self.secret(SecretKind::Client),
            self.secret(SecretKind::Registration),
        );
        let id: RegisteredClientId = self.id();
        let has_secret = metadata.token_endpoint_auth_method.has_secret();
        let row = ClientRow {
            secret: has_secret.then(|| secret.hash()),
            manager: Some(manager.hash()),
            ..self.client_row(id, ITSELF, metadata)?
        };
        self.change(call, Act::new("client.created"), || async {
            let batch = self.client_born(call, &row, metadata)?;
            Ok(Plan::commit(batch, ()))
        })
        .await?;
        Ok(SelfRegistered {
            id: id.into(),
            metadata: metadata.clone(),
            created_at: row.created_at,
            secret: has_secret.then_some(secret),
            manager: Some(manager),
        })
    }

    /// The client that shows the credential by which it changes what it says of itself (RFC 7592).
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where it is another client's, or nobody's.
    pub async fn self_registered(&self, id: &ClientId, manager: &Secret) -> Result<SelfRegistered> {
        let row = self.managed(id, manager).await?;
        Ok(SelfRegistered {
            id: id.clone(),
            metadata: compile::stored("metadata", &row.metadata)?,
            created_at: row.created_at,
            secret: None,
            manager: None,
        })
    }

    async fn managed(&self, id: &ClientId, manager: &Secret) -> Result<ClientRow> {
        let row = self
            .store()
            .find(oauth_client::by_id(id.to_string()))
            .await?;
        let own =
            |row: &ClientRow| row.status == Status::Active && row.manager == Some(manager.hash());
        row.filter(own).ok_or(Error::Unauthenticated(
            "there is no client with this registration token",
        ))
    }

    /// Changes what a client says of itself. Whoever said yes to it is asked anew.
    ///
    /// # Errors
    /// Those of [`Engine::self_registered`].
    pub async fn change_itself(
        &self,
        call: &Actor,
        (id, manager): (&ClientId, &Secret),
        metadata: &ClientMetadata,
    ) -> Result<SelfRegistered> {
        self.change(call, Act::new("client.updated"), || async {
            let row = self.managed(id, manager).await?;
            let next = ClientRow {
                metadata: to_text(metadata)?,
                ..row
            };
            let entry = self.client_record(call, "client.updated", (&next, metadata))?;
            let view = SelfRegistered {
                id: id.clone(),
                metadata: metadata.clone(),
                created_at: next.created_at,
                secret: None,
                manager: None,
            };
            let batch = Batch {
                writes: vec![oauth_client::update(next)],
                entries: vec![entry],
                ..Batch::default()
            };
            Ok(Plan::commit(batch, view))
        })
        .await
    }

    /// Ends a client that registered itself, with every token that was made for it.
    ///
    /// # Errors
    /// Those of [`Engine::self_registered`].
    pub async fn remove_itself(
        &self,
        call: &Actor,
        (id, manager): (&ClientId, &Secret),
    ) -> Result<()> {
        self.change(call, Act::new("client.revoked"), || async {
            let row = self.managed(id, manager).await?;
            let metadata = compile::stored("metadata", &row.metadata)?;
            let batch = self.client_ended(call, row, &metadata)?;
            Ok(Plan::commit(batch, ()))
        })
        .await
    }

    fn client_ended(
        &self,
        actor: &Actor,
        row: ClientRow,
        metadata: &ClientMetadata,
    ) -> Result<Batch> {
        let entry = self.client_record(actor, "client.revoked", (&row, metadata))?;
        let mark = row.mark;
        let ended = ClientRow {
            status: Status::Revoked,
            secret: None,
            manager: None,
            ..row
        };
        Ok(Batch {
            reads: actor.reads(),
            kills: vec![raised(mark)],
            writes: vec![oauth_client::update(ended)],
            entries: vec![entry],
            ..Batch::default()
        })
    }

    pub(super) fn client_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, metadata): (&ClientRow, &ClientMetadata),
    ) -> Result<Entry> {
        let method: AuthMethod = metadata.token_endpoint_auth_method;
        let details = json!({
            "client": row.id, "source": row.source, "authentication": method.as_str(),
            "redirectHosts": metadata.redirect_uris.iter().map(|uri| uri.place()).collect::<Vec<_>>(),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = Some(&metadata.client_name);
        self.seal(&record)
    }
}
