//! Judging one path: the worst of its hops, each the worst of its guards and its best permission.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use super::code::Code;
use super::count::{Holder, Take};
use super::facts::{Answer, Known, Request};
use crate::constraint::{Call, Constraints, Verdict, searched_bytes};
use crate::counter::Refusal;
use crate::grant::{Hop, Path, Standing};
use crate::id::{AgentId, GrantId, UserId};
use crate::permission::{Permission, PermissionId, PermissionSet};
use crate::time::Timestamp;

/// How much text the patterns of one decision read, in bytes, each pattern's share counted: what goes beyond fails.
///
/// It bounds what a hostile set of permissions costs; a pattern reads at most 16 KiB. The paths of the facts are judged
/// in their order, so the first ones, which should be those nearest to the human, have the allowance first.
const MAX_SEARCHED: usize = 256 * 1024;

/// Judges paths for one request at one moment.
#[derive(Debug, Clone)]
pub(super) struct Judge<'a> {
    pub(super) request: &'a Request,
    call: Call<'a>,
    known: Known<'a>,
    pub(super) now: Timestamp,
    /// How much text one pattern reads, once that was asked.
    text: OnceCell<usize>,
    /// How much text patterns have read.
    searched: Cell<usize>,
    /// How much they may read.
    allowance: usize,
}

/// What constraints, a permission or a hop say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) code: Code,
    /// When to try again, for [`Code::RateLimited`].
    pub(super) retry_after: Option<Duration>,
}

impl Outcome {
    const ALLOWED: Self = Self::of(Code::Allowed);

    const fn of(code: Code) -> Self {
        Self {
            code,
            retry_after: None,
        }
    }

    /// The worse of both, with the longer wait where both are as bad.
    fn worst(self, other: Self) -> Self {
        if (other.code.rank(), other.wait()) > (self.code.rank(), self.wait()) {
            other
        } else {
            self
        }
    }

    /// How long it stays like this; without a time to try again, for ever.
    fn wait(self) -> Duration {
        self.retry_after.unwrap_or(Duration::MAX)
    }
}

/// What a path says, and which hop made it say so.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathOutcome {
    pub(super) outcome: Outcome,
    /// The hop that stands against it: 0 is the human, 1 the root grant.
    pub(super) hop: Option<u8>,
    /// The best permission at that hop, if the permission decided; of the last hop on an allow.
    pub(super) permission: Option<PermissionId>,
    /// Whether there is anything to take from.
    pub(super) counts: bool,
}

/// Whose permissions these are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Giver {
    User(UserId),
    Grant(GrantId),
}

impl Giver {
    pub(super) fn holder(self, permission: PermissionId) -> Holder {
        match self {
            Self::User(user) => Holder::User(user, permission),
            Self::Grant(grant) => Holder::Grant(grant, permission),
        }
    }
}

/// The best permission of a hop.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    permission: &'a Permission,
    outcome: Outcome,
}

