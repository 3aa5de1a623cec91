//! What is known of an agent, and the short form in which the directory keeps it.
//!
//! Promises: what was put into the short form comes out of it the same. A directory holds very many agents, and nearly
//! all of them belong to their human and hold one grant, the one that the human gave them when they were made. Such an
//! agent and its grant name each other and the human: the short form says each id once, and stands in the directory's
//! table itself. Any other agent is kept as it is.

use std::sync::Arc;

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Grant, TokenUses};
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Agent, Owner, Status};
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;

use crate::proof_keys::ProofKey;

/// An agent, and the grants that it holds if they were loaded too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KnownAgent {
    /// The agent.
    pub(crate) agent: Agent,
    /// The key that it proves to hold.
    pub(crate) proof_key: Option<ProofKey>,
    /// What it holds: every live grant, and some that ended.
    pub(crate) received: Option<Received>,
}

/// The grants of an agent. Most hold one, and then it is found without a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Received {
    One(Grant),
    Several(Arc<[Grant]>),
}

impl FromIterator<Grant> for Received {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        let mut grants: Vec<Grant> = grants.into_iter().collect();
        match (grants.pop(), grants.is_empty()) {
            (Some(only), true) => Self::One(only),
            (last, _) => Self::Several(grants.into_iter().chain(last).collect()),
        }
    }
}

/// The form in which the directory keeps an agent under its id.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    /// An agent that belongs to its human, proves no key and holds exactly one grant, from that human directly.
    Usual(Usual),
    /// Any other.
    Other(Arc<KnownAgent>),
}

/// What a usual agent and its grant do not say twice.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    root: UserId,
    agent: Life,
    agent_kills: u32,
    grant_id: GrantId,
    grant: Life,
    grant_version: u32,
    max_depth: u8,
    permissions: PermissionSet,
    guards: Option<Arc<Constraints>>,
}

/// A mark whose kind is known, a status and an end.
#[derive(Debug, Clone, Copy)]
struct Life {
    handle: [u8; 16],
    generation: u32,
    status: Status,
    /// In microseconds; [`Life::NO_END`] for none.
    ends: i64,
}

impl Life {
    /// No time is negative.
    const NO_END: i64 = -1;

    /// `None` for a generation that nobody reaches by living.
    fn new(mark: Mark, status: Status, expires_at: Option<Timestamp>) -> Option<Self> {
        Some(Self {
            handle: mark.handle.bytes,
            generation: mark.generation.try_into().ok()?,
            status,
            ends: expires_at.map_or(Self::NO_END, Timestamp::as_micros),
        })
    }

    fn mark(self, kind: HandleKind) -> Mark {
        Mark {
            handle: Handle {
                kind,
                bytes: self.handle,
            },
            generation: self.generation.into(),
        }
    }

    fn expires_at(self) -> Option<Timestamp> {
        (self.ends != Self::NO_END).then(|| Timestamp::from_micros(self.ends))
    }
}

impl Kept {
    /// The agent with this id, under which this was kept.
    pub(crate) fn known(self, id: AgentId) -> KnownAgent {
        match self {
            Self::Usual(usual) => usual.known(id),
            Self::Other(known) => KnownAgent::clone(&known),
        }
    }

    /// The agent alone.
    pub(crate) fn agent(&self, id: AgentId) -> Agent {
        match self {
            Self::Usual(usual) => usual.agent(id),
            Self::Other(known) => known.agent.clone(),
        }
    }

    /// The key that the agent proves to hold.
    pub(crate) fn proof_key(&self) -> Option<ProofKey> {
        match self {
            Self::Usual(_) => None,
            Self::Other(known) => known.proof_key,
        }
    }
}

impl From<&KnownAgent> for Kept {
    fn from(known: &KnownAgent) -> Self {
        Usual::of(known).map_or_else(|| Self::Other(Arc::new(known.clone())), Self::Usual)
    }
}

impl Usual {
    /// The short form of an agent, if that says all of it.
    fn of(known: &KnownAgent) -> Option<Self> {
        let (Some(Received::One(grant)), None) = (&known.received, known.proof_key) else {
            return None;
        };
        let agent = &known.agent;
        let short = Self {
            root: agent.root,
            agent: Life::new(agent.mark, agent.status, agent.expires_at)?,
            agent_kills: agent.kills.try_into().ok()?,
            grant_id: grant.id,
            grant: Life::new(grant.mark, grant.status, grant.expires_at)?,
            grant_version: grant.version.try_into().ok()?,
            max_depth: grant.max_depth,
            permissions: grant.permissions.clone(),
            guards: grant.guards.clone(),
        };
        // Whatever a usual agent is, it is one if nothing is lost.
        let same = short.agent(agent.id) == *agent && short.clone().grant(agent.id) == *grant;
        same.then_some(short)
    }

