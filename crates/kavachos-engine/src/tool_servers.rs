//! Tool servers: registered by operators, each with a key of its own, which may ask about its own audience only.

use kavachos_core::id::ToolServerId;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_core::tool_server::{
    Audience, Party, Proof, RegisteredScope, RegisteredScopes, TokenAlgorithm, TokenPolicy,
    Verification,
};
use kavachos_store::tool_server::{self, ToolServerRow};
use kavachos_store::{Batch, Effect, handle};
use serde::Serialize;
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::revoked::{Edited, Revoked};
use crate::text;
use crate::users::{raised, to_text};

/// The key of a tool server, compiled.
#[derive(Debug)]
pub struct ToolServerKey {
    /// The tool server.
    pub id: ToolServerId,
    /// What is stored of the key itself.
    pub hash: SecretHash,
    /// Whom its tokens are for.
    pub audience: Audience,
    /// What it may ask about: its registered scopes, with every action.
    pub covered: PermissionSet,
    /// How long it may go on without news of revocations.
    pub lease_seconds: u32,
    /// How what is made out to it is signed.
    pub token_algorithm: TokenAlgorithm,
    /// Whose it is.
    pub party: Party,
    /// As stored.
    pub status: Status,
    /// Its handle and generation.
    pub mark: Mark,
}

/// A tool server to register.
#[derive(Debug, Clone, PartialEq)]
pub struct NewToolServer {
    /// Whom its tokens are for.
    pub audience: Audience,
    /// For display.
    pub name: String,
    /// Its scopes.
    pub scopes: RegisteredScopes,
    /// What differs from the [default](TokenPolicy::default) policy.
    pub policy: PolicyChange,
}

/// What to change of a tool server; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolServerChange {
    /// The name.
    pub name: Option<String>,
    /// The scopes.
    pub scopes: Option<RegisteredScopes>,
    /// The token policy.
    pub policy: PolicyChange,
}

/// What to change of a token policy; `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyChange {
    /// See [`TokenPolicy::default_scope`].
    pub default_scope: Option<Option<String>>,
    /// See [`TokenPolicy::party`].
    pub party: Option<Party>,
    /// See [`TokenPolicy::kind`].
    pub kind: Option<Verification>,
    /// See [`TokenPolicy::proof`].
    pub proof: Option<Proof>,
    /// See [`TokenPolicy::token_algorithm`].
    pub token_algorithm: Option<TokenAlgorithm>,
    /// See [`TokenPolicy::critical`].
    pub critical: Option<bool>,
    /// See [`TokenPolicy::lease_seconds`].
    pub lease_seconds: Option<u32>,
    /// See [`TokenPolicy::max_ttl_seconds`].
    pub max_ttl_seconds: Option<u32>,
}

impl PolicyChange {
    /// The policy with these changes.
    fn on(&self, policy: TokenPolicy) -> TokenPolicy {
        TokenPolicy {
            default_scope: self.default_scope.clone().unwrap_or(policy.default_scope),
            party: self.party.unwrap_or(policy.party),
            kind: self.kind.unwrap_or(policy.kind),
            proof: self.proof.unwrap_or(policy.proof),
            token_algorithm: self.token_algorithm.unwrap_or(policy.token_algorithm),
            critical: self.critical.unwrap_or(policy.critical),
            lease_seconds: self.lease_seconds.unwrap_or(policy.lease_seconds),
            max_ttl_seconds: self.max_ttl_seconds.unwrap_or(policy.max_ttl_seconds),
        }
    }
}

/// A tool server, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ToolServer {
    /// The id.
    pub id: ToolServerId,
    /// The first characters of its key.
    pub shown: String,
    /// Whom its tokens are for.
    pub audience: String,
    /// The name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<RegisteredScope>,
    /// How tokens for it are made and checked.
    #[serde(flatten)]
    pub policy: TokenPolicy,
    /// `active` or `revoked`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "revoked"])))]
    pub status: &'static str,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl ToolServer {
    fn of(row: ToolServerRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            shown: row.shown,
            audience: row.audience,
            name: row.name,
            scopes: compile::stored("scopes", &row.scopes)?,
            policy: compile::stored("policy", &row.policy)?,
            status: row.status.as_str(),
            created_at: row.created_at,
        })
    }
}

fn changes_of(row: &ToolServerRow) -> Vec<Effect> {
    let audience = Changed::audience(&row.audience);
    vec![Changed::Key(row.hash).into(), audience.into()]
}

impl Engine {
    /// Registers a tool server and makes its key.
    ///
    /// # Errors
    /// The audience is taken, the policy does not fit the scopes, or they lie above the caller's ceiling.
    pub async fn register_tool_server(
        &self,
        actor: &Actor,
        new: &NewToolServer,
    ) -> Result<Issued<ToolServer>> {
        text::plain("name", &new.name, text::MAX_NAME_BYTES)?;
        let policy = new.policy.on(TokenPolicy::default());
        policy.check(&new.scopes)?;
        let secret = self.secret(SecretKind::Resource);
        self.change(actor, Act::new("resource.created"), || {
            self.plan_tool_server(actor, (new, &policy), &secret)
        })
        .await
    }

