//! Worlds described plainly, by positions and texts: what the reference reads, and what facts are made from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::{Constraints, Cost};
use kavachos_core::counter::Refusal;
use kavachos_core::decide::{
    Answer, Approval, CounterKey, Credential, Facts, Full, Hop, Path, Request,
};
use kavachos_core::grant;
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::ledger::Pseudonym;
use kavachos_core::permission::{self, PermissionSet};
use kavachos_core::principal::{self, Owner, Status};
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Party {
    User(usize),
    Agent(usize),
}

#[derive(Debug, Clone)]
pub struct Permission {
    pub resource: String,
    pub actions: Vec<&'static str>,
    pub constraints: Value,
}

#[derive(Debug, Clone)]
pub struct User {
    pub status: &'static str,
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub owner: Party,
    pub status: &'static str,
    pub expires: Option<i64>,
}

/// `from` is the human of a root grant, or the position of the parent grant.
#[derive(Debug, Clone)]
pub struct Grant {
    pub from: From,
    pub to: usize,
    pub permissions: Vec<Permission>,
    pub guards: Value,
    pub status: &'static str,
    pub expires: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub enum From {
    Human(usize),
    Grant(usize),
}

#[derive(Debug, Clone)]
pub struct World {
    pub users: Vec<User>,
    pub agents: Vec<Agent>,
    pub grants: Vec<Grant>,
}

/// A counter: `user 0`, `grant 3` and so on, the permission's id or `guards`, and `rate 60` or `budget calls`.
pub type Counter = (Holder, String, String);

/// Whose counter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    User(usize),
    Grant(usize),
}

