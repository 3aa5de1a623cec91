//! Who made a thing: the human and the session, where a human made it themselves. What operators make, and what agents
//! give on, says nothing here.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::time::Timestamp;

/// A human who made something themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maker {
    /// The human.
    pub human: UserId,
    /// The session in which they did; `None` where their own provider vouched for them.
    pub session: Option<SessionId>,
}

impl Maker {
    pub(crate) fn of(human: Option<UserId>, session: Option<SessionId>) -> Option<Self> {
        human.map(|human| Self { human, session })
    }
}

/// The two columns of a maker.
pub(crate) fn columns(maker: Option<Maker>) -> (Option<UserId>, Option<SessionId>) {
    let session = maker.and_then(|maker| maker.session);
    (maker.map(|maker| maker.human), session)
}

/// Which things of a human end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that they made themselves.
    Made,
    /// Those too that others made for them: agents that they own directly, and grants that they gave.
    Given,
}

/// The end of things of a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Whose.
    pub human: UserId,
    /// Which.
    pub extent: Extent,
    /// Things that were made later stay, unless in a session that was open by then.
    pub until: Timestamp,
}

impl Ending {
    /// Which agents, by this alias, with the human as the first parameter.
    pub(crate) fn agents(self, alias: &str) -> String {
        match self.extent {
            Extent::Made => format!("{alias}.made_by = ?1"),
            Extent::Given => {
                format!("({alias}.made_by = ?1 OR ({alias}.root = ?1 AND {alias}.owner_user = ?1))")
            }
        }
    }

    /// Whether they were made in time, with the end of it as the second parameter.
    pub(crate) fn in_time(self, alias: &str) -> String {
        // What somebody makes while the end is being written may be younger than it, and is in the database before it.
        format!(
            "({alias}.created_at <= ?2 OR EXISTS \
             (SELECT 1 FROM sessions made WHERE made.id = {alias}.made_in AND made.created_at <= ?2))"
        )
    }

    /// Which agents not: what is nothing there is another one.
    pub(crate) fn other_agents(self, alias: &str) -> String {
        let other = |column: &str| format!("COALESCE({alias}.{column}, '') <> ?1");
        match self.extent {
            Extent::Made => other("made_by"),
            Extent::Given => format!("{} AND {}", other("made_by"), other("owner_user")),
        }
    }

    /// Which grants.
    pub(crate) const fn grants(self) -> &'static str {
        match self.extent {
            Extent::Made => "g.made_by = ?1",
            Extent::Given => "(g.made_by = ?1 OR g.giver_user = ?1)",
        }
    }
}
