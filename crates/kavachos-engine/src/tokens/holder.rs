//! Who will show a token, and by which path of grants: one that is there, or one that is written for this token alone.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::Constraints;
use kavachos_core::decide::Facts;
use kavachos_core::grant::{Grant, Hop, Merged, Path, TokenUses, choose_parent};
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Agent, Owner, Status};
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::time::Timestamp;
use kavachos_core::token::Leaf;
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, handle, token_grant};
use serde_json::{Map, Value};

use super::TokenAsk;
use super::binding::{Binding, Parent};
use super::target::Target;
use crate::actor::{Actor, Caller, RootHolder};
use crate::agents::{AgentKind, live_agent, relied_on};
use crate::compile;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::grants::{Ask, Planned, path_marks, refused};
use crate::proof_keys::ProofKey;

/// The name of the agents that exist for the tokens of their owner alone; they have no key.
const DELEGATE: &str = "delegate";

/// An agent, the path by which it holds what a token will say, and what that costs to write.
pub(super) struct Held {
    pub(super) path: Path,
    /// The agents of the path with their handles, the acting one last.
    pub(super) agents: Vec<(AgentId, Mark)>,
    /// The key with which the acting agent asked.
    pub(super) key: Option<Mark>,
    /// What else kills: owners that are not on the path, the session, and the key that presented a provider's token.
    pub(super) others: Vec<Mark>,
    /// When the agent, its key or the session ends.
    pub(super) ends: Option<Timestamp>,
    /// The owners of the acting agent that are not on the path.
    pub(super) owners: Vec<AgentId>,
    /// The key that the acting agent proves.
    pub(super) proof_key: Option<ProofKey>,
    /// What it comes from, as far as that binds it.
    pub(super) parent: Parent,
    /// Whether it is a bearer token although what it comes from is bound.
    pub(super) is_exempt: bool,
    /// The promise that is redeemed.
    pub(super) promise: Option<GrantId>,
    /// The root that it was exchanged for: nothing is wider.
    pub(super) root: Option<Arc<RootHolder>>,
    /// The token that it is exchanged for: nothing is wider.
    pub(super) exchanged: Option<Arc<Leaf>>,
    /// What must still be so, and what is created.
    pub(super) batch: Batch,
}

/// For what a path is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Leaf,
    /// Every grant of the path must let its tokens be handed on.
    Root,
}

impl Purpose {
    fn fits(self, path: &Path) -> bool {
        self == Self::Leaf || path.uses().offline
    }
}

impl Engine {
    /// What an agent holds already. A session need not be fresh for it: it gives nothing, and what the agent holds was
    /// given when its giver could give it.
    pub(super) async fn held_by(
        &self,
        actor: &Actor,
        agent: AgentId,
        (ask, asked, purpose): (&TokenAsk, &PermissionSet, Purpose),
    ) -> Result<Held> {
        refuse_counted(asked)?;
        let mut reads = Vec::new();
        if actor.agent().is_some() {
            reads.extend(self.require_live_key(actor, agent_of(actor, agent)).await?);
        }
        let facts = self.facts(agent).await?;
        let now = self.now();
        if facts.agent.is_none() {
            return Err(Error::NotFound("agent"));
        }
        let Some(live) = live_agent(&facts, now) else {
            return Err(Error::WrongState("the agent is not active".to_owned()));
        };
        let own = || facts.paths.iter().filter(|path| path.user.id == live.root);
        let fitting = own().filter(|path| purpose.fits(path));
        let path = choose_parent(fitting, asked, now).ok_or_else(|| {
            match choose_parent(own(), asked, now) {
                Some(_) => not_offline(),
                None => holds_too_little(&facts, asked),
            }
        })?;
        let mut held = self.held_on(actor, &facts, path).await?;
        held.add_shown_key(ask);
        held.batch.reads.extend(reads);
        Ok(held)
    }

    /// What an agent holds by one of its paths, which is live as the agent is.
    pub(super) async fn held_on(&self, actor: &Actor, facts: &Facts, path: &Path) -> Result<Held> {
        let live = facts.agent.as_ref().ok_or(Error::NotFound("agent"))?;
        let mut reads = actor.reads();
        reads.extend(relied_on(live, facts));
        reads.extend(path_marks(path));
        let mut agents = givers(path);
        agents.push((live.id, live.mark));
        let mut held = Held {
            path: path.clone(),
            key: None,
            others: facts.owners.iter().map(|owner| owner.mark).collect(),
            ends: ends_of(path, std::iter::once(live).chain(&facts.owners)),
            owners: facts.owners.iter().map(|owner| owner.id).collect(),
            agents,
            proof_key: self.proof_key_of(live.id).await?,
            parent: self.parent_of(actor, live.id).await?,
            is_exempt: false,
            promise: None,
            root: None,
            exchanged: None,
            batch: Batch {
                reads,
                ..Batch::default()
            },
        };
        held.add_caller(actor, live.id);
        Ok(held)
    }

