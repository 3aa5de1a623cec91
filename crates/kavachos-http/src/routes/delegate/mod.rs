//! `POST /api/v1/delegate`: a token for one tool server, made of what the caller holds; for another agent, what that one
//! makes it of.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Owner;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::time::Timestamp;
use kavachos_core::tool_server::Audience;
use kavachos_engine::actor::{Actor, Caller as Who};
use kavachos_engine::{Handed, Minted, TokenAsk, Wanted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::possession::Possession;
use crate::reply::{Data, Reply, data};
use crate::routes::agents::permissions;
use crate::state::State;

pub(crate) mod redeem;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TokenRequest")]
pub(crate) struct Ask {
    /// Who gives: the caller, by its id. It may be left out.
    parent: Option<Owner>,
    /// The agent that will show the token: the caller, one of its own, or another agent of the same human, which then
    /// makes it itself. Without one, an agent for this alone.
    agent: Option<AgentId>,
    /// The tool server, as it is registered.
    #[schemars(with = "String", length(min = 1, max = 512))]
    audience: Audience,
    /// What it is to permit: resources with every action. The tool server's default scope unless said.
    #[schemars(with = "Option<Vec<ResourcePattern>>", length(min = 1, max = 100))]
    scopes: Option<Vec<ResourcePattern>>,
    /// The same as permissions, with actions and constraints.
    #[schemars(with = "Option<PermissionSet>")]
    permissions: Option<Value>,
    /// How long it lives, at most what the tool server allows and its parents have left.
    #[schemars(range(min = 1))]
    ttl_seconds: Option<u64>,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 200))]
    reason: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Token")]
pub(crate) struct Token {
    /// The token, for this one time: the tool server's `Authorization` header takes it.
    token: String,
    /// Before it in that header: `Bearer`, or `DPoP` for one that is bound to a key.
    #[schemars(extend("enum" = ["Bearer", "DPoP"]))]
    token_type: &'static str,
    /// Its name in the ledger.
    id: String,
    /// The agent that may show it.
    agent: AgentId,
    /// The tool server that it is for.
    audience: String,
    /// Its scopes.
    scope: String,
    /// When it ends.
    expires_at: Timestamp,
}

impl Token {
    pub(crate) fn of(minted: Minted) -> Self {
        Self {
            token_type: if minted.bound_to.is_some() {
                "DPoP"
            } else {
                "Bearer"
            },
            token: minted.token,
            id: minted.id.to_string(),
            agent: minted.agent,
            audience: minted.audience.to_string(),
            scope: minted.scope,
            expires_at: minted.expires_at,
        }
    }
}

/// What another agent makes a token of.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PromisedToken")]
pub(crate) struct Promise {
    /// For that agent to redeem, with its own key: `POST /api/v1/delegate/{id}/token`.
    delegation_id: GrantId,
    /// The agent that may.
    agent: AgentId,
    /// The tool server that the token will be for.
    audience: String,
    /// When it ends, and the token with it.
    expires_at: Timestamp,
}

/// A token, or what another agent makes one of.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "HandedToken")]
pub(crate) enum Answer {
    /// The token, where its agent is the caller or the caller's own.
    Token(Token),
    /// What another agent makes it of.
    Promise(Promise),
}

impl Answer {
    fn of(handed: Handed) -> Self {
        match handed {
            Handed::Token(minted) => Self::Token(Token::of(*minted)),
            Handed::Promise(promise) => Self::Promise(Promise {
                delegation_id: promise.delegation,
                agent: promise.agent,
                audience: promise.audience.to_string(),
                expires_at: promise.expires_at,
            }),
        }
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "delegate",
        tag: "Tokens",
        summary: "Get a token for one tool server",
        text: "For an agent with its own key, or one of its own agents, or another agent of the same human: that gets a delegation and makes the token itself, with `delegationId`; for a human's session, for one of the human's agents. Without `agent` it is made out to an agent that exists for such tokens alone, with a grant of its own: a session must be fresh for that. A proof in the header `DPoP` (RFC 9449) binds it to a key. Anyone can check it with `/.well-known/jwks.json`; it dies with everything that it comes from.",
        callers: &[Caller::Agent, Caller::Session],
    };
    Operation::post("/api/v1/delegate", ABOUT, handle).refusing(&[
        Refusal::NotNarrower,
        Refusal::NotFound,
        Refusal::Conflict,
        Refusal::GrantLimitExceeded,
        Refusal::AgentLimitExceeded,
        Refusal::DepthExceeded,
    ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    Possession(proof): Possession,
    body::Question(ask): body::Question<Ask>,
) -> Reply<Data<Answer>> {
    let ask = TokenAsk {
        proof,
        ..ask.read(&actor)?
    };
    data(&Answer::of(state.engine.hand_token(&actor, &ask).await?))
}

impl Ask {
    fn read(self, actor: &Actor) -> Result<TokenAsk, Invalid> {
        if self.parent.is_some_and(|parent| !is_caller(actor, parent)) {
            return Err(Invalid::at(
                "parent",
                "is not the caller; leave it out, or call as it",
            ));
        }
        let wanted = match (self.scopes, self.permissions) {
            (Some(_), Some(_)) => {
                return Err(Invalid::at(
                    "permissions",
                    "give `scopes` or `permissions`, not both",
                ));
            }
            (Some(scopes), None) if scopes.is_empty() => {
                return Err(Invalid::at("scopes", "an empty list permits nothing"));
            }
            (Some(scopes), None) => Wanted::Scopes(scopes),
            (None, Some(value)) => Wanted::Permissions(permissions("permissions", &value)?),
            (None, None) => Wanted::Default,
        };
        if self.ttl_seconds == Some(0) {
            return Err(Invalid::at("ttlSeconds", "must be at least 1"));
        }
        Ok(TokenAsk {
            audience: self.audience,
            wanted,
            ttl: self.ttl_seconds.map(Duration::from_secs),
            reason: self.reason,
            agent: self.agent,
            agent_key: None,
            proof: None,
        })
    }
}

fn is_caller(actor: &Actor, parent: Owner) -> bool {
    match &actor.caller {
        Who::Agent(key) => parent == Owner::Agent(key.agent),
        Who::Person(person) => parent == Owner::User(person.user.id),
        Who::Local
        | Who::Operator(_)
        | Who::ToolServer(_)
        | Who::Provided(_)
        | Who::Root(_)
        | Who::Stranger => false,
    }
}
