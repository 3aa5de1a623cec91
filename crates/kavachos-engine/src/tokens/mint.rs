//! The token itself, and its record.

use std::time::Duration;

use kavachos_core::grant::Merged;
use kavachos_core::id::{AuditId, GrantId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome, Record};
use kavachos_core::permission::PermissionSet;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, Authority, Hop, Leaf, Life};
use kavachos_core::tool_server::Party;
use kavachos_store::Batch;
use serde_json::{Value, json};

use super::binding;
use super::holder::Held;
use super::target::{Target, scope_text};
use super::{Minted, TokenAsk};
use crate::actor::{Actor, Caller};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;

const SECOND: i64 = 1_000_000;
/// How many resources a record names of what was held and what was given, before it says how many more there are.
const MAX_NAMED: usize = 16;

impl Engine {
    pub(super) async fn mint(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        (target, mut held): (Target, Held),
    ) -> Result<Plan<Minted>> {
        self.add_session(actor, &target, &mut held).await?;
        let binding = binding::of(ask.proof.as_ref(), &target, &held)?;
        held.bind(binding);
        let merged = held.merged(&target.asked)?;
        let life = self.token_life(self.life_of(ask, &target), &held)?;
        let record = super::record_of(life.id);
        let leaf = Leaf {
            issuer: self.settings().issuer.clone(),
            audience: ask.audience.clone(),
            scopes: target.scopes_of(&merged)?,
            bound_to: binding.key,
            life,
            authority: self.token_authority(ask, (&target, &held), (merged, record))?,
        };
        let algorithm = Algorithm::from(target.server.policy.token_algorithm);
        let key = self.signer(KeyPurpose::Token, algorithm).await?;
        let token = leaf.sign(&key).map_err(|failure| {
            Error::NotNarrower(Invalid::at("scopes", failure.message().to_owned()))
        })?;
        let entry = self.token_record(actor, ask, (&target, &held), (&leaf, record))?;
        let minted = Minted {
            token,
            id: leaf.life.id,
            agent: held.path.leaf().ok_or(Error::NotFound("grant"))?.to,
            audience: leaf.audience,
            scope: scope_text(&leaf.scopes),
            permissions: leaf.authority.permissions,
            guards: leaf.authority.guards,
            expires_at: leaf.life.expires_at,
            bound_to: leaf.bound_to,
        };
        let mut batch = self.token_batch((actor, ask), held.batch, entry);
        batch.reads.push(target.server.mark);
        Ok(Plan::commit(batch, minted))
    }

    /// What is committed with a token: its record, and that its proof is used up, and the provider's token that it comes
    /// of.
    pub(super) fn token_batch(
        &self,
        (actor, ask): (&Actor, &TokenAsk),
        mut batch: Batch,
        entry: Entry,
    ) -> Batch {
        self.use_proof(ask.proof.as_ref(), &mut batch);
        Self::use_token(actor, &mut batch);
        batch.entries.push(entry);
        batch
    }

    /// No longer than this, or than anything lives that it comes from.
    pub(super) fn token_life(&self, longest: Duration, held: &Held) -> Result<Life> {
        let issued_at = self.now();
        let ends = held.path.hops.iter().filter_map(|hop| hop.grant.expires_at);
        let end = ends
            .chain(held.ends)
            .chain([issued_at.plus(longest)])
            .min()
            .unwrap_or(issued_at);
        let life = Life {
            id: self.id::<kavachos_core::id::kind::Token>(),
            issued_at: whole(issued_at),
            expires_at: whole(end),
        };
        if life.expires_at <= life.issued_at {
            return Err(Error::WrongState(
                "what the token would come from ends within this second".to_owned(),
            ));
        }
        Ok(life)
    }

    fn token_authority(
        &self,
        ask: &TokenAsk,
        (target, held): (&Target, &Held),
        (merged, record): (Merged, AuditId),
    ) -> Result<Authority> {
        let first = target.server.policy.party == Party::First;
        let path = &held.path;
        let leaf = path.leaf().ok_or(Error::NotFound("grant"))?;
        let deepest = path
            .hops
            .first()
            .map_or(leaf.max_depth, |root| root.grant.max_depth)
            .max(leaf.depth);
        Ok(Authority {
            subject: self.named_to(
                held.path.user.id,
                (target.server.id, target.server.policy.party),
            )?,
            chain: chain(held),
            max_depth: held.deepest(deepest),
            permissions: merged.permissions,
            guards: merged.guards,
            epoch: self.head().epoch,
            marks: marks((Some(target.server.mark), held), first)?,
            // What people write is not for others' servers.
            reason: if first {
                ask.reason.clone()
            } else {
                record.to_string()
            },
        })
    }

