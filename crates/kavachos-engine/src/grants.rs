//! Grants: written below a human or an agent, listed, revoked. A delegation and a sub-agent's root grant are one thing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::Constraints;
use kavachos_core::decide::Facts;
use kavachos_core::grant::{
    NewGrant, Path, Reach, Refusal, Source, Terms, TokenUses, choose_parent, derive,
};
use kavachos_core::hex;
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome, Pseudonym};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Liveness, Owner, Status, User, liveness};
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::time::Timestamp;
use kavachos_core::token::Proof;
use kavachos_core::tool_server::Audience;
use kavachos_store::grant::{self, GrantFilter, GrantRow, Quota};
use kavachos_store::{Batch, Write, handle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::agents::{Contents, check_depth, contents, live_agent, relied_on};
use crate::authorize::ancestors;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::revoked::Revoked;
use crate::settings::Settings;
use crate::text;
use crate::users::raised;

/// How many grants one query names.
const GRANTS_PER_QUERY: usize = 64;

/// A delegation to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelegation {
    /// The human or agent that gives.
    pub from: Owner,
    /// The agent that receives.
    pub to: AgentId,
    /// What it may do: no more than the giver.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Constraints>,
    /// What its tokens may be used for beside being shown; agents say nothing here.
    pub uses: TokenUses,
    /// When it ends; by default after 15 minutes, and never after the grant it comes from.
    pub life: Option<Life>,
    /// How deep delegations below it may go.
    pub max_depth: Option<u8>,
    /// Which of the giver's grants it comes from; by default the one that covers it and ends last.
    pub parent: Option<GrantId>,
    /// Why it is given.
    pub reason: String,
}

/// How long a delegation lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// So long from now.
    For(Duration),
    /// Until then.
    Until(Timestamp),
}

/// A grant, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    /// The id.
    pub id: GrantId,
    /// The grant that it comes from; `null` when a human gave it.
    pub parent: Option<GrantId>,
    /// Who gave it.
    pub from: Owner,
    /// The agent that holds it.
    pub to: AgentId,
    /// The human at the top.
    pub user_id: UserId,
    /// What it permits.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Constraints>,
    /// What its tokens may be used for beside being shown.
    #[serde(flatten)]
    pub uses: TokenUses,
    /// The tool server for whose token alone it is: its receiver was promised that one, redeems it, and holds nothing else
    /// by it. Absent from all other grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_for: Option<Audience>,
    /// How many delegations lie above it.
    pub depth: u8,
    /// How deep delegations below it may go.
    pub max_depth: u8,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Why it was given.
    pub reason: Option<String>,
    /// `active`, `revoked` or `expired`: its own; those above it are judged in every decision.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "suspended", "revoked", "expired"])))]
    pub status: &'static str,
    /// When it was written.
    pub created_at: Timestamp,
}

/// A grant that somebody asks for.
pub(crate) struct Ask {
    pub(crate) giver: Owner,
    /// The receiver and the human at the top of its owners.
    pub(crate) to: (AgentId, UserId),
    pub(crate) permissions: PermissionSet,
    pub(crate) guards: Option<Arc<Constraints>>,
    pub(crate) uses: TokenUses,
    pub(crate) max_depth: Option<u8>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) parent: Option<GrantId>,
    pub(crate) reason: Option<String>,
}

/// A grant that may be written, and what that relies on.
pub(crate) struct Planned {
    pub(crate) id: GrantId,
    pub(crate) mark: Mark,
    pub(crate) terms: Terms,
    pub(crate) reason: Option<String>,
    pub(crate) reads: Vec<Mark>,
    pub(crate) above: Above,
    /// The tool server for whose token it is written.
    pub(crate) audience: Option<Audience>,
    /// Whether it is good for that token alone.
    pub(crate) reserved: bool,
}

impl Planned {
    /// Makes it one that is good for a token for this tool server, and for nothing else.
    pub(crate) fn reserve(&mut self, audience: Audience) {
        self.audience = Some(audience);
        self.reserved = true;
        self.terms.max_depth = self.terms.depth;
    }
}

