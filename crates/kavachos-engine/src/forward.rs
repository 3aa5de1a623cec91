//! Calls that a proxy asks about before it lets them through: the agent shows its key to the proxy, the proxy its own
//! to us.
//!
//! It is the same decision as any other, and its record says what the proxy was told; an assertion says it to the server
//! behind the proxy, which need not believe whoever reaches it. A call that could not be read
//! has one too: it was refused.

use std::sync::Arc;

use kavachos_core::decide::{Facts, Request};
use kavachos_core::id::{AgentId, UserId};
use kavachos_core::token::{Algorithm, AssertedCall, Assertion, Subject};

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
    /// The human for whom the agent acts, as tokens for this tool server name them, if the call is allowed. `None` also
    /// of others' tool servers without a master key: they are told no id.
    pub subject: Option<Subject>,
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
        let subject = (behind.as_ref()).and_then(|behind| self.told_to(server, behind.user));
        let assertion = match (behind, &subject, call.described) {
            (Some(behind), Some(subject), Some(described)) => {
                let said = Assertion {
                    issuer: self.settings().issuer.clone(),
                    audience: server.audience.clone(),
                    subject: subject.clone(),
                    agent,
                    chain: behind.above,
                    call: described,
                    audit: decision.audit_id,
                    issued_at: self.now(),
                };
                self.signed(&said, server).await
            }
            _ => None,
        };
        Ok(Forwarded {
            subject,
            assertion,
            decision,
        })
    }

    /// What a tool server is told of who the human is. The call was allowed and is on record, so what cannot be told is
    /// left out.
    fn told_to(&self, server: &ToolServerKey, user: UserId) -> Option<Subject> {
        let subject = self.named_to(user, (server.id, server.party));
        let subject = subject.inspect_err(|error| {
            tracing::warn!(%error, "a call at a proxy is allowed without the name of its human");
        });
        subject.ok()
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