#[derive(Debug, Clone)]
pub struct Question {
    pub agent: Option<usize>,
    pub key: &'static str,
    pub subject: Option<usize>,
    pub action: &'static str,
    pub resource: String,
    pub arguments: Option<Value>,
    pub ip: Option<[u8; 4]>,
    pub cost: Option<(u64, &'static str)>,
    pub now: i64,
    /// Counters that are full, with the time to wait.
    pub full: Vec<(Counter, Option<Duration>)>,
    /// Answers of humans by the agent's grant: `pending`, `approved`, `denied`.
    pub approvals: Vec<(usize, &'static str)>,
}

/// Ids are not in the order of positions, so that no test passes by luck of order.
pub fn bits(position: usize) -> u128 {
    let number = u128::try_from(position).unwrap() + 1;
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

pub fn user_id(position: usize) -> UserId {
    UserId::from_bits(bits(position))
}

pub fn agent_id(position: usize) -> AgentId {
    AgentId::from_bits(bits(position))
}

pub fn grant_id(position: usize) -> GrantId {
    GrantId::from_bits(bits(position))
}

pub fn mark(kind: HandleKind, position: usize) -> Mark {
    Mark {
        handle: Handle {
            kind,
            bytes: bits(position).to_be_bytes(),
        },
        generation: 1,
    }
}

pub fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub fn set(permissions: &[Permission]) -> PermissionSet {
    let list: Vec<Value> = permissions.iter().map(Permission::to_json).collect();
    PermissionSet::from_json(&Value::Array(list)).unwrap()
}

impl Permission {
    pub fn to_json(&self) -> Value {
        json!({"resource": self.resource, "actions": self.actions, "constraints": self.constraints})
    }

    pub fn compiled(&self) -> permission::Permission {
        permission::Permission::from_json(&self.to_json()).unwrap()
    }
}

impl World {
    pub fn user(&self, position: usize) -> Arc<principal::User> {
        let user = &self.users[position];
        Arc::new(principal::User {
            id: user_id(position),
            status: status(user.status),
            banned_until: None,
            role: principal::Role::Member,
            permissions: set(&user.permissions),
            mark: mark(HandleKind::User, position),
            kills: 0,
            pseudonym: Pseudonym::from_bits(0),
        })
    }

    pub fn agent(&self, position: usize) -> principal::Agent {
        let agent = &self.agents[position];
        principal::Agent {
            id: agent_id(position),
            owner: match agent.owner {
                Party::User(user) => Owner::User(user_id(user)),
                Party::Agent(agent) => Owner::Agent(agent_id(agent)),
            },
            root: user_id(self.root(position)),
            status: status(agent.status),
            expires_at: agent.expires.map(time),
            mark: mark(HandleKind::Agent, position),
            kills: 0,
        }
    }

    /// The agents above one, nearest first.
    pub fn owners(&self, agent: usize) -> Vec<principal::Agent> {
        let above = |agent: &usize| match self.agents[*agent].owner {
            Party::Agent(owner) => Some(owner),
            Party::User(_) => None,
        };
        std::iter::successors(above(&agent), above)
            .map(|owner| self.agent(owner))
            .collect()
    }

    pub fn hop(&self, position: usize) -> Hop {
        let described = &self.grants[position];
        let (human, chain) = self.chain(position);
        let (parent, giver) = match described.from {
            From::Human(user) => (None, Owner::User(user_id(user))),
            From::Grant(parent) => {
                let giver = agent_id(self.grants[parent].to);
                (Some(grant_id(parent)), Owner::Agent(giver))
            }
        };
        let guards: Constraints = serde_json::from_value(described.guards.clone()).unwrap();
        let giving = match described.from {
            From::Human(_) => None,
            From::Grant(parent) => Some(self.grants[parent].to),
        };
        let above = giving.map(|agent| (self.agent(agent), self.owners(agent)));
        let giver_root = giving.map(|agent| self.root(agent));
        Hop {
            grant: grant::Grant {
                id: grant_id(position),
                parent,
                giver,
                to: agent_id(described.to),
                root: user_id(human),
                permissions: set(&described.permissions),
                guards: (described.guards != json!({})).then(|| Arc::new(guards)),
                uses: grant::TokenUses::default(),
                reserved: false,
                depth: u8::try_from(chain.len() - 1).unwrap(),
                max_depth: 7,
                expires_at: described.expires.map(time),
                status: status(described.status),
                mark: mark(HandleKind::Grant, position),
                version: 1,
            },
            giver: above
                .into_iter()
                .flat_map(|(giver, owners)| std::iter::once(giver).chain(owners))
                .collect(),
            giver_user: giver_root
                .filter(|root| *root != human)
                .map(|root| self.user(root)),
        }
    }

    pub fn path(&self, leaf: usize) -> Path {
        let (human, chain) = self.chain(leaf);
        Path {
            user: self.user(human),
            hops: chain.into_iter().map(|grant| self.hop(grant)).collect(),
        }
    }

    /// Everything that is known of an agent.
    pub fn facts(&self, q: &Question) -> Facts {
        let leaves = (0..self.grants.len()).filter(|grant| Some(self.grants[*grant].to) == q.agent);
        Facts {
            agent: q.agent.map(|agent| self.agent(agent)),
            credential: match q.key {
                "none" => Credential::ById,
                "live" => Credential::KeyLive,
                "expired" => Credential::KeyExpired,
                _ => Credential::KeyRevoked,
            },
            owners: q.agent.map_or(Vec::new(), |agent| self.owners(agent)),
            user: q.agent.map(|agent| self.user(self.root(agent))),
            subject: q.subject.map(user_id),
            paths: leaves.map(|leaf| self.path(leaf)).collect(),
        }
    }
}

impl Question {
    pub fn request(&self) -> Request {
        Request {
            action: self.action.parse().unwrap(),
            resource: self.resource.parse().unwrap(),
            arguments: self.arguments.clone(),
            ip: self.ip.map(IpAddr::from),
            cost: self.cost.map(|(amount, unit)| Cost {
                amount,
                unit: unit.parse().unwrap(),
            }),
        }
    }

    pub fn full(&self) -> Vec<Full> {
        let refusal =
            |wait: &Option<Duration>| wait.map_or(Refusal::Exhausted, Refusal::RetryAfter);
        self.full
            .iter()
            .map(|(counter, wait)| Full {
                key: key(counter),
                refusal: refusal(wait),
            })
            .collect()
    }

    pub fn approvals(&self, facts: &Facts) -> Vec<Approval> {
        let find = |grant: usize| {
            let ends = |path: &Path| path.leaf().map(|leaf| leaf.id) == Some(grant_id(grant));
            facts.paths.iter().position(ends)
        };
        self.approvals
            .iter()
            .filter_map(|(grant, answer)| {
                Some(Approval {
                    path: find(*grant)?,
                    answer: match *answer {
                        "pending" => Answer::Pending,
                        "approved" => Answer::Approved,
                        _ => Answer::Denied,
                    },
                })
            })
            .collect()
    }
}

/// The stored key of a counter, laid out again as the documentation of `CounterKey` says.
pub fn key((holder, what, kind): &Counter) -> CounterKey {
    let (owner, position) = match holder {
        Holder::Grant(grant) => (1, *grant),
        Holder::User(user) => (2, *user),
    };
    let (kind, detail) = kind.split_once(' ').unwrap();
    let (kind, detail) = match kind {
        "rate" => (1, detail.parse().unwrap()),
        _ => (2, crc32fast::hash(detail.as_bytes())),
    };
    let mut bytes = vec![owner];
    bytes.extend(bits(position).to_be_bytes());
    if what == "guards" {
        bytes.push(kind + 2);
        bytes.extend([0; 8]);
    } else {
        bytes.push(kind);
        let digits = (0..8).map(|at| u8::from_str_radix(&what[2 * at..2 * at + 2], 16).unwrap());
        bytes.extend(digits);
    }
    bytes.extend(u32::to_be_bytes(detail));
    CounterKey::from_bytes(bytes.try_into().unwrap())
}

fn status(text: &str) -> Status {
    text.parse().unwrap()
}
