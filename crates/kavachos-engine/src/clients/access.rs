//! A human lets a client in: what it asked for, what they said yes to before, and the code with which it begins.

use std::time::Duration;

use kavachos_core::action::Actions;
use kavachos_core::client::{Challenge, RedirectKind, RedirectUri, Source};
use kavachos_core::constraint::Constraints;
use kavachos_core::grant::TokenUses;
use kavachos_core::id::{AgentId, ToolServerId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::principal::{Owner, Status};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::token::Thumbprint;
use kavachos_core::tool_server::{Audience, RegisteredScope, Verification};
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::connection::{self, ConnectionRow, ConsentRow};
use kavachos_store::refresh_line::{self, CodeRow, LineRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, handle, tool_server};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Client;
use super::line::{LINE_LIFE, SHOWN};
use crate::act::Act;
use crate::actor::Actor;
use crate::agents::AgentKind;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::Ask;
use crate::lifecycle::AgentChange;
use crate::users::to_text;

/// How long a code may be redeemed.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// How many lines of one connection are live at once; a further one ends the oldest.
const MAX_LINES: usize = 10;
/// The most tool servers that one request names.
const MAX_TARGETS: usize = 10;

/// What a client asks a human for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The tool servers, each once.
    pub audiences: Vec<Audience>,
    /// The scopes, of whatever tool server; `None` for what each gives by default.
    pub scopes: Option<Vec<String>>,
}

/// What a client gets of one tool server if the human says yes.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessScopes {
    /// The tool server.
    pub server: ToolServerId,
    /// Whom its tokens are for.
    pub audience: Audience,
    /// What it is called.
    pub name: String,
    /// Its scopes, as people read them.
    pub scopes: Vec<RegisteredScope>,
    mark: Mark,
}

/// What a client gets if the human says yes.
#[derive(Debug, Clone)]
pub struct Access {
    /// The client.
    pub client: Client,
    /// Where the browser is sent back to.
    pub redirect_uri: RedirectUri,
    /// Of each tool server.
    pub targets: Vec<AccessScopes>,
    /// What its redeemer proves to know.
    pub challenge: Challenge,
    /// The key that its redeemer proves to hold (RFC 9449, section 10).
    pub proof_key: Option<Thumbprint>,
}

/// A tool server of a line, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LineTarget {
    pub(super) audience: Audience,
    pub(super) scopes: Vec<ResourcePattern>,
}

impl Engine {
    /// What the wish comes to: registered tool servers, and those of the scopes asked for that they have.
    ///
    /// # Errors
    /// A tool server is unknown (`resource`), or none of the scopes is one of theirs (`scope`).
    pub async fn access_scopes(&self, wish: &Wish) -> Result<Vec<AccessScopes>> {
        if wish.audiences.is_empty() {
            return Err(Invalid::at("resource", "name the tool server that it is for").into());
        }
        if wish.audiences.len() > MAX_TARGETS {
            let message = format!("names more than {MAX_TARGETS} tool servers");
            return Err(Invalid::at("resource", message).into());
        }
        let mut targets = Vec::new();
        for audience in &wish.audiences {
            targets.push(self.access_to(audience, wish.scopes.as_deref()).await?);
        }
        targets.retain(|target: &AccessScopes| !target.scopes.is_empty());
        match targets.is_empty() {
            true => Err(Invalid::at(
                "scope",
                "none of these scopes is one of the tool server's; its metadata names them",
            )
            .into()),
            false => Ok(targets),
        }
    }

