//! `POST /oauth/device_authorization`: a device without a browser begins (RFC 8628).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_oauth::{Code, DeviceAnswer};
use schemars::{Schema, json_schema};

use super::{Arrival, next_nonce};
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{Bare, Reply, json};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "authorizeDevice",
        tag: "OAuth clients",
        summary: "Begin on a device without a browser",
        text: "RFC 8628, for clients that an operator gave the grant `urn:ietf:params:oauth:grant-type:device_code`, and never for a tool server that is critical. The client shows who it is as at the token endpoint. A human types `user_code` at `verification_uri` and says yes or no; the device asks the token endpoint meanwhile, not sooner than every `interval` seconds. With a proof in the header `DPoP`, each further request proves the same key; without one, the first that comes with a proof binds it.",
        callers: &[],
    };
    Operation::post("/oauth/device_authorization", ABOUT, handle)
        .reading_form(Form::known(parameters()))
        .in_oauth(&[
            Code::InvalidClient,
            Code::UnauthorizedClient,
            Code::InvalidScope,
            Code::InvalidTarget,
            Code::InvalidAuthorizationDetails,
            Code::InvalidDpopProof,
            Code::UseDpopNonce,
        ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Arrival { call, body }: Arrival,
) -> Reply<Bare<DeviceAnswer>> {
    let begun = kavachos_oauth::device_authorization(&state.engine, &call, &body).await;
    let mut reply = json(StatusCode::OK, &begun.map_err(Failure::from)?)?;
    reply.headers_mut().extend(next_nonce(&state, &call));
    Ok(reply)
}

fn parameters() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "client_id": { "type": "string" },
            "client_secret": { "type": "string" },
            "client_assertion_type": { "type": "string" },
            "client_assertion": { "type": "string" },
            "scope": { "type": "string" },
            "resource": { "type": "string", "description": "May stand more than once." },
        },
    })
}
