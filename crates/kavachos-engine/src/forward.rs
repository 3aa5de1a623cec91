//! Calls that a proxy asks about before it lets them through: the agent shows its key to the proxy, the proxy its own
//! to us.
//!
//! It is the same decision as any other, and its record says what the proxy was told. A call that could not be read
//! has one too: it was refused.

use std::sync::Arc;

use kavachos_core::decide::Request;
use kavachos_core::id::UserId;

use crate::act::Act;
use crate::actor::{Actor, AgentKey, Caller};
use crate::authorize::{Decision, Question};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// A call at a proxy.
#[derive(Debug, Clone)]
pub struct ForwardedCall {
    /// The key that the agent showed.
    pub key: Arc<AgentKey>,
    /// What it wants to do, or why that cannot be told without doubt.
    pub request: std::result::Result<Request, String>,
}

impl Engine {
    /// Decides about a call at a proxy.
    ///
    /// # Errors
    /// [`Error::Forbidden`], on record, when the caller is no tool server, the call cannot be read without doubt, or
    /// none of the proxy's scopes covers it; otherwise those of [`Engine::authorize`].
    pub async fn authorize_forwarded(
        &self,
        proxy: &Actor,
        call: ForwardedCall,
    ) -> Result<Decision> {
        let agent = call.key.agent;
        let request = match (call.request, &proxy.caller) {
            (Ok(request), Caller::ToolServer(_)) => request,
            (Err(why), _) => return Err(self.refuse_forwarded(proxy, &call.key, why).await?),
            (Ok(_), _) => {
                let why = "only the key of a tool server asks for a proxy".to_owned();
                return Err(self.refuse_forwarded(proxy, &call.key, why).await?);
            }
        };
        let question = Question {
            agent: Some(agent),
            on_behalf_of: None,
            request,
            presented: Some(call.key),
            shown: None,
        };
        self.authorize(proxy, &question).await
    }

    /// Refuses a proxy that calls from an address which nobody trusts; the refusal is on record.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn refuse_proxy(&self, proxy: &Actor) -> Result<Error> {
        let why = "the proxy's address is none of the trusted ones".to_owned();
        let act = Act::decision(None, None);
        self.refused(proxy, act, Error::Forbidden(why)).await
    }

    /// The human for whom an agent acts when nobody else is named; `None` when there is no such agent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn human_of(&self, key: &AgentKey) -> Result<Option<UserId>> {
        let facts = self.facts(key.agent).await?;
        Ok(facts.user.map(|user| user.id))
    }

    async fn refuse_forwarded(&self, proxy: &Actor, key: &AgentKey, why: String) -> Result<Error> {
        self.admit_denial(key.agent)?;
        let act = Act::decision(Some(key.agent), None);
        self.refused(proxy, act, Error::Forbidden(why)).await
    }
}
