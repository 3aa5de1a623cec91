//! Operators look after OAuth clients: they see them, change what those that were registered say of themselves, give them new
//! secrets, and end them.
//!
//! Promises: what ends a client ends its tokens by its mark, and its codes, its lines and what humans said yes to as rows, so
//! that nothing of before lives again with a client that is let in again. A client that is known by its document can be
//! denied before anybody used it, and comes back by an operator's word alone.

use kavachos_core::client::{AuthMethod, BadMetadata, ClientId, ClientMetadata, GrantType, Source};
use kavachos_core::hex;
use kavachos_core::id::AgentId;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::oauth_client::{self, ClientFilter, ClientRow};
use kavachos_store::{Batch, begun_kill, handle};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::itself::check_agent;
use super::{Client, DOCUMENT, changes_of};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::feed::Telling;
use crate::issued::Issued;
use crate::page::{CursorKey, Page, PageOf};
use crate::raising::Dying;
use crate::revoked::Revoked;
use crate::users::{raised, to_text};

/// How many redirect hosts a record names; it counts all of them.
const HOSTS_ON_RECORD: usize = 3;

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
    /// Whether all its tokens are bound to a key.
    pub dpop_bound: bool,
    /// Whether it asks humans with requests that it pushed alone.
    pub require_pushed_requests: bool,
    /// The agent that it is when it asks for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Who says what it is: `operator`, `itself` or `document`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["operator", "itself", "document"])))]
    pub source: String,
    /// `active` or `revoked`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "revoked"])))]
    pub status: &'static str,
    /// Since when.
    pub created_at: Timestamp,
}

impl RegisteredClient {
    pub(super) fn of(row: ClientRow) -> Result<Self> {
        let metadata: ClientMetadata = compile::stored("metadata", &row.metadata)?;
        let redirects = metadata.redirect_uris.iter();
        Ok(Self {
            redirect_uris: redirects.map(ToString::to_string).collect(),
            grant_types: metadata
                .grant_types
                .iter()
                .map(|grant| grant.as_str())
                .collect(),
            auth_method: metadata.token_endpoint_auth_method.as_str(),
            dpop_bound: metadata.dpop_bound_access_tokens,
            require_pushed_requests: metadata.require_pushed_authorization_requests,
            agent: row.agent,
            name: metadata.client_name,
            id: row.id,
            source: row.source,
            status: row.status.as_str(),
            created_at: row.created_at,
        })
    }
}

/// What to change of what a client says of itself; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientChange {
    /// The name.
    pub name: Option<String>,
    /// Where browsers are sent back to.
    pub redirect_uris: Option<Vec<String>>,
    /// What it may ask for.
    pub grant_types: Option<Vec<String>>,
    /// Whether all its tokens are bound to a key.
    pub dpop_bound: Option<bool>,
    /// Whether it asks humans with requests that it pushed alone.
    pub require_pushed_requests: Option<bool>,
    /// The keys with which it signs who it is.
    pub jwks: Option<Value>,
    /// The agent that it is when it asks for itself, by a new key: what was made with the one before is dead.
    pub agent: Option<AgentId>,
}

impl ClientChange {
    /// Whether it changes who may be the client, or what the client may be.
    const fn touches_credentials(&self) -> bool {
        self.jwks.is_some() || self.grant_types.is_some() || self.dpop_bound.is_some()
    }

    /// What the client says of itself with these changes: no more than whoever said it may.
    fn on(&self, known: &ClientMetadata, source: Source) -> Result<ClientMetadata> {
        let said = serde_json::to_value(known)
            .map_err(|error| Error::Internal(format!("what a client says: {error}")))?;
        let mut said = said.as_object().cloned().unwrap_or_default();
        let changes = [
            ("client_name", self.name.as_ref().map(|name| json!(name))),
            (
                "redirect_uris",
                self.redirect_uris.as_ref().map(|uris| json!(uris)),
            ),
            (
                "grant_types",
                self.grant_types.as_ref().map(|grants| json!(grants)),
            ),
            (
                "dpop_bound_access_tokens",
                self.dpop_bound.map(|bound| json!(bound)),
            ),
            (
                "require_pushed_authorization_requests",
                self.require_pushed_requests.map(|pushed| json!(pushed)),
            ),
            ("jwks", self.jwks.clone()),
        ];
        for (member, value) in changes {
            said.extend(value.map(|value| (member.to_owned(), value)));
        }
        Ok(read(&said, source)?)
    }
}

