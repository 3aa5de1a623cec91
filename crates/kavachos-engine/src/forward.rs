//! Calls that a proxy asks about before it lets them through: the agent shows its key to the proxy, the proxy its own
//! to us.
//!
//! It is the same decision as any other, and its record says what the proxy was told; an assertion says it to the server
//! behind the proxy, which need not believe whoever reaches it. A call that could not be read
//! has one too: it was refused.

use std::sync::Arc;

use kavachos_core::decide::{Facts, Request};
use kavachos_core::id::{AgentId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::token::{Algorithm, AssertedCall, Assertion};

use crate::act::Act;
use crate::actor::{Actor, AgentKey, Caller};
use crate::asking::Judged;
use crate::authorize::{Decision, Question, ancestors};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;
use crate::tool_servers::ToolServerKey;

/// A call at a proxy.
#[derive(Debug, Clone)]
pub struct ForwardedCall {
    /// The key that the agent showed.
    pub key: Arc<AgentKey>,
    /// What it wants to do, or why that cannot be told without doubt.
    pub request: std::result::Result<Request, String>,
    /// The same in the proxy's words, for the assertion; without them there is none.
    pub described: Option<AssertedCall>,
}

/// What a proxy is told of a call.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// The decision, already on record.
    pub decision: Decision,
    /// The human for whom the agent acts, if the call is allowed.
    pub user: Option<UserId>,
    /// For the server behind the proxy, if the call is allowed and there are keys to sign with: who calls, and that this
    /// very call was allowed.
    pub assertion: Option<String>,
}

/// Who makes a call that was allowed.
struct Behind {
    user: UserId,
    above: Vec<AgentId>,
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
    ) -> Result<Forwarded> {
        let agent = call.key.agent;
        let (request, server) = match (call.request, &proxy.caller) {
            (Ok(request), Caller::ToolServer(server)) => (request, server),
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
        let (decision, behind) = self.authorize_noting(proxy, &question, behind).await?;
        let behind = behind.filter(|_| decision.allowed);
        let assertion = match (&behind, call.described) {
            (Some(behind), Some(described)) => {
                let said = self.said_of(behind, (server, agent), (described, &decision))?;
                self.signed(&said, server).await
            }
            _ => None,
        };
        Ok(Forwarded {
            user: behind.map(|behind| behind.user),
            assertion,
            decision,
        })
    }

    fn said_of(
        &self,
        behind: &Behind,
        (server, agent): (&ToolServerKey, AgentId),
        (call, decision): (AssertedCall, &Decision),
    ) -> Result<Assertion> {
        let subject = behind.user.to_string().parse();
        Ok(Assertion {
            issuer: self.settings().issuer.clone(),
            audience: server.audience.clone(),
            subject: subject.map_err(|error: Invalid| Error::Internal(error.to_string()))?,
            agent,
            chain: behind.above.clone(),
            call,
            audit: decision.audit_id,
            issued_at: self.now(),
        })
    }

    /// What cannot be signed is left out: the call was allowed, and who relies on the signature refuses it by itself.
    async fn signed(&self, said: &Assertion, server: &ToolServerKey) -> Option<String> {
        self.master_key()?;
        let algorithm = Algorithm::from(server.token_algorithm);
        let key = self.signer(KeyPurpose::Assertion, algorithm).await;
        let key = key.inspect_err(|error| {
            tracing::warn!(%error, "a call at a proxy is allowed without an assertion");
        });
        said.sign(&key.ok()?).ok()
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

    async fn refuse_forwarded(&self, proxy: &Actor, key: &AgentKey, why: String) -> Result<Error> {
        self.admit_denial(key.agent)?;
        let act = Act::decision(Some(key.agent), None);
        self.refused(proxy, act, Error::Forbidden(why)).await
    }
}

/// Who stands behind the winning path.
fn behind(facts: &Facts, judged: &Judged) -> Option<Behind> {
    let winner = judged.decision.winner?;
    let path = facts.paths.get(winner)?;
    Some(Behind {
        user: path.user.id,
        above: ancestors(facts, Some(path)),
    })
}
