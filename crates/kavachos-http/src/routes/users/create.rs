//! `POST /api/v1/users`: a new human.

use axum::extract::State as FromState;
use kavachos_core::json::Object;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Role;
use kavachos_engine::actor::Scope;
use kavachos_engine::{NewUser, User};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Created, Reply, created};
use crate::routes::agents::create::ExternalOwner;
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewUser")]
pub(crate) struct Ask {
    /// An address; nobody else has it.
    #[schemars(length(min = 3, max = 254))]
    email: Option<String>,
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// Your own name for them; nobody else has it. In a session only an owner gives one.
    external: Option<Object<ExternalOwner>>,
    /// What they may do at the most. Unless said everything, or where `external` is at a provider of the configuration, what
    /// its ceiling says.
    #[schemars(with = "Option<PermissionSet>")]
    permissions: Option<Value>,
    /// What they are trusted with beyond what is their own; `member` unless said.
    #[serde(default)]
    role: Role,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createUser",
        tag: "Users",
        summary: "Create a human",
        text: "",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<Created<User>> {
    let (ask, actor) = body.with(actor);
    let new = NewUser {
        email: ask.email,
        name: ask.name,
        external: ask.external.map(|Object(external)| external.read()),
        permissions: ask
            .permissions
            .map(|value| permissions("permissions", &value))
            .transpose()?,
        role: ask.role,
    };
    created(&state.engine.create_user(&actor, &new).await?)
}
