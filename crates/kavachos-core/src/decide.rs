//! The decision: whether a request is permitted, by which path, and at what price.
//!
//! A decision is the best of its paths, a path the worst of its hops (the human's own permissions are the first), a hop
//! the worst of its guards and its best permission. Promises: total and pure, the same for the same facts in whatever
//! order they stand; the work is linear in the permissions, hops and paths of the facts; a denial is a value with a
//! stable code. It takes nothing from a counter and asks no human: it says what is to be taken, and what is to be asked.

mod binding;
mod code;
mod count;
mod explain;
mod facts;
mod judge;

use std::fmt;
use std::time::Duration;

pub use crate::grant::{Hop, Path};
pub use binding::{Binding, MAX_DOCUMENT_BYTES};
pub use code::Code;
pub use count::{COUNTER_KEY_BYTES, CounterKey, Full, Take};
pub use explain::{
    ExplainedHop, ExplainedPath, ExplainedPermission, Explanation, MAX_EXPLAINED_PERMISSIONS,
    Match, explain,
};
pub use facts::{Answer, Approval, Credential, Facts, Known, Request};

use crate::counter::Refusal;
use crate::id::{GrantId, UserId};
use crate::permission::PermissionId;
use crate::principal::{Agent, Liveness, is_owned_by_live};
use crate::revocation::Mark;
use crate::time::Timestamp;
use judge::{Judge, PathOutcome};

/// Of how many paths, the best ones, a decision tells why it went as it did.
pub const MAX_VERDICTS: usize = 16;

/// What was decided, and what it relies on.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Why.
    pub code: Code,
    /// The best path, as a position in [`Facts::paths`]: the one by which the request is allowed, or would be. `None`
    /// when no path was looked at.
    pub winner: Option<usize>,
    /// What to take, all or none, for the request to be allowed; empty unless it is.
    pub takes: Vec<Take>,
    /// What must still be current when the decision is recorded: everything on the winning path and every principal
    /// relied on. Empty on a denial that no human can turn into an allow.
    pub reads: Vec<Mark>,
    /// Why the best [`MAX_VERDICTS`] paths went as they did, the best first.
    pub verdicts: Vec<PathVerdict>,
    /// How many more paths there were.
    pub more: u32,
    /// When to try again, where the counter said so.
    pub retry_after: Option<Duration>,
    /// How long the request for approval is to live, where one is required, pending or denied.
    pub approval_ttl: Option<Duration>,
}

/// How one path went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathVerdict {
    /// The path, as a position in [`Facts::paths`].
    pub path: usize,
    /// The hop that stood against it: 0 is the human, 1 the root grant; `None` when all permit.
    pub hop: Option<u8>,
    /// The permission that decided there, or the agent's own when all permit; `None` when no permission matched, or it
    /// was the guards or the grant itself.
    pub permission: Option<PermissionId>,
    /// How it went.
    pub code: Code,
}

impl Decision {
    /// Whether the request is allowed, once the takes are taken and the record is written.
    pub fn allowed(&self) -> bool {
        self.code == Code::Allowed
    }

    /// A sentence for people. It names no person and repeats nothing of the request.
    pub fn reason(&self) -> String {
        Sentence(self).to_string()
    }

    /// This decision with its counter found full, for a caller that looks at no further ones.
    pub fn refused(mut self, refusal: Refusal) -> Self {
        let (code, retry_after) = match refusal {
            Refusal::RetryAfter(wait) => (Code::RateLimited, Some(wait)),
            Refusal::Exhausted => (Code::BudgetExhausted, None),
        };
        if let Some(best) = self.verdicts.first_mut() {
            best.code = code;
        }
        Self {
            code,
            retry_after,
            takes: Vec::new(),
            reads: Vec::new(),
            ..self
        }
    }

    /// This decision, turned into a denial by the program around it. What the paths say stays as it is: none of them
    /// stands against the request.
    pub fn denied_by_hook(self) -> Self {
        Self {
            code: Code::DeniedByHook,
            takes: Vec::new(),
            reads: Vec::new(),
            retry_after: None,
            approval_ttl: None,
            ..self
        }
    }

    fn before_paths(code: Code) -> Self {
        Self {
            code,
            winner: None,
            takes: Vec::new(),
            reads: Vec::new(),
            verdicts: Vec::new(),
            more: 0,
            retry_after: None,
            approval_ttl: None,
        }
    }
}

struct Sentence<'a>(&'a Decision);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code.reason())?;
        if let Some(wait) = self.0.retry_after {
            // Rounded up: who waits as long as we say must not be too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            write!(f, "; try again in {seconds} s")?;
        }
        Ok(())
    }
}

/// Decides a request, given the counters that were found full.
///
/// The caller commits the record, the takes and the reads of an allow together. Where the writer finds a counter full
/// it is added to `full` and decided again.
pub fn decide(facts: &Facts, request: &Request, full: &[Full], now: Timestamp) -> Decision {
    let known = Known {
        full,
        approvals: &[],
    };
    decide_with(facts, request, known, now)
}

/// Decides a request, given what was found out about counters and approvals.
///
/// A first decision without approvals says `approval_required` and names the path; the caller looks for an approval of
/// this very call on that path, and decides again with it.
pub fn decide_with(facts: &Facts, request: &Request, known: Known<'_>, now: Timestamp) -> Decision {
    let judge = Judge::new(request, known, now);
    let subject = subject(facts);
    let agent = match stop(facts, subject, &judge, now) {
        Ok(agent) => agent,
        Err(code) => return Decision::before_paths(code),
    };
    let mut ranking = Ranking::new(&facts.paths);
    for (index, path) in paths_of(facts, subject) {
        ranking.place(index, judge.path(index, path, agent.id));
    }
    ranking.conclude(facts, &judge)
}

