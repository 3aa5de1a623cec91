//! Agents: created with a root grant and a key, read, changed, rotated, suspended, resumed, revoked.
//!
//! Creating and reading are here; what happens to an agent later is in [`lifecycle`](crate::lifecycle).

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::Constraints;
use kavachos_core::decide::Facts;
use kavachos_core::grant::{MAX_DEPTH, Terms, TokenUses};
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Agent as Compiled, Liveness, MAX_OWNERS, Owner, Status, liveness};
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_core::token::PublicKey;
use kavachos_store::agent::{self, AgentFilter, AgentKeyRow, AgentRow};
use kavachos_store::user::{self, UserRow};
use kavachos_store::{Batch, Write, former_identity, handle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::clients::SHOWN_OF_CLIENT;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::{Ask, Planned, refuse_uses};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::proof_keys::{self, Proofs};
use crate::text;
use crate::users::{External, NewUser, to_text};

/// The most that the permissions of one grant take in their stored form.
const MAX_GRANT_BYTES: usize = 128 * 1024;
/// The longest life of an agent's key.
pub const MAX_KEY_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What an agent is for. It changes no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// Acts on its own within its authority.
    Autonomous,
    /// Acts for a human who is present.
    Delegated,
    /// A program that is no model: a job, a bot, a service.
    Service,
}

impl AgentKind {
    /// The text that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Autonomous => "autonomous",
            Self::Delegated => "delegated",
            Self::Service => "service",
        }
    }
}

/// Who owns a new agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewOwner {
    /// A human of ours.
    User(UserId),
    /// Another agent: the new one is its sub-agent.
    Agent(AgentId),
    /// A human of someone else's identity provider, created on first mention.
    External(External),
}

/// An agent to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAgent {
    /// Who owns it.
    pub owner: NewOwner,
    /// For display.
    pub name: String,
    /// What it is for.
    pub kind: AgentKind,
    /// What it may do: for a sub-agent no more than its owner.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Constraints>,
    /// What tokens of its root grant may be used for beside being shown; agents say nothing here.
    pub uses: TokenUses,
    /// How deep delegations below it may go.
    pub max_depth: Option<u8>,
    /// Which of the owning agent's grants the authority comes from.
    pub parent: Option<GrantId>,
    /// When the agent ends.
    pub expires_at: Option<Timestamp>,
    /// How long its first key works; a key that an agent gets for a sub-agent ends with the agent's own at the latest.
    pub key_ttl: Option<Duration>,
    /// A JSON object of your own.
    pub metadata: Option<Value>,
    /// The key that it will prove with every token.
    pub proof_key: Option<PublicKey>,
}

