//! Humans and agents, and whether they are live.
//!
//! Promises: there is one function that says whether something is live ([`liveness`]) and one that walks up from an
//! agent to its human ([`is_owned_by_live`]); every path of the system asks these two. A principal is live when itself
//! and every ancestor are live; a missing or misplaced ancestor is not live.

mod role;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{AgentId, UserId};
use crate::invalid::Invalid;
use crate::ledger::Pseudonym;
use crate::permission::PermissionSet;
use crate::revocation::Mark;
use crate::time::{Timestamp, clip};

pub use role::Role;

/// The deepest chain of agents that own agents, counted from the one below the human.
pub const MAX_OWNERS: usize = 8;

/// What was last done to a principal or a grant. That something has expired is found out, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// In use.
    Active,
    /// Stopped, and may be resumed.
    Suspended,
    /// Ended for good.
    Revoked,
    /// A human who may not come back until unbanned.
    Banned,
}

impl Status {
    const ALL: [Self; 4] = [Self::Active, Self::Suspended, Self::Revoked, Self::Banned];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`{}` is not a status: `active`, `suspended`, `revoked` or `banned`",
                    clip(text)
                ))
            })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Whether something is live at a moment, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is.
    Live,
    /// Stopped for now.
    Suspended,
    /// Revoked or banned.
    Revoked,
    /// Its time is over.
    Expired,
}

/// Whether something with this status and expiry is live at `now`. Its last microsecond is the one before it expires.
pub fn liveness(status: Status, expires_at: Option<Timestamp>, now: Timestamp) -> Liveness {
    match status {
        Status::Revoked | Status::Banned => Liveness::Revoked,
        Status::Suspended => Liveness::Suspended,
        Status::Active if expires_at.is_some_and(|end| end <= now) => Liveness::Expired,
        Status::Active => Liveness::Live,
    }
}

/// What a human's status comes to at `now`: a ban whose end has come is over, without anybody's doing.
pub fn human_status(status: Status, banned_until: Option<Timestamp>, now: Timestamp) -> Status {
    match (status, banned_until) {
        (Status::Banned, Some(end)) if end <= now => Status::Active,
        _ => status,
    }
}

/// A human: where every authority comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The public id.
    pub id: UserId,
    /// What was last done to the human.
    pub status: Status,
    /// When a ban ends by itself.
    pub banned_until: Option<Timestamp>,
    /// What they are trusted with beyond what is their own. Decisions for them do not ask.
    pub role: Role,
    /// What anyone acting for the human may do at most: the first hop of every path.
    pub permissions: PermissionSet,
    /// Handle and generation.
    pub mark: Mark,
    /// How often the human was suspended, banned, revoked or deleted; keys and sessions of before are dead for good.
    pub kills: u64,
    /// What the ledger says in place of the id.
    pub pseudonym: Pseudonym,
}

impl User {
    /// Whether the human is live at `now`: a human has no expiry, and a ban may have one.
    pub fn is_live(&self, now: Timestamp) -> bool {
        let status = human_status(self.status, self.banned_until, now);
        liveness(status, None, now) == Liveness::Live
    }
}

/// Who a principal or a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A human.
    User(UserId),
    /// An agent.
    Agent(AgentId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Agent(id) => id.fmt(f),
        }
    }
}

impl FromStr for Owner {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let user = text.parse().map(Self::User);
        user.or_else(|_| text.parse().map(Self::Agent))
            .map_err(|_| {
                Invalid::new(format!(
                    "`{}` is neither the id of a user nor of an agent",
                    clip(text)
                ))
            })
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// An agent: acts for humans, with what grants give it.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// The public id.
    pub id: AgentId,
    /// Who it belongs to.
    pub owner: Owner,
    /// The human at the top of its owners.
    pub root: UserId,
    /// What was last done to it.
    pub status: Status,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Handle and generation.
    pub mark: Mark,
    /// How often it was suspended or revoked; keys of before are dead for good.
    pub kills: u64,
}

impl Agent {
    /// Whether the agent itself is live; its owners are another question.
    pub fn liveness(&self, now: Timestamp) -> Liveness {
        liveness(self.status, self.expires_at, now)
    }
}

