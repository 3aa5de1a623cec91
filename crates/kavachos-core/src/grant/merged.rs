//! What a whole path permits, written as one set: what a token carries, since whoever reads it knows no grants.

use std::sync::Arc;

use super::{Path, Refusal};
use crate::constraint::Constraints;
use crate::invalid::Invalid;
use crate::permission::{Permission, PermissionSet, implies};

/// In how many ways one permission may be merged: by each hop several of its permissions can permit it.
const MAX_WAYS: usize = 16;
/// How many permissions of one hop are tried for one that is asked. Fewer permit less, never more.
const MAX_TRIED: usize = 64;

/// A part of what a path permits, with the constraints of all its hops.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// What is permitted.
    pub permissions: PermissionSet,
    /// What must hold for all of it.
    pub guards: Option<Arc<Constraints>>,
}

impl Path {
    /// The part of this path's authority that is asked for. Whatever it permits, the human and every grant permit.
    ///
    /// # Errors
    /// [`Refusal::NotNarrower`] names the permission that the human or a grant does not cover, or whose constraints
    /// there and here cannot be written as one.
    pub fn merged(&self, asked: &PermissionSet) -> Result<Merged, Refusal> {
        self.merged_within(asked, None)
    }

    /// The same, as one hop more would give it on that has no more than this: a token that is exchanged.
    ///
    /// # Errors
    /// As [`Path::merged`]; the bound may be what does not cover it.
    pub fn merged_within(
        &self,
        asked: &PermissionSet,
        bound: Option<&Merged>,
    ) -> Result<Merged, Refusal> {
        let sets = || {
            let hops = self.hops.iter().map(|hop| &hop.grant.permissions);
            let bound = bound.map(|bound| &bound.permissions);
            std::iter::once(&self.user.permissions)
                .chain(hops)
                .chain(bound)
        };
        let mut permissions = Vec::new();
        for permission in asked.iter() {
            sets()
                .try_for_each(|set| set.cover(permission))
                .map_err(Refusal::NotNarrower)?;
            let ways = sets().fold(
                vec![permission.constraints().cloned().unwrap_or_default()],
                |ways, set| through(&ways, permission, set),
            );
            if ways.is_empty() {
                return Err(Refusal::NotNarrower(cannot_merge(permission)));
            }
            permissions.extend(ways.into_iter().map(|constraints| {
                Permission::new(
                    permission.resource().clone(),
                    permission.actions().clone(),
                    constraints,
                )
            }));
        }
        Ok(Merged {
            permissions: PermissionSet::new(permissions).map_err(Refusal::NotNarrower)?,
            guards: self.merged_guards(bound)?,
        })
    }

    fn merged_guards(&self, bound: Option<&Merged>) -> Result<Option<Arc<Constraints>>, Refusal> {
        let hops = self.hops.iter().filter_map(|hop| hop.grant.guards.as_ref());
        let mut guards = hops.chain(bound.and_then(|bound| bound.guards.as_ref()));
        let Some(first) = guards.next() else {
            return Ok(None);
        };
        guards
            .try_fold(Arc::clone(first), |merged, guards| {
                merged.and(guards).map(Arc::new)
            })
            .map(Some)
            .ok_or_else(|| {
                Refusal::NotNarrower(Invalid::new(
                    "the guards of the chain cannot be written as one; narrow the grant below",
                ))
            })
    }
}

/// The ways in which a permission, merged so far, passes one more set.
fn through(ways: &[Constraints], asked: &Permission, set: &PermissionSet) -> Vec<Constraints> {
    let mut merged: Vec<Constraints> = Vec::new();
    for permission in set.covering(asked).take(MAX_TRIED) {
        if merged.len() == MAX_WAYS {
            break;
        }
        let free = Constraints::default();
        let theirs = permission.constraints().unwrap_or(&free);
        for way in ways.iter().filter_map(|way| way.and(theirs)) {
            // Fewer ways permit less, never more.
            if merged.len() < MAX_WAYS
                && !merged.iter().any(|known| implies(Some(&way), Some(known)))
            {
                merged.retain(|known| !implies(Some(known), Some(&way)));
                merged.push(way);
            }
        }
    }
    merged
}

fn cannot_merge(permission: &Permission) -> Invalid {
    Invalid::new(format!(
        "the constraints of the chain on `{}` cannot be written as one; state narrower ones",
        permission.resource().as_str()
    ))
}
