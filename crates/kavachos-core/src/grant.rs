//! Grants: what an agent was given, by whom, and the chain from the human down to it.
//!
//! Promises: what [`derive()`] returns is covered by its parent, lives no longer, and reaches no deeper; the caller's own
//! wishes can only shorten it. Whether a request passes a chain is [`crate::decide`]'s question, and every hop is asked
//! again there: a child can never exceed an ancestor, even one that is narrowed later.

mod merged;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use crate::constraint::Constraints;
use crate::id::{AgentId, GrantId, UserId};
use crate::invalid::Invalid;
use crate::permission::{PermissionSet, implies, narrower};
use crate::principal::{Agent, Liveness, Owner, Status, User, is_owned_by_live, liveness};
use crate::revocation::Mark;
use crate::time::Timestamp;
pub use merged::Merged;
pub use uses::{Exchangers, MAX_EXCHANGERS, TokenUses};

/// How many delegations may stand below a root grant when nothing is said.
pub const DEFAULT_MAX_DEPTH: u8 = 3;
/// How many delegations may stand below any root grant.
pub const MAX_DEPTH: u8 = 7;
/// How long a delegation lives when nothing is said.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(15 * 60);

/// What one agent was given: by a human or agent, from a parent grant or from the human's own authority.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The public id; a change keeps it.
    pub id: GrantId,
    /// The grant that this one is a part of; `None` for one that comes from the human directly.
    pub parent: Option<GrantId>,
    /// Who gave it.
    pub giver: Owner,
    /// Who may use it.
    pub to: AgentId,
    /// The human for whom it is used.
    pub root: UserId,
    /// What it permits.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Arc<Constraints>>,
    /// What its tokens may be used for beside being shown.
    pub uses: TokenUses,
    /// Whether it is for one token alone, which its receiver was promised: it counts where that token is made and
    /// judged, and nowhere else, and nothing stands below it.
    pub reserved: bool,
    /// How many delegations it stands below a root grant.
    pub depth: u8,
    /// The deepest that a grant below it may stand.
    pub max_depth: u8,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// What was last done to it.
    pub status: Status,
    /// Handle and generation.
    pub mark: Mark,
    /// Rises with every change.
    pub version: u64,
}

impl Grant {
    /// Whether the grant itself is live; its ancestors are another question.
    pub fn liveness(&self, now: Timestamp) -> Liveness {
        liveness(self.status, self.expires_at, now)
    }

    /// Whether it gives no more than another, lives no longer and reaches no deeper: what holds of a grant and its parent
    /// when it is written.
    pub fn is_within(&self, parent: &Self) -> bool {
        let ends = match (self.expires_at, parent.expires_at) {
            (_, None) => true,
            (Some(own), Some(end)) => own <= end,
            (None, Some(_)) => false,
        };
        ends && !parent.reserved
            && self.max_depth <= parent.max_depth
            && parent.permissions.covers_all(&self.permissions).is_ok()
            && narrower(self.guards.as_deref(), parent.guards.as_deref()).is_ok()
            && self.uses.check_within(&parent.uses).is_ok()
    }

    /// What the grant gives, to compare it with what it would give after a change.
    pub fn terms(&self) -> Terms {
        Terms {
            parent: self.parent,
            giver: self.giver,
            to: self.to,
            root: self.root,
            permissions: self.permissions.clone(),
            guards: self.guards.clone(),
            uses: self.uses.clone(),
            depth: self.depth,
            max_depth: self.max_depth,
            expires_at: self.expires_at,
        }
    }
}

/// A chain of grants from a human down to an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// The human whose authority it is.
    pub user: Arc<User>,
    /// The grants from the root grant down; the last one is the agent's.
    pub hops: Vec<Hop>,
}

/// One grant of a path, and what its giver's liveness hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Hop {
    /// The grant.
    pub grant: Grant,
    /// The giving agent and its owners, nearest first; empty on a root grant.
    pub giver: Vec<Agent>,
    /// The human at the top of the giver's owners, where that is not the path's human (an operator joined two
    /// humans' agents); `None` otherwise.
    pub giver_user: Option<Arc<User>>,
}

