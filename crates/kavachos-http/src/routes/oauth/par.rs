//! `POST /oauth/par`: a client says here what it asks a human for, before a browser comes (RFC 9126).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_oauth::{Code, Pushed};
use schemars::{Schema, json_schema};

use super::{Arrival, next_nonce};
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{self, Made, Reply};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "pushAuthorizationRequest",
        tag: "OAuth clients",
        summary: "Say what you ask a human for, before their browser comes",
        text: "RFC 9126: the parameters of `/oauth/authorize`, of which the browser then carries `client_id` and `request_uri` alone. The client shows who it is as at the token endpoint; with a proof in the header `DPoP`, whoever redeems the code proves the same key. The browser comes within 90 seconds; what was asked is answered once.",
        callers: &[],
    };
    Operation::post("/oauth/par", ABOUT, handle)
        .reading_form(Form::known(parameters()))
        .in_oauth(&[
            Code::InvalidClient,
            Code::UnauthorizedClient,
            Code::InvalidScope,
            Code::InvalidTarget,
            Code::InvalidAuthorizationDetails,
            Code::UnsupportedResponseType,
            Code::RequestNotSupported,
            Code::InvalidDpopProof,
            Code::UseDpopNonce,
        ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Arrival { call, body }: Arrival,
) -> Reply<Made<Pushed>> {
    let pushed = kavachos_oauth::push(&state.engine, &call, &body).await;
    let mut reply = reply::json(StatusCode::CREATED, &pushed.map_err(Failure::from)?)?;
    reply.headers_mut().extend(next_nonce(&state, &call));
    Ok(reply)
}

fn parameters() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["response_type", "redirect_uri", "code_challenge", "code_challenge_method"],
        "properties": {
            "response_type": { "const": "code" },
            "client_id": { "type": "string" },
            "client_secret": { "type": "string" },
            "client_assertion_type": { "type": "string" },
            "client_assertion": { "type": "string" },
            "redirect_uri": { "type": "string" },
            "scope": { "type": "string" },
            "resource": { "type": "string", "description": "May stand more than once." },
            "state": { "type": "string" },
            "code_challenge": { "type": "string" },
            "code_challenge_method": { "const": "S256" },
            "dpop_jkt": { "type": "string" },
            "prompt": { "type": "string" },
        },
    })
}