    async fn access_to(
        &self,
        audience: &Audience,
        asked: Option<&[String]>,
    ) -> Result<AccessScopes> {
        let registered = self.registered(audience).await?;
        let row = self.store().find(tool_server::by_id(registered.id)).await?;
        let row = row.ok_or(Error::NotFound("tool server"))?;
        let default = registered.policy.default_scope.unwrap_or_default();
        let names: Vec<&str> = match asked {
            Some(asked) => asked.iter().map(String::as_str).collect(),
            None => default.split(' ').collect(),
        };
        let mut scopes: Vec<RegisteredScope> = Vec::new();
        for name in names {
            let meant = meant_by(name, registered.scopes.as_slice());
            // What looks at scopes alone knows whole ones.
            let meant = meant.filter(|meant| {
                registered.policy.kind == Verification::Kavach
                    || registered.scopes.has(meant.name.as_str())
            });
            scopes
                .extend(meant.filter(|meant| scopes.iter().all(|known| known.name != meant.name)));
        }
        Ok(AccessScopes {
            server: registered.id,
            audience: audience.clone(),
            name: row.name,
            scopes,
            mark: registered.mark,
        })
    }

    /// Whether the human said yes to all of this before, so that they need not be asked again. Clients that registered
    /// themselves ask each time, and so does what any program on the human's machine could be.
    ///
    /// # Errors
    /// Those of the store; the caller is no human.
    pub async fn is_consented(&self, actor: &Actor, access: &Access) -> Result<bool> {
        let user = actor.own_account()?;
        let anybody = access.client.source == Source::Itself
            || access.redirect_uri.kind() != RedirectKind::Site;
        if anybody {
            return Ok(false);
        }
        let Some(known) = self.connection(user, &access.client).await? else {
            return Ok(false);
        };
        let consents = self
            .store()
            .list(connection::consents_of(known.agent))
            .await?;
        let fingerprint = access.client.fingerprint();
        let holds = |target: &AccessScopes| {
            let consent = consents
                .iter()
                .find(|consent| consent.server == target.server);
            consent.is_some_and(|consent| {
                let given: Vec<&str> = consent.scopes.split(' ').collect();
                consent.fingerprint == fingerprint
                    && (target.scopes.iter()).all(|scope| given.contains(&scope.name.as_str()))
            })
        };
        Ok(access.targets.iter().all(holds))
    }

    async fn connection(&self, user: UserId, client: &Client) -> Result<Option<ConnectionRow>> {
        let row = connection::between(user, client.id.to_string());
        Ok(self.store().find(row).await?)
    }

    /// Lets a client in, in the name of the human who calls: a code that it redeems.
    ///
    /// # Errors
    /// The caller is no human in a fresh session (unless they said yes to the same before), may not do what they would let
    /// it do, or has as many agents as they may have.
    pub async fn let_in(&self, actor: &Actor, access: &Access) -> Result<Secret> {
        let (code, line) = (
            self.secret(SecretKind::Code),
            self.secret(SecretKind::Agent),
        );
        let act = Act::new("connection.consented");
        self.change(actor, act, || {
            self.plan_access(actor, access, (&code, &line))
        })
        .await?;
        Ok(code)
    }

    async fn plan_access(
        &self,
        actor: &Actor,
        access: &Access,
        (code, line): (&Secret, &Secret),
    ) -> Result<Plan<()>> {
        let id = actor.own_account()?;
        if !self.is_consented(actor, access).await? {
            self.require_fresh(actor)?;
        }
        let user = self.user_row(id).await?;
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        batch.reads.push(access.client.mark);
        batch
            .reads
            .extend(access.targets.iter().map(|target| target.mark));
        let row = match self.connection(id, &access.client).await? {
            None => {
                self.connected_anew(actor, (access, &user), &mut batch)
                    .await?
            }
            Some(known) => {
                self.connected_before(actor, (access, known.agent), &mut batch)
                    .await?
            }
        };
        self.add_consents(access, row.id, &mut batch)?;
        self.add_line(access, (&row, &user), (code, line), &mut batch)
            .await?;
        batch
            .entries
            .push(self.consent_record(actor, access, (&row, &user))?);
        Ok(Plan::commit(batch, ()))
    }