/// Everything above a grant, from the human down, for its records.
#[derive(Default)]
pub(crate) struct Above {
    pub(crate) agents: Vec<AgentId>,
    grants: Vec<GrantId>,
}

impl Above {
    /// What stands above a grant that comes from this path of its giver.
    fn of(giver: &Facts, path: &Path) -> Self {
        let mut agents = ancestors(giver, Some(path));
        agents.extend(giver.agent.iter().map(|agent| agent.id));
        Self {
            agents,
            grants: path.hops.iter().map(|hop| hop.grant.id).collect(),
        }
    }

    /// The owners of a receiver stand above it too.
    fn add_owners(&mut self, receiver: &Facts) {
        for owner in receiver.owners.iter().rev() {
            if !self.agents.contains(&owner.id) {
                self.agents.push(owner.id);
            }
        }
    }
}

impl Ask {
    fn terms(&self, actor: &Actor) -> NewGrant {
        let reach = match actor.caller {
            Caller::Local | Caller::Operator(_) => Reach::AnyHuman,
            Caller::Agent(_)
            | Caller::Person(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => Reach::SameHuman,
        };
        NewGrant {
            to: self.to.0,
            to_root: self.to.1,
            permissions: self.permissions.clone(),
            guards: self.guards.clone(),
            uses: self.uses.clone(),
            max_depth: self.max_depth,
            expires_at: self.expires_at,
            reach,
        }
    }
}

impl Engine {
    /// Writes a delegation. An agent that calls and has a proof key proves that.
    ///
    /// # Errors
    /// More is asked for than the giver has, the chain would be too deep or go in a circle, giver or receiver is not
    /// live, a quota is used up, or a proof is needed.
    pub async fn delegate(
        &self,
        actor: &Actor,
        new: &NewDelegation,
        proof: Option<&Proof>,
    ) -> Result<Issued<Delegation>> {
        text::plain("reason", &new.reason, text::MAX_REASON_BYTES)?;
        check_depth(new.max_depth)?;
        self.change(actor, Act::delegation_created(new), || {
            self.plan_delegation(actor, new, proof)
        })
        .await
    }

    async fn plan_delegation(
        &self,
        actor: &Actor,
        new: &NewDelegation,
        proof: Option<&Proof>,
    ) -> Result<Plan<Issued<Delegation>>> {
        actor.require_or_agent(Scope::AgentsWrite, new.from)?;
        if let Some(agent) = actor.agent() {
            self.require_live_key(actor, agent).await?;
        }
        if let Some(done) = self.done_before(actor).await? {
            let row = self
                .grant_row(done.parse().map_err(Error::Invalid)?)
                .await?;
            return Ok(Plan::Done(Issued::replay(self.delegation_view(row)?)));
        }
        let hand = self.giving_hand(actor, proof).await?;
        let (planned, receiver) = self.planned_delegation(actor, new).await?;
        let mut batch = self.delegation_batch(actor, (&planned, &receiver)).await?;
        batch.reads.extend(hand.reads);
        self.use_proof(proof, &mut batch);
        self.claim_once(actor, &mut batch, planned.id.to_string());
        let view = self.delegation_view(self.grant_row_of(actor, &planned)?)?;
        Ok(Plan::commit(batch, Issued::without_token(view)))
    }

    /// A delegation that its caller may write, and what is known of its receiver.
    pub(crate) async fn planned_delegation(
        &self,
        actor: &Actor,
        new: &NewDelegation,
    ) -> Result<(Planned, Facts)> {
        actor.covers(&new.permissions)?;
        refuse_uses(actor, &new.uses)?;
        let receiver = self.facts(new.to).await?;
        let ask = self.delegation_ask(new, &receiver)?;
        let mut planned = match new.from {
            Owner::User(id) => {
                let user = compile::user(&self.user_row(id).await?)?;
                self.plan_grant_from_human(actor, &user, &ask)?
            }
            Owner::Agent(_) => self.plan_grant(actor, &ask).await?,
        };
        planned.above.add_owners(&receiver);
        self.within_quota(&planned.terms).await?;
        Ok((planned, receiver))
    }