/// Whether these are all the owners of the agent, nearest first, up to its human, and all of them are live.
///
/// The agent itself is not asked. A chain with a gap, a stranger in it, or longer than [`MAX_OWNERS`] is not live.
pub fn is_owned_by_live(
    agent: &Agent,
    owners: &[Agent],
    user: Option<&User>,
    now: Timestamp,
) -> bool {
    let mut expected = agent.owner;
    for owner in owners {
        if expected != Owner::Agent(owner.id) || owner.liveness(now) != Liveness::Live {
            return false;
        }
        expected = owner.owner;
    }
    owners.len() <= MAX_OWNERS
        && user.is_some_and(|user| {
            expected == Owner::User(user.id) && agent.root == user.id && user.is_live(now)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::{Handle, HandleKind};

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn mark(kind: HandleKind) -> Mark {
        let handle = Handle {
            kind,
            bytes: [1; 16],
        };
        Mark {
            handle,
            generation: 1,
        }
    }

    fn agent(id: u128, owner: Owner) -> Agent {
        Agent {
            id: AgentId::from_bits(id),
            owner,
            root: UserId::from_bits(1),
            status: Status::Active,
            expires_at: None,
            mark: mark(HandleKind::Agent),
            kills: 0,
        }
    }

    fn user(id: u128, status: Status) -> User {
        User {
            id: UserId::from_bits(id),
            status,
            banned_until: None,
            role: Role::Member,
            permissions: PermissionSet::everything(),
            mark: mark(HandleKind::User),
            kills: 0,
            pseudonym: Pseudonym::from_bits(0),
        }
    }

    /// An agent below so many others, nearest first.
    fn below(owners: u128) -> (Agent, Vec<Agent>) {
        let owner = |id: u128| match id {
            0 => Owner::User(UserId::from_bits(1)),
            id => Owner::Agent(AgentId::from_bits(id)),
        };
        let chain = (1..=owners).rev().map(|id| agent(id, owner(id - 1)));
        (agent(owners + 1, owner(owners)), chain.collect())
    }

    #[test]
    fn status_comes_before_expiry_and_the_end_itself_is_over() {
        use Liveness::{Expired, Live, Revoked, Suspended};
        let later = NOW.plus(std::time::Duration::from_micros(1));
        for (status, expires_at, expected) in [
            (Status::Active, None, Live),
            (Status::Active, Some(later), Live),
            (Status::Active, Some(NOW), Expired),
            (Status::Suspended, Some(NOW), Suspended),
            (Status::Revoked, Some(NOW), Revoked),
            (Status::Banned, None, Revoked),
        ] {
            assert_eq!(liveness(status, expires_at, NOW), expected, "{status}");
        }
    }

    #[test]
    fn a_ban_is_over_at_its_end_and_a_deletion_never() {
        let later = NOW.plus(std::time::Duration::from_micros(1));
        for (status, until, expected) in [
            (Status::Banned, None, false),
            (Status::Banned, Some(later), false),
            (Status::Banned, Some(NOW), true),
            (Status::Revoked, Some(NOW), false),
            (Status::Active, Some(later), true),
        ] {
            let human = User {
                banned_until: until,
                ..user(1, status)
            };
            assert_eq!(human.is_live(NOW), expected, "{status} {until:?}");
            let (child, owners) = below(1);
            let lives = is_owned_by_live(&child, &owners, Some(&human), NOW);
            assert_eq!(lives, expected, "{status} {until:?}");
        }
    }

    #[test]
    fn every_owner_must_be_there_in_order_and_live() {
        let human = user(1, Status::Active);
        fn live(agent: &Agent, owners: &[Agent], user: Option<&User>) -> bool {
            is_owned_by_live(agent, owners, user, NOW)
        }
        let (child, owners) = below(2);
        assert!(live(&child, &owners, Some(&human)));
        assert!(!live(&child, &owners[1..], Some(&human)));
        assert!(!live(&child, &owners[..1], Some(&human)));
        assert!(!live(
            &child,
            &[owners[1].clone(), owners[0].clone()],
            Some(&human)
        ));
        assert!(!live(&child, &owners, None));
        assert!(!live(&child, &owners, Some(&user(2, Status::Active))));
        assert!(!live(&child, &owners, Some(&user(1, Status::Banned))));
        let mut stranger = child.clone();
        stranger.root = UserId::from_bits(2);
        assert!(!live(&stranger, &owners, Some(&human)));
        for level in 0..2 {
            let mut owners = owners.clone();
            owners[level].expires_at = Some(NOW);
            assert!(!live(&child, &owners, Some(&human)), "{level}");
        }
    }

    #[test]
    fn a_chain_of_owners_is_bounded() {
        let human = user(1, Status::Active);
        for (owners, expected) in [(8, true), (9, false)] {
            let (child, owners) = below(owners);
            assert_eq!(
                is_owned_by_live(&child, &owners, Some(&human), NOW),
                expected
            );
        }
    }

    #[test]
    fn a_status_has_one_text() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for text in ["", "Active", "expired", "deleted"] {
            assert!(text.parse::<Status>().is_err(), "{text}");
        }
    }
}