    fn known(self, id: AgentId) -> KnownAgent {
        KnownAgent {
            agent: self.agent(id),
            proof_key: None,
            received: Some(Received::One(self.grant(id))),
        }
    }

    fn agent(&self, id: AgentId) -> Agent {
        Agent {
            id,
            owner: Owner::User(self.root),
            root: self.root,
            status: self.agent.status,
            expires_at: self.agent.expires_at(),
            mark: self.agent.mark(HandleKind::Agent),
            kills: self.agent_kills.into(),
        }
    }

    fn grant(self, to: AgentId) -> Grant {
        Grant {
            id: self.grant_id,
            parent: None,
            giver: Owner::User(self.root),
            to,
            root: self.root,
            permissions: self.permissions,
            guards: self.guards,
            uses: TokenUses::default(),
            reserved: false,
            depth: 0,
            max_depth: self.max_depth,
            expires_at: self.grant.expires_at(),
            status: self.grant.status,
            mark: self.grant.mark(HandleKind::Grant),
            version: self.grant_version.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::token::Thumbprint;

    use super::*;

    const ID: AgentId = AgentId::from_bits(7);
    const HUMAN: UserId = UserId::from_bits(8);

    fn mark(kind: HandleKind) -> Mark {
        let bytes = [kind as u8; 16];
        Mark {
            handle: Handle { kind, bytes },
            generation: 3,
        }
    }

    fn agent() -> Agent {
        Agent {
            id: ID,
            owner: Owner::User(HUMAN),
            root: HUMAN,
            status: Status::Suspended,
            expires_at: Some(Timestamp::MIN),
            mark: mark(HandleKind::Agent),
            kills: 4,
        }
    }

    fn grant() -> Grant {
        Grant {
            id: GrantId::from_bits(9),
            parent: None,
            giver: Owner::User(HUMAN),
            to: ID,
            root: HUMAN,
            permissions: PermissionSet::everything(),
            guards: Some(Arc::default()),
            uses: TokenUses::default(),
            reserved: false,
            depth: 0,
            max_depth: 5,
            expires_at: Some(Timestamp::MAX),
            status: Status::Revoked,
            mark: mark(HandleKind::Grant),
            version: 6,
        }
    }

    fn kept(agent: Agent, grants: impl IntoIterator<Item = Grant>) -> Kept {
        let known = KnownAgent {
            agent,
            proof_key: None,
            received: Some(grants.into_iter().collect()),
        };
        let kept = Kept::from(&known);
        assert_eq!(kept.agent(ID), known.agent);
        assert_eq!(kept.clone().known(ID), known);
        kept
    }

    #[test]
    fn a_usual_agent_is_kept_short_and_comes_back_the_same() {
        assert!(matches!(kept(agent(), [grant()]), Kept::Usual(_)));
        let endless = Agent {
            expires_at: None,
            ..agent()
        };
        let plain = Grant {
            expires_at: None,
            guards: None,
            ..grant()
        };
        assert!(matches!(kept(endless, [plain]), Kept::Usual(_)));
    }

    #[test]
    fn any_other_agent_comes_back_the_same_too() {
        let other = |agent, grants: &[Grant]| {
            assert!(matches!(kept(agent, grants.to_vec()), Kept::Other(_)));
        };
        other(agent(), &[]);
        other(agent(), &[grant(), grant()]);
        let changes: [fn(&mut Agent, &mut Grant); 12] = [
            |agent, _| agent.owner = Owner::Agent(AgentId::from_bits(1)),
            |agent, _| agent.root = UserId::from_bits(1),
            |agent, _| agent.mark = mark(HandleKind::Key),
            |agent, _| agent.kills = u64::MAX,
            |_, grant| grant.mark.generation = u64::MAX,
            |_, grant| grant.parent = Some(GrantId::from_bits(1)),
            |_, grant| grant.giver = Owner::Agent(AgentId::from_bits(1)),
            |_, grant| grant.root = UserId::from_bits(1),
            |_, grant| grant.depth = 1,
            |_, grant| grant.uses.bearer = true,
            |_, grant| grant.reserved = true,
            |_, grant| grant.mark = mark(HandleKind::Key),
        ];
        for change in changes {
            let (mut agent, mut grant) = (agent(), grant());
            change(&mut agent, &mut grant);
            other(agent, &[grant]);
        }
        let unread = KnownAgent {
            agent: agent(),
            proof_key: None,
            received: None,
        };
        assert_eq!(Kept::from(&unread).known(ID), unread);
        let proving = KnownAgent {
            proof_key: Some(ProofKey {
                print: Thumbprint([3; 32]),
                mark: mark(HandleKind::Key),
            }),
            received: Some([grant()].into_iter().collect()),
            ..unread
        };
        let kept = Kept::from(&proving);
        assert_eq!(kept.proof_key(), proving.proof_key);
        assert_eq!(kept.known(ID), proving);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_short_form_stays_short() {
        assert_eq!(size_of::<Kept>(), 152);
    }
}