    /// What is written for this token: a grant from the caller to an agent of its own that exists for such grants.
    pub(super) async fn held_anew(
        &self,
        actor: &Actor,
        (ask, target): (&TokenAsk, &Target),
    ) -> Result<Held> {
        let giver = match &actor.caller {
            Caller::Agent(key) => {
                self.require_live_key(actor, key.agent).await?;
                Owner::Agent(key.agent)
            }
            Caller::Person(person) => {
                self.require_fresh(actor)?;
                Owner::User(person.user.id)
            }
            // How long ago the human signed in was held against the provider's configuration.
            Caller::Provided(provided) => Owner::User(provided.user().id),
            _ => return Err(Invalid::at("agent", "say which agent will show the token").into()),
        };
        let root = match giver {
            Owner::User(id) => id,
            Owner::Agent(id) => self.agent_row(id).await?.root,
        };
        let user = self.user_row(root).await?;
        let found = self
            .store()
            .find(agent::delegate_of(giver, root, DELEGATE))
            .await?;
        let room = match found {
            Some(_) => None,
            None => Some(self.room_for_agent(&user).await?),
        };
        if let (Some(_), Owner::Agent(owner)) = (&room, giver) {
            self.refuse_too_many_owners(owner).await?;
        }
        let id = found.as_ref().map_or_else(|| self.id(), |row| row.id);
        let end = self.now().plus(self.life_of(ask, target));
        let grant = Ask {
            giver,
            to: (id, root),
            permissions: target.asked.clone(),
            guards: None,
            // Whoever says so was not asked.
            uses: TokenUses::default(),
            max_depth: None,
            expires_at: Some(end.min(provided_end(actor).unwrap_or(end))),
            parent: None,
            reason: Some(ask.reason.clone()),
        };
        let (mut planned, above) = self.planned_below(actor, giver, (&user, &grant)).await?;
        planned.audience = Some(ask.audience.clone());
        self.within_quota(&planned.terms).await?;
        let row = found.unwrap_or_else(|| AgentRow {
            maker: actor.maker(),
            ..self.delegate_row((giver, root), DELEGATE, &planned)
        });
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        batch.reads.extend(planned.reads.iter().copied());
        self.add_grant(actor, &mut batch, (&row, &user, &planned), room)?;
        let mut held = above.with(&planned, (row.id, row.mark));
        held.batch = batch;
        held.parent = self.parent_of(actor, id).await?;
        held.add_caller(actor, id);
        Ok(held)
    }

    /// What a caller that is another agent than the acting one binds its tokens by.
    async fn parent_of(&self, actor: &Actor, acting: AgentId) -> Result<Parent> {
        match actor.agent() {
            Some(caller) if caller != acting => Ok(Parent::of(self.proof_key_of(caller).await?)),
            _ => Ok(Parent::Free),
        }
    }

    async fn planned_below(
        &self,
        actor: &Actor,
        giver: Owner,
        (user, grant): (&UserRow, &Ask),
    ) -> Result<(Planned, Above)> {
        match giver {
            Owner::User(_) => {
                let user = Arc::new(compile::user(user)?);
                let planned = self.plan_root_grant(&user, grant)?;
                Ok((
                    planned,
                    Above::Human(Path {
                        user,
                        hops: Vec::new(),
                    }),
                ))
            }
            Owner::Agent(id) => {
                let planned = self.plan_grant(actor, grant).await?;
                let facts = self.facts(id).await?;
                let parent = |path: &&Path| path.leaf().map(|leaf| leaf.id) == planned.terms.parent;
                let path = facts.paths.iter().find(parent).cloned();
                // It was there a moment ago: somebody revoked it meanwhile.
                let path = path.ok_or_else(|| {
                    Error::WrongState("the giving agent is not active".to_owned())
                })?;
                Ok((planned, Above::Agent(path, Box::new(facts))))
            }
        }
    }

    /// An agent that comes to be with its grant.
    pub(crate) fn delegate_row(
        &self,
        (owner, root): (Owner, UserId),
        name: &str,
        planned: &Planned,
    ) -> AgentRow {
        AgentRow {
            id: planned.terms.to,
            owner,
            root,
            name: name.to_owned(),
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
            maker: None,
        }
    }

