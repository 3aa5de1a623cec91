//! A decision about a call that came with a token: only the grants of its chain count, and no more than it says itself.

use std::sync::Arc;

use kavachos_core::constraint::Call;
use kavachos_core::decide::{Credential, Facts, Request};
use kavachos_core::grant::Path;
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::token::{Authority, Leaf, Offline, Thumbprint};
use kavachos_store::handle;

use crate::actor::{Actor, Caller};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;

/// A token that a tool server was shown, and what it says of how that was done.
#[derive(Clone, Copy)]
pub struct ShownToken<'a> {
    /// The token.
    pub text: &'a str,
    /// The key of which the tool server saw a proof with it. What it saw of a bound token is for it to say: whoever has
    /// no proof has the token from somebody else.
    pub proven: Option<Thumbprint>,
}

impl Engine {
    /// Reads a token that was shown to the tool server that calls. Whether it is dead is a question of each decision.
    ///
    /// # Errors
    /// The caller is no tool server; or the token is none of ours, for another tool server, or bound to a key that was
    /// not proved.
    pub async fn shown_token(&self, actor: &Actor, shown: &ShownToken<'_>) -> Result<Arc<Leaf>> {
        let Caller::ToolServer(key) = &actor.caller else {
            return Err(Error::Forbidden(
                "only a tool server asks about a token that was shown to it: call with its own key"
                    .to_owned(),
            ));
        };
        let wrong = |message: &str| Error::Invalid(Invalid::at("token", message));
        let keys = self.key_set(KeyPurpose::Token).await?;
        let leaf = Leaf::open(shown.text, &self.settings().issuer, &keys)
            .map_err(|failure| wrong(&failure.to_string()))?;
        if key.audience != leaf.audience {
            return Err(wrong(
                "audience_mismatch: the token is for another tool server",
            ));
        }
        check_proven(leaf.bound_to, shown.proven)?;
        Ok(Arc::new(leaf))
    }

    /// Leaves of the facts what a token carries.
    pub(crate) async fn narrow_to(
        &self,
        facts: &mut Facts,
        leaf: &Leaf,
        request: &Request,
    ) -> Result<()> {
        let authority = &leaf.authority;
        facts.paths.retain(|path| is_chain(path, authority));
        facts.subject = facts.paths.first().map(|path| path.user.id);
        let now = self.now();
        if leaf.life.expires_at <= now {
            facts.credential = Credential::KeyExpired;
        } else if authority.epoch != self.head().epoch || self.any_dead(authority).await? {
            facts.credential = Credential::KeyRevoked;
        }
        let call = Call {
            arguments: request.arguments.as_ref(),
            ip: request.ip,
            cost: request.cost.as_ref(),
        };
        if let Offline::Denied(_) =
            authority.permits(&request.action, &request.resource, &call, now)
        {
            facts.paths.clear();
        }
        Ok(())
    }

    /// Whether anything that a token comes from was killed or narrowed since.
    pub(crate) async fn any_dead(&self, authority: &Authority) -> Result<bool> {
        let marks: Vec<Mark> = authority.all_marks().collect();
        let handles: Vec<Handle> = marks.iter().map(|mark| mark.handle).collect();
        let current = self.store().list(handle::current(&handles)).await?;
        let lives = |mark: &Mark| current.contains(&(mark.handle, mark.generation));
        Ok(!marks.iter().all(lives))
    }
}

/// Holds the key that a tool server saw proved against the one that a token is bound to.
fn check_proven(bound_to: Option<Thumbprint>, proven: Option<Thumbprint>) -> Result<()> {
    let problem = match (bound_to, proven) {
        (None, None) => return Ok(()),
        (Some(key), Some(proven)) if key == proven => return Ok(()),
        (Some(_), None) => {
            "proof_missing: the token is bound to a key: say which one was proved with it"
        }
        (Some(_), Some(_)) => "proof_invalid: the proof is by another key than the token's",
        (None, Some(_)) => "proof_invalid: the token is bound to no key",
    };
    Err(Invalid::at("proven", problem).into())
}

/// Whether a path is the chain of a token, each grant as it was then.
pub(super) fn is_chain(path: &Path, authority: &Authority) -> bool {
    let hops = path.hops.iter().map(|hop| hop.grant.mark);
    hops.eq(authority.chain.iter().map(|hop| hop.grant))
}
