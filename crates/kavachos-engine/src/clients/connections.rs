//! What humans let clients be, told to them and to operators; and the end of what nobody uses any more.
//!
//! Promises: what is told names a line by the hash of its key, which nobody has, for as long as there is the line. A connection all
//! of whose keys, lines among them, have been over for so long that they are forgotten, ends by itself, with a record: it does not
//! count among the human's agents for ever. What the human said yes to goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use kavachos_core::action::Actions;
use kavachos_core::constraint::Constraints;
use kavachos_core::hex;
use kavachos_core::id::{AgentId, ToolServerId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::principal::{Liveness, Status, liveness};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;
use kavachos_core::tool_server::RegisteredScopes;
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::connection::{self, ConnectionRow, ConsentRow, OverConnection};
use kavachos_store::oauth_client;
use kavachos_store::refresh_line::{self, ToldLine};
use kavachos_store::{Batch, CommitError, tool_server};
use serde::Serialize;

use super::Client;
use super::access::{LineTarget, meant_by};
use crate::actor::{Actor, Scope};
use crate::authenticate::DEAD_KEYS_KNOWN;
use crate::compile;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::page::{Page, PageOf};
use crate::raising::LONGEST_TOKEN;
use crate::users::raised;

/// How many lines of one connection are told, those that are live first.
const LINES_TOLD: usize = 100;
/// How many of them in a list.
const LINES_IN_LIST: usize = 20;
/// How many connections one page has at the most: each is read from many tables.
const MAX_A_PAGE: usize = 25;
/// How many connections one step ends.
const STEP: usize = 64;
/// How many steps are made at once, 4,096 connections. What is left waits for the next round.
const STEPS_AT_ONCE: usize = 64;

/// An application that a human let in: an agent of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Connection {
    /// The agent that it is.
    pub agent_id: AgentId,
    /// The human.
    pub user_id: UserId,
    /// By what the client is known.
    pub client_id: String,
    /// What it calls itself.
    pub name: String,
    /// Of the agent: `active`, `suspended`, `revoked` or `expired`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "suspended", "revoked", "expired"])))]
    pub status: &'static str,
    /// By whose word the client is what it says: `operator`, `itself` or `document`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["operator", "itself", "document"])))]
    pub source: String,
    /// The host whose document says what it is; `null` of a client that was registered here.
    pub host: Option<String>,
    /// Where it may have browsers sent to: hosts, and schemes of programs.
    pub redirect_hosts: Vec<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it last asked for tokens, as far as that is known.
    pub used_at: Option<Timestamp>,
    /// What the human said yes to, for each tool server.
    pub resources: Vec<ConnectionResource>,
    /// Each time that the human let it in, newest first, for as long as that is known.
    pub lines: Vec<ConnectionLine>,
}

/// What a human said yes to, for one tool server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionResource {
    /// The tool server.
    pub resource_id: ToolServerId,
    /// What it is called.
    pub name: String,
    /// Its address.
    pub audience: String,
    /// Its scopes.
    pub scopes: Vec<ConnectionScope>,
    /// Since when.
    pub since: Timestamp,
    /// When a line that is for it was last used, as far as that is known.
    pub used_at: Option<Timestamp>,
    /// Since when the human need not be asked again for the same; `null` where they are asked each time.
    pub remembered_since: Option<Timestamp>,
}

/// A scope that a human said yes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionScope {
    /// Its name.
    pub name: String,
    /// What it is, in the words of the tool server; empty where that has no such scope any more.
    pub description: String,
    /// Whether the agent may still do all of it.
    pub held: bool,
}

/// One time that a human let an application in, and what it made of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionLine {
    /// What it is called.
    pub id: LineName,
    /// `waiting` while its code may be redeemed, `active`, or `ended`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["waiting", "active", "ended"])))]
    pub status: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// When it last asked for tokens; `null` where it never did.
    pub used_at: Option<Timestamp>,
    /// When it ended, or ends unless it is used; `null` where it ended with its agent or human, at a time of theirs.
    pub ends_at: Option<Timestamp>,
    /// Whether each use proves a key, so that a copy is worth nothing.
    pub bound: bool,
    /// For which tool servers.
    pub resources: Vec<ToolServerId>,
}

