//! `POST /oauth/revoke`: a client gives back what it needs no more (RFC 7009).

use axum::extract::State as FromState;
use axum::response::IntoResponse;
use http::StatusCode;
use kavachos_oauth::Code;
use schemars::{Schema, json_schema};

use super::Arrival;
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{Answered, Empty, Reply};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "revokeToken",
        tag: "OAuth clients",
        summary: "Give a token back",
        text: "RFC 7009. A refresh token ends its line, with every token that was made of it; an access token ends those of its line that are still good, and the line goes on. The client shows who it is as at the token endpoint. Whether there was such a token is not told.",
        callers: &[],
    };
    Operation::post("/oauth/revoke", ABOUT, handle)
        .reading_form(Form::known(parameters()))
        .in_oauth(&[Code::InvalidClient, Code::InvalidDpopProof])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Arrival { call, body }: Arrival,
) -> Reply<Empty> {
    let done = kavachos_oauth::revoke(&state.engine, &call, &body).await;
    done.map_err(Failure::from)?;
    Ok(Answered::of(StatusCode::OK.into_response()))
}

fn parameters() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["token"],
        "properties": {
            "token": { "type": "string" },
            "token_type_hint": { "type": "string", "description": "Is not looked at." },
            "client_id": { "type": "string" },
            "client_secret": { "type": "string" },
            "client_assertion": { "type": "string", "description": "What the client signed (RFC 7523)." },
            "client_assertion_type": { "type": "string" },
        },
    })
}