    async fn plan_tool_server(
        &self,
        actor: &Actor,
        (new, policy): (&NewToolServer, &TokenPolicy),
        secret: &Secret,
    ) -> Result<Plan<Issued<ToolServer>>> {
        actor.require(Scope::ResourcesWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let row = self
                .tool_server_row(done.parse().map_err(Error::Invalid)?)
                .await?;
            return Ok(Plan::Done(Issued::replay(ToolServer::of(row)?)));
        }
        actor.covers(new.scopes.covered())?;
        let audience = new.audience.as_str().to_owned();
        let taken = tool_server::by_audience(audience.clone());
        if self.store().find(taken).await?.is_some() {
            return Err(Error::WrongState(
                "a tool server with this audience is registered; change that one, or revoke it first"
                    .to_owned(),
            ));
        }
        let row = ToolServerRow {
            id: self.id(),
            hash: secret.hash(),
            shown: secret.display_prefix().to_owned(),
            audience,
            name: new.name.clone(),
            scopes: to_text(&new.scopes)?,
            policy: to_text(policy)?,
            status: Status::Active,
            mark: self.mark(HandleKind::Key),
            version: 0,
            created_at: self.now(),
        };
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![tool_server::insert(row.clone()), handle::born(row.mark)],
            entries: vec![self.tool_server_record(actor, "resource.created", &row)?],
            effects: changes_of(&row),
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, row.id.to_string());
        let issued = Issued::new(ToolServer::of(row)?, secret.clone());
        Ok(Plan::commit(batch, issued))
    }

    fn tool_server_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        row: &ToolServerRow,
    ) -> Result<Entry> {
        let origin = actor.origin();
        let policy: serde_json::Value = compile::stored("policy", &row.policy)?;
        let details = json!({ "server": row.id, "audience": row.audience, "policy": policy });
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = Some(&row.name);
        self.seal(&record)
    }

    /// One tool server.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn tool_server(&self, actor: &Actor, id: ToolServerId) -> Result<ToolServer> {
        actor.require(Scope::ResourcesWrite)?;
        ToolServer::of(self.tool_server_row(id).await?)
    }

    async fn tool_server_row(&self, id: ToolServerId) -> Result<ToolServerRow> {
        let found = self.store().find(tool_server::by_id(id)).await?;
        found.ok_or(Error::NotFound("tool server"))
    }

    /// Tool servers, newest first.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn tool_servers(
        &self,
        actor: &Actor,
        page: PageOf<ToolServerId>,
    ) -> Result<Page<ToolServer, ToolServerId>> {
        actor.require(Scope::ResourcesWrite)?;
        let rows = tool_server::page(page.after, page.limit);
        let rows = self.store().list(rows).await?;
        Page::of(rows, |row| row.id).shown(ToolServer::of)
    }

    /// Changes a tool server. What it may ask about before and after must both lie within the caller's ceiling.
    ///
    /// # Errors
    /// It is revoked, the policy does not fit the scopes, or they lie above the caller's ceiling.
    pub async fn change_tool_server(
        &self,
        actor: &Actor,
        id: ToolServerId,
        change: &ToolServerChange,
    ) -> Result<Edited<ToolServer>> {
        if let Some(name) = &change.name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        self.edit(actor, Act::on_server("resource.updated", id), || {
            self.plan_tool_server_change(actor, id, change)
        })
        .await
    }

    async fn plan_tool_server_change(
        &self,
        actor: &Actor,
        id: ToolServerId,
        change: &ToolServerChange,
    ) -> Result<Plan<ToolServer>> {
        actor.require(Scope::ResourcesWrite)?;
        let row = self.tool_server_row(id).await?;
        if row.status == Status::Revoked {
            return Err(Error::WrongState(
                "the tool server is revoked; register it anew".to_owned(),
            ));
        }
        let old: RegisteredScopes = compile::stored("scopes", &row.scopes)?;
        actor.covers(old.covered())?;
        let scopes = change.scopes.clone().unwrap_or(old);
        actor.covers(scopes.covered())?;
        let policy = change.policy.on(compile::stored("policy", &row.policy)?);
        policy.check(&scopes)?;
        let next = ToolServerRow {
            name: change.name.clone().unwrap_or_else(|| row.name.clone()),
            scopes: to_text(&scopes)?,
            policy: to_text(&policy)?,
            ..row
        };
        let batch = self.tool_server_changed(actor, "resource.updated", next.clone())?;
        Ok(Plan::commit(batch, ToolServer::of(next)?))
    }

    /// Any change raises the generation, so that nothing goes on under what it was.
    fn tool_server_changed(
        &self,
        actor: &Actor,
        kind: &'static str,
        next: ToolServerRow,
    ) -> Result<Batch> {
        Ok(Batch {
            reads: actor.reads(),
            kills: vec![raised(next.mark)],
            entries: vec![self.tool_server_record(actor, kind, &next)?],
            effects: changes_of(&next),
            writes: vec![tool_server::update(next)],
            ..Batch::default()
        })
    }

    /// Revokes a tool server and its key for good; its audience may be registered anew. Revoking twice is no error.
    ///
    /// # Errors
    /// There is no such tool server, or it lies above the caller's ceiling.
    pub async fn revoke_tool_server(&self, actor: &Actor, id: ToolServerId) -> Result<Revoked> {
        self.stop(actor, Act::on_server("resource.revoked", id), || {
            self.plan_tool_server_end(actor, id)
        })
        .await
    }

    async fn plan_tool_server_end(&self, actor: &Actor, id: ToolServerId) -> Result<Plan<Revoked>> {
        actor.require(Scope::ResourcesWrite)?;
        let row = self.tool_server_row(id).await?;
        if row.status == Status::Revoked {
            return Ok(Plan::Done(Revoked::at(self.now())));
        }
        let scopes: RegisteredScopes = compile::stored("scopes", &row.scopes)?;
        actor.covers(scopes.covered())?;
        let ended = ToolServerRow {
            status: Status::Revoked,
            ..row
        };
        let batch = self.tool_server_changed(actor, "resource.revoked", ended)?;
        Ok(Plan::commit(batch, Revoked::at(self.now())))
    }
}