/// How a path stands at a moment, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Every grant and principal on it is live.
    Live,
    /// A grant on it has expired.
    Expired,
    /// A grant or principal on it is suspended, revoked, banned or missing, or the hops do not fit together.
    NotActive,
}

impl Path {
    /// The agent's own grant; `None` only for a path without hops, which permits nothing.
    pub fn leaf(&self) -> Option<&Grant> {
        self.hops.last().map(|hop| &hop.grant)
    }

    /// What tokens of the path may be used for: what every grant on it lets.
    pub fn uses(&self) -> TokenUses {
        let mut all = self.hops.iter().map(|hop| &hop.grant.uses);
        let first = all.next().cloned().unwrap_or_default();
        all.fold(first, |shared, uses| shared.shared_with(uses))
    }

    /// Whether the path leads from a live human, in no more hops than there may be, to this agent.
    pub(crate) fn ends_at(&self, agent: AgentId, now: Timestamp) -> bool {
        self.user.is_live(now)
            && self.hops.len() <= usize::from(MAX_DEPTH) + 1
            && self.leaf().is_some_and(|leaf| leaf.to == agent)
    }

    /// How one hop stands, as seen from the hop above it.
    pub(crate) fn hop_standing(&self, hop: &Hop, above: Option<&Hop>, now: Timestamp) -> Standing {
        if !self.is_linked(hop, above) || !self.giver_is_live(hop, now) {
            return Standing::NotActive;
        }
        match hop.grant.liveness(now) {
            Liveness::Live => Standing::Live,
            Liveness::Expired => Standing::Expired,
            Liveness::Suspended | Liveness::Revoked => Standing::NotActive,
        }
    }

    /// How the whole path stands: as its worst hop.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if !self.leaf().is_some_and(|leaf| self.ends_at(leaf.to, now)) {
            return Standing::NotActive;
        }
        let above = std::iter::once(None).chain(self.hops.iter().map(Some));
        (self.hops.iter().zip(above))
            .map(|(hop, above)| self.hop_standing(hop, above, now))
            .max()
            .unwrap_or(Standing::NotActive)
    }

    /// Whether a hop is the child of the one above it: facts that were put together wrongly permit nothing.
    fn is_linked(&self, hop: &Hop, above: Option<&Hop>) -> bool {
        let grant = &hop.grant;
        grant.root == self.user.id
            && match above {
                None => grant.parent.is_none() && grant.giver == Owner::User(self.user.id),
                Some(above) => {
                    !above.grant.reserved
                        && grant.parent == Some(above.grant.id)
                        && grant.giver == Owner::Agent(above.grant.to)
                }
            }
    }

    fn giver_is_live(&self, hop: &Hop, now: Timestamp) -> bool {
        let user = hop.giver_user.as_deref().unwrap_or(&self.user);
        match (hop.giver.split_first(), hop.grant.giver) {
            (None, Owner::User(_)) => true,
            (Some((giver, owners)), Owner::Agent(id)) => {
                giver.id == id
                    && giver.liveness(now) == Liveness::Live
                    && is_owned_by_live(giver, owners, Some(user), now)
            }
            _ => false,
        }
    }
}

/// What is asked for when a grant is written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewGrant {
    /// Who is to use it.
    pub to: AgentId,
    /// The human at the top of the receiver's owners.
    pub to_root: UserId,
    /// What it is to permit.
    pub permissions: PermissionSet,
    /// What must hold for everything in it, beside the parent's guards.
    pub guards: Option<Arc<Constraints>>,
    /// What its tokens may be used for beside being shown.
    pub uses: TokenUses,
    /// How deep grants below it may stand; the parent's, or [`DEFAULT_MAX_DEPTH`], when nothing is said.
    pub max_depth: Option<u8>,
    /// When it is to end; with the parent when nothing is said. A default life is the caller's to add.
    pub expires_at: Option<Timestamp>,
    /// Whether it may join agents of two humans.
    pub reach: Reach,
}

