//! Why: of a decision on record what its record keeps, of a question everything that was looked at.
//!
//! A dry run goes the way of a decision up to its commit. It takes from no counter and asks no human; the only thing on
//! record is that someone asked.

use kavachos_core::counter::{self, TakeError};
use kavachos_core::decide::{
    self, Code, ExplainedHop, ExplainedPath, Explanation, Facts, Full, Known, Match, Path, decide,
    explain,
};
use kavachos_core::id::{AuditId, GrantId, UserId};
use kavachos_core::ledger::Outcome;
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::time::Timestamp;
use kavachos_store::MAX_PAGE_BYTES;
use kavachos_store::counter::{COUNTERS_PER_QUERY, states};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::audit::AuditRecord;
use crate::authorize::{Asked, MAX_FULL, Question, ancestors};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hooks::Purpose;
use crate::reported;
use crate::weight::json_bytes;

/// Why a question would be answered as it would be now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// Whether the agent may do it now.
    pub allowed: bool,
    /// The stable code.
    pub code: Code,
    /// The code in words.
    pub reason: String,
    /// What would have to change for it to be allowed.
    pub remedy: &'static str,
    /// The record of this question; there is none of a decision.
    pub audit_id: AuditId,
    /// Every path from the human for whom the request is made, the best first.
    pub paths: Vec<PathReport>,
}

/// How one path went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PathReport {
    /// The human at the top.
    pub user_id: UserId,
    /// The agent's own grant at the end.
    pub grant_id: Option<GrantId>,
    /// The code of the worst hop.
    pub code: Code,
    /// What would have to change for this path to permit.
    pub remedy: &'static str,
    /// The hop that stands against it: 0 is the human, 1 the root grant; `null` when all permit.
    pub hop: Option<u8>,
    /// The hops, the human first.
    pub hops: Vec<HopReport>,
}

/// How one hop went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HopReport {
    /// The grant; `null` for the human.
    pub grant_id: Option<GrantId>,
    /// Whether the human, or the grant and everyone above its giver, is live.
    pub standing: Code,
    /// What the guards say; `null` without any.
    pub guards: Option<Code>,
    /// The permissions, those that match first.
    pub permissions: Vec<PermissionReport>,
    /// How many more there are.
    pub more_permissions: usize,
}

/// How one permission went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PermissionReport {
    /// Names the permission by its content.
    pub id: String,
    /// The permission itself; left out once the explanation has come to [`MAX_PAGE_BYTES`].
    #[serde(flatten)]
    pub permission: Option<Permission>,
    /// Whether it is about this action and resource.
    pub matches: bool,
    /// What it says.
    pub code: Code,
    /// Why it does not match: `resource` or `action`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<&'static str>,
}

/// Why a decision on record went as it did, in the words of its record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The record.
    pub audit_id: AuditId,
    /// The tool server that decided, by its own word; left out of what was decided here.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub reported_by: Value,
    /// When it was decided, or reported.
    #[cfg_attr(feature = "schema", schemars(with = "Timestamp"))]
    pub time: Value,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The code.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub code: Value,
    /// The code in words.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub reason: Value,
    /// What would have had to change; `null` where the code is none of a decision.
    pub remedy: Option<&'static str>,
    /// The agent.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<kavachos_core::id::AgentId>")
    )]
    pub agent_id: Value,
    /// The human.
    #[serde(rename = "for")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub subject: Value,
    /// The action.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub action: Value,
    /// The resource.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub resource: Value,
    /// The grants of the best path, root first.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<GrantId>"))]
    pub grant_path: Value,
    /// Of a denial, why the best paths did not permit.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<serde_json::Map<String, Value>>")
    )]
    pub paths: Vec<Value>,
    /// How many more paths there were.
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub more_paths: Value,
}

impl Engine {
    /// Why a decision on record went as it did.
    ///
    /// # Errors
    /// There is no decision with this id.
    pub async fn explain_recorded(&self, actor: &Actor, id: AuditId) -> Result<Recorded> {
        let record = self.audit_record(actor, id).await?;
        let kind = record.members.get("kind").and_then(Value::as_str);
        if !kind.is_some_and(|kind| ["decision", reported::KIND].contains(&kind)) {
            return Err(Error::NotFound("decision"));
        }
        Ok(Recorded::of(id, record))
    }