    fn token_record(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        (target, held): (&Target, &Held),
        (leaf, id): (&Leaf, AuditId),
    ) -> Result<Entry> {
        let mut details = json!({
            "token": leaf.life.id, "audience": leaf.audience, "server": target.server.id, "scope": scope_text(&leaf.scopes),
            "expiresAt": leaf.life.expires_at, "depth": leaf.authority.depth(),
        });
        if let (Some(members), Some(print)) = (details.as_object_mut(), leaf.bound_to) {
            members.insert("boundTo".to_owned(), print.to_string().into());
        }
        let told = Told {
            id,
            kind: "token.issued",
            details,
            given: &leaf.authority.permissions,
        };
        self.record_of_making(actor, (ask, held), told)
    }

    /// The record of a token of any kind, with the chain that it was made of.
    pub(super) fn record_of_making(
        &self,
        actor: &Actor,
        (ask, held): (&TokenAsk, &Held),
        told: Told<'_>,
    ) -> Result<Entry> {
        let path = &held.path;
        let grants: Vec<GrantId> = path.hops.iter().map(|hop| hop.grant.id).collect();
        let (acting, above) = held.agents.split_last().ok_or(Error::NotFound("agent"))?;
        let mut chain: Vec<_> = above.iter().map(|(agent, _)| *agent).collect();
        chain.extend(
            held.owners
                .iter()
                .filter(|owner| above.iter().all(|(agent, _)| agent != *owner)),
        );
        let Told {
            id,
            kind,
            mut details,
            given,
        } = told;
        if let Some(members) = details.as_object_mut() {
            if let Caller::Provided(provided) = &actor.caller {
                members.extend(provided.details());
            }
            members.extend(held.details());
        }
        let held_set = path.leaf().map(|grant| grant.permissions.clone());
        let origin = actor.origin();
        let mut record = origin.record(id, kind, Outcome::Allowed, "done");
        record.subject = Some(path.user.pseudonym);
        record.agent = Some(acting.0);
        record.chain = &chain;
        record.grant_path = &grants;
        record.agent_proof = Some("server");
        record.details = Some(&details);
        record.personal.reason = Some(&ask.reason);
        let mut named = MAX_NAMED;
        loop {
            let delta = json!({
                "held": held_set.as_ref().map(|set| resources(set, named)),
                "given": resources(given, named),
            });
            let sealed = self.seal(&Record {
                scope_delta: Some(&delta),
                ..record
            });
            match sealed {
                Err(Error::Invalid(_)) if named > 0 => named /= 2,
                sealed => return sealed,
            }
        }
    }
}

/// What a record tells of a token.
pub(super) struct Told<'a> {
    pub(super) id: AuditId,
    pub(super) kind: &'static str,
    pub(super) details: Value,
    pub(super) given: &'a PermissionSet,
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - time.as_micros() % SECOND)
}

/// The hops of a path. One that was shortened later ends with those above it.
pub(super) fn chain(held: &Held) -> Vec<Hop> {
    let hops = held.path.hops.iter().zip(&held.agents);
    let last = held.agents.len().saturating_sub(1);
    let mut end: Option<Timestamp> = None;
    hops.enumerate()
        .map(|(at, (hop, (id, agent)))| {
            end = [end, hop.grant.expires_at].into_iter().flatten().min();
            Hop {
                id: *id,
                agent: *agent,
                grant: hop.grant.mark,
                key: held.key.filter(|_| at == last),
                expires_at: end.map(whole),
            }
        })
        .collect()
}

/// What kills a token beside its hops. A third party learns no handle of a human.
///
/// # Errors
/// A human is in the middle of the chain, whom a third party's tool server could not hear of.
pub(super) fn marks((target, held): (Option<Mark>, &Held), first: bool) -> Result<Vec<Mark>> {
    use kavachos_core::revocation::HandleKind;
    let path = &held.path;
    if !first && path.hops.iter().any(|hop| hop.giver_user.is_some()) {
        return Err(Error::NotNarrower(Invalid::at(
            "audience",
            "the chain goes through another human's agent, and others' tool servers hear of no human: ask for a tool \
             server of your own",
        )));
    }
    let others = path.hops.iter().flat_map(|hop| {
        let owners = hop.giver.iter().skip(1).map(|agent| agent.mark);
        owners.chain(hop.giver_user.iter().map(|user| user.mark))
    });
    let root = path.hops.first().map(|hop| hop.grant.mark);
    let all = [path.user.mark]
        .into_iter()
        .chain(held.others.iter().copied())
        .chain(root)
        .chain(target)
        .chain(others);
    let mut marks: Vec<Mark> = Vec::new();
    for mark in all {
        let on_chain = held
            .agents
            .iter()
            .any(|(_, agent)| agent.handle == mark.handle);
        let hidden = !first && mark.handle.kind == HandleKind::User;
        if !on_chain && !hidden && marks.iter().all(|known| known.handle != mark.handle) {
            marks.push(mark);
        }
    }
    Ok(marks)
}

fn resources(set: &PermissionSet, most: usize) -> Value {
    let names = set.iter().map(|permission| permission.resource().as_str());
    let mut named: Vec<Value> = names.take(most).map(Value::from).collect();
    let more = set.iter().count().saturating_sub(most);
    if more > 0 {
        named.push(format!("and {more} more").into());
    }
    named.into()
}