/// What a client says of itself, by the word of an operator.
///
/// # Errors
/// What is wrong, with the members as the API names them.
pub fn operators_word(said: &Map<String, Value>) -> std::result::Result<ClientMetadata, Invalid> {
    read(said, Source::Operator)
}

fn read(said: &Map<String, Value>, source: Source) -> std::result::Result<ClientMetadata, Invalid> {
    ClientMetadata::read(said, source).map_err(|bad| in_members(&bad))
}

/// What is wrong, with the members as the API names them.
fn in_members(bad: &BadMetadata) -> Invalid {
    let names = [
        ("client_name", "name"),
        ("redirect_uris", "redirectUris"),
        ("grant_types", "grantTypes"),
        ("token_endpoint_auth_method", "authMethod"),
        ("jwks", "jwks"),
    ];
    let found = names
        .iter()
        .find(|(name, _)| bad.message().contains(&format!("`{name}`")));
    match (found, bad) {
        (Some((name, field)), _) => Invalid::at(*field, bad.message().replace(name, field)),
        (None, BadMetadata::RedirectUri(why)) => Invalid::at("redirectUris", why.clone()),
        (None, BadMetadata::Metadata(why)) => Invalid::new(why.clone()),
    }
}

/// Who says what the clients of a list are, and how they stand; `None` leaves them all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientsOf {
    /// Who says what they are.
    pub source: Option<Source>,
    /// Whether they may ask for anything.
    pub status: Option<Status>,
}

/// Where a client stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPlace {
    since: Timestamp,
    id: ClientId,
}

impl CursorKey for ClientPlace {
    fn encode(&self) -> String {
        let (since, id) = (self.since.as_micros(), self.id.as_str());
        format!("{since}-{}", hex::encode(id.as_bytes()))
    }

    fn decode(text: &str) -> Option<Self> {
        let (since, id) = text.rsplit_once('-')?;
        let id = String::from_utf8(hex::decode(id)?).ok()?;
        Some(Self {
            since: Timestamp::from_micros(since.parse().ok()?),
            id: id.parse().ok()?,
        })
    }
}