    pub(crate) async fn delegation_batch(
        &self,
        actor: &Actor,
        (planned, receiver): (&Planned, &Facts),
    ) -> Result<Batch> {
        let pseudonym = self.user_row(planned.terms.root).await?.pseudonym;
        let mut batch = Batch {
            reads: actor.reads(),
            writes: self.grant_writes(actor, planned)?,
            entries: vec![self.grant_record(actor, "delegation.created", planned, pseudonym)?],
            effects: vec![Changed::Agent(planned.terms.to).into()],
            ..Batch::default()
        };
        batch.reads.extend(planned.reads.iter().copied());
        batch
            .reads
            .extend(receiver.agent.iter().flat_map(|to| relied_on(to, receiver)));
        Ok(batch)
    }

    /// What a new delegation asks for; its receiver must be live.
    fn delegation_ask(&self, new: &NewDelegation, receiver: &Facts) -> Result<Ask> {
        let now = self.now();
        let to = receiver.agent.as_ref().ok_or(Error::NotFound("agent"))?;
        if live_agent(receiver, now).is_none() {
            return Err(Error::WrongState(
                "the receiving agent is not active".to_owned(),
            ));
        }
        Ok(Ask {
            giver: new.from,
            to: (to.id, to.root),
            permissions: new.permissions.clone(),
            guards: new.guards.clone().map(Arc::new),
            uses: new.uses.clone(),
            max_depth: new.max_depth,
            expires_at: Some(match new.life {
                Some(Life::Until(end)) => end,
                Some(Life::For(life)) => now.plus(life),
                None => now.plus(self.settings().delegation_ttl),
            }),
            parent: new.parent,
            reason: Some(new.reason.clone()),
        })
    }

    /// The root grant of a new agent of a human.
    pub(crate) fn plan_root_grant(&self, user: &User, ask: &Ask) -> Result<Planned> {
        self.plan_grant_from_human(&Actor::local(self.id()), user, ask)
    }

    fn plan_grant_from_human(&self, actor: &Actor, user: &User, ask: &Ask) -> Result<Planned> {
        if ask.parent.is_some() {
            return Err(Invalid::at(
                "parent",
                "what a human gives has no parent grant; leave it out",
            )
            .into());
        }
        let terms = derive(Source::Human(user), &ask.terms(actor), self.now()).map_err(refused)?;
        Ok(self.planned(terms, ask, (vec![user.mark], Above::default())))
    }

    /// A grant from an agent: a delegation, or the root grant of a sub-agent.
    pub(crate) async fn plan_grant(&self, actor: &Actor, ask: &Ask) -> Result<Planned> {
        let Owner::Agent(giver) = ask.giver else {
            return Err(Error::NotFound("agent"));
        };
        let facts = self.facts(giver).await?;
        let now = self.now();
        if facts.agent.is_none() {
            return Err(Error::NotFound("agent"));
        }
        let Some(agent) = live_agent(&facts, now) else {
            return Err(Error::WrongState(
                "the giving agent is not active".to_owned(),
            ));
        };
        let path = parent_path(&facts, ask, now)?;
        let source = Source::Agent {
            giver: agent,
            owners: &facts.owners,
            user: facts.user.as_deref(),
            path,
        };
        let terms = derive(source, &ask.terms(actor), now).map_err(refused)?;
        let mut reads = relied_on(agent, &facts);
        reads.extend(path_marks(path));
        Ok(self.planned(terms, ask, (reads, Above::of(&facts, path))))
    }

    /// Says which quota is used up; the insert makes sure of it.
    pub(crate) async fn within_quota(&self, terms: &Terms) -> Result<()> {
        let Settings {
            children_per_grant,
            grants_per_agent,
            ..
        } = *self.settings();
        let counts = self
            .store()
            .find(grant::counts(terms.parent, terms.to, self.now()))
            .await?;
        let (children, received) = counts.unwrap_or_default();
        let message = if children >= children_per_grant {
            format!(
                "the parent grant has {children} live delegations and may have no more; revoke one or let one end"
            )
        } else if received >= grants_per_agent {
            format!(
                "the receiver holds {received} live grants and may hold no more; revoke one or let one end"
            )
        } else {
            return Ok(());
        };
        Err(Error::LimitExceeded {
            code: "grant_limit_exceeded",
            message,
        })
    }