/// Between whose agents a grant may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Giver and receiver have the same human: what everyone but an operator may write.
    SameHuman,
    /// An operator writes the grant, and may join agents of different humans.
    AnyHuman,
}

/// Whose authority a new grant is a part of.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A human's own: the grant will be a root grant.
    Human(&'a User),
    /// An agent's, by one of its paths.
    Agent {
        /// The giver.
        giver: &'a Agent,
        /// Its owners, nearest first.
        owners: &'a [Agent],
        /// The human at the top of them.
        user: Option<&'a User>,
        /// The path that ends at the giver, to hang the grant on.
        path: &'a Path,
    },
}

/// What a written grant really gives, after clamping.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// See [`Grant::parent`].
    pub parent: Option<GrantId>,
    /// See [`Grant::giver`].
    pub giver: Owner,
    /// See [`Grant::to`].
    pub to: AgentId,
    /// See [`Grant::root`].
    pub root: UserId,
    /// See [`Grant::permissions`].
    pub permissions: PermissionSet,
    /// See [`Grant::guards`].
    pub guards: Option<Arc<Constraints>>,
    /// See [`Grant::uses`].
    pub uses: TokenUses,
    /// See [`Grant::depth`].
    pub depth: u8,
    /// See [`Grant::max_depth`].
    pub max_depth: u8,
    /// See [`Grant::expires_at`].
    pub expires_at: Option<Timestamp>,
}

/// Why a grant may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// More is asked for than the parent has; the field says where.
    #[error("{0}")]
    NotNarrower(Invalid),
    /// The grant would stand deeper than its parent lets grants stand.
    #[error("a grant here would stand at depth {depth}, and the deepest allowed is {max_depth}")]
    DepthExceeded {
        /// Where it would stand.
        depth: u8,
        /// The parent's maximum.
        max_depth: u8,
    },
    /// Giver and receiver are the same agent.
    #[error("an agent gives nothing to itself; name another receiver")]
    SelfGrant,
    /// The receiver already stands on the path that the grant would hang on.
    #[error("the receiver is already a link of this chain; a chain goes through an agent once")]
    Cycle,
    /// The grant that it would hang on is for one token alone.
    #[error(
        "the giver's grant is for one token alone, which it was promised; nothing is given on of it"
    )]
    Reserved,
    /// Giver and receiver belong to different humans.
    #[error("the receiver belongs to another human; only an operator may join them")]
    OtherHuman,
    /// The giver, one of its owners, or something on the path is not live, or the path is not the giver's.
    #[error("the giver or its grant is not active")]
    NotActive,
    /// The asked end has passed.
    #[error("the grant would already be over; name a later `expiresAt`")]
    AlreadyOver,
}

/// What a new grant from this source gives, if it may be written at all.
///
/// Expiry and maximum depth are clamped to the parent's; everything else that is too wide is refused.
///
/// # Errors
/// Says which rule stands against it.
pub fn derive(source: Source<'_>, ask: &NewGrant, now: Timestamp) -> Result<Terms, Refusal> {
    let terms = match source {
        Source::Human(user) => from_human(user, ask, now)?,
        Source::Agent {
            giver,
            owners,
            user,
            path,
        } => {
            let giver_is_live =
                giver.liveness(now) == Liveness::Live && is_owned_by_live(giver, owners, user, now);
            if !giver_is_live || path.standing(now) != Standing::Live {
                return Err(Refusal::NotActive);
            }
            from_agent(giver, path, ask)?
        }
    };
    match terms.expires_at {
        Some(end) if end <= now => Err(Refusal::AlreadyOver),
        _ => Ok(terms),
    }
}

fn from_human(user: &User, ask: &NewGrant, now: Timestamp) -> Result<Terms, Refusal> {
    if !user.is_live(now) {
        return Err(Refusal::NotActive);
    }
    check_reach(user.id, ask)?;
    (user.permissions.covers_all(&ask.permissions)).map_err(not_narrower)?;
    Ok(Terms {
        parent: None,
        giver: Owner::User(user.id),
        to: ask.to,
        root: user.id,
        permissions: ask.permissions.clone(),
        guards: ask.guards.clone(),
        uses: ask.uses.clone(),
        depth: 0,
        max_depth: ask.max_depth.unwrap_or(DEFAULT_MAX_DEPTH).min(MAX_DEPTH),
        expires_at: ask.expires_at,
    })
}

