//! Decisions that tool servers made by themselves, by what a token says, and tell afterwards.
//!
//! Promises: a report is never taken for a decision of this server: its records are of a kind of their own and name the
//! tool server by whose word they stand. A tool server reports of tokens that were made out to it and of no others, since
//! a token and the record of its making have the same number: whose it was, and by which chain, is read there and is
//! nobody's word. What lies in the future, an hour back, before the token or after its end is refused item by item. A
//! batch is recorded once, however often it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use kavachos_core::action::Action;
use kavachos_core::id::{AgentId, AuditId, GrantId, TokenId, ToolServerId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome, Pseudonym, Record};
use kavachos_core::resource::Resource;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{CLOCK_SKEW, Code};
use kavachos_store::ledger::{LedgerRow, by_id};
use kavachos_store::{Batch, Row};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Caller};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::tokens::record_of;
use crate::tool_servers::ToolServerKey;

/// The most decisions of one report.
pub const MAX_REPORTS: usize = 100;
/// The kind of their records.
pub(crate) const KIND: &str = "decision.reported";
/// The code of a decision to allow.
const ALLOWED: &str = "allowed";
/// How long ago a decision may have been made.
const OLDEST: Duration = Duration::from_secs(60 * 60);

/// A decision that a tool server made.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The name of the token that was shown to it.
    pub token: TokenId,
    /// What was to be done.
    pub action: Action,
    /// With what.
    pub resource: Resource,
    /// Whether it let it be done.
    pub allowed: bool,
    /// `allowed`, or the code with which it refused.
    pub code: String,
    /// When.
    pub time: Timestamp,
    /// Whether the sender proved to hold the key of the token.
    pub proven: bool,
    /// How many of its kind it stands for.
    pub count: NonZeroU32,
}

/// What became of a batch of reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// How many are on record now.
    pub recorded: usize,
    /// Those that are not, and will not be.
    pub refused: Vec<RefusedReport>,
}

/// A report that was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RefusedReport {
    /// Which one, counted from 0.
    pub index: usize,
    /// Why.
    pub code: Unreportable,
}

/// Why a report is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unreportable {
    /// No token of this name was made out to the tool server.
    UnknownToken,
    /// Its time lies in the future, more than an hour back, or before the token.
    TimeOutOfRange,
    /// Its code is none, or says something else than `allowed` does.
    UnknownCode,
    /// What was allowed is outside of the tool server's registered scopes.
    NotCovered,
}

