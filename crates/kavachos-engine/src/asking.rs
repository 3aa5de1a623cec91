//! A decision and the human who is asked: finds what was said of this very call, and plans the request for it.
//!
//! A request is bound to a document ([`Binding`]): the call, and the path with everything's generation. So what was said
//! of another call, or before something on the path was killed, is never found.

use std::time::Duration;

use kavachos_core::decide::{
    self, Answer, Binding, Code, Facts, Full, Known, Request, decide_with,
};
use kavachos_core::id::{ApprovalId, GrantId};
use kavachos_core::time::Timestamp;
use kavachos_store::approval::{self, ApprovalRow, Stage};
use kavachos_store::{Batch, Write};

use crate::actor::Actor;
use crate::authorize::MAX_FULL;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hooks::Veto;
use crate::users::to_text;

/// How often a decision looks for answers on further paths. Each look covers the best 16 that need one.
const MAX_LOOKS: usize = 16;

/// A decision, with what it means for requests for approval.
pub(crate) struct Judged {
    pub(crate) decision: decide::Decision,
    pub(crate) asking: Asking,
    /// What a hook has against it.
    pub(crate) veto: Option<Veto>,
}

impl Judged {
    /// The code in words, with what else is to be said.
    pub(crate) fn reason(&self) -> String {
        match &self.veto {
            Some(veto) => veto.reason(),
            None => self.asking.reason(&self.decision),
        }
    }
}

/// What a decision means for requests for approval.
#[derive(Default)]
pub(crate) enum Asking {
    /// Nothing.
    #[default]
    Nothing,
    /// The allow uses this approval up.
    Uses(Box<ApprovalRow>),
    /// A human has been asked before and has not answered, or has said no.
    Asked(ApprovalId),
    /// A human is to be asked.
    Asks(Box<ApprovalRow>),
    /// A human should be asked and cannot be, for this reason.
    Cannot(&'static str),
}

impl Asking {
    /// The request for approval that the answer names.
    pub(crate) fn id(&self) -> Option<ApprovalId> {
        match self {
            Self::Uses(row) | Self::Asks(row) => Some(row.id),
            Self::Asked(id) => Some(*id),
            Self::Nothing | Self::Cannot(_) => None,
        }
    }

    /// The code in words, with what else is to be said.
    fn reason(&self, decision: &decide::Decision) -> String {
        match self {
            Self::Cannot(why) => format!("{}; {why}", decision.reason()),
            _ => decision.reason(),
        }
    }

    /// Adds what becomes of the request to the batch of this caller's decision. An allow relies on whoever approved.
    pub(crate) fn add_to(&self, batch: &mut Batch, actor: &Actor, limit: u64, now: Timestamp) {
        let write: Option<Write> = match self {
            Self::Uses(row) => {
                batch.reads.extend(row.approver);
                Some(approval::consume(row.id, now))
            }
            Self::Asks(row) => {
                let row = ApprovalRow {
                    server: actor.tool_server(),
                    ..ApprovalRow::clone(row)
                };
                Some(approval::ask(row, limit))
            }
            Self::Nothing | Self::Asked(_) | Self::Cannot(_) => None,
        };
        batch.writes.extend(write);
    }
}

/// What was said of this very call.
#[derive(Default)]
struct Said {
    /// The paths that were looked at.
    looked: Vec<usize>,
    known: Vec<decide::Approval>,
    rows: Vec<(usize, ApprovalRow)>,
}

impl Said {
    fn on(&self, path: Option<usize>) -> Option<&ApprovalRow> {
        let mut rows = self.rows.iter();
        rows.find(|(index, _)| Some(*index) == path)
            .map(|(_, row)| row)
    }

    fn add(&mut self, path: usize, row: ApprovalRow) {
        let answer = match row.stage {
            Stage::Pending => Answer::Pending,
            Stage::Approved => Answer::Approved,
            Stage::Denied => Answer::Denied,
            Stage::Used => return,
        };
        self.known.push(decide::Approval { path, answer });
        self.rows.push((path, row));
    }
}

impl Engine {
    /// Decides, with what humans said of this very call.
    pub(crate) async fn judged(
        &self,
        facts: &Facts,
        request: &Request,
        full: &[Full],
        now: Timestamp,
    ) -> Result<Judged> {
        let mut said = Said::default();
        let mut decision = decided(facts, request, (full, &[]), now);
        for _ in 0..MAX_LOOKS {
            let unanswered = unanswered(&decision, &said);
            if unanswered.is_empty() || !self.look(facts, request, unanswered, &mut said).await? {
                break;
            }
            decision = decided(facts, request, (full, &said.known), now);
        }
        let asking = match decision.code {
            Code::ApprovalRequired => self.plan_asking(facts, request, &decision, now).await?,
            Code::ApprovalPending | Code::ApprovalDenied => {
                let row = said.on(decision.winner);
                row.map_or(Asking::Nothing, |row| Asking::Asked(row.id))
            }
            Code::Allowed => match said.on(decision.winner) {
                Some(row) => Asking::Uses(Box::new(row.clone())),
                None => Asking::Nothing,
            },
            _ => Asking::Nothing,
        };
        Ok(Judged {
            decision,
            asking,
            veto: None,
        })
    }