fn from_agent(giver: &Agent, path: &Path, ask: &NewGrant) -> Result<Terms, Refusal> {
    let parent = path.leaf().ok_or(Refusal::NotActive)?;
    if parent.to != giver.id {
        return Err(Refusal::NotActive);
    }
    if parent.reserved {
        return Err(Refusal::Reserved);
    }
    if giver.id == ask.to {
        return Err(Refusal::SelfGrant);
    }
    if path.hops.iter().any(|hop| hop.grant.to == ask.to) {
        return Err(Refusal::Cycle);
    }
    check_reach(giver.root, ask)?;
    let depth = parent.depth.saturating_add(1);
    let deepest = parent.max_depth.min(MAX_DEPTH);
    if depth > deepest {
        return Err(Refusal::DepthExceeded {
            depth,
            max_depth: deepest,
        });
    }
    (parent.permissions.covers_all(&ask.permissions)).map_err(not_narrower)?;
    narrower(ask.guards.as_deref(), parent.guards.as_deref())
        .map_err(|error| Refusal::NotNarrower(error.within("guards")))?;
    (ask.uses.check_within(&parent.uses)).map_err(Refusal::NotNarrower)?;
    Ok(Terms {
        parent: Some(parent.id),
        giver: Owner::Agent(giver.id),
        to: ask.to,
        root: path.user.id,
        permissions: ask.permissions.clone(),
        guards: ask.guards.clone(),
        uses: ask.uses.clone(),
        depth,
        max_depth: ask.max_depth.unwrap_or(deepest).min(deepest),
        expires_at: earliest(ask.expires_at, parent.expires_at),
    })
}

fn check_reach(giver: UserId, ask: &NewGrant) -> Result<(), Refusal> {
    if ask.reach == Reach::SameHuman && giver != ask.to_root {
        return Err(Refusal::OtherHuman);
    }
    Ok(())
}

fn not_narrower(error: Invalid) -> Refusal {
    Refusal::NotNarrower(error.within("permissions"))
}

/// The earlier of two ends; `None` is no end.
fn earliest(left: Option<Timestamp>, right: Option<Timestamp>) -> Option<Timestamp> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (end, None) | (None, end) => end,
    }
}

/// The path of a giver that a delegation hangs on when none is named: it is live, its grant covers *all* that is asked
/// for, it ends latest, and among equals its grant has the lowest id. One whose grant is for one token alone is none.
pub fn choose_parent<'a>(
    paths: impl IntoIterator<Item = &'a Path>,
    permissions: &PermissionSet,
    now: Timestamp,
) -> Option<&'a Path> {
    paths
        .into_iter()
        .filter(|path| path.standing(now) == Standing::Live)
        .filter_map(|path| path.leaf().map(|leaf| (path, leaf)))
        .filter(|(_, leaf)| !leaf.reserved && leaf.permissions.covers_all(permissions).is_ok())
        .min_by_key(|(_, leaf)| {
            let end = leaf.expires_at.unwrap_or(Timestamp::MAX);
            (std::cmp::Reverse(end), leaf.id)
        })
        .map(|(path, _)| path)
}

/// Whether a grant with the new terms gives everything that it gave with the old ones, to the same agent from the same
/// parent. Where it does not, what was derived from it must be issued again: its generation rises.
pub fn still_covers(new: &Terms, old: &Terms) -> bool {
    let ends = |terms: &Terms| terms.expires_at.unwrap_or(Timestamp::MAX);
    (new.parent, new.giver, new.to, new.root) == (old.parent, old.giver, old.to, old.root)
        && new.depth == old.depth
        && new.max_depth >= old.max_depth
        && ends(new) >= ends(old)
        && implies(old.guards.as_deref(), new.guards.as_deref())
        && old.uses.check_within(&new.uses).is_ok()
        && new.permissions.includes(&old.permissions)
}
