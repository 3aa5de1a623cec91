//! Tokens that a tool server gets for the next one, of a token that it was shown.
//!
//! Promises: the tool server is named in `exchangeBy` of every grant of the chain, and what it gets is narrower than
//! what it was shown in authority and life, for the same human, chain and acting agent, and dies with it: with everything
//! that the token carries, the registration of the tool server among it. What comes from a bound token is bound, to a
//! key of the tool server.

use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::token::Leaf;
use kavachos_core::tool_server::Party;

use super::binding::Parent;
use super::holder::{Held, refuse_counted};
use super::shown::ShownToken;
use super::target::Target;
use super::{Minted, TokenAsk};
use crate::act::Act;
use crate::actor::{Actor, Caller};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::text;
use crate::tool_servers::ToolServerKey;

impl Engine {
    /// Makes a token for another tool server of one that was shown to the tool server that calls.
    ///
    /// # Errors
    /// As [`Engine::shown_token`] and [`Engine::token`]; and the token is over or dead, a grant of its chain does not let
    /// this tool server exchange it, or a proof of the tool server's own key is needed.
    pub async fn exchange(
        &self,
        actor: &Actor,
        shown: &ShownToken<'_>,
        ask: &TokenAsk,
    ) -> Result<Minted> {
        text::plain("reason", &ask.reason, text::MAX_REASON_BYTES)?;
        let leaf = match self.shown_token(actor, shown).await {
            Ok(leaf) => leaf,
            Err(error) => {
                let act = Act::new("token.issued");
                return Err(self.refused(actor, act, error).await?);
            }
        };
        let act = match leaf.authority.agent() {
            Some(agent) => Act::on_agent("token.issued", agent),
            None => Act::new("token.issued"),
        };
        self.change(actor, act, || self.plan_exchange(actor, &leaf, ask))
            .await
    }

    async fn plan_exchange(
        &self,
        actor: &Actor,
        leaf: &Arc<Leaf>,
        ask: &TokenAsk,
    ) -> Result<Plan<Minted>> {
        let Caller::ToolServer(server) = &actor.caller else {
            return Err(Error::NotFound("tool server"));
        };
        self.refuse_used(ask.proof.as_ref()).await?;
        if ask.audience == leaf.audience {
            return Err(Error::NotNarrower(Invalid::at(
                "audience",
                "the token is for this tool server already",
            )));
        }
        let target = self.target(ask).await?;
        let mut held = self.held_by_shown(server, leaf, &target).await?;
        held.batch.reads.extend(actor.reads());
        self.mint(actor, ask, (target, held)).await
    }

    /// The chain of a token as it is now, if all of it still lives and lets this tool server exchange it.
    async fn held_by_shown(
        &self,
        server: &ToolServerKey,
        leaf: &Arc<Leaf>,
        target: &Target,
    ) -> Result<Held> {
        refuse_counted(&target.asked)?;
        refuse_known_session(leaf, target)?;
        if self.registered(&server.audience).await?.policy.party == Party::Third {
            return Err(Error::Forbidden(
                "others' tool servers exchange no tokens: the new one would tell them more of the human than theirs did"
                    .to_owned(),
            ));
        }
        if leaf.life.expires_at <= self.now() {
            return Err(Error::Forbidden(
                "the token is over: nothing comes from it".to_owned(),
            ));
        }
        let held = self
            .held_on_chain(&leaf.authority, leaf.life.expires_at)
            .await?;
        let mut held = held.ok_or_else(|| {
            Error::Forbidden("what the token comes from was revoked or changed".to_owned())
        })?;
        if !held.path.uses().exchange_by.has(&server.audience) {
            return Err(Error::Forbidden(
                "the agent's grants do not let this tool server exchange tokens: an operator names it in `exchangeBy` on \
                 each of the chain"
                    .to_owned(),
            ));
        }
        let (acting, _) = held.agents.last().ok_or(Error::NotFound("agent"))?;
        // The agent's own key is not the tool server's to prove; that there is one says that all of this is bound.
        let is_bound = leaf.bound_to.is_some() || self.proof_key_of(*acting).await?.is_some();
        held.parent = if is_bound {
            Parent::Bound
        } else {
            Parent::Free
        };
        held.exchanged = Some(Arc::clone(leaf));
        Ok(held)
    }
}

/// Others' tool servers know a session by a handle that no other one is told, and this is another one's.
fn refuse_known_session(leaf: &Leaf, target: &Target) -> Result<()> {
    let is_session = |mark: Mark| mark.handle.kind == HandleKind::Session;
    if target.server.policy.party == Party::First || !leaf.authority.all_marks().any(is_session) {
        return Ok(());
    }
    Err(Error::NotNarrower(Invalid::at(
        "audience",
        "a token that a human's session asked for is not exchanged for one of others' tool servers",
    )))
}
