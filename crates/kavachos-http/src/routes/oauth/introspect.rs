//! `POST /oauth/introspect`: what a token is, for the tool server that it is for (RFC 7662).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_oauth::{Code, Introspection};
use schemars::{Schema, json_schema};

use super::Arrival;
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{Bare, Reply, json};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "introspectToken",
        tag: "Tokens",
        summary: "Ask what a token is",
        text: "RFC 7662. A tool server asks with its own key, as `Bearer` or as the secret of the client that its id is; an operator with a key that has the scope `authorize:any`. A token that is for another tool server is as one that is none.",
        callers: &[],
    };
    let refused = [
        Code::InvalidClient,
        Code::InsufficientScope,
        Code::InvalidDpopProof,
    ];
    Operation::post("/oauth/introspect", ABOUT, handle)
        .reading_form(Form::known(parameters()))
        .in_oauth(&refused)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Arrival { call, body }: Arrival,
) -> Reply<Bare<Introspection>> {
    let told = kavachos_oauth::introspect(&state.engine, &call, &body).await;
    json(StatusCode::OK, &told.map_err(Failure::from)?)
}

fn parameters() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["token"],
        "properties": {
            "token": { "type": "string" },
            "token_type_hint": { "type": "string", "description": "Is not looked at." },
            "client_id": { "type": "string", "description": "The tool server's id." },
            "client_secret": { "type": "string", "description": "Its key." },
        },
    })
}
