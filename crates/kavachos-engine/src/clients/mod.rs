//! OAuth clients, and what humans let them be.
//!
//! A human who lets a client in makes it an agent of theirs: it has a grant with the scopes that they said yes to, stands in
//! their list, and ends as agents end. What the client holds is a key of that agent, which nobody ever sees: a *line*. Codes
//! and refresh tokens lead to it, so that whatever kills the key, the agent or the human ends all of them and every token that
//! was made. So there is one kind of authority here, and one way to stop it.

mod access;
mod assertion;
mod connections;
mod consent;
mod device;
mod disconnect;
mod document;
mod introspect;
mod itself;
mod line;
mod manage;
mod nonce;
mod pushed;
mod register;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::client::{AuthMethod, ClientId, ClientMetadata, Source};
use kavachos_core::id::AgentId;
use kavachos_core::principal::Status;
use kavachos_core::revocation::Mark;
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_store::Effect;
use kavachos_store::oauth_client::{self, ClientRow};
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) use document::Documents;
pub(crate) use itself::{SHOWN_OF_CLIENT, check_agent};
pub(crate) use line::{SHOWN, check_line};
pub(crate) use manage::said_by_nobody;

pub use access::{Access, AccessScopes, Way, Wish};
pub use connections::{Connection, ConnectionLine, ConnectionResource, ConnectionScope, LineName};
pub use device::{
    DEVICE_LIFE, DEVICE_PAUSE, DeviceAsk, DeviceCodes, DevicePoll, DeviceRequest, Polled,
};
pub use itself::OwnAsk;
pub use manage::{ClientChange, ClientPlace, ClientsOf, RegisteredClient, operators_word};
pub use nonce::ProofNonces;
pub use pushed::PUSHED_LIFE;
pub use register::{NewClient, Registration, SelfRegistered};
pub use tokens::{Brought, CodeAsk, RefreshAsk, Tokens};

use crate::actor::Actor;
use crate::compile;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flood::{Stranger, network, site};
use crate::plugin::{Allowance, Flood};

/// A client, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// By what it is known.
    pub id: ClientId,
    /// Who says what it is.
    pub source: Source,
    /// What it says of itself.
    pub metadata: ClientMetadata,
    /// The agent that it is when it asks for itself.
    pub agent: Option<AgentId>,
    secret: Option<SecretHash>,
    mark: Mark,
    /// The version of what is stored that this is, or was read after; `None` if nothing was stored.
    version: Option<u64>,
}

impl Client {
    /// Whether an operator registered it and it shows who it is: nobody else asks in its name.
    fn is_nobody_else(&self) -> bool {
        self.source == Source::Operator
            && self.metadata.token_endpoint_auth_method != AuthMethod::None
    }

    pub(crate) fn of(row: &ClientRow) -> Result<Self> {
        let source = match row.source.as_str() {
            OPERATOR => Source::Operator,
            ITSELF => Source::Itself,
            DOCUMENT => Source::Document,
            other => {
                return Err(Error::Internal(format!(
                    "`{other}` is no source of clients"
                )));
            }
        };
        Ok(Self {
            id: row
                .id
                .parse()
                .map_err(|error| Error::Internal(format!("a client's id: {error}")))?,
            source,
            metadata: compile::stored("metadata", &row.metadata)?,
            agent: row.agent,
            secret: row.secret,
            mark: row.mark,
            version: Some(row.version),
        })
    }

    /// Tells what a human said yes to: another name, another place to be sent back to, or another key is asked about anew.
    fn fingerprint(&self) -> [u8; 32] {
        let mut uris: Vec<&str> = self
            .metadata
            .redirect_uris
            .iter()
            .map(|uri| uri.as_str())
            .collect();
        uris.sort_unstable();
        let mut digest = Sha256::new_with_prefix(b"kavachos client 1\n");
        let keys = self
            .metadata
            .jwks
            .iter()
            .map(|keys| json!(keys).to_string());
        let keys: Vec<String> = keys.collect();
        let said = std::iter::once(self.metadata.client_name.as_str()).chain(uris);
        for text in said.chain(keys.iter().map(String::as_str)) {
            digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(text.as_bytes());
        }
        digest.finalize().into()
    }
}