    fn planned(&self, terms: Terms, ask: &Ask, (reads, above): (Vec<Mark>, Above)) -> Planned {
        Planned {
            id: self.id(),
            mark: self.mark(HandleKind::Grant),
            terms,
            reason: ask.reason.clone(),
            reads,
            above,
            audience: None,
            reserved: false,
        }
    }

    fn grant_row_of(&self, actor: &Actor, planned: &Planned) -> Result<GrantRow> {
        let Terms {
            parent,
            giver,
            to,
            root,
            depth,
            max_depth,
            expires_at,
            ..
        } = planned.terms;
        let Contents {
            permissions,
            guards,
            uses,
        } = contents(&planned.terms)?;
        Ok(GrantRow {
            id: planned.id,
            parent,
            giver,
            receiver: to,
            root,
            permissions,
            guards,
            depth,
            max_depth,
            expires_at,
            reason: planned.reason.clone(),
            status: Status::Active,
            mark: planned.mark,
            version: 0,
            created_at: self.now(),
            uses,
            reserved_for: planned
                .audience
                .as_ref()
                .filter(|_| planned.reserved)
                .map(Audience::to_string),
            maker: actor.maker(),
        })
    }

    /// The writes that create a planned grant.
    pub(crate) fn grant_writes(&self, actor: &Actor, planned: &Planned) -> Result<Vec<Write>> {
        let settings = self.settings();
        let quota = Quota {
            children: settings.children_per_grant,
            received: settings.grants_per_agent,
        };
        Ok(vec![
            grant::insert(self.grant_row_of(actor, planned)?, quota),
            handle::born(planned.mark),
        ])
    }

    pub(crate) fn grant_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        grant: &Planned,
        subject: Pseudonym,
    ) -> Result<Entry> {
        let origin = actor.origin();
        let mut details = details(grant.id, &grant.terms)?;
        if let (Some(members), Some(audience)) = (details.as_object_mut(), &grant.audience) {
            members.insert("audience".to_owned(), audience.as_str().into());
            if grant.reserved {
                members.insert("reserved".to_owned(), true.into());
            }
        }
        let mut path = grant.above.grants.clone();
        path.push(grant.id);
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(subject);
        record.agent = Some(grant.terms.to);
        record.chain = &grant.above.agents;
        record.grant_path = &path;
        record.details = Some(&details);
        record.personal.reason = grant.reason.as_deref();
        self.seal(&record)
    }

    pub(crate) async fn grant_row(&self, id: GrantId) -> Result<GrantRow> {
        self.store()
            .find(grant::by_id(id))
            .await?
            .ok_or(Error::NotFound("delegation"))
    }

