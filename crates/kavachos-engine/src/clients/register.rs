//! Clients are registered: by operators, who may let them do everything that clients do.

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

use super::OPERATOR;
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::issued::Issued;
use crate::users::to_text;

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
    fn of(id: ClientId, metadata: &ClientMetadata, source: &'static str, since: Timestamp) -> Self {
        Self {
            id: id.to_string(),
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
        let now = self.now();
        let has_secret = new.metadata.token_endpoint_auth_method.has_secret();
        let row = ClientRow {
            id: id.to_string(),
            source: OPERATOR.to_owned(),
            metadata: to_text(&new.metadata)?,
            secret: has_secret.then(|| secret.hash()),
            manager: None,
            agent: None,
            status: Status::Active,
            mark: self.mark(HandleKind::Client),
            version: 0,
            created_at: now,
        };
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![
                oauth_client::insert(row.clone(), (u64::from(u32::MAX), now)),
                handle::born(row.mark),
            ],
            entries: vec![self.client_record(actor, "client.created", (&row, new))?],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, row.id.clone());
        let view = RegisteredClient::of(id.into(), &new.metadata, OPERATOR, now);
        let issued = match has_secret {
            true => Issued::new(view, secret.clone()),
            false => Issued::without_token(view),
        };
        Ok(Plan::commit(batch, issued))
    }

    fn client_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, new): (&ClientRow, &NewClient),
    ) -> Result<Entry> {
        let method: AuthMethod = new.metadata.token_endpoint_auth_method;
        let details = json!({
            "client": row.id, "source": row.source, "authentication": method.as_str(),
            "redirectHosts": new.metadata.redirect_uris.iter().map(|uri| uri.place()).collect::<Vec<_>>(),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = Some(&new.metadata.client_name);
        self.seal(&record)
    }
}
