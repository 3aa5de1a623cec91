//! Who reads the feed, what a head calls them, and for how long it is good.

use std::net::IpAddr;

use kavachos_core::revocation::{FollowerName, Lease};

use crate::actor::{Actor, Caller, Scope};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::seats::Holder;

/// The lease of whoever is no registered tool server.
const USUAL_SECONDS: u64 = 10;

/// Who may read the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedAccess {
    /// Tool servers, and operators with the scope `audit:read`.
    #[default]
    Keys,
    /// Everyone, also without a credential: for development.
    Everyone,
}

/// Who reads the feed.
#[derive(Debug, Clone)]
pub enum FeedReader {
    /// Someone whose credential was checked.
    Known(Actor),
    /// Someone without a credential, from this address, where the feed is open to everyone.
    Anyone(Option<IpAddr>),
}

impl FeedReader {
    /// Refuses whoever may not read.
    pub(super) fn check(&self, engine: &Engine) -> Result<()> {
        match self {
            Self::Anyone(_) if engine.settings().feed == FeedAccess::Everyone => Ok(()),
            Self::Anyone(_) => Err(Error::Unauthenticated(
                "send one header `Authorization: Bearer <key>`",
            )),
            Self::Known(actor) => match actor.caller {
                Caller::ToolServer(_) => Ok(()),
                _ => actor.require(Scope::AuditRead),
            },
        }
    }

    /// Refuses whoever could read once, and whose credential is dead or changed by now.
    pub(super) async fn require_live(&self, engine: &Engine) -> Result<()> {
        let Self::Known(actor) = self else {
            return Ok(());
        };
        let caller = engine.renewed(&actor.caller).await?;
        if caller.mark() == actor.caller.mark() {
            return Ok(());
        }
        Err(Error::Unauthenticated("the key was changed"))
    }

    /// Whose places they take: all processes with one key are one reader.
    pub(super) fn holder(&self) -> Holder {
        match self {
            Self::Anyone(address) => Holder::from(*address),
            Self::Known(actor) => Holder::of(actor),
        }
    }

    /// What a head calls them: a tool server by its audience, others by the name that records have.
    pub(super) fn name(&self) -> Result<FollowerName> {
        let name = match self {
            Self::Anyone(_) => "anonymous".to_owned(),
            Self::Known(actor) => match &actor.caller {
                Caller::ToolServer(key) => key.audience.to_string(),
                _ => actor.public_name(),
            },
        };
        name.parse()
            .map_err(|_| Error::Internal("a follower has no name".to_owned()))
    }

    /// For how long a head of theirs is good.
    pub(super) fn lease(&self) -> Result<Lease> {
        let seconds = match self {
            Self::Known(actor) => match &actor.caller {
                Caller::ToolServer(key) => key.lease_seconds.into(),
                _ => USUAL_SECONDS,
            },
            Self::Anyone(_) => USUAL_SECONDS,
        };
        Lease::from_seconds(seconds).map_err(|error| Error::Internal(error.to_string()))
    }
}