    pub(crate) async fn grants_by_id(&self, ids: &[GrantId]) -> Result<HashMap<GrantId, GrantRow>> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(GRANTS_PER_QUERY) {
            let rows = self.store().list(grant::by_ids(chunk)).await?;
            found.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// A grant that the caller may see: an agent sees what it gave, a human what is part of their authority.
    async fn visible_grant(&self, actor: &Actor, id: GrantId, scope: Scope) -> Result<GrantRow> {
        if let Some(person) = actor.person() {
            let row = self.grant_row(id).await?;
            if scope == Scope::AgentsRead {
                person.claim(scope, row.root, "delegation")?;
            } else {
                self.claim_to_stop((actor, person), row.root, "delegation")
                    .await?;
            }
            return Ok(row);
        }
        let Some(me) = actor.agent() else {
            actor.require(scope)?;
            return self.grant_row(id).await;
        };
        self.require_live_key(actor, me).await?;
        let row = self.grant_row(id).await?;
        if row.giver == Owner::Agent(me) {
            Ok(row)
        } else {
            Err(Error::NotFound("delegation"))
        }
    }

    fn delegation_view(&self, row: GrantRow) -> Result<Delegation> {
        Ok(Delegation {
            id: row.id,
            parent: row.parent,
            from: row.giver,
            to: row.receiver,
            user_id: row.root,
            permissions: compile::stored("permissions", &row.permissions)?,
            guards: row
                .guards
                .as_deref()
                .map(|text| compile::stored("guards", text))
                .transpose()?,
            uses: compile::uses(row.uses.as_deref())?,
            reserved_for: row
                .reserved_for
                .as_deref()
                .map(compile::audience)
                .transpose()?,
            depth: row.depth,
            max_depth: row.max_depth,
            expires_at: row.expires_at,
            reason: row.reason,
            status: match liveness(row.status, row.expires_at, self.now()) {
                Liveness::Expired => "expired",
                _ => row.status.as_str(),
            },
            created_at: row.created_at,
        })
    }

    /// One grant.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's to see.
    pub async fn delegation(&self, actor: &Actor, id: GrantId) -> Result<Delegation> {
        let row = self.visible_grant(actor, id, Scope::AgentsRead).await?;
        self.delegation_view(row)
    }

    /// Grants, newest first. An agent sees what it gave, a human what is part of their authority.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn delegations(
        &self,
        actor: &Actor,
        filter: GrantFilter,
        page: PageOf<GrantId>,
    ) -> Result<Page<Delegation, GrantId>> {
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
                GrantFilter {
                    giver: Some(Owner::Agent(key.agent)),
                    ..filter
                }
            }
            Caller::Person(person) => GrantFilter {
                root: Some(person.listing(Scope::AgentsRead, filter.root)?),
                ..filter
            },
        };
        let rows = self
            .store()
            .list(grant::page(&filter, page.after, page.limit))
            .await?;
        Page::of(rows, |row| row.id).shown(|row| self.delegation_view(row))
    }

    /// Revokes a grant and, by derivation, everything below it. Revoking twice is no error.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's.
    pub async fn revoke_delegation(&self, actor: &Actor, id: GrantId) -> Result<Revoked> {
        self.stop(actor, Act::on_grant("delegation.revoked", id), || {
            self.plan_delegation_end(actor, id)
        })
        .await
    }

    async fn plan_delegation_end(&self, actor: &Actor, id: GrantId) -> Result<Plan<Revoked>> {
        let row = self.visible_grant(actor, id, Scope::AgentsWrite).await?;
        if row.status == Status::Revoked {
            return Ok(Plan::Done(Revoked::at(self.now())));
        }
        let pseudonym = self.user_row(row.root).await?.pseudonym;
        let ended = Planned {
            id,
            mark: row.mark,
            terms: compile::grant(&row)?.terms(),
            reason: row.reason.clone(),
            reads: Vec::new(),
            above: self.above(&row).await?,
            audience: None,
            reserved: false,
        };
        let batch = Batch {
            reads: actor.reads(),
            kills: vec![raised(row.mark)],
            entries: vec![self.grant_record(actor, "delegation.revoked", &ended, pseudonym)?],
            effects: Changed::grant(id, row.receiver).into(),
            writes: vec![grant::update(GrantRow {
                status: Status::Revoked,
                ..row
            })],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, Revoked::at(self.now())))
    }

    /// Everything above a grant that is there.
    async fn above(&self, row: &GrantRow) -> Result<Above> {
        let receiver = self.facts_with_reserved(row.receiver).await?;
        let mut paths = receiver.paths.iter();
        let path = paths.find(|path| path.leaf().is_some_and(|leaf| leaf.id == row.id));
        let above = path.map_or_else(Vec::new, |path| {
            path.hops.iter().map(|hop| hop.grant.id).collect()
        });
        Ok(Above {
            agents: ancestors(&receiver, path),
            grants: above.into_iter().filter(|id| *id != row.id).collect(),
        })
    }
}