/// How often a client that shows who it is asks for something, in a minute.
const OF_ONE_CLIENT: Allowance = Allowance::new(600, Duration::from_secs(60));
/// How many requests of one client wait, of devices and of those that are pushed. A further one takes the place of one that came
/// from where most of them come from: anybody may ask in the name of a client that keeps no secret. Of the others the allowance is
/// the bound.
const MAX_WAITING: u64 = 1_000;
const OPERATOR: &str = Source::Operator.as_str();
const ITSELF: &str = Source::Itself.as_str();
const DOCUMENT: &str = Source::Document.as_str();
/// What whoever shows a wrong credential is told, and whom nobody knows.
const UNKNOWN: Error = Error::Unauthenticated("there is no client with these credentials");

/// Where a call came from, by which those are told apart who ask in one client's name: a site of IPv6 has as many networks as it
/// likes.
fn source_of(call: &Actor) -> String {
    let source = call.ip.map(|ip| site(ip).unwrap_or_else(|| network(ip)));
    source.map_or_else(|| "none".to_owned(), |source| source.to_string())
}

/// What changes with a client. The denial of a host is about all clients of that host.
fn changes_of(id: &str) -> Vec<Effect> {
    let is_whole_host = |id: ClientId| id.whole_host().is_some();
    let changed = match id.parse().is_ok_and(is_whole_host) {
        true => Changed::Everything,
        false => Changed::client(id),
    };
    vec![changed.into()]
}

impl Engine {
    /// The client with this id, if it may still ask for anything.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>> {
        if let Some(known) = self.directory().client(id) {
            return Ok(Some(Client::clone(&known)));
        }
        let load = self.directory().begin();
        let row = oauth_client::by_id(id.to_string());
        let row = self.store().find(row).await?;
        let row = row.filter(|row| row.status == Status::Active);
        let Some(row) = row else { return Ok(None) };
        if self.host_is_denied(id).await? {
            return Ok(None);
        }
        let client = Client::of(&row)?;
        let kept = (Arc::new(client.clone()), row.metadata.len());
        self.directory().keep_client(load, kept);
        Ok(Some(client))
    }

    /// Whether an operator denied all documents of a client's host.
    async fn host_is_denied(&self, id: &ClientId) -> Result<bool> {
        let Some(all) = id.all_of_host() else {
            return Ok(false);
        };
        let row = self
            .store()
            .find(oauth_client::by_id(all.to_string()))
            .await?;
        Ok(row.is_some_and(|row| row.status != Status::Active))
    }

    /// The client with this id and secret.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where there is none, and those of the store.
    pub async fn client_with_secret(&self, id: &ClientId, secret: &str) -> Result<Client> {
        let shown = Secret::parse(secret).ok();
        let shown = shown.filter(|secret| secret.kind() == SecretKind::Client);
        let client = self.client(id).await?;
        match (client, shown) {
            (Some(client), Some(shown)) if client.secret == Some(shown.hash()) => Ok(client),
            _ => Err(UNKNOWN),
        }
    }

    /// Counts a call of a client: one that an operator registered and that shows who it is by itself, so that strangers use up
    /// nothing of its.
    async fn admit_client(
        &self,
        call: &Actor,
        client: &Client,
        (what, flood): (&'static str, Flood),
    ) -> Result<()> {
        match client.is_nobody_else() {
            true => {
                let own = format!("{what}:{}", client.id);
                self.admit_one((&own, OF_ONE_CLIENT)).await
            }
            false => self.admit_stranger((what, flood), Stranger::of(call)).await,
        }
    }
}
