//! The world that everything is measured on: agents, what they may do, and what they ask.
//!
//! Promises: the same world for the same sizes, on every machine and in every process, so that a server, a client and
//! the reference can each make their own copy of it. About every tenth request is denied.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kavachos::core::decide::Request;
use kavachos::core::secret::{Secret, SecretKind};
use kavachos::{AgentId, UserId};

/// How many agents one human owns.
pub(crate) const AGENTS_PER_USER: u32 = 100;

const ACTIONS: [&str; 5] = ["read", "write", "execute", "delete", "list"];

/// How large the world is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) agents: u32,
    pub(crate) permissions: u32,
    /// How many different permissions there are; 0 when no two agents have one in common.
    pub(crate) pool: u32,
}

/// One permission: some actions on one resource, or on all below it when it ends in `:*`.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) actions: Vec<&'static str>,
    pub(crate) resource: String,
}

/// One question, in the words of the wire and in the types of the library.
pub(crate) struct Ask {
    pub(crate) index: u32,
    pub(crate) agent: AgentId,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) request: Request,
}

/// SplitMix64: what the world is drawn from.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bits(kind: u64, index: u32) -> u128 {
    let high = mix(kind << 32 | u64::from(index));
    u128::from(high) << 64 | u128::from(mix(high))
}

/// 32 bytes that belong to this thing alone.
pub(crate) fn bytes<const N: usize>(kind: u64, index: u32) -> [u8; N] {
    let mut state = mix(kind << 32 | u64::from(index));
    std::array::from_fn(|_| {
        state = mix(state);
        (state >> 56) as u8
    })
}

impl World {
    pub(crate) fn agent(index: u32) -> AgentId {
        AgentId::from_bits(bits(1, index))
    }

    pub(crate) fn user(agent: u32) -> UserId {
        UserId::from_bits(bits(2, agent / AGENTS_PER_USER))
    }

    pub(crate) fn key(agent: u32) -> Secret {
        Secret::new(SecretKind::Agent, bytes(3, agent))
    }

    /// What an agent may do.
    pub(crate) fn rules(&self, agent: u32) -> Vec<Rule> {
        let number = |at: u32| {
            let own = u64::from(agent) * u64::from(self.permissions) + u64::from(at);
            match self.pool {
                0 => own,
                pool => mix(own) % u64::from(pool),
            }
        };
        (0..self.permissions).map(|at| rule(number(at))).collect()
    }

    /// The agent's permissions as they are stored.
    pub(crate) fn permissions_json(&self, agent: u32) -> String {
        let rules = self.rules(agent);
        let rules = rules
            .iter()
            .map(|rule| serde_json::json!({"resource": rule.resource, "actions": rule.actions}));
        serde_json::Value::from_iter(rules).to_string()
    }

    /// Random questions; the same ones for the same seed.
    pub(crate) fn asks(&self, count: u32, seed: u64) -> Vec<Ask> {
        (0..u64::from(count))
            .map(|at| self.ask(mix(seed << 40 | at)))
            .collect()
    }

    fn ask(&self, random: u64) -> Ask {
        let index = (random % u64::from(self.agents)) as u32;
        let rules = self.rules(index);
        let random = mix(random);
        let mut rule = rules[(random % rules.len() as u64) as usize].clone();
        if random >> 32 & 0xff < 26 {
            // The rule of somebody else, whom nobody gave it to.
            rule.resource = format!("vault{}", rule.resource);
        }
        let action = rule.actions[(random >> 20) as usize % rule.actions.len()].to_owned();
        let resource = match rule.resource.strip_suffix('*') {
            Some(above) => format!("{above}item{}", random >> 44),
            None => rule.resource,
        };
        let request = Request {
            action: action.parse().expect("an action"),
            resource: resource.parse().expect("a resource"),
            arguments: None,
            ip: None,
            cost: None,
        };
        let agent = Self::agent(index);
        Ask {
            index,
            agent,
            action,
            resource,
            request,
        }
    }
}

/// The permission with this number: five shapes, one to three actions.
fn rule(number: u64) -> Rule {
    let random = mix(number ^ 0x5eed);
    let (area, tool) = (number / 40, number % 40);
    let resource = match number % 5 {
        0 => format!("mcp:server{area}:tool{tool}:*"),
        1 => format!("mcp:server{area}:tool{tool}"),
        2 => format!("files:team{area}:folder{tool}:*"),
        3 => format!("db:cluster{area}:schema{tool}:table{}", random % 100),
        _ => format!("queue{area}x{tool}:*"),
    };
    let first = (random % 5) as usize;
    let count = 1 + (random >> 8) as usize % 3;
    let actions = (first..first + count).map(|at| ACTIONS[at % 5]).collect();
    Rule { actions, resource }
}

/// The bare reference: a hash map, and a scan over prefixes. It knows no hops, no owners, no expiry and no generations.
pub(crate) struct Bare(HashMap<AgentId, Vec<BareRule>, RandomState>);

struct BareRule {
    actions: Vec<String>,
    prefix: String,
    open: bool,
}

impl Bare {
    pub(crate) fn new(world: &World) -> Self {
        let rules = |agent| {
            let rules = world.rules(agent);
            rules.into_iter().map(BareRule::new).collect()
        };
        Self(
            (0..world.agents)
                .map(|agent| (World::agent(agent), rules(agent)))
                .collect(),
        )
    }

    #[inline(never)]
    pub(crate) fn allows(&self, agent: AgentId, action: &str, resource: &str) -> bool {
        let rules = self.0.get(&agent).map_or(&[][..], Vec::as_slice);
        rules.iter().any(|rule| {
            let fits = if rule.open {
                resource.starts_with(&rule.prefix) && resource.len() > rule.prefix.len()
            } else {
                resource == rule.prefix
            };
            fits && rule.actions.iter().any(|known| known == action)
        })
    }
}

impl BareRule {
    fn new(rule: Rule) -> Self {
        let open = rule.resource.ends_with('*');
        Self {
            actions: rule.actions.into_iter().map(str::to_owned).collect(),
            prefix: rule.resource.trim_end_matches('*').to_owned(),
            open,
        }
    }
}