/// An agent, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The id.
    pub id: AgentId,
    /// The human or agent that owns it.
    pub owner_id: Owner,
    /// The human at the top of its owners.
    pub user_id: UserId,
    /// The name.
    pub name: String,
    /// `autonomous`, `delegated` or `service`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "AgentKind"))]
    pub kind: String,
    /// `active`, `suspended`, `revoked` or `expired`: the agent's own; those above it are judged in every decision.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "suspended", "revoked", "expired"])))]
    pub status: &'static str,
    /// What its root grant permits.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Constraints>,
    /// What tokens of its root grant may be used for beside being shown.
    #[serde(flatten)]
    pub uses: TokenUses,
    /// The root grant.
    pub grant_id: GrantId,
    /// How deep delegations below it may go.
    pub max_depth: u8,
    /// When the agent ends.
    pub expires_at: Option<Timestamp>,
    /// When its root grant ends: a sub-agent's ends with the grant it comes from.
    pub grant_expires_at: Option<Timestamp>,
    /// When its key ends; absent in lists, and when it has no live key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expires_at: Option<Timestamp>,
    /// The caller's own object.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    pub metadata: Option<Value>,
    /// The key that is proved with its tokens, as a JSON Web Key with its thumbprint as `kid`.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    pub proof_key: Option<Value>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Engine {
    /// Creates an agent with its root grant and its first key. An agent that calls proves its own proof key, if it has
    /// one, and the one that it registers.
    ///
    /// # Errors
    /// The owner is unknown or not live, the human's quota is used up, more is asked for than the owner has, or a proof is
    /// needed.
    pub async fn create_agent(
        &self,
        actor: &Actor,
        new: &NewAgent,
        proofs: &Proofs,
    ) -> Result<Issued<Agent>> {
        check_new(new)?;
        proofs.check(new)?;
        text::future(new.expires_at, self.now())?;
        let secret = self.secret(SecretKind::Agent);
        self.change(actor, Act::agent_created(new), || {
            self.plan_agent(actor, (new, proofs), &secret)
        })
        .await
    }

    async fn plan_agent(
        &self,
        actor: &Actor,
        (new, proofs): (&NewAgent, &Proofs),
        secret: &Secret,
    ) -> Result<Plan<Issued<Agent>>> {
        match new.owner {
            NewOwner::Agent(owner) => {
                actor.require_or_agent(Scope::AgentsWrite, Owner::Agent(owner))?;
            }
            NewOwner::User(owner) if actor.is_human(owner) => self.require_fresh(actor)?,
            NewOwner::User(_) | NewOwner::External(_) => actor.require(Scope::AgentsWrite)?,
        }
        if let Some(agent) = actor.agent() {
            self.require_live_key(actor, agent).await?;
        }
        if let Some(done) = self.done_before(actor).await? {
            let id = done.parse().map_err(Error::Invalid)?;
            return Ok(Plan::Done(Issued::replay(
                self.agent_view(self.agent_row(id).await?).await?,
            )));
        }
        let hand = self.giving_hand(actor, proofs.own.as_ref()).await?;
        actor.covers(&new.permissions)?;
        refuse_uses(actor, &new.uses)?;
        let (owner, user, mut batch) = self.owner_of_new(actor, new).await?;
        let room = self.room_for_agent(&user).await?;
        let id: AgentId = self.id();
        let ask = Ask {
            giver: owner,
            to: (id, user.id),
            permissions: new.permissions.clone(),
            guards: new.guards.clone().map(Arc::new),
            uses: new.uses.clone(),
            max_depth: new.max_depth,
            expires_at: None,
            parent: new.parent,
            reason: None,
        };
        let planned = match owner {
            Owner::User(_) => self.plan_root_grant(&compile::user(&user)?, &ask)?,
            Owner::Agent(owner) => {
                self.refuse_too_many_owners(owner).await?;
                self.plan_grant(actor, &ask).await?
            }
        };
        self.within_quota(&planned.terms).await?;
        let mut row = self.new_agent_row(new, user.id, &planned);
        row.maker = actor.maker();
        let mut key = self.new_key_row(&row, user.kills, new.key_ttl, secret)?;
        if let Caller::Agent(own) = &actor.caller {
            // A sub-agent with all of an agent's authority would else be the renewal that its own key may not do.
            key.expires_at = key.expires_at.min(own.expires_at);
        }
        // Taken apart: what is in the batch already says whether the human is new.
        let mut claim = Batch::default();
        if let Some(key) = &new.proof_key {
            let key = (key, proofs.registered.as_ref());
            row.proof_key = Some(self.register_proof_key(actor, key, id, &mut claim).await?);
        }
        self.add_birth(actor, &mut batch, (&row, &user, &planned, &key), room)?;
        batch.reads.extend(hand.reads);
        batch.reads.append(&mut claim.reads);
        batch.writes.append(&mut claim.writes);
        self.use_proof(proofs.own.as_ref(), &mut batch);
        self.claim_once(actor, &mut batch, id.to_string());
        let mut view = self.view(row, &planned.terms)?;
        view.key_expires_at = Some(key.expires_at);
        Ok(Plan::commit(batch, Issued::new(view, secret.clone())))
    }

    /// The owner of a new agent, the human above it, and the batch that creates that human if it is new.
    async fn owner_of_new(&self, actor: &Actor, new: &NewAgent) -> Result<(Owner, UserRow, Batch)> {
        let plain = || Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        match &new.owner {
            NewOwner::User(id) => Ok((Owner::User(*id), self.user_row(*id).await?, plain())),
            NewOwner::Agent(id) => {
                let owner = self.agent_row(*id).await?;
                Ok((Owner::Agent(*id), self.user_row(owner.root).await?, plain()))
            }
            NewOwner::External(external) => {
                actor.require(Scope::UsersWrite)?;
                let (provider, external_id) = external.pair();
                if let Some(row) = self
                    .store()
                    .find(user::by_external(provider, external_id))
                    .await?
                {
                    return Ok((Owner::User(row.id), row, plain()));
                }
                self.refuse_first_mention().await?;
                self.refuse_former(external).await?;
                let permissions = self.settings().providers.first_permissions(external);
                let everything = PermissionSet::everything();
                actor.covers(permissions.as_ref().unwrap_or(&everything)).map_err(|_| {
                    Error::Forbidden(
                        "a human on first mention may do everything, or what their provider's ceiling says, which lies above this key's ceiling; create the user with `permissions` first"
                            .to_owned(),
                    )
                })?;
                let new = NewUser {
                    external: Some(external.clone()),
                    permissions,
                    ..NewUser::default()
                };
                let row = self.new_user_row(new)?;
                let mut batch = self.user_born(actor, &row)?;
                let new = former_identity::still_new(row.id, external.pair());
                batch.writes.push(new);
                Ok((Owner::User(row.id), row, batch))
            }
        }
    }

    /// `root` is the human above the owner; the grant may come from another one's path.
    fn new_agent_row(&self, new: &NewAgent, root: UserId, planned: &Planned) -> AgentRow {
        let Terms {
            to: id,
            giver: owner,
            ..
        } = planned.terms;
        AgentRow {
            id,
            owner,
            root,
            name: new.name.clone(),
            kind: new.kind.as_str().to_owned(),
            status: Status::Active,
            expires_at: new.expires_at,
            metadata: new.metadata.as_ref().map(Value::to_string),
            root_grant: planned.id,
            mark: self.mark(HandleKind::Agent),
            kills: 0,
            version: 0,
            created_at: self.now(),
            proof_key: None,
            maker: None,
        }
    }

    /// A key for an agent, living as long as asked but no longer than the agent.
    pub(crate) fn new_key_row(
        &self,
        agent: &AgentRow,
        user_kills: u64,
        ttl: Option<Duration>,
        secret: &Secret,
    ) -> Result<AgentKeyRow> {
        let ttl = ttl.unwrap_or(self.settings().agent_key_ttl);
        if ttl.is_zero() || ttl > MAX_KEY_TTL {
            let message = format!("must be from 1 to {}", MAX_KEY_TTL.as_secs());
            return Err(Invalid::at("keyTtlSeconds", message).into());
        }
        let now = self.now();
        let end = now.plus(ttl);
        Ok(AgentKeyRow {
            hash: secret.hash(),
            agent: agent.id,
            shown: secret.display_prefix().to_owned(),
            status: Status::Active,
            expires_at: agent.expires_at.map_or(end, |agent| agent.min(end)),
            agent_kills: agent.kills,
            user_kills,
            mark: self.mark(HandleKind::Key),
            ended_at: None,
            created_at: now,
        })
    }

    fn add_birth(
        &self,
        actor: &Actor,
        batch: &mut Batch,
        (row, user, planned, key): (&AgentRow, &UserRow, &Planned, &AgentKeyRow),
        room: Vec<Write>,
    ) -> Result<()> {
        let mut reads = planned.reads.clone();
        reads.push(user.mark);
        // A human who is created in this same batch has no generation to be checked yet.
        let is_new = !batch.writes.is_empty();
        reads.retain(|mark| !is_new || *mark != user.mark);
        batch.reads.extend(reads);
        batch.writes.extend(room);
        batch.writes.push(agent::insert(row.clone()));
        batch.writes.push(handle::born(row.mark));
        batch.writes.extend(self.grant_writes(actor, planned)?);
        batch.writes.push(agent::insert_key(key.clone()));
        batch.writes.push(handle::born(key.mark));
        batch.entries.push(self.agent_record(
            actor,
            "agent.created",
            (row, user, &planned.above.agents),
            Some(&planned.terms),
        )?);
        batch.effects.push(Changed::User(user.id).into());
        batch.effects.push(Changed::Agent(row.id).into());
        batch.effects.push(Changed::Key(key.hash).into());
        Ok(())
    }

    /// The record of something that happened to an agent.
    pub(crate) fn agent_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, user, above): (&AgentRow, &UserRow, &[AgentId]),
        terms: Option<&Terms>,
    ) -> Result<Entry> {
        let origin = actor.origin();
        let mut details = terms
            .map(|terms| crate::grants::details(row.root_grant, terms))
            .transpose()?;
        if let Some(key) = &row.proof_key {
            let members = details.get_or_insert_with(|| json!({}));
            members["proofKey"] = proof_keys::compiled(key)?.print.to_string().into();
        }
        let metadata: Option<Value> = row
            .metadata
            .as_deref()
            .map(|text| compile::stored("metadata", text))
            .transpose()?;
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(user.pseudonym);
        record.agent = Some(row.id);
        record.chain = above;
        record.details = details.as_ref();
        record.personal.name = Some(&row.name);
        record.personal.metadata = metadata.as_ref();
        self.seal(&record)
    }

    /// The agents above an agent, from the top down.
    pub(crate) async fn owners(&self, id: AgentId) -> Result<Vec<AgentId>> {
        let facts = self.facts(id).await?;
        Ok(facts.owners.iter().rev().map(|owner| owner.id).collect())
    }

    pub(crate) async fn agent_row(&self, id: AgentId) -> Result<AgentRow> {
        self.store()
            .find(agent::by_id(id))
            .await?
            .ok_or(Error::NotFound("agent"))
    }

    /// One agent: for operators, for the agent itself and the agent that owns it, and for its human.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's to see.
    pub async fn agent(&self, actor: &Actor, id: AgentId) -> Result<Agent> {
        let row = self.visible_agent(actor, id).await?;
        self.agent_view(row).await
    }

    /// An agent that the caller may see; to others it is as if it did not exist.
    pub(crate) async fn visible_agent(&self, actor: &Actor, id: AgentId) -> Result<AgentRow> {
        if let Some(person) = actor.person() {
            let row = self.agent_row(id).await?;
            person.claim(Scope::AgentsRead, row.root, "agent")?;
            return Ok(row);
        }
        let Some(me) = actor.agent() else {
            actor.require(Scope::AgentsRead)?;
            return self.agent_row(id).await;
        };
        self.require_live_key(actor, me).await?;
        let row = self.agent_row(id).await?;
        if row.id == me || row.owner == Owner::Agent(me) {
            Ok(row)
        } else {
            Err(Error::NotFound("agent"))
        }
    }

    /// An agent below this human; to others it is as if it did not exist.
    pub(crate) async fn agent_of(&self, human: UserId, id: AgentId) -> Result<AgentRow> {
        let row = self.agent_row(id).await?;
        let own = row.root == human;
        own.then_some(row).ok_or(Error::NotFound("agent"))
    }

    /// Agents, newest first. An agent sees those that it owns, a human all below.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn agents(
        &self,
        actor: &Actor,
        filter: AgentFilter,
        page: PageOf<AgentId>,
    ) -> Result<Page<Agent, AgentId>> {
        let filter = match &actor.caller {
            Caller::Local
            | Caller::Operator(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => {
                actor.require(Scope::AgentsRead)?;
                filter
            }
            Caller::Agent(key) => {
                self.require_live_key(actor, key.agent).await?;
                AgentFilter {
                    owner: Some(Owner::Agent(key.agent)),
                    ..filter
                }
            }
            Caller::Person(person) => AgentFilter {
                root: Some(person.listing(Scope::AgentsRead, filter.root)?),
                ..filter
            },
        };
        let rows = self
            .store()
            .list(agent::page(filter, page.after, page.limit))
            .await?;
        let page = Page::of(rows, |row| row.id);
        let roots: Vec<GrantId> = page.items.iter().map(|row| row.root_grant).collect();
        let grants = self.grants_by_id(&roots).await?;
        page.shown(|row| {
            let grant = grants
                .get(&row.root_grant)
                .ok_or(Error::NotFound("grant"))?;
            self.view(row, &compile::grant(grant)?.terms())
        })
    }

    pub(crate) async fn agent_view(&self, row: AgentRow) -> Result<Agent> {
        let grant = self.grant_row(row.root_grant).await?;
        let keys = self.store().list(agent::active_keys(row.id)).await?;
        let kills = row.kills;
        let mut view = self.view(row, &compile::grant(&grant)?.terms())?;
        // Those of clients are nobody's to show.
        let mut own = keys.iter().filter(|key| key.shown != SHOWN_OF_CLIENT);
        let live = own.next().filter(|key| {
            view.status == "active" && key.agent_kills == kills && key.expires_at > self.now()
        });
        view.key_expires_at = live.map(|key| key.expires_at);
        Ok(view)
    }

    fn view(&self, row: AgentRow, terms: &Terms) -> Result<Agent> {
        Ok(Agent {
            id: row.id,
            owner_id: row.owner,
            user_id: row.root,
            name: row.name,
            kind: row.kind,
            status: match liveness(row.status, row.expires_at, self.now()) {
                Liveness::Expired => "expired",
                _ => row.status.as_str(),
            },
            permissions: terms.permissions.clone(),
            guards: terms.guards.as_deref().cloned(),
            uses: terms.uses.clone(),
            grant_id: row.root_grant,
            max_depth: terms.max_depth,
            expires_at: row.expires_at,
            grant_expires_at: terms.expires_at,
            key_expires_at: None,
            metadata: row
                .metadata
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok()),
            proof_key: row.proof_key.as_ref().map(proof_keys::shown).transpose()?,
            created_at: row.created_at,
        })
    }

    /// Refuses callers whose credential is known but dead: everything but a decision needs a live one. The refusal is
    /// recorded or counted like a stranger's.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], and those of the store.
    pub async fn admit(&self, actor: &Actor) -> Result<()> {
        let Some(agent) = actor.agent() else {
            return Ok(());
        };
        let admitted = self.require_live_key(actor, agent).await;
        if let Err(error @ Error::Unauthenticated(_)) = &admitted {
            self.note_dead_key(actor, agent, error.code());
        }
        admitted.map(drop)
    }

    /// Refuses an agent whose key or self is dead, or whose owners are: everything but a decision needs a live one.
    ///
    /// Returns what that relied on.
    pub(crate) async fn require_live_key(&self, actor: &Actor, id: AgentId) -> Result<Vec<Mark>> {
        use kavachos_core::decide::Credential;
        let facts = self.facts(id).await?;
        let Caller::Agent(key) = &actor.caller else {
            return Ok(Vec::new());
        };
        let live = crate::authorize::credential(key, &facts, self.now()) == Credential::KeyLive;
        let Some(agent) = live.then_some(()).and(live_agent(&facts, self.now())) else {
            return Err(Error::Unauthenticated("the agent or its key is not live"));
        };
        Ok(relied_on(agent, &facts))
    }

    /// Whoever owns an agent is looked at in each of its decisions, so there is a bound on how many do.
    pub(crate) async fn refuse_too_many_owners(&self, owner: AgentId) -> Result<()> {
        let above = self.facts(owner).await?.owners.len();
        if above < MAX_OWNERS {
            return Ok(());
        }
        Err(Error::DepthExceeded(format!(
            "the owner already has {above} agents above it, and an agent may have {MAX_OWNERS}"
        )))
    }

    /// What counts one more agent of a human. Where the count has come to the limit, the agents are counted anew first.
    pub(crate) async fn room_for_agent(&self, user: &UserRow) -> Result<Vec<Write>> {
        let limit = self.settings().agents_per_owner;
        let count = user::count_agent(user.id, limit);
        if user.agents < limit {
            return Ok(vec![count]);
        }
        // Looked at beside the writer, which so does no work for those who have no room.
        match self.store().find(user::live_agents(user.id)).await? {
            Some((live,)) if live < limit => Ok(vec![user::recount_agents(user.id, limit), count]),
            _ => Err(agent_limit(limit)),
        }
    }
}

