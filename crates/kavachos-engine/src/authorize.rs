//! The decision, the hot path: facts, the pure decision, one record, one commit.
//!
//! The answer leaves after the record is on disk. An allow carries the generations that it relied on and takes its
//! counters in the same commit, so a kill or a full counter that comes first turns it into a new decision.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kavachos_core::counter::Refusal;
use kavachos_core::decide::{self, Code, CounterKey, Credential, Facts, Full, Request};
use kavachos_core::id::{AgentId, ApprovalId, AuditId, GrantId, UserId};
use kavachos_core::json;
use kavachos_core::ledger::{self, Entry, Outcome, Record, RevocationPoint};
use kavachos_core::principal::Status;
use kavachos_core::time::Timestamp;
use kavachos_core::token::Leaf;
use kavachos_store::{Batch, CommitError, Take};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::act::Act;
use crate::actor::{Actor, AgentKey, Caller, Scope};
use crate::asking::{self, Asking, Judged};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hooks::Purpose;

/// How often a decision that met a change decides again.
const MAX_CONFLICTS: usize = 8;
/// How many counters one decision may find full before it is a denial; each adds to what the next round knows.
pub(crate) const MAX_FULL: usize = 64;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Which agent; `None` for the caller itself.
    pub agent: Option<AgentId>,
    /// For which human; `None` for the agent's own.
    pub on_behalf_of: Option<UserId>,
    /// To do what.
    pub request: Request,
    /// The agent's own key, where it showed one to the asker: a dead one denies.
    pub presented: Option<Arc<AgentKey>>,
    /// The token that it showed to the asker: only what it carries counts.
    pub shown: Option<Arc<Leaf>>,
}

/// The answer, already on record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub struct Decision {
    /// Whether the agent may do it now.
    pub allowed: bool,
    /// The stable code.
    pub code: Code,
    /// The code in words.
    pub reason: String,
    /// The record of this decision.
    pub audit_id: AuditId,
    /// When a limit allows the next call.
    pub retry_after: Option<Duration>,
    /// The request for a human's approval: the one to wait for, the one that was denied, or the one that is used up.
    pub approval_id: Option<ApprovalId>,
}

impl Engine {
    /// Decides, records, and answers once the record is on disk.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the caller may not ask this; [`Error::TooManyRequests`] for an agent that is denied
    /// too often; the variants of ours when nothing could be decided or recorded. A denial is no error.
    pub async fn authorize(&self, actor: &Actor, question: &Question) -> Result<Decision> {
        let decided = self.authorize_noting(actor, question, |_, _| ()).await;
        decided.map(|(decision, ())| decision)
    }

