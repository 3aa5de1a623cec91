//! Who is behind a request, and what they may do: what a handler asks.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use kavachos_core::action::Action;
use kavachos_core::constraint::{Constraints, Cost};
use kavachos_core::id::{AgentId, TokenId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::resource::{Resource, ResourcePattern};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Authority, Code, Hop, Subject, Thumbprint};
use serde_json::Value;

use crate::authorize::{Allowed, authorize, foresee};
use crate::rejection::{Cause, Rejection};
use crate::tokens::Held;
use crate::verifier::Verifier;

/// A human, and the agent that acts for them here and now.
///
/// The [layer](crate::VerifierLayer) puts it into the extensions of the request. It holds on to its verifier: a handler
/// that runs for long calls [`Principal::recheck`] before it changes anything.
#[derive(Clone)]
pub struct Principal {
    verifier: Verifier,
    held: Arc<Held>,
    key: Option<Thumbprint>,
}

/// By whose word the agent is who it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentProof {
    /// The issuer's.
    Server,
}

/// One call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// What is done: `call`, `read`.
    pub action: &'a str,
    /// With what: `mcp:notion:search`.
    pub resource: &'a str,
    /// The arguments of the call.
    pub arguments: Option<&'a Value>,
    /// Where the call comes from, as the tool server knows it.
    pub ip: Option<IpAddr>,
    /// The program that calls.
    pub user_agent: Option<&'a str>,
    /// What the call costs, where a budget is not counted in calls.
    pub cost: Option<&'a Cost>,
}

impl<'a> ToolCall<'a> {
    /// A call of which nothing else is known.
    pub fn new(action: &'a str, resource: &'a str) -> Self {
        Self {
            action,
            resource,
            arguments: None,
            ip: None,
            user_agent: None,
            cost: None,
        }
    }
}

impl Principal {
    pub(crate) fn new(verifier: Verifier, held: Arc<Held>, key: Option<Thumbprint>) -> Self {
        Self {
            verifier,
            held,
            key,
        }
    }

    /// The human; for a third party's tool server a pseudonym of its own.
    pub fn user(&self) -> &Subject {
        &self.authority().subject
    }

    /// The agent that acts.
    pub fn agent(&self) -> AgentId {
        self.held.agent
    }

    /// The grants from the human down; the last one is the acting agent's.
    pub fn chain(&self) -> &[Hop] {
        &self.authority().chain
    }

    /// What the token permits: every grant of the chain, merged.
    pub fn permissions(&self) -> &PermissionSet {
        &self.authority().permissions
    }

    /// What must hold for all of it.
    pub fn guards(&self) -> Option<&Constraints> {
        self.authority().guards.as_deref()
    }

    /// The scopes of this tool server that the token covers with every action.
    pub fn scopes(&self) -> &[ResourcePattern] {
        &self.held.leaf.scopes
    }

    /// Why the token was made; for a third party's tool server the id of the record that says so.
    pub fn reason(&self) -> &str {
        &self.authority().reason
    }

    /// The token's name, under which its making is on record.
    pub fn token_id(&self) -> TokenId {
        self.held.leaf.life.id
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Timestamp {
        self.held.leaf.life.expires_at
    }

    /// The key that the sender of this request has proven to hold; `None` of a bearer.
    pub fn proven_key(&self) -> Option<Thumbprint> {
        self.key
    }

    /// By whose word the agent is who it is said to be.
    pub fn agent_proof(&self) -> AgentProof {
        AgentProof::Server
    }

    /// Everything that the token says of its authority.
    pub fn authority(&self) -> &Authority {
        &self.held.leaf.authority
    }

    /// Whether the token is still good: in time, of a key that is still the issuer's, and not revoked as far as is
    /// known within the lease. To be asked again before each side effect of a handler that runs for long.
    ///
    /// # Errors
    /// Why it is not.
    pub fn recheck(&self) -> Result<(), Rejection> {
        self.verifier.recheck(&self.held)
    }

    /// Whether this call is allowed: the token is [still good](Self::recheck), the resource is this tool server's, and
    /// the token permits it. About rates, budgets and approvals the server is asked; where it cannot be, the call is
    /// refused.
    ///
    /// # Errors
    /// Why it is not, ready to be given back to the caller.
    pub async fn authorize(
        &self,
        action: &str,
        resource: &str,
        arguments: Option<&Value>,
        ip: Option<IpAddr>,
    ) -> Result<Allowed, Rejection> {
        let call = ToolCall {
            arguments,
            ip,
            ..ToolCall::new(action, resource)
        };
        self.authorize_call(&call).await
    }

    /// [`Principal::authorize`] for a call of which more is known.
    ///
    /// # Errors
    /// As there.
    pub async fn authorize_call(&self, call: &ToolCall<'_>) -> Result<Allowed, Rejection> {
        authorize(&self.verifier, self, call).await
    }

    /// Whether the token has a permission for this action on all of these resources, under whatever conditions: what a
    /// call of several takes, before any of it is done. A refusal names all scopes that are needed in one challenge. It
    /// calls nobody, and allows nothing: [`Principal::authorize`] does, for one after the other.
    ///
    /// # Errors
    /// The token is not good any more, or there is one without a permission.
    pub fn foresee(&self, action: &str, resources: &[&str]) -> Result<(), Rejection> {
        let unknown = |error: Invalid| {
            Rejection::new(Cause::Token(Code::InsufficientScope), error.to_string())
        };
        let action: Action = action.parse().map_err(unknown)?;
        let resources = resources.iter().map(|name| name.parse().map_err(unknown));
        let resources: Vec<Resource> = resources.collect::<Result<_, _>>()?;
        foresee(&self.verifier, self, &action, &resources)
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }
}

impl fmt::Debug for Principal {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("user", self.user())
            .field("agent", &self.agent())
            .field("token_id", &self.token_id())
            .field("proven_key", &self.key)
            .finish_non_exhaustive()
    }
}