/// What tokens may be used for is for people to say: an agent that gives on gives none of it.
pub(crate) fn refuse_uses(actor: &Actor, uses: &TokenUses) -> Result<()> {
    if uses.is_empty() || matches!(actor.caller, Caller::Local | Caller::Operator(_)) {
        return Ok(());
    }
    let who = match actor.caller {
        Caller::Person(_) => "a human",
        _ => "an agent",
    };
    Err(Error::Forbidden(format!(
        "{who} does not set `exchangeBy`, `bearer` or `offline`; leave them out, or ask an operator"
    )))
}

/// The path that a grant hangs on: the one asked for, or the best of those that cover it.
fn parent_path<'a>(facts: &'a Facts, ask: &Ask, now: Timestamp) -> Result<&'a Path> {
    if let Some(parent) = ask.parent {
        let named = facts
            .paths
            .iter()
            .find(|path| path.leaf().is_some_and(|leaf| leaf.id == parent));
        return named.ok_or(Error::NotFound("parent grant"));
    }
    if let Some(path) = choose_parent(&facts.paths, &ask.permissions, now) {
        return Ok(path);
    }
    // The only path of an agent can say what exactly it does not cover.
    match facts.paths.as_slice() {
        [only] => Ok(only),
        [] => Err(Error::NotNarrower(Invalid::at(
            "permissions",
            "the giver holds no grant",
        ))),
        _ => Err(Error::NotNarrower(Invalid::at(
            "permissions",
            "no single live grant of the giver covers all of them; ask for less, or delegate in parts",
        ))),
    }
}

/// The marks of every grant and giver on a path, and of its human.
pub(crate) fn path_marks(path: &Path) -> impl Iterator<Item = Mark> {
    let hops = path.hops.iter().flat_map(|hop| {
        let givers = hop.giver.iter().map(|giver| giver.mark);
        let humans = hop.giver_user.iter().map(|user| user.mark);
        std::iter::once(hop.grant.mark).chain(givers).chain(humans)
    });
    hops.chain([path.user.mark])
}

pub(crate) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotNarrower(reason) => Error::NotNarrower(reason),
        Refusal::DepthExceeded { .. } => Error::DepthExceeded(refusal.to_string()),
        Refusal::SelfGrant | Refusal::Cycle | Refusal::OtherHuman => {
            Error::NotNarrower(Invalid::at("to", refusal.to_string()))
        }
        Refusal::AlreadyOver => Error::Invalid(Invalid::at("expiresAt", refusal.to_string())),
        _ => Error::WrongState(refusal.to_string()),
    }
}

/// What a record says of a grant: a digest of its contents, which may be larger than a record.
pub(crate) fn details(id: GrantId, terms: &Terms) -> Result<Value> {
    use sha2::{Digest, Sha256};
    let Contents {
        permissions,
        guards,
        uses,
    } = contents(terms)?;
    let mut text = format!("{permissions}\n{}", guards.unwrap_or_default());
    if let Some(uses) = &uses {
        text.push('\n');
        text.push_str(uses);
    }
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut details = json!({
        "grant": id,
        "depth": terms.depth,
        "maxDepth": terms.max_depth,
        "expiresAt": terms.expires_at,
        "permissions": terms.permissions.iter().count(),
        "resources": first_resources(terms),
        "contentsDigest": hex::encode(&digest),
    });
    if let (Some(members), true) = (details.as_object_mut(), uses.is_some()) {
        let TokenUses {
            exchange_by,
            bearer,
            offline,
        } = &terms.uses;
        let uses = json!({"exchangeBy": exchange_by.as_slice().len(), "bearer": bearer, "offline": offline});
        members.insert("uses".to_owned(), uses);
    }
    Ok(details)
}

/// The first resources of a grant, as many as fit beside the rest of a record.
fn first_resources(terms: &Terms) -> Vec<&str> {
    const SHOWN_BYTES: usize = 128;
    let mut room = SHOWN_BYTES;
    let resources = terms.permissions.iter().map(|one| one.resource().as_str());
    resources
        .take_while(|text| {
            let fits = text.len() <= room;
            room = room.saturating_sub(text.len());
            fits
        })
        .collect()
}
