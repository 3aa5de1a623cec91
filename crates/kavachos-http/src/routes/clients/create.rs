//! `POST /api/v1/clients`: registers an OAuth client; only this answer shows its secret.

use axum::extract::State as FromState;
use kavachos_core::client::{BadMetadata, ClientMetadata, Source};
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::{NewClient, RegisteredClient};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewClient")]
pub(crate) struct Ask {
    /// What humans are told that it is called.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Where browsers are sent back to, 1 to 20.
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// What it may ask for; `authorization_code` and `refresh_token` unless said.
    grant_types: Option<Vec<String>>,
    /// How it shows who it is at the token endpoint; `client_secret_basic` unless said, `none` for one that can keep no secret.
    auth_method: Option<String>,
    /// Whether all its tokens are bound to a key (RFC 9449).
    #[serde(default)]
    dpop_bound: bool,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createClient",
        tag: "OAuth clients",
        summary: "Register an OAuth client",
        text: "A client that shows a secret gets one, which only this answer shows. What a human lets it be is an agent of theirs.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/clients", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithToken<RegisteredClient>> {
    let (ask, actor) = body.with(actor);
    let usual = || vec!["authorization_code".to_owned(), "refresh_token".to_owned()];
    let said = json!({
        "client_name": ask.name,
        "redirect_uris": ask.redirect_uris,
        "grant_types": ask.grant_types.unwrap_or_else(usual),
        "token_endpoint_auth_method": ask.auth_method,
        "dpop_bound_access_tokens": ask.dpop_bound,
    });
    let said = said.as_object().cloned().unwrap_or_default();
    let metadata = ClientMetadata::read(&said, Source::Operator).map_err(|bad| in_members(&bad))?;
    issued(
        &state
            .engine
            .register_client(&actor, &NewClient { metadata })
            .await?,
    )
}

/// What is wrong, with the members as they are named here.
fn in_members(bad: &BadMetadata) -> Invalid {
    let names = [
        ("client_name", "name"),
        ("redirect_uris", "redirectUris"),
        ("grant_types", "grantTypes"),
        ("token_endpoint_auth_method", "authMethod"),
    ];
    let found = names
        .iter()
        .find(|(name, _)| bad.message().contains(&format!("`{name}`")));
    match (found, bad) {
        (Some((name, field)), _) => Invalid::at(*field, bad.message().replace(name, field)),
        (None, BadMetadata::RedirectUri(why)) => Invalid::at("redirectUris", why.clone()),
        (None, BadMetadata::Metadata(why)) => Invalid::new(why.clone()),
    }
}
