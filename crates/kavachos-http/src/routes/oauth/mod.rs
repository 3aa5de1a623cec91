//! The endpoints of OAuth: how a request arrives at them. What is asked and answered is told in `kavachos-oauth`.

pub(crate) mod device;
pub(crate) mod introspect;
pub(crate) mod par;
pub(crate) mod register;
pub(crate) mod revoke;
pub(crate) mod token;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use kavachos_core::invalid::Invalid;
use kavachos_oauth::{Call, Client};

use crate::body::{is_json, read};
use crate::call::{client_ip, request_id};
use crate::error::{DPOP_NONCE, Failure};
use crate::operation::FORM;
use crate::params::Params;
use crate::possession::Possession;
use crate::state::State;

/// A request to an endpoint: the form in its body, and what came with it.
pub(crate) struct Arrival {
    pub(crate) call: Call,
    pub(crate) body: Bytes,
}

impl FromRequest<State> for Arrival {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &State) -> Result<Self, Failure> {
        arrival(request, state).await.map_err(Failure::in_oauth)
    }
}

/// A request with JSON in its body, or with none.
pub(crate) struct Said {
    pub(crate) call: Call,
    pub(crate) body: Bytes,
}

impl FromRequest<State> for Said {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &State) -> Result<Self, Failure> {
        said(request, state).await.map_err(Failure::in_oauth)
    }
}

/// Which client, as the path says; whether there is one is told to nobody who does not show its registration token.
pub(crate) struct One(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for One {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let named = params.ok().and_then(|params| {
            let one = params.iter().find(|(name, _)| *name == "client_id");
            one.map(|(_, value)| value.to_owned())
        });
        Ok(Self(named.unwrap_or_default()))
    }
}

/// The nonce that the next proof repeats of whoever sends one now (RFC 9449, section 8.2).
fn next_nonce(state: &State, call: &Call) -> Option<(HeaderName, HeaderValue)> {
    let nonce = kavachos_oauth::next_nonce(&state.engine, call)?;
    Some((DPOP_NONCE, HeaderValue::from_str(&nonce).ok()?))
}

async fn said(request: Request, state: &State) -> Result<Said, Failure> {
    let (mut parts, body) = request.into_parts();
    Params::from_request_parts(&mut parts, &()).await?.end()?;
    let call = without_proof(&parts, state)?;
    let body = read(body).await?;
    let json = |value: &HeaderValue| is_json(value.as_bytes());
    if !body.is_empty() && !parts.headers.get(CONTENT_TYPE).is_some_and(json) {
        return Err(Invalid::at("Content-Type", "send the body as `application/json`").into());
    }
    Ok(Said { call, body })
}

async fn arrival(request: Request, state: &State) -> Result<Arrival, Failure> {
    let (mut parts, body) = request.into_parts();
    // Credentials never stand in a URL (RFC 6749, section 2.3.1), and nothing else does here.
    Params::from_request_parts(&mut parts, &()).await?.end()?;
    if !is_form(&parts.headers) {
        return Err(Invalid::at("Content-Type", format!("send the body as `{FORM}`")).into());
    }
    let call = call(&mut parts, state).await?;
    Ok(Arrival {
        call,
        body: read(body).await?,
    })
}

async fn call(parts: &mut Parts, state: &State) -> Result<Call, Failure> {
    let Possession(proof) = Possession::from_request_parts(parts, state).await?;
    Ok(Call {
        proof,
        ..without_proof(parts, state)?
    })
}

fn without_proof(parts: &Parts, state: &State) -> Result<Call, Failure> {
    let user_agent = parts.headers.get(USER_AGENT);
    Ok(Call {
        request: request_id(parts, &state.engine),
        ip: client_ip(parts, state)?,
        user_agent: user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        proof: None,
        client: client(&parts.headers),
    })
}

fn client(headers: &HeaderMap) -> Client {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Client::Public,
        (Some(only), None) => Client::Authenticating(only.to_str().ok().map(str::to_owned)),
        (Some(_), Some(_)) => Client::Authenticating(None),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes()))
}
