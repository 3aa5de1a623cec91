//! `GET /api/v1/users`: humans, newest first, all or those that are looked for.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_core::principal::{Role, Status};
use kavachos_engine::actor::Scope;
use kavachos_engine::{User, UserFilter};
use schemars::json_schema;

use crate::call::Call;
use crate::operation::{About, Caller, Form, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listUsers",
        tag: "Users",
        summary: "List humans, newest first",
        text: "",
        callers: &[Caller::Operator(Scope::UsersRead)],
    };
    let text = |max: u32| {
        Form::known(json_schema!({ "type": "string", "minLength": 1, "maxLength": max }))
    };
    let status = json_schema!({ "type": "string", "enum": ["active", "banned", "revoked"] });
    Operation::get("/api/v1/users", ABOUT, handle)
        .query_of(
            "search",
            "Whose e-mail address or name begins with this, whatever its capitals from A to Z.",
            text(200),
        )
        .query_of("email", "With exactly this e-mail address.", text(254))
        .query_of(
            "provider",
            "Whom this outside provider knows, as `externalId`. One is asked for with the other.",
            text(200),
        )
        .query_of(
            "externalId",
            "Whom `provider` knows as this: its `sub`.",
            text(200),
        )
        .query_of("status", "With this status now.", Form::known(status))
        .query::<Role>("role", "With this role.")
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<User>> {
    let filter = UserFilter {
        search: params.take("search")?,
        status: params.take("status")?.map(of_humans).transpose()?,
        role: params.take("role")?,
        email: params.take("email")?,
        external: external(params.take("provider")?, params.take("externalId")?)?,
    };
    let (at, written) = params.page()?;
    page(state.engine.users(&actor, &filter, at).await?, &written)
}

/// An outside identity is a provider with what it calls somebody: the half of it names nobody.
fn external(
    provider: Option<String>,
    external_id: Option<String>,
) -> Result<Option<(String, String)>, Invalid> {
    match (provider, external_id) {
        (Some(provider), Some(external_id)) => Ok(Some((provider, external_id))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Invalid::at("externalId", "is needed beside `provider`")),
        (None, Some(_)) => Err(Invalid::at("provider", "is needed beside `externalId`")),
    }
}

/// A status that a human can have.
fn of_humans(status: Status) -> Result<Status, Invalid> {
    match status {
        Status::Active | Status::Banned | Status::Revoked => Ok(status),
        Status::Suspended => Err(Invalid::at(
            "status",
            "must be `active`, `banned` or `revoked`",
        )),
    }
}