    /// An agent of the human's that the client will be.
    async fn connected_anew(
        &self,
        actor: &Actor,
        (access, user): (&Access, &UserRow),
        batch: &mut Batch,
    ) -> Result<AgentRow> {
        let room = self.room_for_agent(user).await?;
        let id: AgentId = self.id();
        let ask = Ask {
            giver: Owner::User(user.id),
            to: (id, user.id),
            permissions: permissions_of(access, None)?,
            guards: None,
            uses: TokenUses::default(),
            max_depth: Some(0),
            expires_at: None,
            parent: None,
            reason: None,
        };
        let planned = self.plan_root_grant(&compile::user(user)?, &ask)?;
        self.within_quota(&planned.terms).await?;
        let row = AgentRow {
            id,
            owner: Owner::User(user.id),
            root: user.id,
            name: access.client.metadata.client_name.clone(),
            kind: AgentKind::Delegated.as_str().to_owned(),
            status: Status::Active,
            expires_at: None,
            metadata: None,
            root_grant: planned.id,
            mark: self.mark(HandleKind::Agent),
            kills: 0,
            version: 0,
            created_at: self.now(),
            proof_key: None,
            maker: actor.maker(),
        };
        batch.reads.extend(planned.reads.iter().copied());
        batch.writes.extend(room);
        batch.writes.push(agent::insert(row.clone()));
        batch.writes.push(handle::born(row.mark));
        batch.writes.extend(self.grant_writes(actor, &planned)?);
        batch.writes.push(connection::insert(&ConnectionRow {
            agent: id,
            client: access.client.id.to_string(),
            user: user.id,
            created_at: self.now(),
        }));
        batch.entries.push(self.agent_record(
            actor,
            "agent.created",
            (&row, user, &[]),
            Some(&planned.terms),
        )?);
        batch.effects.push(Changed::User(user.id).into());
        batch.effects.push(Changed::Agent(id).into());
        Ok(row)
    }

    /// The agent that the client is, with what it did not have yet.
    async fn connected_before(
        &self,
        actor: &Actor,
        (access, agent): (&Access, AgentId),
        batch: &mut Batch,
    ) -> Result<AgentRow> {
        let row = self.agent_row(agent).await?;
        if row.status != Status::Active {
            return Err(Error::WrongState(
                "you stopped this application for a while; let it go on first, among your agents"
                    .to_owned(),
            ));
        }
        batch.reads.push(row.mark);
        let stored = self.grant_row(row.root_grant).await?;
        let held = compile::grant(&stored)?.terms().permissions;
        let wanted = permissions_of(access, None)?;
        if held.covers_all(&wanted).is_err() {
            let change = AgentChange {
                permissions: Some(permissions_of(access, Some(&held))?),
                ..AgentChange::default()
            };
            let terms = self.change_root_grant(actor, &row, &change, batch).await?;
            let user = self.user_row(row.root).await?;
            batch.writes.push(agent::update(row.clone()));
            batch.entries.push(self.agent_record(
                actor,
                "agent.updated",
                (&row, &user, &[]),
                Some(&terms),
            )?);
            batch.effects.push(Changed::Agent(agent).into());
        }
        Ok(row)
    }

    fn add_consents(&self, access: &Access, agent: AgentId, batch: &mut Batch) -> Result<()> {
        for target in &access.targets {
            let names: Vec<&str> = target
                .scopes
                .iter()
                .map(|scope| scope.name.as_str())
                .collect();
            batch.writes.push(connection::consent(&ConsentRow {
                agent,
                server: target.server,
                scopes: names.join(" "),
                fingerprint: access.client.fingerprint(),
                given_at: self.now(),
            }));
        }
        Ok(())
    }

