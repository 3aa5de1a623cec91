//! `POST /api/v1/delegations`: give a part of one's authority to an agent, for a while and with a reason.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Exchangers, TokenUses};
use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Delegation, Life, NewDelegation, UsesChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::possession::OwnKey;
use crate::reply::{Created, Reply, created};
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewDelegation")]
pub(crate) struct Ask {
    /// Who gives.
    from: Owner,
    /// Who gets it.
    to: AgentId,
    /// What it may do, at most what the giver may.
    #[schemars(with = "PermissionSet")]
    permissions: Value,
    /// When it ends; or say `ttlSeconds`.
    expires_at: Option<Timestamp>,
    /// How long it lasts: 15 minutes unless said.
    #[schemars(range(min = 1))]
    ttl_seconds: Option<u64>,
    /// How deep it may be given on.
    #[schemars(range(max = kavachos_core::grant::MAX_DEPTH))]
    max_depth: Option<u8>,
    /// What must hold for every call.
    guards: Option<Constraints>,
    /// The tool servers that may exchange its tokens for those of the next one. An agent does not say so.
    exchange_by: Option<Exchangers>,
    /// Whether what comes from a bound token may be unbound, where its tool server asks for no proof; nor this.
    bearer: Option<bool>,
    /// Whether agents may hand its tokens on by themselves; nor this.
    offline: Option<bool>,
    /// The grant that it comes from, where the giver has several.
    parent: Option<GrantId>,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 200))]
    reason: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createDelegation",
        tag: "Delegations",
        summary: "Give an agent a part of what one may do",
        text: "For a while and with a reason: 15 minutes unless said, at most until the giver's own end. An agent gives of its own, with a proof of its `proofKey` if it has one.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Agent],
    };
    Operation::post("/api/v1/delegations", ABOUT, handle).refusing(&[
        Refusal::NotNarrower,
        Refusal::NotFound,
        Refusal::Conflict,
        Refusal::GrantLimitExceeded,
        Refusal::DepthExceeded,
    ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    OwnKey(proof): OwnKey,
    body: Body<Ask>,
) -> Reply<Created<Delegation>> {
    let (ask, actor) = body.with(actor);
    let new = ask.read()?;
    let made = state.engine.delegate(&actor, &new, proof.as_ref()).await?;
    created(&made)
}

impl Ask {
    fn read(self) -> Result<NewDelegation, Invalid> {
        let life = match (self.expires_at, self.ttl_seconds) {
            (Some(_), Some(_)) => {
                return Err(Invalid::at(
                    "ttlSeconds",
                    "give `expiresAt` or `ttlSeconds`, not both",
                ));
            }
            (None, Some(0)) => return Err(Invalid::at("ttlSeconds", "must be at least 1")),
            (Some(end), None) => Some(Life::Until(end)),
            (None, seconds) => seconds.map(|seconds| Life::For(Duration::from_secs(seconds))),
        };
        Ok(NewDelegation {
            from: self.from,
            to: self.to,
            permissions: permissions("permissions", &self.permissions)?,
            guards: self.guards.filter(|guards| !guards.is_empty()),
            uses: UsesChange {
                exchange_by: self.exchange_by,
                bearer: self.bearer,
                offline: self.offline,
            }
            .of(TokenUses::default()),
            life,
            max_depth: self.max_depth,
            parent: self.parent,
            reason: self.reason,
        })
    }
}
