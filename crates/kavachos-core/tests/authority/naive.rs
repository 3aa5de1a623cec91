//! The reference: a second reading of `authority.md`, written for being obvious. It works on a plain description of a
//! world, compares texts segment by segment, has no index and no shortcut, and shares no rule with the code under test.

use std::time::Duration;

use kavachos_core::constraint::Constraints;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::naive_constraints::{Outcome, badness, check, counters};
use crate::world::{Agent, Counter, From, Holder, Party, Permission, Question, World};

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub code: &'static str,
    pub winner: Option<usize>,
    pub takes: Vec<(Counter, u64)>,
    pub retry: Option<Duration>,
    /// Agent's grant, hop, permission, code.
    pub paths: Vec<(usize, Option<usize>, Option<String>, &'static str)>,
}

const ORDER: [&str; 12] = [
    "allowed",
    "approval_required",
    "approval_pending",
    "rate_limited",
    "budget_exhausted",
    "approval_denied",
    "argument_not_allowed",
    "ip_not_allowed",
    "outside_time_window",
    "grant_expired",
    "ancestor_not_active",
    "permission_denied",
];

pub fn rank(code: &str) -> usize {
    let code = if code == "approval_pending" {
        "approval_required"
    } else {
        code
    };
    ORDER.iter().position(|known| *known == code).unwrap()
}

/// `*` alone is all; a trailing `*` one or more; an inner `*` exactly one.
pub fn matches(pattern: &str, resource: &str) -> bool {
    fn rest(pattern: &[&str], resource: &[&str]) -> bool {
        match (pattern, resource) {
            (["*"], [_, ..]) => true,
            ([], []) => true,
            ([p, pattern @ ..], [r, resource @ ..]) => {
                (*p == "*" || p == r) && rest(pattern, resource)
            }
            _ => false,
        }
    }
    let split = |text: &'_ str| text.split(':').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, resource) = (split(pattern), split(resource));
    rest(
        &pattern.iter().map(String::as_str).collect::<Vec<_>>(),
        &resource.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

pub fn id(permission: &Permission) -> String {
    let constraints: Constraints = serde_json::from_value(permission.constraints.clone()).unwrap();
    let mut actions = permission.actions.clone();
    actions.sort_unstable();
    actions.dedup();
    let mut form = json!({"resource": permission.resource, "actions": actions});
    if permission.constraints != json!({}) {
        form["constraints"] = serde_json::to_value(constraints).unwrap();
    }
    let hash = Sha256::digest(form.to_string());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn about<'w>(q: &Question, permissions: &'w [Permission]) -> Vec<&'w Permission> {
    let names = |p: &Permission| p.actions.contains(&"*") || p.actions.contains(&q.action);
    permissions
        .iter()
        .filter(|p| names(p) && matches(&p.resource, &q.resource))
        .collect()
}

fn best<'w>(
    q: &Question,
    who: Holder,
    permissions: &'w [Permission],
    answer: Option<&str>,
) -> Option<(Outcome, &'w Permission)> {
    about(q, permissions)
        .into_iter()
        .map(|p| (check(q, who, &id(p), &p.constraints, answer), p))
        .min_by_key(|(outcome, p)| {
            (
                badness(outcome),
                counters(q, who, "", &p.constraints).len(),
                id(p),
            )
        })
}

impl World {
    fn agent_is_live(&self, agent: usize, now: i64) -> bool {
        let agent = &self.agents[agent];
        agent.status == "active"
            && agent.expires.is_none_or(|end| now < end)
            && self.owner_is_live(agent.owner, now)
    }

    fn owner_is_live(&self, owner: Party, now: i64) -> bool {
        match owner {
            Party::User(user) => self.users[user].status == "active",
            Party::Agent(agent) => self.agent_is_live(agent, now),
        }
    }

    pub fn root(&self, agent: usize) -> usize {
        match self.agents[agent].owner {
            Party::User(user) => user,
            Party::Agent(owner) => self.root(owner),
        }
    }

    /// The human and the grants from the root grant down.
    pub fn chain(&self, grant: usize) -> (usize, Vec<usize>) {
        let (human, mut chain) = match self.grants[grant].from {
            From::Human(user) => (user, Vec::new()),
            From::Grant(parent) => self.chain(parent),
        };
        chain.push(grant);
        (human, chain)
    }

    fn lacks_cost(&self, q: &Question, grant: usize) -> bool {
        let lacks = |c: &Value| {
            counters(q, Holder::User(0), "", c)
                .iter()
                .any(|(_, n)| n.is_none())
        };
        let any = |list: &[Permission]| about(q, list).iter().any(|p| lacks(&p.constraints));
        let (human, chain) = self.chain(grant);
        any(&self.users[human].permissions)
            || chain.iter().map(|grant| &self.grants[*grant]).any(|grant| {
                any(&grant.permissions)
                    || (lacks(&grant.guards) && !about(q, &grant.permissions).is_empty())
            })
    }