impl Choice<'_> {
    /// Lower is better: the better code, the shorter wait, fewer counters, the lower id. So a plain permission beside
    /// a limited one neither takes from its counter nor is stopped by it.
    fn key(&self) -> (u8, Duration, u8, PermissionId) {
        (
            self.outcome.code.rank(),
            self.outcome.wait(),
            self.permission.kind().counters,
            self.permission.id(),
        )
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(request: &'a Request, known: Known<'a>, now: Timestamp) -> Self {
        Self {
            request,
            call: Call {
                arguments: request.arguments.as_ref(),
                ip: request.ip,
                cost: request.cost.as_ref(),
            },
            known,
            now,
            text: OnceCell::new(),
            searched: Cell::new(0),
            allowance: MAX_SEARCHED,
        }
    }

    /// The same, for whom patterns may read so many times as much as for a decision.
    pub(super) fn reading(self, times: usize) -> Self {
        Self {
            allowance: MAX_SEARCHED.saturating_mul(times),
            ..self
        }
    }

    /// Takes what the patterns of these constraints read off the allowance; whether there was enough of it.
    fn may_search(&self, constraints: &Constraints) -> bool {
        let (patterns, Some(arguments)) = (constraints.patterns(), self.call.arguments) else {
            return true;
        };
        if patterns == 0 {
            return true;
        }
        let text = *self.text.get_or_init(|| searched_bytes(arguments));
        let searched = (self.searched.get()).saturating_add(patterns.saturating_mul(text));
        if searched > self.allowance {
            return false;
        }
        self.searched.set(searched);
        true
    }

    /// Judges a path of this agent; `index` is its position in the facts.
    pub(super) fn path(&self, index: usize, path: &'a Path, agent: AgentId) -> PathOutcome {
        let approval = self.approval(index);
        let user = Giver::User(path.user.id);
        let choice = self.best(&path.user.permissions, user, approval);
        let mut so_far = PathOutcome {
            outcome: Outcome::ALLOWED,
            hop: None,
            permission: None,
            counts: false,
        };
        if !path.ends_at(agent, self.now) {
            so_far.weigh(0, Outcome::of(Code::AncestorNotActive), None);
        }
        so_far.choose(0, choice);
        let mut above = None;
        for (hop, number) in path.hops.iter().zip(1_u8..) {
            so_far.weigh(
                number,
                standing(path.hop_standing(hop, above, self.now)),
                None,
            );
            if let Some(guards) = &hop.grant.guards {
                let holder = Holder::Guards(hop.grant.id);
                so_far.counts |= guards.rate().is_some() || guards.budget().is_some();
                so_far.weigh(number, self.weigh(guards, holder, approval), None);
            }
            let giver = Giver::Grant(hop.grant.id);
            so_far.choose(number, self.best(&hop.grant.permissions, giver, approval));
            above = Some(hop);
        }
        so_far
    }

    /// What an allowed call on this path takes: from the human's permission, and from every hop's guards and permission.
    pub(super) fn takes(&self, index: usize, path: &'a Path) -> Vec<Take> {
        let mut takes = Vec::new();
        self.each_deciding(index, path, |holder, constraints| {
            takes.extend(holder.takes(constraints, self.call.cost));
        });
        takes
    }

    /// How long a request for approval of a call on this path lives: the shortest that a hop asks for.
    pub(super) fn approval_ttl(&self, index: usize, path: &'a Path) -> Option<Duration> {
        let mut ttl: Option<Duration> = None;
        self.each_deciding(index, path, |_, constraints| {
            let ours = constraints.approval().map(|approval| approval.ttl());
            ttl = [ttl, ours].into_iter().flatten().min();
        });
        ttl
    }

    /// Visits the constraints that decide on this path, from the human down.
    fn each_deciding(
        &self,
        index: usize,
        path: &'a Path,
        mut visit: impl FnMut(Holder, &'a Constraints),
    ) {
        // The path is judged again alone, so what it had of the allowance is there again.
        self.searched.set(0);
        let approval = self.approval(index);
        let mut chosen = |set, giver: Giver| {
            let choice: Option<Choice<'a>> = self.best(set, giver, approval);
            if let Some(permission) = choice.map(|choice| choice.permission)
                && let Some(constraints) = permission.constraints()
            {
                visit(giver.holder(permission.id()), constraints);
            }
        };
        chosen(&path.user.permissions, Giver::User(path.user.id));
        for Hop { grant, .. } in &path.hops {
            chosen(&grant.permissions, Giver::Grant(grant.id));
        }
        for Hop { grant, .. } in &path.hops {
            if let Some(guards) = grant.guards.as_deref() {
                visit(Holder::Guards(grant.id), guards);
            }
        }
    }

    /// Whether a matching permission or guard on this path needs a cost that the request does not state. Guards match
    /// what some permission of their grant matches.
    pub(super) fn lacks_cost(&self, path: &Path) -> bool {
        let lacks = |constraints: Option<&Constraints>| {
            let budget = constraints.and_then(Constraints::budget);
            budget.is_some_and(|budget| budget.charge(self.call.cost).is_none())
        };
        let set_lacks = |set: &PermissionSet| {
            set.is_priced() && self.matching(set).any(|found| lacks(found.constraints()))
        };
        set_lacks(&path.user.permissions)
            || path.hops.iter().any(|Hop { grant, .. }| {
                let guards_lack = lacks(grant.guards.as_deref());
                (guards_lack && self.matching(&grant.permissions).next().is_some())
                    || set_lacks(&grant.permissions)
            })
    }

    #[inline]
    fn matching<'s>(&self, set: &'s PermissionSet) -> impl Iterator<Item = &'s Permission>
    where
        'a: 's,
    {
        let request: &'a Request = self.request;
        set.matching(&request.action, &request.resource)
    }

    pub(super) fn approval(&self, path: usize) -> Option<Answer> {
        let mut approvals = self.known.approvals.iter();
        approvals
            .find(|approval| approval.path == path)
            .map(|approval| approval.answer)
    }

    /// The best of the permissions that match; the same one in whatever order they stand.
    #[inline]
    fn best(
        &self,
        set: &'a PermissionSet,
        giver: Giver,
        approval: Option<Answer>,
    ) -> Option<Choice<'a>> {
        let mut best: Option<Choice<'a>> = None;
        for permission in self.matching(set) {
            let mut choice = Choice {
                permission,
                outcome: Outcome::ALLOWED,
            };
            // Its constraints can only make it worse: what loses without them is not judged.
            if best.is_some_and(|best| best.key() <= choice.key()) {
                continue;
            }
            if let Some(constraints) = permission.constraints() {
                let holder = giver.holder(permission.id());
                choice.outcome = self.weigh(constraints, holder, approval);
            }
            if best.is_none_or(|best| choice.key() < best.key()) {
                best = Some(choice);
            }
        }
        best
    }

    /// What constraints say, counters and approvals included.
    pub(super) fn weigh(
        &self,
        constraints: &Constraints,
        holder: Holder,
        approval: Option<Answer>,
    ) -> Outcome {
        let asked = match (constraints.approval(), approval) {
            (None, _) | (Some(_), Some(Answer::Approved)) => Code::Allowed,
            (Some(_), None) => Code::ApprovalRequired,
            (Some(_), Some(Answer::Pending)) => Code::ApprovalPending,
            (Some(_), Some(Answer::Denied)) => Code::ApprovalDenied,
        };
        if !self.may_search(constraints) {
            return Outcome::of(Code::ArgumentNotAllowed);
        }
        let checked = match constraints.check(&self.call, self.now) {
            // That an approval is asked for is weighed above, with the answer.
            Verdict::ApprovalRequired => Code::Allowed,
            verdict => verdict.into(),
        };
        let outcome = Outcome::of(checked).worst(Outcome::of(asked));
        if self.known.full.is_empty() {
            return outcome;
        }
        let rate = constraints.rate().map(|rate| holder.rate_key(rate));
        let budget = constraints.budget().map(|budget| holder.budget_key(budget));
        self.known.full.iter().fold(outcome, |outcome, full| {
            if rate == Some(full.key) {
                outcome.worst(Outcome {
                    code: Code::RateLimited,
                    retry_after: wait(full.refusal),
                })
            } else if budget == Some(full.key) {
                outcome.worst(Outcome::of(Code::BudgetExhausted))
            } else {
                outcome
            }
        })
    }
}