    /// As [`Engine::authorize`], with what the caller wants to know of the facts by which it was decided.
    pub(crate) async fn authorize_noting<T>(
        &self,
        actor: &Actor,
        question: &Question,
        note: impl Fn(&Facts, &Judged) -> T + Send + Sync,
    ) -> Result<(Decision, T)> {
        let started = self.now();
        let mut actor = Cow::Borrowed(actor);
        let mut question = Cow::Borrowed(question);
        let mut full = Vec::new();
        let mut conflicts = 0;
        while conflicts < MAX_CONFLICTS {
            let asked = match Asked::new(&actor, &question) {
                Err(error) if error.is_refusal() => {
                    let act = Act::decision(question.agent, question.on_behalf_of);
                    return Err(self.refused(&actor, act, error).await?);
                }
                asked => asked?,
            };
            let facts = self.facts_for(&asked).await?;
            let now = self.now();
            let mut judged = match &question.presented {
                Some(_) => asking::judged_unseen(&facts, &question.request, &full, now),
                None => self.judged(&facts, &question.request, &full, now).await?,
            };
            if judged.decision.allowed() && self.hooks().any() {
                let asked = (&facts, &asked);
                judged = Box::pin(self.vetoed(judged, asked, Purpose::Decide)).await;
            }
            if !judged.decision.allowed()
                && let Some(agent) = asked.shows_its_key()
            {
                self.admit_denial(agent)?;
            }
            let id = self.id();
            let entry = self.decision_record(id, &asked, (&facts, &judged), started)?;
            let mut batch = batch(&asked, &judged, entry);
            let limit = self.settings().approvals_per_agent;
            judged.asking.add_to(&mut batch, asked.actor, limit, now);
            if let Asking::Asks(row) = &judged.asking {
                // A record of its own, so that whoever is to answer can be told of nothing else.
                let asks = self.approval_record(asked.actor, "approval.requested", row);
                batch.entries.push(asks.await?);
            }
            match self.store().commit(batch).await {
                Ok(_) => {
                    let decision = answer(id, &judged);
                    if self.hooks().any() {
                        self.tell_decided((&facts, &asked), &decision);
                    }
                    return Ok((decision, note(&facts, &judged)));
                }
                Err(CommitError::Conflict { .. }) => {
                    conflicts += 1;
                    // It may have been the caller's own key that was changed.
                    let caller = self.renewed(&actor.caller).await?;
                    actor.to_mut().caller = caller;
                    if let Some(key) = &question.presented {
                        let key = self.renewed_key(key).await?;
                        question.to_mut().presented = Some(key);
                    }
                }
                Err(CommitError::Refused { counter, refusal }) => {
                    full.push(full_counter(&counter, refusal)?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// The facts of the decision, with what the caller's credential adds to them.
    pub(crate) async fn facts_for(&self, asked: &Asked<'_>) -> Result<Facts> {
        let mut facts = match &asked.question.shown {
            // Of all paths the token's own are left: it may be one that was promised.
            Some(_) => self.facts_with_reserved(asked.agent).await?,
            None => self.facts(asked.agent).await?,
        };
        facts.subject = asked.question.on_behalf_of;
        if let Some(key) = asked.key() {
            facts.credential = credential(key, &facts, self.now());
        }
        if let Some(leaf) = &asked.question.shown {
            self.narrow_to(&mut facts, leaf, &asked.question.request)
                .await?;
        }
        Ok(facts)
    }

    fn decision_record(
        &self,
        id: AuditId,
        asked: &Asked<'_>,
        (facts, judged): (&Facts, &Judged),
        started: Timestamp,
    ) -> Result<Entry> {
        let decision = &judged.decision;
        let request = &asked.question.request;
        let outcome = if decision.allowed() {
            Outcome::Allowed
        } else {
            Outcome::Denied
        };
        let path = decision.winner.and_then(|winner| facts.paths.get(winner));
        let grant_path: Vec<GrantId> = path
            .iter()
            .flat_map(|path| &path.hops)
            .map(|hop| hop.grant.id)
            .collect();
        let chain = ancestors(facts, path);
        let reason = judged.reason();
        let origin = asked.actor.origin();
        let ip = request.ip.map(|ip| ip.to_canonical().to_string());
        let mut record = origin.record(id, "decision", outcome, decision.code.as_str());
        record.subject = path
            .map(|path| &path.user)
            .or(facts.user.as_ref())
            .map(|user| user.pseudonym);
        record.agent = Some(asked.agent);
        record.chain = &chain;
        record.grant_path = &grant_path;
        record.agent_proof = Some("server");
        record.action = Some(request.action.as_str());
        record.resource = Some(request.resource.as_str());
        record.reason = Some(&reason);
        record.duration_us = u64::try_from(self.now().since(started).as_micros()).ok();
        record.cost = request.cost.as_ref().map(|cost| ledger::Cost {
            amount: cost.amount,
            unit: cost.unit.as_str(),
        });
        let head = self.head();
        record.revocation_head = Some(RevocationPoint {
            epoch: head.epoch,
            rseq: head.revocation.rseq,
        });
        record.personal.arguments_digest = asked.arguments_digest.as_ref();
        // An operator may say where the call came from that it asks about.
        record.personal.ip = ip.as_deref().or(record.personal.ip);
        self.seal_explained(record, (asked.actor, facts, judged))
    }

    /// Seals the record with as many of the paths as there is room for: whatever makes a record long, a denial has one.
    fn seal_explained(
        &self,
        record: Record<'_>,
        (actor, facts, judged): (&Actor, &Facts, &Judged),
    ) -> Result<Entry> {
        let mut shown = judged.decision.verdicts.len();
        loop {
            let details = details(actor, facts, judged, shown);
            let sealed = self.seal(&Record {
                details: details.as_deref(),
                ..record
            });
            match sealed {
                Err(Error::Invalid(_)) if shown > 0 => shown /= 2,
                sealed => return sealed,
            }
        }
    }
}

/// A question that its caller may ask.
pub(crate) struct Asked<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) question: &'a Question,
    pub(crate) agent: AgentId,
    arguments_digest: Option<[u8; 32]>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(actor: &'a Actor, question: &'a Question) -> Result<Self> {
        if actor.person().is_some() {
            actor.require(Scope::AuthorizeAny)?;
        }
        let agent = match (&actor.caller, question.agent) {
            (Caller::Agent(key), None) => key.agent,
            (Caller::Agent(key), Some(agent)) if agent == key.agent => agent,
            (Caller::Agent(_), Some(_)) => {
                return Err(Error::Forbidden(
                    "an agent key asks for its own agent only; leave `agentId` out".to_owned(),
                ));
            }
            (Caller::ToolServer(_), Some(agent)) => agent,
            (_, Some(agent)) => {
                actor.require(Scope::AuthorizeAny)?;
                agent
            }
            (_, None) => {
                return Err(kavachos_core::invalid::Invalid::at(
                    "agentId",
                    "say which agent wants to act",
                )
                .into());
            }
        };
        let request = &question.request;
        actor.within_ceiling(&request.action, &request.resource)?;
        Ok(Self {
            actor,
            question,
            agent,
            arguments_digest: arguments_digest(request),
        })
    }
}

/// SHA-256 of the canonical arguments.
pub(crate) fn arguments_digest(request: &Request) -> Option<[u8; 32]> {
    let digest = |arguments: &Value| Sha256::digest(json::canonical(arguments)).into();
    request.arguments.as_ref().map(digest)
}

impl Asked<'_> {
    /// The agent's own key, with which it calls or which it showed to the caller.
    fn key(&self) -> Option<&Arc<AgentKey>> {
        match &self.actor.caller {
            Caller::Agent(key) => Some(key),
            _ => self.question.presented.as_ref(),
        }
    }

    /// The agent, if it is known to be the one that is denied.
    fn shows_its_key(&self) -> Option<AgentId> {
        let shown = self.question.shown.as_ref();
        let by_key = self.key().map(|key| key.agent);
        by_key.or_else(|| shown?.authority.agent())
    }
}

/// Whether the caller's own key is live: the same rule for every use of an agent key.
pub(crate) fn credential(key: &AgentKey, facts: &Facts, now: Timestamp) -> Credential {
    let outlived = facts
        .agent
        .as_ref()
        .is_some_and(|agent| key.agent_kills < agent.kills)
        || facts
            .user
            .as_ref()
            .is_some_and(|user| key.user_kills < user.kills);
    if now >= key.expires_at {
        Credential::KeyExpired
    } else if key.status != Status::Active || outlived {
        Credential::KeyRevoked
    } else {
        Credential::KeyLive
    }
}

fn batch(asked: &Asked<'_>, judged: &Judged, entry: Entry) -> Batch {
    let decision = &judged.decision;
    let mut batch = Batch {
        entries: vec![entry],
        ..Batch::default()
    };
    // A human is asked only about what stands.
    if decision.allowed() || matches!(judged.asking, Asking::Asks(_)) {
        batch.reads = decision.reads.to_vec();
        batch.reads.extend(asked.actor.reads());
        let presented = asked.question.presented.as_ref();
        batch.reads.extend(presented.map(|key| key.mark));
        let shown = asked.question.shown.iter();
        batch
            .reads
            .extend(shown.flat_map(|leaf| leaf.authority.all_marks()));
        let take = |take: &decide::Take| Take {
            counter: take.key.to_bytes().into(),
            rule: take.rule,
            n: take.n,
        };
        batch.takes = decision.takes.iter().map(take).collect();
    }
    batch
}

fn full_counter(key: &[u8], refusal: Refusal) -> Result<Full> {
    let key = key.try_into().map_err(|_| {
        Error::Internal("the store refused a counter that is none of ours".to_owned())
    })?;
    Ok(Full {
        key: CounterKey::from_bytes(key),
        refusal,
    })
}

fn answer(audit_id: AuditId, judged: &Judged) -> Decision {
    let decision = &judged.decision;
    Decision {
        allowed: decision.allowed(),
        code: decision.code,
        reason: judged.reason(),
        audit_id,
        retry_after: decision.retry_after,
        approval_id: judged.asking.id(),
    }
}

/// The agents above the acting one: the givers of the path that decided, or its owners when no path did.
pub(crate) fn ancestors(facts: &Facts, path: Option<&decide::Path>) -> Vec<AgentId> {
    let givers = path
        .into_iter()
        .flat_map(|path| &path.hops)
        .filter_map(|hop| hop.giver.first());
    let mut chain: Vec<AgentId> = givers.map(|agent| agent.id).collect();
    for owner in facts.owners.iter().rev() {
        if !chain.contains(&owner.id) {
            chain.push(owner.id);
        }
    }
    chain
}

/// What the record keeps beyond the winner: of an allow, that the agent spoke for itself; of a denial, why the best
/// paths did not permit; of both, the request for approval.
fn details(
    actor: &Actor,
    facts: &Facts,
    Judged {
        decision,
        asking,
        veto,
    }: &Judged,
    shown: usize,
) -> Option<Cow<'static, Value>> {
    static SELF_REPORTED: LazyLock<Value> = LazyLock::new(|| json!({ "selfReported": true }));
    let by_itself = decision.allowed() && actor.agent().is_some();
    let approval = asking.id();
    if by_itself && approval.is_none() {
        return Some(Cow::Borrowed(&*SELF_REPORTED));
    }
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    if by_itself {
        put("selfReported", true.into());
    }
    if let Some(id) = approval {
        put("approval", id.to_string().into());
    }
    if let Some(veto) = veto {
        put("hook", veto.hook.into());
    }
    if !decision.allowed() && !decision.verdicts.is_empty() {
        put("paths", paths(facts, decision, shown));
        let left_out = decision.verdicts.len().saturating_sub(shown);
        let more = usize::try_from(decision.more)
            .unwrap_or(usize::MAX)
            .saturating_add(left_out);
        if more > 0 {
            put("morePaths", more.into());
        }
    }
    (!members.is_empty()).then_some(Cow::Owned(Value::Object(members)))
}

/// Why the best paths did not permit.
fn paths(facts: &Facts, decision: &decide::Decision, shown: usize) -> Value {
    let paths = decision.verdicts.iter().take(shown).map(|verdict| {
        let path = facts.paths.get(verdict.path);
        let grant = path.and_then(|path| path.hops.last());
        json!({
            "grant": grant.map(|hop| hop.grant.id),
            "hop": verdict.hop,
            "permission": verdict.permission.map(|id| id.to_string()),
            "code": verdict.code.as_str(),
        })
    });
    paths.collect()
}
