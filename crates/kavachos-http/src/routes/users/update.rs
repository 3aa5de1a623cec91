//! `PATCH /api/v1/users/{id}`: change a human; narrower permissions count at once.

use axum::extract::State as FromState;
use kavachos_core::json::Object;
use kavachos_core::permission::PermissionSet;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Edited, User, UserChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::{Body, present};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::routes::agents::create::ExternalOwner;
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "UserChange")]
pub(crate) struct Ask {
    /// An address; `null` for none.
    #[schemars(length(min = 3, max = 254))]
    #[serde(default, deserialize_with = "present")]
    email: Option<Option<String>>,
    /// For display; `null` for none.
    #[schemars(length(min = 1, max = 200))]
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    /// What they may do at the most; `null` for everything.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<PermissionSet>")]
    permissions: Option<Option<Value>>,
    /// `null` takes the identity elsewhere away: all their sessions end, and it makes no other human.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<()>")]
    external: Option<Option<Object<ExternalOwner>>>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateUser",
        tag: "Users",
        summary: "Change a human",
        text: "Narrower permissions count at once, for all below. In a session only an owner changes the address or the identity elsewhere.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::patch("/api/v1/users/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply<Data<Edited<User>>> {
    let (ask, actor) = body.with(actor);
    let read = |value: Option<Value>| {
        value
            .map(|value| permissions("permissions", &value))
            .transpose()
    };
    let change = UserChange {
        email: ask.email,
        name: ask.name,
        permissions: ask.permissions.map(read).transpose()?,
        external: (ask.external).map(|given| given.map(|Object(external)| external.read())),
    };
    data(&state.engine.change_user(&actor, id, &change).await?)
}