/// The human for whom the request is made.
fn subject(facts: &Facts) -> Option<UserId> {
    facts
        .subject
        .or_else(|| facts.agent.as_ref().map(|agent| agent.root))
}

fn paths_of(facts: &Facts, subject: Option<UserId>) -> impl Iterator<Item = (usize, &Path)> {
    let ours = move |path: &Path| Some(path.user.id) == subject;
    (facts.paths.iter().enumerate()).filter(move |(_, path)| ours(path))
}

/// What stands against the request whatever its paths are, in the order in which it is told; else the agent.
fn stop<'a>(
    facts: &'a Facts,
    subject: Option<UserId>,
    judge: &Judge<'_>,
    now: Timestamp,
) -> Result<&'a Agent, Code> {
    if paths_of(facts, subject).any(|(_, path)| judge.lacks_cost(path)) {
        return Err(Code::CostRequired);
    }
    let agent = facts.agent.as_ref().ok_or(Code::UnknownAgent)?;
    match facts.credential {
        Credential::KeyExpired => return Err(Code::KeyExpired),
        Credential::KeyRevoked => return Err(Code::KeyRevoked),
        Credential::ById | Credential::KeyLive => {}
    }
    match agent.liveness(now) {
        Liveness::Revoked => return Err(Code::AgentRevoked),
        Liveness::Suspended => return Err(Code::AgentSuspended),
        Liveness::Expired => return Err(Code::AgentExpired),
        Liveness::Live => {}
    }
    if !is_owned_by_live(agent, &facts.owners, facts.user.as_deref(), now) {
        return Err(Code::OwnerNotActive);
    }
    if paths_of(facts, subject).next().is_none() && !facts.paths.is_empty() {
        return Err(Code::SubjectRequired);
    }
    Ok(agent)
}

/// The best paths so far.
struct Ranking<'a> {
    paths: &'a [Path],
    best: Option<(usize, PathOutcome)>,
    /// INVARIANT: the best first, at most [`MAX_VERDICTS`].
    verdicts: Vec<PathVerdict>,
    more: u32,
}

/// Lower is better: the code, then fewer hops, then the id of the agent's grant, which no two paths share.
type Key = (u8, usize, Option<GrantId>);

impl<'a> Ranking<'a> {
    fn new(paths: &'a [Path]) -> Self {
        Self {
            paths,
            best: None,
            verdicts: Vec::with_capacity(paths.len().min(MAX_VERDICTS)),
            more: 0,
        }
    }

    fn key(&self, index: usize, code: Code) -> Key {
        let path = self.paths.get(index);
        let hops = path.map_or(usize::MAX, |path| path.hops.len());
        let leaf = path.and_then(Path::leaf).map(|grant| grant.id);
        (code.rank(), hops, leaf)
    }

    fn place(&mut self, index: usize, judged: PathOutcome) {
        let key = self.key(index, judged.outcome.code);
        let at = self
            .verdicts
            .partition_point(|better| self.key(better.path, better.code) <= key);
        if at == 0 {
            self.best = Some((index, judged));
        }
        if self.verdicts.len() == MAX_VERDICTS {
            self.more = self.more.saturating_add(1);
            if at == MAX_VERDICTS {
                return;
            }
            self.verdicts.pop();
        }
        let verdict = PathVerdict {
            path: index,
            hop: judged.hop,
            permission: judged.permission,
            code: judged.outcome.code,
        };
        self.verdicts.insert(at, verdict);
    }

    fn conclude(self, facts: &Facts, judge: &Judge<'_>) -> Decision {
        let Some((winner, judged)) = self.best else {
            return Decision::before_paths(Code::PermissionDenied);
        };
        let code = judged.outcome.code;
        let mut decision = Decision {
            code,
            winner: Some(winner),
            takes: Vec::new(),
            reads: Vec::new(),
            verdicts: self.verdicts,
            more: self.more,
            retry_after: judged.outcome.retry_after,
            approval_ttl: None,
        };
        let Some(path) = facts.paths.get(winner) else {
            return decision;
        };
        if code == Code::Allowed && judged.counts {
            decision.takes = judge.takes(winner, path);
        }
        if matches!(
            code,
            Code::ApprovalRequired | Code::ApprovalPending | Code::ApprovalDenied
        ) {
            decision.approval_ttl = judge.approval_ttl(winner, path);
        }
        if code.rank() <= Code::ApprovalRequired.rank() {
            decision.reads = marks(facts, path);
        }
        decision
    }
}

/// The marks of the agent, its owners and human, and of everything on the path, each once.
fn marks(facts: &Facts, path: &Path) -> Vec<Mark> {
    let mut marks = Vec::with_capacity(3 + facts.owners.len() + 2 * path.hops.len());
    let mut read = |mark: Mark| {
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    };
    read(path.user.mark);
    for hop in &path.hops {
        hop.giver.iter().for_each(|agent| read(agent.mark));
        hop.giver_user.iter().for_each(|user| read(user.mark));
        read(hop.grant.mark);
    }
    facts.agent.iter().for_each(|agent| read(agent.mark));
    facts.owners.iter().for_each(|agent| read(agent.mark));
    facts.user.iter().for_each(|user| read(user.mark));
    marks
}