    fn add_grant(
        &self,
        actor: &Actor,
        batch: &mut Batch,
        (row, user, planned): (&AgentRow, &UserRow, &Planned),
        room: Option<Vec<Write>>,
    ) -> Result<()> {
        let is_new = room.is_some();
        if let Some(room) = room {
            batch.writes.extend(room);
            batch.writes.push(agent::insert(row.clone()));
            batch.writes.push(handle::born(row.mark));
            let about = (row, user, planned.above.agents.as_slice());
            batch.entries.push(self.agent_record(
                actor,
                "agent.created",
                about,
                Some(&planned.terms),
            )?);
            batch.effects.push(Changed::User(user.id).into());
        } else {
            batch.reads.push(row.mark);
            batch.entries.push(self.grant_record(
                actor,
                "delegation.created",
                planned,
                user.pseudonym,
            )?);
        }
        batch.writes.extend(self.grant_writes(actor, planned)?);
        // An agent keeps its own grant.
        let end = planned.terms.expires_at.filter(|_| !is_new);
        batch
            .writes
            .extend(end.map(|end| token_grant::insert(planned.id, end)));
        batch.effects.push(Changed::Agent(row.id).into());
        Ok(())
    }

    /// How long a token may live that is asked for now.
    pub(super) fn life_of(&self, ask: &TokenAsk, target: &Target) -> Duration {
        let longest = Duration::from_secs(u64::from(target.server.policy.max_ttl_seconds));
        ask.ttl.map_or(longest, |ttl| ttl.min(longest))
    }
}

/// What stands above a grant that is written now.
enum Above {
    Human(Path),
    Agent(Path, Box<Facts>),
}

impl Above {
    /// The path with the new grant at its end.
    fn with(self, planned: &Planned, to: (AgentId, Mark)) -> Held {
        let (mut path, facts) = match self {
            Self::Human(path) => (path, None),
            Self::Agent(path, facts) => (path, Some(*facts)),
        };
        let giver = facts.as_ref().and_then(|facts| facts.agent.clone());
        let owners = facts.map_or_else(Vec::new, |facts| facts.owners);
        let above = giver.into_iter().chain(owners.iter().cloned()).collect();
        path.hops.push(Hop {
            grant: grant_of(planned),
            giver: above,
            giver_user: None,
        });
        let mut agents = givers(&path);
        agents.push(to);
        Held {
            ends: ends_of(&path, &owners),
            path,
            agents,
            key: None,
            others: owners.iter().map(|owner| owner.mark).collect(),
            owners: owners.iter().map(|owner| owner.id).collect(),
            proof_key: None,
            parent: Parent::Free,
            is_exempt: false,
            promise: None,
            root: None,
            exchanged: None,
            batch: Batch::default(),
        }
    }
}

impl Held {
    /// Binds what is made of it. A proof key that a token is bound to kills it, as the credential does that came with it.
    pub(super) fn bind(&mut self, binding: Binding) {
        self.is_exempt = binding.is_exempt;
        if let Some(own) = self.proof_key {
            self.batch.reads.push(own.mark);
            let shown = self.key.replace(own.mark);
            self.others.extend(shown.filter(|key| *key != own.mark));
        } else if let Parent::Proves(key) = self.parent {
            self.batch.reads.push(key.mark);
            if binding.key.is_some() {
                self.others.push(key.mark);
            }
        }
    }

    /// The caller's own credential kills the token too, and ends it.
    fn add_caller(&mut self, actor: &Actor, agent: AgentId) {
        let end = match &actor.caller {
            Caller::Agent(key) => {
                if key.agent == agent {
                    self.key = Some(key.mark);
                } else {
                    self.others.push(key.mark);
                }
                Some(key.expires_at)
            }
            // What names a session depends on who is told of it: see `tokens::session`.
            Caller::Person(person) => Some(person.ends_at()),
            // It is a credential for this once, and has no handle: what kills is the human, the grant, and the key that
            // presented it.
            Caller::Provided(provided) => {
                self.others.extend(provided.presented_with());
                Some(provided.ends_at())
            }
            Caller::Local
            | Caller::Operator(_)
            | Caller::ToolServer(_)
            | Caller::Root(_)
            | Caller::Stranger => None,
        };
        self.ends = [self.ends, end].into_iter().flatten().min();
    }