/// What a line is called: the beginning of the hash of its key, which nobody has, in hexadecimal digits. Nothing can be asked for
/// with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineName(pub(super) [u8; 16]);

impl LineName {
    fn of(line: SecretHash) -> Self {
        let begins = line.as_bytes().first_chunk().copied();
        Self(begins.unwrap_or_default())
    }
}

impl fmt::Display for LineName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for LineName {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        let bytes = hex::decode_exact(text).ok_or_else(|| {
            Invalid::new("is 32 hexadecimal digits, as the connection tells them")
        })?;
        Ok(Self(bytes))
    }
}

impl Serialize for LineName {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for LineName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LineName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
}

/// What stands above a line.
struct Above {
    agent: AgentRow,
    user_kills: u64,
    status: &'static str,
}

impl Above {
    fn line(&self, told: &ToldLine, targets: &[LineTarget], now: Timestamp) -> ConnectionLine {
        let waits = told.redeemed_at.is_none() && told.code_expires_at.is_some();
        let used_at = match (told.number, told.code_expires_at, told.ended_at) {
            (1.., ..) => Some(told.since),
            // Codes that nobody redeemed end their lines before they are forgotten.
            (0, None, None) => Some(told.created_at),
            (0, ..) => told.redeemed_at,
        };
        let own_end = match (waits, told.number) {
            (true, _) => told.code_expires_at,
            (false, 0) => used_at.map(|used| used.plus(LONGEST_TOKEN)),
            (false, _) => None,
        };
        let ends = [
            Some(told.idle_ends_at),
            Some(told.expires_at),
            told.ended_at,
            own_end,
        ];
        let ends_at = ends.into_iter().flatten().min();
        let is_over = ends_at.is_some_and(|end| end <= now);
        let is_dead = self.agent.status != Status::Active
            || told.agent_kills != self.agent.kills
            || told.user_kills != self.user_kills;
        ConnectionLine {
            id: LineName::of(told.id),
            status: match (is_over || is_dead, waits) {
                (true, _) => "ended",
                (false, true) => "waiting",
                (false, false) => "active",
            },
            since: told.created_at,
            used_at,
            ends_at: ends_at.filter(|_| is_over || !is_dead),
            bound: told.proof_key.is_some(),
            resources: targets.iter().map(|target| target.server).collect(),
        }
    }
}

/// What is said of one tool server, gathered from all lines and from what is remembered.
#[derive(Default)]
struct Said {
    scopes: BTreeSet<String>,
    since: Option<Timestamp>,
    used_at: Option<Timestamp>,
    remembered_since: Option<Timestamp>,
}

impl Said {
    fn by_line(&mut self, target: &LineTarget, line: &ConnectionLine) {
        let names = target.scopes.iter().map(ToString::to_string);
        self.scopes.extend(names);
        self.used_at = self.used_at.max(line.used_at);
        self.began(line.since);
    }

    fn by_consent(&mut self, consent: &ConsentRow) {
        let names = consent.scopes.split(' ').map(str::to_owned);
        self.scopes.extend(names);
        self.remembered_since = Some(consent.given_at);
        self.began(consent.given_at);
    }

    fn began(&mut self, at: Timestamp) {
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
    }
}

