//! Why a decision goes as it does: every path, every hop, and every permission with what was said of it.
//!
//! The decision itself is [`decide_with`]'s; what stands beside it is judged by the same functions, only without
//! stopping at the best. Promises: pure like the decision, and bounded: so many permissions are told one by one, those
//! that match first, and the others are counted.

use super::code::Code;
use super::facts::{Facts, Known, Request};
use super::judge::{Giver, Judge, PathOutcome, standing};
use super::{Decision, decide_with, paths_of, subject};
use crate::constraint::Constraints;
use crate::grant::{Hop, Path};
use crate::id::AgentId;
use crate::permission::{Permission, PermissionId, PermissionSet};
use crate::time::Timestamp;

/// How many permissions an explanation tells one by one, over all paths and hops.
pub const MAX_EXPLAINED_PERMISSIONS: usize = 2_000;
/// How many times as much text as for a decision the patterns may read for an explanation, which judges what a decision
/// need not look at.
const READING_TIMES: usize = 16;

/// A decision, and everything that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Every path from the human for whom the request is made, the best first.
    pub paths: Vec<ExplainedPath>,
}

/// How one path went.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedPath {
    /// The path, as a position in [`Facts::paths`].
    pub path: usize,
    /// The worst of its hops.
    pub code: Code,
    /// The hop that stood against it: 0 is the human, 1 the root grant; `None` when all permit.
    pub hop: Option<u8>,
    /// The hops, the human first.
    pub hops: Vec<ExplainedHop>,
}

/// How one hop went.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedHop {
    /// Whether the human, or the grant and everyone above its giver, is live.
    pub standing: Code,
    /// What the guards say, if there are any.
    pub guards: Option<Code>,
    /// The permissions, those that match first.
    pub permissions: Vec<ExplainedPermission>,
    /// How many more there are.
    pub more: usize,
}

/// How one permission went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExplainedPermission {
    /// Which one.
    pub id: PermissionId,
    /// What was said of it.
    pub verdict: Match,
}

/// Whether a permission is about the request, and what its constraints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is, and this is what it says.
    Judged(Code),
    /// The resource is, the action is not.
    OtherAction,
    /// The resource is another one.
    OtherResource,
}

impl Match {
    /// Those that match first, the better first.
    const fn order(self) -> (u8, u8) {
        match self {
            Self::Judged(code) => (0, code.rank()),
            Self::OtherAction => (1, 0),
            Self::OtherResource => (2, 0),
        }
    }
}

/// Explains a decision, given what was found out about counters and approvals.
pub fn explain(facts: &Facts, request: &Request, known: Known<'_>, now: Timestamp) -> Explanation {
    let decision = decide_with(facts, request, known, now);
    let Some(agent) = facts.agent.as_ref() else {
        return Explanation {
            decision,
            paths: Vec::new(),
        };
    };
    let judge = Judge::new(request, known, now).reading(READING_TIMES);
    let judged = paths_of(facts, subject(facts))
        .map(|(index, path)| (judge.path(index, path, agent.id), index, path));
    let mut judged: Vec<(PathOutcome, usize, &Path)> = judged.collect();
    judged.sort_by_key(|(judged, _, path)| {
        let leaf = path.leaf().map(|grant| grant.id);
        (judged.outcome.code.rank(), path.hops.len(), leaf)
    });
    let mut telling = Telling {
        judge: &judge,
        room: MAX_EXPLAINED_PERMISSIONS,
    };
    let paths = judged
        .into_iter()
        .map(|(judged, index, path)| ExplainedPath {
            path: index,
            code: judged.outcome.code,
            hop: judged.hop,
            hops: telling.hops(index, path, agent.id),
        });
    Explanation {
        decision,
        paths: paths.collect(),
    }
}

/// Tells hops while there is room for their permissions.
struct Telling<'j, 'a> {
    judge: &'j Judge<'a>,
    room: usize,
}

impl<'a> Telling<'_, 'a> {
    fn hops(&mut self, index: usize, path: &'a Path, agent: AgentId) -> Vec<ExplainedHop> {
        let mut hops = Vec::with_capacity(path.hops.len() + 1);
        hops.push(self.human(index, path, agent));
        let mut above = None;
        for hop in &path.hops {
            hops.push(self.hop(index, path, (hop, above)));
            above = Some(hop);
        }
        hops
    }

    fn human(&mut self, index: usize, path: &Path, agent: AgentId) -> ExplainedHop {
        let live = path.ends_at(agent, self.judge.now);
        let (permissions, more) =
            self.permissions(index, Giver::User(path.user.id), &path.user.permissions);
        ExplainedHop {
            standing: if live {
                Code::Allowed
            } else {
                Code::AncestorNotActive
            },
            guards: None,
            permissions,
            more,
        }
    }

    fn hop(
        &mut self,
        index: usize,
        path: &'a Path,
        (hop, above): (&'a Hop, Option<&'a Hop>),
    ) -> ExplainedHop {
        let grant = &hop.grant;
        let guards = grant.guards.as_deref();
        let guards = guards.map(|guards| self.guards(index, hop, guards));
        let (permissions, more) =
            self.permissions(index, Giver::Grant(grant.id), &grant.permissions);
        ExplainedHop {
            standing: standing(path.hop_standing(hop, above, self.judge.now)).code,
            guards,
            permissions,
            more,
        }
    }

    fn guards(&self, index: usize, hop: &Hop, guards: &Constraints) -> Code {
        let holder = super::count::Holder::Guards(hop.grant.id);
        let approval = self.judge.approval(index);
        self.judge.weigh(guards, holder, approval).code
    }

    fn permissions(
        &mut self,
        index: usize,
        giver: Giver,
        set: &PermissionSet,
    ) -> (Vec<ExplainedPermission>, usize) {
        let told = set.iter().map(|permission| ExplainedPermission {
            id: permission.id(),
            verdict: self.verdict(index, giver, permission),
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|told| (told.verdict.order(), told.id));
        let more = told.len().saturating_sub(self.room);
        told.truncate(self.room);
        self.room -= told.len();
        (told, more)
    }

    fn verdict(&self, index: usize, giver: Giver, permission: &Permission) -> Match {
        let request = self.judge.request;
        if !permission.resource().matches(&request.resource) {
            return Match::OtherResource;
        }
        if !permission.actions().contains(&request.action) {
            return Match::OtherAction;
        }
        let Some(constraints) = permission.constraints() else {
            return Match::Judged(Code::Allowed);
        };
        let holder = giver.holder(permission.id());
        let approval = self.judge.approval(index);
        Match::Judged(self.judge.weigh(constraints, holder, approval).code)
    }
}
