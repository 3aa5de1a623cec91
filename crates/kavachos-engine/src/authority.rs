//! What an agent may do, path by path: a list like the others, bounded in paths and in bytes.

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Hop, Path, Standing};
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_store::MAX_PAGE_BYTES;
use serde::Serialize;

use crate::actor::Actor;
use crate::agents::live_agent;
use crate::engine::Engine;
use crate::error::Result;
use crate::page::{CursorKey, Page, PageOf};
use crate::weight::json_bytes;

/// One way in which an agent has authority.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// The human at the top.
    pub user_id: UserId,
    /// Whether everything on the path is live now.
    pub live: bool,
    /// The grants from the human down; a call must be permitted by every one of them.
    pub path: Vec<AuthorityHop>,
}

/// One grant of a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorityHop {
    /// The grant.
    pub grant_id: GrantId,
    /// Who gave it.
    pub from: Owner,
    /// The agent that holds it.
    pub to: AgentId,
    /// What it permits.
    pub permissions: PermissionSet,
    /// What must hold for everything in it.
    pub guards: Option<Constraints>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Which of an agent's paths: where it stands in their order. Those nearest to the human come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathKey {
    depth: u8,
    /// The agent's own grant at the end of the path.
    grant: GrantId,
}

impl PathKey {
    fn of(path: &Path) -> Option<Self> {
        let leaf = path.leaf()?;
        Some(Self {
            depth: leaf.depth,
            grant: leaf.id,
        })
    }
}

impl CursorKey for PathKey {
    fn encode(&self) -> String {
        format!("{}-{}", self.depth, self.grant)
    }

    fn decode(text: &str) -> Option<Self> {
        let (depth, grant) = text.split_once('-')?;
        Some(Self {
            depth: depth.parse().ok()?,
            grant: grant.parse().ok()?,
        })
    }
}

impl Engine {
    /// What an agent may do, path by path. A page that comes to [`MAX_PAGE_BYTES`] ends with the path that does.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's to see.
    pub async fn authority(
        &self,
        actor: &Actor,
        id: AgentId,
        page: PageOf<PathKey>,
    ) -> Result<Page<Authority, PathKey>> {
        self.visible_agent(actor, id).await?;
        let facts = self.facts(id).await?;
        let now = self.now();
        let live = live_agent(&facts, now).is_some();
        let keyed = facts.paths.iter();
        let keyed = keyed.filter_map(|path| Some((PathKey::of(path)?, path)));
        let mut left: Vec<_> = keyed.filter(|(key, _)| Some(*key) > page.after).collect();
        left.sort_unstable_by_key(|(key, _)| *key);
        let mut shown = Page {
            items: Vec::new(),
            next: None,
        };
        let (mut last, mut bytes) = (None, 0_usize);
        for (key, path) in left {
            if shown.items.len() >= page.limit || bytes >= MAX_PAGE_BYTES {
                shown.next = last;
                break;
            }
            let one = Authority::of(path, live, now);
            bytes = bytes.saturating_add(json_bytes(&one));
            shown.items.push(one);
            last = Some(key);
        }
        Ok(shown)
    }
}

impl Authority {
    /// A path of an agent that is live or not, with everyone above it.
    fn of(path: &Path, agent_is_live: bool, now: Timestamp) -> Self {
        Self {
            user_id: path.user.id,
            live: agent_is_live && path.standing(now) == Standing::Live,
            path: path.hops.iter().map(AuthorityHop::of).collect(),
        }
    }
}

impl AuthorityHop {
    fn of(hop: &Hop) -> Self {
        Self {
            grant_id: hop.grant.id,
            from: hop.grant.giver,
            to: hop.grant.to,
            permissions: PermissionSet::clone(&hop.grant.permissions),
            guards: hop.grant.guards.as_deref().cloned(),
            expires_at: hop.grant.expires_at,
        }
    }
}