impl PathOutcome {
    fn choose(&mut self, hop: u8, choice: Option<Choice<'_>>) {
        let Some(Choice {
            permission,
            outcome,
        }) = choice
        else {
            return self.weigh(hop, Outcome::of(Code::PermissionDenied), None);
        };
        self.counts |= permission.kind().counters > 0;
        self.weigh(hop, outcome, Some(permission.id()));
    }

    /// Takes a hop's outcome in; the first of the worst is the one that is told.
    fn weigh(&mut self, hop: u8, outcome: Outcome, permission: Option<PermissionId>) {
        if outcome.code.rank() > self.outcome.code.rank() {
            self.hop = Some(hop);
            self.permission = permission;
        } else if self.hop.is_none() && permission.is_some() {
            self.permission = permission;
        }
        self.outcome = self.outcome.worst(outcome);
    }
}

pub(super) fn standing(standing: Standing) -> Outcome {
    Outcome::of(match standing {
        Standing::Live => Code::Allowed,
        Standing::Expired => Code::GrantExpired,
        Standing::NotActive => Code::AncestorNotActive,
    })
}

fn wait(refusal: Refusal) -> Option<Duration> {
    match refusal {
        Refusal::RetryAfter(wait) => Some(wait),
        Refusal::Exhausted => None,
    }
}