    /// A line that begins with a code. Its key is nobody's to show: it is drawn, hashed and forgotten.
    async fn add_line(
        &self,
        access: &Access,
        (row, user): (&AgentRow, &UserRow),
        (code, line): (&Secret, &Secret),
        batch: &mut Batch,
    ) -> Result<()> {
        let now = self.now();
        self.end_oldest(row.id, batch).await?;
        let mut key = self.new_key_row(row, user.kills, Some(LINE_LIFE), line)?;
        SHOWN.clone_into(&mut key.shown);
        batch.writes.push(agent::insert_key(key.clone()));
        batch.writes.push(handle::born(key.mark));
        batch.effects.push(Changed::Key(key.hash).into());
        let targets: Vec<LineTarget> = access
            .targets
            .iter()
            .map(|target| LineTarget {
                audience: target.audience.clone(),
                scopes: target
                    .scopes
                    .iter()
                    .map(|scope| scope.name.clone())
                    .collect(),
            })
            .collect();
        batch.writes.push(refresh_line::insert(LineRow {
            id: key.hash,
            agent: row.id,
            client: access.client.id.to_string(),
            targets: to_text(&targets)?,
            proof_key: access.proof_key.map(|print| print.0),
            number: 0,
            since: now,
            repeats: 0,
            idle_ends_at: key.expires_at,
            created_at: now,
        }));
        batch.writes.push(refresh_line::insert_code(CodeRow {
            hash: code.hash(),
            line: key.hash,
            redirect_uri: access.redirect_uri.to_string(),
            challenge: *access.challenge.bytes(),
            expires_at: now.plus(CODE_LIFE),
            redeemed_at: None,
        }));
        Ok(())
    }
}

impl Engine {
    /// Makes room for one more line of an agent.
    async fn end_oldest(&self, agent: AgentId, batch: &mut Batch) -> Result<()> {
        let now = self.now();
        let live = refresh_line::live_of(agent, now, MAX_LINES);
        let live = self.store().list(live).await?;
        let Some((oldest,)) = live.first().filter(|_| live.len() >= MAX_LINES) else {
            return Ok(());
        };
        self.end_key(SecretHash::from_bytes(*oldest), batch).await
    }

    fn consent_record(
        &self,
        actor: &Actor,
        access: &Access,
        (row, user): (&AgentRow, &UserRow),
    ) -> Result<Entry> {
        let targets: Vec<_> = access
            .targets
            .iter()
            .map(|target| {
                let scopes = target.scopes.iter().map(|scope| scope.name.as_str());
                json!({ "server": target.server, "scope": scopes.collect::<Vec<_>>().join(" ") })
            })
            .collect();
        let details = json!({
            "client": access.client.id, "redirectHost": access.redirect_uri.place(), "resources": targets,
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "connection.consented", Outcome::Allowed, "done");
        record.subject = Some(user.pseudonym);
        record.agent = Some(row.id);
        record.details = Some(&details);
        record.personal.name = Some(&row.name);
        self.seal(&record)
    }
}

/// A registered scope, or a part of one: what a tool server asks for may be narrower than what it registered.
fn meant_by(name: &str, registered: &[RegisteredScope]) -> Option<RegisteredScope> {
    let pattern: ResourcePattern = name.parse().ok()?;
    let covering = registered
        .iter()
        .find(|scope| scope.name.covers(&pattern))?;
    Some(RegisteredScope {
        name: pattern,
        description: covering.description.clone(),
    })
}

/// All scopes of all tool servers, with every action; beside what is held already, where that is said.
fn permissions_of(access: &Access, held: Option<&PermissionSet>) -> Result<PermissionSet> {
    let wanted = access.targets.iter().flat_map(|target| &target.scopes);
    let mut all: Vec<Permission> = held
        .into_iter()
        .flat_map(PermissionSet::iter)
        .map(|permission| Permission::clone(permission))
        .collect();
    for scope in wanted {
        let one = Permission::new(scope.name.clone(), Actions::any(), Constraints::default());
        let alone = PermissionSet::new([one.clone()])?;
        let is_held =
            PermissionSet::new(all.iter().cloned()).is_ok_and(|all| all.covers_all(&alone).is_ok());
        if !is_held {
            all.push(one);
        }
    }
    Ok(PermissionSet::new(all)?)
}