    /// Why this would be allowed or denied now: a decision that is not made.
    ///
    /// # Errors
    /// The caller may not ask for decisions about any agent, or not for this one.
    pub async fn dry_run(&self, actor: &Actor, question: &Question) -> Result<DryRun> {
        let asked = actor
            .require(Scope::AuthorizeAny)
            .and_then(|()| Asked::new(actor, question));
        let asked = match asked {
            Err(error) if error.is_refusal() => {
                let act = Act::explained(question.agent, question.on_behalf_of);
                return Err(self.refused(actor, act, error).await?);
            }
            asked => asked?,
        };
        let facts = self.facts_for(&asked).await?;
        let now = self.now();
        let full = self.full_counters(&facts, question, now).await?;
        let known = Known {
            full: &full,
            approvals: &[],
        };
        let mut explanation = explain(&facts, &question.request, known, now);
        let mut veto = None;
        if explanation.decision.allowed() && self.hooks().any() {
            let winner = explanation.decision.winner;
            veto = Box::pin(self.veto((&facts, winner), &asked, Purpose::Explain)).await;
        }
        if veto.is_some() {
            explanation.decision = explanation.decision.denied_by_hook();
        }
        let id = self.id();
        self.note_dry_run(id, &asked, (&facts, &explanation.decision))
            .await?;
        let mut told = DryRun::of(id, &facts, &explanation);
        if let Some(veto) = veto {
            told.reason = veto.reason();
        }
        Ok(told)
    }

    /// The counters that would be found full, as far as it matters for the decision.
    async fn full_counters(
        &self,
        facts: &Facts,
        question: &Question,
        now: Timestamp,
    ) -> Result<Vec<Full>> {
        let mut full = Vec::new();
        while full.len() < MAX_FULL {
            let decision = decide(facts, &question.request, &full, now);
            if !decision.allowed() {
                break;
            }
            let Some(found) = self.first_full(&decision.takes, now).await? else {
                break;
            };
            full.push(found);
        }
        Ok(full)
    }

