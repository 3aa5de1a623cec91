//! `POST /api/v1/agents`: a new agent with its key, which only this answer shows.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Exchangers, TokenUses};
use kavachos_core::id::GrantId;
use kavachos_core::invalid::Invalid;
use kavachos_core::json::Object;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::{Actor, Caller as Who, Scope};
use kavachos_engine::{Agent, AgentKind, External, NewAgent, NewOwner, Proofs, UsesChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{permissions, proof_key};
use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::possession::{NewKey, OwnKey};
use crate::reply::{Reply, WithToken, issued};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewAgent")]
pub(crate) struct Ask {
    /// The human or agent that owns it.
    owner_id: Option<Owner>,
    /// The human that owns it, by a name of yours; made if there is none.
    owner: Option<Object<ExternalOwner>>,
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// How it works.
    #[serde(rename = "type")]
    kind: AgentKind,
    /// What it may do, at most what its owner may.
    #[schemars(with = "PermissionSet")]
    permissions: Value,
    /// What must hold for every call.
    guards: Option<Constraints>,
    /// The tool servers that may exchange its tokens for those of the next one. An agent does not say so.
    exchange_by: Option<Exchangers>,
    /// Whether what comes from a bound token may be unbound, where its tool server asks for no proof; nor this.
    bearer: Option<bool>,
    /// Whether agents may hand its tokens on by themselves; nor this.
    offline: Option<bool>,
    /// How deep delegations below it may go.
    #[schemars(range(max = kavachos_core::grant::MAX_DEPTH))]
    max_depth: Option<u8>,
    /// The grant that its own comes from, where an agent owns it.
    parent: Option<GrantId>,
    /// When it ends.
    expires_at: Option<Timestamp>,
    /// How long its key works: a day unless said, at most 366.
    #[schemars(range(min = 1, max = 31_622_400))]
    key_ttl_seconds: Option<u64>,
    /// An object of your own, at most 2 KiB.
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<Value>,
    /// The public key that is proved with its tokens: an Ed25519 or P-256 JSON Web Key, no other agent's. An agent that
    /// registers one proves it in `Kavach-Key-Proof`.
    #[schemars(with = "Option<Map<String, Value>>")]
    proof_key: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExternalOwner {
    /// Who names them.
    #[schemars(length(min = 1, max = 200))]
    provider: String,
    /// Their name there.
    #[schemars(length(min = 1, max = 200))]
    external_id: String,
}

impl ExternalOwner {
    pub(crate) fn read(self) -> External {
        External {
            provider: self.provider,
            external_id: self.external_id,
        }
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createAgent",
        tag: "Agents",
        summary: "Create an agent",
        text: "It gets a key, which only this answer shows, and a root grant of these permissions. Give either `ownerId` or `owner`. An agent may create agents owned by itself, within what it may do: with a proof of its own `proofKey` if it has one, and of the `proofKey` that it registers. A human creates agents of their own with a fresh session, or with the token of their provider where it says that they signed in lately: leave the owner out, or name yourself.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Agent],
    };
    Operation::post("/api/v1/agents", ABOUT, handle).refusing(&[
        Refusal::NotNarrower,
        Refusal::NotFound,
        Refusal::Conflict,
        Refusal::AgentLimitExceeded,
        Refusal::GrantLimitExceeded,
        Refusal::DepthExceeded,
    ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    OwnKey(own): OwnKey,
    NewKey(registered): NewKey,
    body: Body<Ask>,
) -> Reply<WithToken<Agent>> {
    let (ask, actor) = body.with(actor);
    let new = ask.read(&actor)?;
    let proofs = Proofs { own, registered };
    issued(&state.engine.create_agent(&actor, &new, &proofs).await?)
}

impl Ask {
    fn read(self, actor: &Actor) -> Result<NewAgent, Invalid> {
        let owner = match (self.owner_id, self.owner, &actor.caller) {
            (Some(Owner::User(id)), None, _) => NewOwner::User(id),
            (Some(Owner::Agent(id)), None, _) => NewOwner::Agent(id),
            (None, Some(Object(external)), _) => NewOwner::External(external.read()),
            (None, None, Who::Person(person)) => NewOwner::User(person.user.id),
            _ => {
                return Err(Invalid::at(
                    "ownerId",
                    "give either `ownerId` or `owner`: one of them, not both",
                ));
            }
        };
        Ok(NewAgent {
            owner,
            name: self.name,
            kind: self.kind,
            permissions: permissions("permissions", &self.permissions)?,
            guards: self.guards.filter(|guards| !guards.is_empty()),
            uses: UsesChange {
                exchange_by: self.exchange_by,
                bearer: self.bearer,
                offline: self.offline,
            }
            .of(TokenUses::default()),
            max_depth: self.max_depth,
            parent: self.parent,
            expires_at: self.expires_at,
            key_ttl: self.key_ttl_seconds.map(Duration::from_secs),
            metadata: self.metadata,
            proof_key: self.proof_key.as_ref().map(proof_key).transpose()?,
        })
    }
}