fn agent_limit(limit: u64) -> Error {
    Error::LimitExceeded {
        code: "agent_limit_exceeded",
        message: format!(
            "this human has {limit} agents, sub-agents included, and may have no more; revoke one first"
        ),
    }
}

/// The agent of the facts, if it and everyone above it is live.
pub(crate) fn live_agent(facts: &Facts, now: Timestamp) -> Option<&Compiled> {
    let agent = facts.agent.as_ref()?;
    let live = agent.liveness(now) == Liveness::Live
        && kavachos_core::principal::is_owned_by_live(
            agent,
            &facts.owners,
            facts.user.as_deref(),
            now,
        );
    live.then_some(agent)
}

/// The marks of an agent and of everyone above it.
pub(crate) fn relied_on(agent: &Compiled, facts: &Facts) -> Vec<Mark> {
    let owners = facts.owners.iter().map(|owner| owner.mark);
    std::iter::once(agent.mark)
        .chain(owners)
        .chain(facts.user.iter().map(|user| user.mark))
        .collect()
}

fn check_new(new: &NewAgent) -> Result<()> {
    text::plain("name", &new.name, text::MAX_NAME_BYTES)?;
    check_depth(new.max_depth)?;
    if let Some(metadata) = &new.metadata {
        text::metadata(metadata)?;
    }
    if let NewOwner::External(external) = &new.owner {
        external.check().map_err(|error| error.within("owner"))?;
    }
    Ok(())
}

pub(crate) fn check_depth(max_depth: Option<u8>) -> std::result::Result<(), Invalid> {
    match max_depth {
        Some(depth) if depth > MAX_DEPTH => Err(Invalid::at(
            "maxDepth",
            format!("must be from 0 to {MAX_DEPTH}"),
        )),
        _ => Ok(()),
    }
}

/// The stored form of what a grant gives.
pub(crate) struct Contents {
    pub(crate) permissions: String,
    pub(crate) guards: Option<String>,
    pub(crate) uses: Option<String>,
}

pub(crate) fn contents(terms: &Terms) -> Result<Contents> {
    let permissions = to_text(&terms.permissions)?;
    if permissions.len() > MAX_GRANT_BYTES {
        let message =
            format!("take more than {MAX_GRANT_BYTES} bytes; use patterns, or several grants");
        return Err(Invalid::at("permissions", message).into());
    }
    let uses = Some(&terms.uses).filter(|uses| !uses.is_empty());
    Ok(Contents {
        permissions,
        guards: terms.guards.as_deref().map(to_text).transpose()?,
        uses: uses.map(to_text).transpose()?,
    })
}