    /// Outcome, failing hop, permission and takes of one path.
    fn judge(&self, q: &Question, leaf: usize) -> Judged {
        let answer = q
            .approvals
            .iter()
            .find(|(grant, _)| *grant == leaf)
            .map(|(_, answer)| *answer);
        let (human, chain) = self.chain(leaf);
        let mut said: Vec<(Outcome, usize, Option<String>)> = Vec::new();
        let mut takes = Vec::new();
        if self.users[human].status != "active" {
            said.push((("ancestor_not_active", None), 0, None));
        }
        let mut ask = |hop: usize, who: Holder, permissions| match best(q, who, permissions, answer)
        {
            None => (("permission_denied", None), hop, None),
            Some((outcome, p)) => {
                takes.extend(counters(q, who, &id(p), &p.constraints));
                (outcome, hop, Some(id(p)))
            }
        };
        said.push(ask(0, Holder::User(human), &self.users[human].permissions));
        for (above, index) in chain.iter().enumerate() {
            let (hop, grant) = (above + 1, &self.grants[*index]);
            let giver_is_live = match grant.from {
                From::Human(_) => true,
                From::Grant(parent) => self.agent_is_live(self.grants[parent].to, q.now),
            };
            if grant.status != "active" || !giver_is_live {
                said.push((("ancestor_not_active", None), hop, None));
            }
            if grant.expires.is_some_and(|end| end <= q.now) {
                said.push((("grant_expired", None), hop, None));
            }
            let guards = check(q, Holder::Grant(*index), "guards", &grant.guards, answer);
            said.push((guards, hop, None));
            said.push(ask(hop, Holder::Grant(*index), &grant.permissions));
        }
        for index in chain {
            takes.extend(counters(
                q,
                Holder::Grant(index),
                "guards",
                &self.grants[index].guards,
            ));
        }
        let last = said.last().cloned().unwrap();
        let outcome = said
            .iter()
            .map(|(outcome, ..)| *outcome)
            .max_by_key(badness)
            .unwrap();
        let first = said
            .into_iter()
            .find(|(theirs, ..)| rank(theirs.0) == rank(outcome.0));
        let (_, hop, permission) = first.filter(|_| outcome.0 != "allowed").unwrap_or(last);
        let hop = (outcome.0 != "allowed").then_some(hop);
        let takes = takes
            .into_iter()
            .filter_map(|(key, n)| Some((key, n?)))
            .collect();
        Judged {
            outcome,
            hop,
            permission,
            takes,
        }
    }

    pub fn authorize(&self, q: &Question, order: impl Fn(usize) -> u128) -> Answer {
        let stop = |code| Answer {
            code,
            winner: None,
            takes: vec![],
            retry: None,
            paths: vec![],
        };
        let Some(agent) = q.agent else {
            return stop("unknown_agent");
        };
        let subject = q.subject.unwrap_or(self.root(agent));
        let all: Vec<usize> = (0..self.grants.len())
            .filter(|g| self.grants[*g].to == agent)
            .collect();
        let ours: Vec<usize> = all
            .iter()
            .copied()
            .filter(|g| self.chain(*g).0 == subject)
            .collect();
        let Agent {
            owner,
            status,
            expires,
        } = &self.agents[agent];
        let stops = [
            (
                ours.iter().any(|grant| self.lacks_cost(q, *grant)),
                "cost_required",
            ),
            (q.key == "expired", "key_expired"),
            (q.key == "revoked", "key_revoked"),
            (["revoked", "banned"].contains(status), "agent_revoked"),
            (*status == "suspended", "agent_suspended"),
            (expires.is_some_and(|end| end <= q.now), "agent_expired"),
            (!self.owner_is_live(*owner, q.now), "owner_not_active"),
            (ours.is_empty() && !all.is_empty(), "subject_required"),
            (ours.is_empty(), "permission_denied"),
        ];
        if let Some((_, code)) = stops.iter().find(|(holds, _)| *holds) {
            return stop(code);
        }
        let mut judged: Vec<(usize, Judged)> =
            ours.iter().map(|g| (*g, self.judge(q, *g))).collect();
        judged.sort_by_key(|(grant, judged)| {
            (
                rank(judged.outcome.0),
                self.chain(*grant).1.len(),
                order(*grant),
            )
        });
        let (winner, best) = &judged[0];
        Answer {
            code: best.outcome.0,
            winner: Some(*winner),
            takes: if best.outcome.0 == "allowed" {
                best.takes.clone()
            } else {
                vec![]
            },
            retry: best.outcome.1,
            paths: (judged.iter())
                .map(|(grant, j)| (*grant, j.hop, j.permission.clone(), j.outcome.0))
                .collect(),
        }
    }
}

struct Judged {
    outcome: Outcome,
    hop: Option<usize>,
    permission: Option<String>,
    takes: Vec<(Counter, u64)>,
}
