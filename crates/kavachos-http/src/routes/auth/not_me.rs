//! `POST /api/auth/not-me`: a human takes their account back, by the link of a mail about a sign-in.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, State as FromState};
use http::header::USER_AGENT;
use http::request::Parts;
use kavachos_core::id::RequestId;
use kavachos_engine::{Revoked, Stranger};
use serde::Deserialize;

use crate::body::Question;
use crate::call::{client_ip, request_id};
use crate::error::{Failure, Refusal};
use crate::operation::{About, Description, Operation};
use crate::reply::{Data, Reply, data};
use crate::signature::Tells;
use crate::state::State;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NotMe")]
pub(crate) struct Asked {
    /// The token of the link, which is good once and for a week.
    token: String,
}

/// From where somebody calls who shows no credential.
pub(crate) struct Whence {
    ip: Option<IpAddr>,
    user_agent: Option<String>,
    request: RequestId,
}

impl Whence {
    pub(super) fn stranger(&self) -> Stranger<'_> {
        Stranger {
            ip: self.ip,
            user_agent: self.user_agent.as_deref(),
            request: self.request,
        }
    }
}

impl FromRequestParts<State> for Whence {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        let agent = parts.headers.get(USER_AGENT);
        Ok(Self {
            ip: client_ip(parts, state)?,
            user_agent: agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            request: request_id(parts, &state.engine),
        })
    }
}

impl Tells for Whence {
    fn tell(description: &mut Description) {
        description.refusals.extend([
            Refusal::Unauthenticated,
            Refusal::Busy,
            Refusal::LedgerUnavailable,
            Refusal::OutcomeUnknown,
        ]);
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "notMe",
        tag: "Sessions",
        summary: "Take your account back: a sign-in was not yours",
        text: "By the token of the link in a mail about a sign-in from a new device. All sessions of the account end, the keys of its agents, and the agents and grants that were made by whoever was signed in; a password alone signs in no more until a new one was set by mail.",
        callers: &[],
    };
    Operation::post("/api/auth/not-me", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    whence: Whence,
    Question(asked): Question<Asked>,
) -> Reply<Data<Revoked>> {
    let recovered = state.engine.not_me(whence.stranger(), &asked.token);
    data(&recovered.await?)
}