    /// The first of these takes that its counter would refuse.
    async fn first_full(&self, takes: &[decide::Take], now: Timestamp) -> Result<Option<Full>> {
        for chunk in takes.chunks(COUNTERS_PER_QUERY) {
            let keys: Vec<_> = chunk.iter().map(|take| take.key.to_bytes()).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
            let stored = self.store().list(states(&keys)).await?;
            for take in chunk {
                let key = take.key.to_bytes();
                let state = stored.iter().find(|(counter, _)| **counter == key);
                let state = state.map(|(_, state)| state.as_slice());
                match counter::take(state, &take.rule, take.n, now) {
                    Ok(_) => {}
                    Err(TakeError::Refused(refusal)) => {
                        let key = take.key;
                        return Ok(Some(Full { key, refusal }));
                    }
                    Err(error @ TakeError::Corrupt) => {
                        return Err(Error::Internal(error.to_string()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Records that someone asked, and what they were told.
    async fn note_dry_run(
        &self,
        id: AuditId,
        asked: &Asked<'_>,
        (facts, decision): (&Facts, &decide::Decision),
    ) -> Result<()> {
        let request = &asked.question.request;
        let path = decision.winner.and_then(|winner| facts.paths.get(winner));
        let chain = ancestors(facts, path);
        let details = json!({ "code": decision.code.as_str() });
        let origin = asked.actor.origin();
        let mut record = origin.record(id, "explanation", Outcome::Allowed, "done");
        record.subject = path
            .map(|path| &path.user)
            .or(facts.user.as_ref())
            .map(|user| user.pseudonym);
        record.agent = Some(asked.agent);
        record.chain = &chain;
        record.action = Some(request.action.as_str());
        record.resource = Some(request.resource.as_str());
        record.details = Some(&details);
        self.record(self.seal(&record)?).await?;
        Ok(())
    }
}

impl Recorded {
    fn of(id: AuditId, record: AuditRecord) -> Self {
        let mut members = record.members;
        let mut take = |name: &str| members.remove(name).unwrap_or_default();
        let code = take("code");
        let mut details = match take("details") {
            Value::Object(details) => details,
            _ => Map::new(),
        };
        let paths = match details.remove("paths") {
            Some(Value::Array(paths)) => paths.into_iter().map(told).collect(),
            _ => Vec::new(),
        };
        Self {
            audit_id: id,
            reported_by: take("reportedBy"),
            time: take("time"),
            allowed: take("outcome") == Outcome::Allowed.as_str(),
            remedy: decision_code(&code).map(Code::remedy),
            code,
            reason: take("reason"),
            agent_id: take("agent"),
            subject: take("subject"),
            action: take("action"),
            resource: take("resource"),
            grant_path: match take("grantPath") {
                Value::Null => json!([]),
                path => path,
            },
            paths,
            more_paths: details.remove("morePaths").unwrap_or(json!(0)),
        }
    }
}

/// A path as its record keeps it, with its code in words.
fn told(path: Value) -> Value {
    let Value::Object(mut path) = path else {
        return path;
    };
    if let Some(code) = path.get("code").and_then(decision_code) {
        path.insert("reason".to_owned(), code.reason().into());
        path.insert("remedy".to_owned(), code.remedy().into());
    }
    if let Some(grant) = path.remove("grant") {
        path.insert("grantId".to_owned(), grant);
    }
    Value::Object(path)
}

fn decision_code(code: &Value) -> Option<Code> {
    code.as_str()?.parse().ok()
}

impl DryRun {
    fn of(audit_id: AuditId, facts: &Facts, explanation: &Explanation) -> Self {
        let decision = &explanation.decision;
        let mut room = MAX_PAGE_BYTES;
        let paths = explanation.paths.iter();
        let paths = paths.filter_map(|told| {
            let path = facts.paths.get(told.path)?;
            Some(PathReport::of(path, told, &mut room))
        });
        Self {
            allowed: decision.allowed(),
            code: decision.code,
            reason: decision.reason(),
            remedy: decision.code.remedy(),
            audit_id,
            paths: paths.collect(),
        }
    }
}

impl PathReport {
    fn of(path: &Path, told: &ExplainedPath, room: &mut usize) -> Self {
        let human = (None, &path.user.permissions);
        let grants = path.hops.iter();
        let grants = grants.map(|hop| (Some(hop.grant.id), &hop.grant.permissions));
        let hops = std::iter::once(human).chain(grants).zip(&told.hops);
        Self {
            user_id: path.user.id,
            grant_id: path.leaf().map(|grant| grant.id),
            code: told.code,
            remedy: told.code.remedy(),
            hop: told.hop,
            hops: hops
                .map(|((grant, set), hop)| HopReport::of(grant, (set, hop), room))
                .collect(),
        }
    }
}

impl HopReport {
    fn of(
        grant_id: Option<GrantId>,
        (set, told): (&PermissionSet, &ExplainedHop),
        room: &mut usize,
    ) -> Self {
        let permissions = told.permissions.iter().filter_map(|told| {
            let permission = set.iter().find(|one| one.id() == told.id)?;
            Some(PermissionReport::of(permission, told.verdict, room))
        });
        Self {
            grant_id,
            standing: told.standing,
            guards: told.guards,
            permissions: permissions.collect(),
            more_permissions: told.more,
        }
    }
}

impl PermissionReport {
    fn of(permission: &Permission, verdict: Match, room: &mut usize) -> Self {
        let (code, other) = match verdict {
            Match::Judged(code) => (code, None),
            Match::OtherAction => (Code::PermissionDenied, Some("action")),
            Match::OtherResource => (Code::PermissionDenied, Some("resource")),
        };
        let fits = *room > 0;
        *room = room.saturating_sub(if fits { json_bytes(permission) } else { 0 });
        Self {
            id: permission.id().to_string(),
            permission: fits.then(|| permission.clone()),
            matches: other.is_none(),
            code,
            other,
        }
    }
}