impl Engine {
    /// Clients, newest first.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn clients(
        &self,
        actor: &Actor,
        of: ClientsOf,
        page: PageOf<ClientPlace>,
    ) -> Result<Page<RegisteredClient, ClientPlace>> {
        actor.require(Scope::ResourcesWrite)?;
        let filter = ClientFilter {
            source: of.source.map(Source::as_str),
            status: of.status,
        };
        let after = page.after.map(|after| (after.since, after.id.to_string()));
        let rows = oauth_client::page(&filter, after, page.limit);
        let rows = self.store().list(rows).await?;
        let next = rows.last().filter(|last| last.more);
        let next = next.map(|last| -> Result<ClientPlace> {
            Ok(ClientPlace {
                since: last.thing.created_at,
                id: Client::of(&last.thing)?.id,
            })
        });
        let next = next.transpose()?;
        let shown = rows.into_iter().map(|row| RegisteredClient::of(row.thing));
        Ok(Page {
            items: shown.collect::<Result<_>>()?,
            next,
        })
    }

    /// One client.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn registered_client(
        &self,
        actor: &Actor,
        id: &ClientId,
    ) -> Result<RegisteredClient> {
        actor.require(Scope::ResourcesWrite)?;
        RegisteredClient::of(self.client_row(id).await?)
    }

    async fn client_row(&self, id: &ClientId) -> Result<ClientRow> {
        let row = oauth_client::by_id(id.to_string());
        let row = self.store().find(row).await?;
        row.ok_or(Error::NotFound("client"))
    }

    /// A client that may still ask for something.
    async fn standing_client(&self, id: &ClientId) -> Result<(ClientRow, Client)> {
        let row = self.client_row(id).await?;
        if row.status != Status::Active {
            let message = match id.is_document() {
                true => "the client was denied; let it in again first",
                false => "the client is revoked; register it anew",
            };
            return Err(Error::WrongState(message.to_owned()));
        }
        let client = Client::of(&row)?;
        Ok((row, client))
    }

    /// Changes what a client says of itself. Humans who said yes to it are asked anew. Where something is taken away (a key, an
    /// address, a grant) or more is demanded, tokens that were made are dead, and lines go on by what it says now, but for those of a
    /// client without a credential that loses an address; otherwise they go on until they end.
    ///
    /// # Errors
    /// It is revoked, says what it is in a document, or would say what it may not.
    pub async fn change_client(
        &self,
        actor: &Actor,
        id: &ClientId,
        change: &ClientChange,
    ) -> Result<RegisteredClient> {
        let key = self.secret(SecretKind::Agent);
        self.change(actor, Act::on_client("client.updated", id), || {
            self.plan_client_change(actor, (id, change), &key)
        })
        .await
    }

    async fn plan_client_change(
        &self,
        actor: &Actor,
        (id, change): (&ClientId, &ClientChange),
        key: &Secret,
    ) -> Result<Plan<RegisteredClient>> {
        actor.require(Scope::ResourcesWrite)?;
        let (row, client) = self.standing_client(id).await?;
        if client.source == Source::Document {
            return Err(Error::WrongState(
                "the client says what it is in its document; it is changed there".to_owned(),
            ));
        }
        let metadata = change.on(&client.metadata, client.source)?;
        if change.touches_credentials() {
            self.require_rule_over_itself(actor, &row).await?;
        }
        let agent = match metadata.may(GrantType::ClientCredentials) {
            true => change.agent.or(row.agent),
            false => change.agent,
        };
        check_agent(&metadata, agent)?;
        let was = row.agent;
        let next = ClientRow {
            metadata: to_text(&metadata)?,
            agent,
            ..row
        };
        let mut batch = Batch {
            reads: actor.reads(),
            entries: vec![self.client_record(actor, "client.updated", (&next, &metadata))?],
            writes: vec![oauth_client::update(next.clone())],
            effects: changes_of(&next.id),
            ..Batch::default()
        };
        self.end_what_narrows((&next, &client.metadata, &metadata), &mut batch);
        if change.agent.is_some() || agent.is_none() {
            self.end_itself((&next.id, was), &mut batch).await?;
        }
        if let Some(agent) = change.agent {
            self.add_itself(actor, (&next.id, agent), key, &mut batch)
                .await?;
        }
        Ok(Plan::commit(batch, RegisteredClient::of(next)?))
    }

    /// Kills the tokens of a client that says less of itself from now on. Where an address went, whoever listens there may hold a
    /// refresh token or a code, and needs no credential to use it for a client that keeps none.
    pub(super) fn end_what_narrows(
        &self,
        (row, before, now): (&ClientRow, &ClientMetadata, &ClientMetadata),
        batch: &mut Batch,
    ) {
        if !now.narrows(before) {
            return;
        }
        batch.kills.push(raised(row.mark));
        if now.token_endpoint_auth_method == AuthMethod::None && now.leaves_address(before) {
            batch
                .writes
                .extend(oauth_client::end_lines(&row.id, self.now()));
        }
    }

    /// Whoever says by what a client shows who it is could be the agent that it is when it asks for itself: so they may make keys of
    /// agents, and reach this one.
    async fn require_rule_over_itself(&self, actor: &Actor, row: &ClientRow) -> Result<()> {
        let Some(agent) = row.agent else {
            return Ok(());
        };
        actor.require(Scope::AgentsWrite)?;
        self.within_reach(actor, agent).await
    }

    /// Gives a client a new secret. The old one is dead at once, with the tokens that were made; lines go on with the new one.
    ///
    /// # Errors
    /// It is revoked, or shows no secret.
    pub async fn rotate_client(
        &self,
        actor: &Actor,
        id: &ClientId,
    ) -> Result<Issued<RegisteredClient>> {
        let secret = self.secret(SecretKind::Client);
        self.change(actor, Act::on_client("client.rotated", id), || {
            self.plan_client_rotation(actor, id, &secret)
        })
        .await
    }

    async fn plan_client_rotation(
        &self,
        actor: &Actor,
        id: &ClientId,
        secret: &Secret,
    ) -> Result<Plan<Issued<RegisteredClient>>> {
        actor.require(Scope::ResourcesWrite)?;
        let (row, client) = self.standing_client(id).await?;
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(RegisteredClient::of(row)?)));
        }
        self.require_rule_over_itself(actor, &row).await?;
        let method = client.metadata.token_endpoint_auth_method;
        if !method.has_secret() {
            return Err(Error::WrongState(format!(
                "the client shows no secret: it registered with `{}`",
                method.as_str()
            )));
        }
        let next = ClientRow {
            secret: Some(secret.hash()),
            ..row
        };
        let entry = self.client_record(actor, "client.rotated", (&next, &client.metadata))?;
        let mut batch = Batch {
            reads: actor.reads(),
            kills: vec![raised(next.mark)],
            writes: vec![oauth_client::update(next.clone())],
            effects: changes_of(&next.id),
            entries: vec![entry],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, next.id.clone());
        let issued = Issued::new(RegisteredClient::of(next)?, secret.clone());
        Ok(Plan::commit(batch, issued))
    }

    /// Ends a client with every token, line and code that was made for it, and what humans said yes to. Ending one twice is no
    /// error.
    ///
    /// # Errors
    /// There is no such client, or it stands for all of a host, which is denied alone.
    pub async fn revoke_client(&self, actor: &Actor, id: &ClientId) -> Result<Revoked> {
        // What may be let in again is on record as what was denied: what was revoked ends for good.
        let kind = match id.is_document() {
            true => DENIED,
            false => "client.revoked",
        };
        self.stop(actor, Act::on_client(kind, id), || async {
            actor.require(Scope::ResourcesWrite)?;
            let row = self.client_row(id).await?;
            let done = Revoked::at(self.now());
            if row.status == Status::Revoked {
                return Ok(Plan::Done(done));
            }
            if id.whole_host().is_some() {
                return Err(Error::WrongState(
                    "the client stands for all of a host; deny it instead".to_owned(),
                ));
            }
            Ok(Plan::commit(self.client_ended(actor, kind, row)?, done))
        })
        .await
    }

    /// Denies a client that is known by its document, also one that nobody used yet: it is let in again by an operator alone,
    /// whatever its document says.
    ///
    /// # Errors
    /// It is known by something else.
    pub async fn deny_client(&self, actor: &Actor, id: &ClientId) -> Result<Issued<Revoked>> {
        let act = Act::on_client(DENIED, id);
        let plan = || self.plan_client_denied(actor, id);
        let mut answer = self.stop(actor, act, plan).await?;
        if let Some(all) = all_of_a_host(id) {
            answer.tell(self.carried_through(all).await);
        }
        Ok(answer)
    }

    async fn plan_client_denied(
        &self,
        actor: &Actor,
        id: &ClientId,
    ) -> Result<Plan<Issued<Revoked>>> {
        actor.require(Scope::ResourcesWrite)?;
        if let Some(all) = id.all_of_host()
            && id.whole_host().is_some()
            && *id != all
        {
            let message = format!("all of a host is `{all}`, whatever the port");
            return Err(Invalid::at("client", message).into());
        }
        let known = self.client_row(id).await;
        let done = Revoked::at(self.now());
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(done)));
        }
        let known = match known {
            Err(Error::NotFound(_)) if id.is_document() => None,
            known => Some(known?),
        };
        let mut batch = match known {
            Some(_) if !id.is_document() => {
                return Err(Error::WrongState(
                    "the client was registered, and is known by no document; revoke it instead"
                        .to_owned(),
                ));
            }
            Some(row) if row.status == Status::Revoked => Batch::default(),
            Some(row) => self.client_ended(actor, DENIED, row)?,
            None => self.client_denied_unseen(actor, id)?,
        };
        if let Some(all) = all_of_a_host(id).filter(|_| !batch.entries.is_empty()) {
            batch.writes.push(begun_kill::begin(all.id(), 0));
        }
        self.claim_once(actor, &mut batch, id.to_string());
        Ok(Plan::commit(batch, Issued::without_token(done)))
    }

    /// Nothing is known of what it says: nothing is fetched for it.
    fn client_denied_unseen(&self, actor: &Actor, id: &ClientId) -> Result<Batch> {
        let said = said_by_nobody(id);
        let metadata = compile::stored("metadata", &said)?;
        let row = ClientRow {
            id: id.to_string(),
            source: DOCUMENT.to_owned(),
            metadata: said,
            secret: None,
            manager: None,
            agent: None,
            status: Status::Revoked,
            mark: self.mark(HandleKind::Client),
            version: 0,
            created_at: self.now(),
        };
        Ok(Batch {
            reads: actor.reads(),
            entries: vec![self.client_record(actor, DENIED, (&row, &metadata))?],
            effects: changes_of(&row.id),
            writes: vec![handle::born(row.mark), oauth_client::insert(row)],
            ..Batch::default()
        })
    }

    /// Lets a client in again that was denied. Nothing of before lives again: humans are asked anew.
    ///
    /// # Errors
    /// There is no such client, or it is known by something else than its document.
    pub async fn allow_client(
        &self,
        actor: &Actor,
        id: &ClientId,
    ) -> Result<Issued<RegisteredClient>> {
        let kind = "client.allowed";
        self.change(actor, Act::on_client(kind, id), || async {
            actor.require(Scope::ResourcesWrite)?;
            let row = self.client_row(id).await?;
            if !id.is_document() {
                return Err(Error::WrongState(
                    "the client was registered, and ends for good; register it anew".to_owned(),
                ));
            }
            if self.done_before(actor).await?.is_some() {
                return Ok(Plan::Done(Issued::replay(RegisteredClient::of(row)?)));
            }
            let mut batch = Batch {
                reads: actor.reads(),
                ..Batch::default()
            };
            let next = ClientRow {
                status: Status::Active,
                ..row.clone()
            };
            if row.status != next.status {
                let metadata = compile::stored("metadata", &next.metadata)?;
                let entry = self.client_record(actor, kind, (&next, &metadata))?;
                batch.entries.push(entry);
                batch.writes.push(oauth_client::update(next.clone()));
                batch.effects.extend(changes_of(&next.id));
                // Those of a host that was denied were as dead as they are now.
                if let Some(host) = id.whole_host() {
                    let below =
                        |end| oauth_client::end_all_below(&format!("{host}{end}"), self.now());
                    batch
                        .writes
                        .extend([below('/'), below(':')].into_iter().flatten());
                }
            }
            self.claim_once(actor, &mut batch, next.id.clone());
            let view = RegisteredClient::of(next)?;
            Ok(Plan::commit(batch, Issued::without_token(view)))
        })
        .await
    }

    pub(super) fn client_ended(
        &self,
        actor: &Actor,
        kind: &'static str,
        row: ClientRow,
    ) -> Result<Batch> {
        let metadata = compile::stored("metadata", &row.metadata)?;
        let entry = self.client_record(actor, kind, (&row, &metadata))?;
        let (mark, effects) = (row.mark, changes_of(&row.id));
        let mut writes: Vec<_> = oauth_client::end_all(&row.id, self.now()).into();
        writes.push(oauth_client::update(ClientRow {
            status: Status::Revoked,
            secret: None,
            manager: None,
            ..row
        }));
        Ok(Batch {
            reads: actor.reads(),
            kills: vec![raised(mark)],
            writes,
            effects,
            entries: vec![entry],
            ..Batch::default()
        })
    }

    /// What a client says of itself may be longer than a record: it has a digest of that, and the first of its hosts.
    pub(super) fn client_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, metadata): (&ClientRow, &ClientMetadata),
    ) -> Result<Entry> {
        let digest: [u8; 32] = Sha256::digest(&row.metadata).into();
        let hosts = metadata.redirect_uris.iter().take(HOSTS_ON_RECORD);
        let details = json!({
            "client": row.id, "source": row.source,
            "authentication": metadata.token_endpoint_auth_method.as_str(),
            "agent": row.agent, "redirects": metadata.redirect_uris.len(),
            "redirectHosts": hosts.map(|uri| uri.place()).collect::<Vec<_>>(),
            "contentsDigest": hex::encode(&digest),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = Some(&metadata.client_name);
        self.seal(&record)
    }
}

const DENIED: &str = "client.denied";

/// What dies with a client that stands for all of a host.
fn all_of_a_host(id: &ClientId) -> Option<Dying> {
    id.whole_host().map(|_| Dying::Host(id.clone()))
}

/// What stands in the row of a client whose document nobody read.
pub(crate) fn said_by_nobody(id: &ClientId) -> String {
    let said = json!({
        "client_name": id.host(), "redirect_uris": [],
        "token_endpoint_auth_method": AuthMethod::None, "grant_types": [GrantType::AuthorizationCode],
    });
    said.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_comes_back() {
        for id in [
            "client_01h455vb4pex5vsknk084sn02q",
            "https://app.example.com/a.b-c.json",
        ] {
            for since in [0, -1, 1_763_719_200_000_000] {
                let place = ClientPlace {
                    since: Timestamp::from_micros(since),
                    id: id.parse().unwrap(),
                };
                let text = place.encode();
                assert!(!text.contains('.'), "{text}");
                assert_eq!(ClientPlace::decode(&text), Some(place));
            }
        }
        for text in ["", "1", "-", "1-zz", "x-61", "1-61"] {
            assert_eq!(ClientPlace::decode(text), None, "{text}");
        }
    }
}