impl Engine {
    /// What humans let in, newest first: a human sees their own, or another's whom they name and whom their role reaches;
    /// operators see all, or those of one human. A page ends early, since each is read from many tables.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn connections(
        &self,
        actor: &Actor,
        of: Option<UserId>,
        page: PageOf<AgentId>,
    ) -> Result<Page<Connection, AgentId>> {
        let of = match actor.person() {
            Some(person) => Some(person.listing(Scope::AgentsRead, of)?),
            None => {
                actor.require(Scope::AgentsRead)?;
                of
            }
        };
        self.connections_of(of, page, LINES_IN_LIST).await
    }

    /// One of them.
    ///
    /// # Errors
    /// The agent is no application that somebody let in, or not the caller's to see.
    pub async fn connection(&self, actor: &Actor, id: AgentId) -> Result<Connection> {
        if actor.person().is_none() {
            actor.require(Scope::AgentsRead)?;
        }
        let row = self.connection_row(id).await?;
        if let Some(person) = actor.person() {
            person.claim(Scope::AgentsRead, row.user, CONNECTION)?;
        }
        self.connection_view(row, LINES_TOLD).await
    }

    /// Whether an agent is an application that somebody let in.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_connection(&self, id: AgentId) -> Result<bool> {
        let row = self.store().find(connection::by_agent(id)).await?;
        Ok(row.is_some())
    }

    pub(super) async fn connection_row(&self, id: AgentId) -> Result<ConnectionRow> {
        let row = self.store().find(connection::by_agent(id)).await?;
        row.ok_or(Error::NotFound(CONNECTION))
    }

    /// All that the human let in, for the human, with all that is known of each.
    pub(crate) async fn own_connections(
        &self,
        human: UserId,
        page: PageOf<AgentId>,
    ) -> Result<Page<Connection, AgentId>> {
        self.connections_of(Some(human), page, LINES_TOLD).await
    }

    async fn connections_of(
        &self,
        of: Option<UserId>,
        page: PageOf<AgentId>,
        lines: usize,
    ) -> Result<Page<Connection, AgentId>> {
        let rows = connection::page(of, page.after, page.limit.min(MAX_A_PAGE));
        let rows = self.store().list(rows).await?;
        let page = Page::of(rows, |row: &ConnectionRow| row.agent);
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.connection_view(row, lines).await?);
        }
        Ok(Page {
            items,
            next: page.next,
        })
    }

    async fn connection_view(&self, row: ConnectionRow, most: usize) -> Result<Connection> {
        let now = self.now();
        let client = oauth_client::by_id(row.client.clone());
        let client = self.store().find(client).await?;
        let client = Client::of(&client.ok_or(Error::NotFound("client"))?)?;
        let agent = self.agent_row(row.agent).await?;
        let held = self.still_held(&agent).await?;
        let above = Above {
            user_kills: self.user_row(row.user).await?.kills,
            status: match liveness(agent.status, agent.expires_at, now) {
                Liveness::Expired => "expired",
                _ => agent.status.as_str(),
            },
            agent,
        };
        let mut said: BTreeMap<ToolServerId, Said> = BTreeMap::new();
        let mut lines = Vec::new();
        let told = refresh_line::told_of(row.agent, most);
        for told in self.store().list(told).await? {
            let targets: Vec<LineTarget> = compile::stored("targets", &told.targets)?;
            let line = above.line(&told, &targets, now);
            for target in &targets {
                said.entry(target.server)
                    .or_default()
                    .by_line(target, &line);
            }
            lines.push(line);
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.since));
        let consents = connection::consents_of(row.agent);
        for consent in self.store().list(consents).await? {
            said.entry(consent.server).or_default().by_consent(&consent);
        }
        let mut resources = Vec::with_capacity(said.len());
        for (server, said) in said {
            resources.extend(self.resource_view(server, said, held.as_ref()).await?);
        }
        let mut redirect_hosts: Vec<String> = Vec::new();
        for uri in &client.metadata.redirect_uris {
            let place = uri.place().to_owned();
            if !redirect_hosts.contains(&place) {
                redirect_hosts.push(place);
            }
        }
        Ok(Connection {
            agent_id: row.agent,
            user_id: row.user,
            status: above.status,
            source: client.source.as_str().to_owned(),
            host: client.id.host().map(str::to_owned),
            redirect_hosts,
            client_id: row.client,
            name: client.metadata.client_name,
            since: row.created_at,
            used_at: lines.iter().filter_map(|line| line.used_at).max(),
            resources,
            lines,
        })
    }

    /// What an agent may do; `None` where that is over.
    async fn still_held(&self, agent: &AgentRow) -> Result<Option<PermissionSet>> {
        let grant = self.grant_row(agent.root_grant).await?;
        let now = self.now();
        let live = [
            liveness(agent.status, agent.expires_at, now),
            liveness(grant.status, grant.expires_at, now),
        ];
        Ok(match live.iter().all(|one| *one == Liveness::Live) {
            true => Some(compile::grant(&grant)?.terms().permissions),
            false => None,
        })
    }

    async fn resource_view(
        &self,
        id: ToolServerId,
        said: Said,
        held: Option<&PermissionSet>,
    ) -> Result<Option<ConnectionResource>> {
        let Some(server) = self.store().find(tool_server::by_id(id)).await? else {
            return Ok(None);
        };
        let registered: RegisteredScopes = compile::stored("scopes", &server.scopes)?;
        let held = held.filter(|_| server.status == Status::Active);
        let scope = |name: String| ConnectionScope {
            description: meant_by(&name, registered.as_slice())
                .map_or_else(String::new, |meant| meant.description),
            held: held.is_some_and(|held| covers(held, &name)),
            name,
        };
        Ok(Some(ConnectionResource {
            resource_id: id,
            name: server.name,
            audience: server.audience,
            scopes: said.scopes.into_iter().map(scope).collect(),
            since: said.since.unwrap_or(server.created_at),
            used_at: said.used_at,
            remembered_since: said.remembered_since,
        }))
    }

    /// Ends connections whose keys are all forgotten, and forgets those that had ended.
    pub(crate) async fn end_unused_connections(&self) -> Result<()> {
        let before = self.now().minus(DEAD_KEYS_KNOWN);
        for _ in 0..STEPS_AT_ONCE {
            let over = self.store().list(connection::over(before, STEP)).await?;
            if over.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for one in &over {
                self.end_unused(one, &mut batch)?;
            }
            let is_kill = !batch.kills.is_empty();
            if is_kill {
                batch.effects.push(Changed::Kills.into());
            }
            match self.store().commit(batch).await {
                Ok(_) if is_kill => self.keep_checkpoint().await,
                Ok(_) => {}
                // Somebody let one of them in again: what is left waits for the next round.
                Err(CommitError::Conflict { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn end_unused(&self, one: &OverConnection, batch: &mut Batch) -> Result<()> {
        let agent = &one.agent;
        batch.writes.extend(connection::forget(agent.id));
        if one.status == Status::Revoked {
            return Ok(());
        }
        batch.kills.push(raised(agent.mark));
        // Off the count first, as long as it is in it.
        let end = [
            agent::uncount(agent.id, agent.root),
            agent::revoke(agent.id),
        ];
        batch.writes.extend(end);
        batch.effects.push(Changed::Agent(agent.id).into());
        batch.effects.push(Changed::User(agent.root).into());
        batch.entries.push(self.unused_record(one)?);
        Ok(())
    }

    fn unused_record(&self, one: &OverConnection) -> Result<Entry> {
        let system = Name::System;
        let mut record = Record::new(self.id(), "agent.revoked", Outcome::Allowed, "done", system);
        record.agent = Some(one.agent.id);
        record.subject = Some(one.agent.subject);
        record.reason =
            Some("its application was let in long ago, and has had nothing to show for 30 days");
        self.seal(&record)
    }
}

/// Whether a set permits all of a scope.
fn covers(held: &PermissionSet, scope: &str) -> bool {
    let Ok(pattern) = scope.parse::<ResourcePattern>() else {
        return false;
    };
    let whole = Permission::new(pattern, Actions::any(), Constraints::default());
    PermissionSet::new([whole]).is_ok_and(|whole| held.covers_all(&whole).is_ok())
}

/// What is not there for those whose it is not.
pub(super) const CONNECTION: &str = "connection";