/// What the record of a token's making says of it.
struct Known {
    made: Timestamp,
    said: TokenRecord,
    subject: Option<Pseudonym>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenRecord {
    kind: String,
    agent: AgentId,
    subject: Option<String>,
    #[serde(default)]
    chain: Vec<AgentId>,
    #[serde(default)]
    grant_path: Vec<GrantId>,
    details: TokenDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenDetails {
    server: ToolServerId,
    expires_at: Timestamp,
}

impl Known {
    /// `None` of a record of anything but a token for this tool server.
    fn of(row: &LedgerRow, server: ToolServerId) -> Option<Self> {
        let said: TokenRecord = serde_json::from_str(&row.body).ok()?;
        if said.kind != "token.issued" || said.details.server != server {
            return None;
        }
        Some(Self {
            made: row.time,
            subject: said.subject.as_ref().and_then(|name| name.parse().ok()),
            said,
        })
    }
}

impl Engine {
    /// Records decisions that the calling tool server made, those that it may report; needs an `Idempotency-Key`.
    ///
    /// # Errors
    /// The caller is no tool server, there are none or too many of them, or too many were reported lately: then later.
    pub async fn report(&self, actor: &Actor, reports: &[Report]) -> Result<Issued<Reported>> {
        let act = Act::new(KIND);
        let server = match &actor.caller {
            Caller::ToolServer(key) => key.id,
            _ => {
                let error = Error::Forbidden(
                    "only a tool server reports what it decided: call with its own key".to_owned(),
                );
                return Err(self.refused(actor, act, error).await?);
            }
        };
        check(actor, reports)?;
        if let Some(before) = self.reported_before(actor).await? {
            return Ok(before);
        }
        self.admit_reports(server, reports.len())?;
        let done = self
            .change(actor, act, || self.plan_report(actor, reports))
            .await?;
        if !done.replayed {
            self.charge_reports(done.thing.recorded);
        }
        Ok(done)
    }

    async fn reported_before(&self, actor: &Actor) -> Result<Option<Issued<Reported>>> {
        let Some(done) = self.done_before(actor).await? else {
            return Ok(None);
        };
        let reported = serde_json::from_str(&done);
        let reported = reported.map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Some(Issued::replay(reported)))
    }

    async fn plan_report(
        &self,
        actor: &Actor,
        reports: &[Report],
    ) -> Result<Plan<Issued<Reported>>> {
        let Caller::ToolServer(key) = &actor.caller else {
            return Err(Error::Internal("a report without a tool server".to_owned()));
        };
        if let Some(before) = self.reported_before(actor).await? {
            return Ok(Plan::Done(before));
        }
        let tokens = self.tokens_of(key.id, reports).await?;
        let mut reported = Reported {
            recorded: 0,
            refused: Vec::new(),
        };
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        for (index, report) in reports.iter().enumerate() {
            match self.reportable(actor, tokens.get(&report.token), report) {
                Ok((known, code)) => {
                    let entry = self.report_record(actor, (key, known), (report, code))?;
                    batch.entries.push(entry);
                    reported.recorded = reported.recorded.saturating_add(1);
                }
                Err(code) => reported.refused.push(RefusedReport { index, code }),
            }
        }
        if batch.entries.is_empty() {
            return Ok(Plan::Done(Issued::without_token(reported)));
        }
        let answer = serde_json::to_string(&reported);
        let answer = answer.map_err(|error| Error::Internal(error.to_string()))?;
        self.claim_once(actor, &mut batch, answer);
        Ok(Plan::commit(batch, Issued::without_token(reported)))
    }

    /// What is on record of the tokens that were made out to a tool server.
    async fn tokens_of(
        &self,
        server: ToolServerId,
        reports: &[Report],
    ) -> Result<BTreeMap<TokenId, Known>> {
        let named: BTreeSet<TokenId> = reports.iter().map(|report| report.token).collect();
        let ids = || named.iter().map(|token| record_of(*token));
        let queries = ids().map(|id: AuditId| by_id(id).into_query()).collect();
        let answers = self.store().read(queries).await?;
        let mut known = BTreeMap::new();
        for (token, rows) in named.iter().zip(answers) {
            for row in rows {
                let wrong = |error: kavachos_store::Malformed| {
                    Error::from(kavachos_store::ReadError::from(error))
                };
                let row: LedgerRow = Row::decode(row).map_err(wrong)?;
                known.extend(Known::of(&row, server).map(|found| (*token, found)));
            }
        }
        Ok(known)
    }

    /// What the record of a report is made of, if it may be one.
    fn reportable<'k>(
        &self,
        actor: &Actor,
        known: Option<&'k Known>,
        report: &Report,
    ) -> std::result::Result<(&'k Known, &'static str), Unreportable> {
        let known = known.ok_or(Unreportable::UnknownToken)?;
        let now = self.now();
        // Nothing is decided with a token that is over.
        let latest = now.min(known.said.details.expires_at).plus(CLOCK_SKEW);
        let earliest = now.minus(OLDEST).max(known.made.minus(CLOCK_SKEW));
        if report.time > latest || report.time < earliest {
            return Err(Unreportable::TimeOutOfRange);
        }
        let code = code_of(report).ok_or(Unreportable::UnknownCode)?;
        let covered = actor.within_ceiling(&report.action, &report.resource);
        if report.allowed && covered.is_err() {
            return Err(Unreportable::NotCovered);
        }
        Ok((known, code))
    }

    fn report_record(
        &self,
        actor: &Actor,
        (key, known): (&ToolServerKey, &Known),
        (report, code): (&Report, &'static str),
    ) -> Result<Entry> {
        let outcome = if report.allowed {
            Outcome::Allowed
        } else {
            Outcome::Denied
        };
        let mut details =
            json!({ "token": report.token, "at": report.time, "proven": report.proven });
        if let Some(details) = details
            .as_object_mut()
            .filter(|_| report.count > NonZeroU32::MIN)
        {
            details.insert("count".to_owned(), json!(report.count));
        }
        // Where the call came from nobody says; where the report came from is not about the human.
        self.seal(&Record {
            subject: known.subject,
            agent: Some(known.said.agent),
            chain: &known.said.chain,
            grant_path: &known.said.grant_path,
            agent_proof: Some("server"),
            action: Some(report.action.as_str()),
            resource: Some(report.resource.as_str()),
            request_id: Some(actor.request),
            reported_by: Some(key.audience.as_str()),
            details: Some(&details),
            ..Record::new(self.id(), KIND, outcome, code, actor.name())
        })
    }
}

fn check(actor: &Actor, reports: &[Report]) -> Result<()> {
    if !(1..=MAX_REPORTS).contains(&reports.len()) {
        let message = format!(
            "report 1 to {MAX_REPORTS} decisions; these are {}",
            reports.len()
        );
        return Err(Invalid::at("decisions", message).into());
    }
    if actor.once.is_none() {
        let message = "is missing: name the batch, so that it is recorded once if it is sent again";
        return Err(Invalid::at("Idempotency-Key", message).into());
    }
    Ok(())
}

/// The code in our own words; `None` where it is none, or contradicts what was decided.
fn code_of(report: &Report) -> Option<&'static str> {
    if report.allowed {
        return (report.code == ALLOWED).then_some(ALLOWED);
    }
    let mut codes = Code::ALL.iter().map(|code| code.as_str());
    codes.find(|code| *code == report.code)
}