    /// Looks for what was said on these paths; whether there was anything.
    async fn look(
        &self,
        facts: &Facts,
        request: &Request,
        paths: Vec<usize>,
        said: &mut Said,
    ) -> Result<bool> {
        let digest = |index: &usize| {
            let path = facts.paths.get(*index)?;
            Some((*index, Binding::of(facts, path, request).digest()))
        };
        let digests: Vec<(usize, [u8; 32])> = paths.iter().filter_map(digest).collect();
        said.looked.extend(paths);
        let asked: Vec<[u8; 32]> = digests.iter().map(|(_, digest)| *digest).collect();
        let found = self
            .store()
            .list(approval::open(&asked, self.now()))
            .await?;
        let any = !found.is_empty();
        for row in found {
            let path = digests.iter().find(|(_, digest)| *digest == row.digest);
            if let Some((path, _)) = path {
                said.add(*path, row);
            }
        }
        Ok(any)
    }

    /// The request that the decision's best path needs.
    async fn plan_asking(
        &self,
        facts: &Facts,
        request: &Request,
        decision: &decide::Decision,
        now: Timestamp,
    ) -> Result<Asking> {
        let path = decision.winner.and_then(|winner| facts.paths.get(winner));
        let (Some(path), Some(agent)) = (path, &facts.agent) else {
            return Ok(Asking::Nothing);
        };
        let binding = Binding::of(facts, path, request);
        if !binding.is_readable() {
            return Ok(Asking::Cannot(
                "the call is too long for a human to be asked about; shorten its arguments",
            ));
        }
        let waiting = self.store().find(approval::waiting(agent.id, now)).await?;
        if waiting.is_some_and(|(waiting,)| waiting >= self.settings().approvals_per_agent) {
            return Ok(Asking::Cannot(
                "too many requests of this agent wait for an answer already",
            ));
        }
        let grants: Vec<GrantId> = path.hops.iter().map(|hop| hop.grant.id).collect();
        Ok(Asking::Asks(Box::new(ApprovalRow {
            id: self.id(),
            agent: agent.id,
            subject: path.user.id,
            action: request.action.as_str().to_owned(),
            resource: request.resource.as_str().to_owned(),
            grant_path: to_text(&grants)?,
            digest: binding.digest(),
            document: binding.document().to_owned(),
            arguments_digest: crate::authorize::arguments_digest(request),
            stage: Stage::Pending,
            decided_by: None,
            approver: None,
            approver_killed: false,
            decided_at: None,
            expires_at: now.plus(life(decision)?),
            created_at: now,
            server: None,
        })))
    }
}

/// Decides about a call of which nobody saw everything: no human is asked about it, and nothing that was said of another
/// call counts.
pub(crate) fn judged_unseen(
    facts: &Facts,
    request: &Request,
    full: &[Full],
    now: Timestamp,
) -> Judged {
    let decision = decided(facts, request, (full, &[]), now);
    let asking = match decision.code {
        Code::ApprovalRequired => Asking::Cannot(
            "the body of the call is not known here, so no human can be asked about it",
        ),
        _ => Asking::Nothing,
    };
    Judged {
        decision,
        asking,
        veto: None,
    }
}

/// How long the request lives; core says so with every decision that asks for one.
fn life(decision: &decide::Decision) -> Result<Duration> {
    decision.approval_ttl.ok_or_else(|| {
        Error::Internal("an approval is required and nobody says how long it lives".to_owned())
    })
}

/// The best paths that need an approval and were not looked at yet.
fn unanswered(decision: &decide::Decision, said: &Said) -> Vec<usize> {
    if decision.code != Code::ApprovalRequired {
        return Vec::new();
    }
    let verdicts = decision.verdicts.iter();
    let unanswered = verdicts.filter(|verdict| {
        verdict.code == Code::ApprovalRequired && !said.looked.contains(&verdict.path)
    });
    unanswered.map(|verdict| verdict.path).collect()
}

/// Decides; a request that would be allowed, were there not too many full counters in its way, is denied by the last.
fn decided(
    facts: &Facts,
    request: &Request,
    (full, approvals): (&[Full], &[decide::Approval]),
    now: Timestamp,
) -> decide::Decision {
    let decision = decide_with(facts, request, Known { full, approvals }, now);
    match full.last() {
        Some(last) if full.len() >= MAX_FULL && decision.allowed() => {
            decision.refused(last.refusal)
        }
        _ => decision,
    }
}