    /// A part of what is held, with the constraints of all that it comes from.
    pub(super) fn merged(&self, asked: &PermissionSet) -> Result<Merged> {
        let root = self.root.as_ref().map(|holder| &holder.root.authority);
        let exchanged = self.exchanged.as_ref().map(|leaf| &leaf.authority);
        let bound = root.or(exchanged).map(|authority| Merged {
            permissions: authority.permissions.clone(),
            guards: authority.guards.clone(),
        });
        self.path
            .merged_within(asked, bound.as_ref())
            .map_err(refused)
    }

    /// What its record says of how it came about.
    pub(super) fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let mut put = |name: &str, value: Value| drop(details.insert(name.to_owned(), value));
        if let Some(holder) = &self.root {
            put("root", holder.root.life.id.to_string().into());
        }
        if let Some(leaf) = &self.exchanged {
            put("exchanged", leaf.life.id.to_string().into());
        }
        if self.is_exempt {
            put("bearerAllowed", true.into());
        }
        if let Some(promise) = self.promise {
            put("delegation", promise.to_string().into());
        }
        details
    }

    /// How deep grants below it may go, of so many that the path lets.
    pub(super) fn deepest(&self, depth: u8) -> u8 {
        self.root
            .as_ref()
            .map_or(depth, |holder| depth.min(holder.root.authority.max_depth))
    }

    /// So does the key of the agent that was shown beside it.
    fn add_shown_key(&mut self, ask: &TokenAsk) {
        let Some(key) = &ask.agent_key else { return };
        self.key = Some(key.mark);
        self.batch.reads.push(key.mark);
        self.ends = [self.ends, Some(key.expires_at)]
            .into_iter()
            .flatten()
            .min();
    }
}

/// When the token of a provider ends that the caller comes of.
fn provided_end(actor: &Actor) -> Option<Timestamp> {
    match &actor.caller {
        Caller::Provided(provided) => Some(provided.ends_at()),
        _ => None,
    }
}

fn agent_of(actor: &Actor, agent: AgentId) -> AgentId {
    actor.agent().unwrap_or(agent)
}

/// Why no root is made of a grant.
pub(super) fn not_offline() -> Error {
    Error::Forbidden(
        "the agent's grants do not let it hand tokens on: an operator sets `offline` on each of the chain"
            .to_owned(),
    )
}

/// When the first of these agents ends, or of those that give on the path and their owners.
pub(super) fn ends_of<'a>(
    path: &'a Path,
    agents: impl IntoIterator<Item = &'a Agent>,
) -> Option<Timestamp> {
    let givers = path.hops.iter().flat_map(|hop| &hop.giver);
    agents
        .into_iter()
        .chain(givers)
        .filter_map(|agent| agent.expires_at)
        .min()
}

/// Refuses what only a grant can keep: a counter and a human's answer hang on grants, and a token has none of its own.
pub(super) fn refuse_counted(asked: &PermissionSet) -> Result<()> {
    let counted = |constraints: &Constraints| {
        constraints.rate().is_some()
            || constraints.budget().is_some()
            || constraints.approval().is_some()
    };
    if asked
        .iter()
        .any(|permission| permission.constraints().is_some_and(counted))
    {
        return Err(Invalid::at(
            "permissions",
            "a rate, a budget or an approval is kept by a grant: leave `agent` out, or delegate first; those of the chain \
             hold anyway",
        )
        .into());
    }
    Ok(())
}

/// The agents that give on, from the human down: of each hop but the first.
pub(super) fn givers(path: &Path) -> Vec<(AgentId, Mark)> {
    let givers = path.hops.iter().filter_map(|hop| hop.giver.first());
    givers.map(|agent| (agent.id, agent.mark)).collect()
}

fn grant_of(planned: &Planned) -> Grant {
    let terms = planned.terms.clone();
    Grant {
        id: planned.id,
        parent: terms.parent,
        giver: terms.giver,
        to: terms.to,
        root: terms.root,
        permissions: terms.permissions,
        guards: terms.guards,
        uses: terms.uses,
        reserved: planned.reserved,
        depth: terms.depth,
        max_depth: terms.max_depth,
        expires_at: terms.expires_at,
        status: Status::Active,
        mark: planned.mark,
        version: 0,
    }
}

/// Why no path gives what is asked; the only one says what exactly it does not cover.
fn holds_too_little(facts: &Facts, asked: &PermissionSet) -> Error {
    match facts.paths.as_slice() {
        [] => Error::NotNarrower(Invalid::at("scopes", "the agent holds no grant")),
        [only] => only.merged(asked).err().map_or_else(
            || Error::WrongState("the agent's grant is not active".to_owned()),
            refused,
        ),
        _ => Error::NotNarrower(Invalid::at(
            "scopes",
            "no single live grant of the agent covers all of them; ask for less, or for several tokens",
        )),
    }
}
