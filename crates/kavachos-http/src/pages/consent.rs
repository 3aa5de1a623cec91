//! `/oauth/authorize`, where clients send browsers, and `/consent`, where a human says yes or no to what a client asks for.
//!
//! Promises: what is asked is read and judged at every step anew, so that nothing which a browser carries along is believed;
//! nothing is noted of it before a human is signed in. A yes comes from a form of ours, in the session of the human who saw it,
//! and who proved lately who they are.

use axum::Router;
use axum::extract::State as FromState;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use kavachos_core::client::{RedirectKind, Source};
use kavachos_core::invalid::Invalid;
use kavachos_engine::Error;
use kavachos_oauth::{
    Authorization, Code, Fault, Prompt, Refusal, authorization, authorization_of_anybody,
};

use super::at::{At, Sent, Who};
use super::browser::Browser;
use super::html;
use super::view::{Consent, Frame, Offer};
use super::{Shown, csrf, see_other};
use crate::cookie;
use crate::error::Failure;
use crate::params::Params;
use crate::state::State;

/// The longest query of a request: a browser that signs in first carries it along, encoded.
const MAX_QUERY_BYTES: usize = 2_800;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/oauth/authorize", get(begin))
        .route("/consent", get(ask).post(answer))
}

/// What comes from a client: judged as far as nobody need be signed in, then put before a human.
async fn begin(FromState(state): FromState<State>, parts: Parts) -> Shown {
    let query = parts.uri.query().unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        let message = format!("what is asked is longer than {MAX_QUERY_BYTES} bytes");
        return Err(Refusal::new(Code::InvalidRequest, message).into());
    }
    let asked = match authorization_of_anybody(&state.engine, query.as_bytes()).await {
        Ok(asked) => asked,
        Err(fault) => return of_fault(fault),
    };
    let is_signed_in = cookie::value(&parts.headers, cookie::SESSION).is_some();
    let silent = asked.filter(|asked| asked.prompt == Prompt::Nothing && !is_signed_in);
    if let Some(asked) = silent {
        return leave(&asked.refused(Code::LoginRequired, "nobody is signed in"));
    }
    Ok(see_other(&path_of(&BASE64_URL_SAFE_NO_PAD.encode(query))))
}

fn path_of(request: &str) -> String {
    format!("/consent?request={request}")
}

fn of_fault(fault: Fault) -> Shown {
    match fault {
        Fault::Told(refusal) => Err(refusal.into()),
        Fault::Sent(location) => leave(&location),
    }
}

/// Sends a browser back to a client.
fn leave(location: &str) -> Shown {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Error::Internal("a redirect address is no header".to_owned()))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}

/// What is asked, as the browser carries it.
async fn read(at: &At<Browser>, request: &str) -> Result<Result<Authorization, Fault>, Failure> {
    let wrong = || {
        Invalid::at(
            "request",
            "cannot be read; go back to the application and begin again",
        )
    };
    let query = BASE64_URL_SAFE_NO_PAD
        .decode(request)
        .map_err(|_| wrong())?;
    if query.len() > MAX_QUERY_BYTES {
        return Err(wrong().into());
    }
    Ok(authorization(at.engine(), &at.who.actor, &query).await)
}

async fn ask(at: At<Browser>, mut params: Params) -> Shown {
    let request: String = params.take("request")?.unwrap_or_default();
    let asked = match read(&at, &request).await? {
        Ok(asked) => asked,
        Err(fault) => return of_fault(fault),
    };
    let known = at
        .engine()
        .is_consented(&at.who.actor, &asked.access)
        .await?;
    match asked.prompt {
        Prompt::AsNeeded | Prompt::Nothing if known => return granted(&at, &asked).await,
        Prompt::Nothing => {
            return leave(&asked.refused(Code::ConsentRequired, "the human has to say yes first"));
        }
        Prompt::AsNeeded | Prompt::Consent | Prompt::SignIn => {}
    }
    if let Some(first) = at.prove_first(&path_of(&request)) {
        return Ok(first);
    }
    show(&at, &asked, request)
}

fn show(at: &At<Browser>, asked: &Authorization, request: String) -> Shown {
    let access = &asked.access;
    let places = access.targets.iter().map(|target| Offer {
        name: target.name.clone(),
        address: target.audience.to_string(),
        scopes: target
            .scopes
            .iter()
            .map(|scope| (scope.description.clone(), scope.name.to_string()))
            .collect(),
    });
    let page = Consent {
        frame: Frame {
            brand: at.state.assets().brand(),
            csrf: csrf::mark(at.who.secret()),
            ..Frame::titled("Let it in?")
        },
        client: access.client.metadata.client_name.clone(),
        human: at.who.name(),
        places: places.collect(),
        word: match (access.client.source, access.client.id.host()) {
            (Source::Operator, _) => "registered by whoever runs this server".to_owned(),
            (Source::Document, Some(host)) => format!("by the word of {host}"),
            _ => "registered by itself: nobody looked at it".to_owned(),
        },
        place: access.redirect_uri.place().to_owned(),
        local: access.redirect_uri.kind() != RedirectKind::Site,
        request,
    };
    html::leading_to(access.redirect_uri.origin(), &page)
}

async fn answer(Sent { at, form }: Sent<Browser>) -> Shown {
    let request = form.text("request");
    let asked = match read(&at, request).await? {
        Ok(asked) => asked,
        Err(fault) => return of_fault(fault),
    };
    match form.text("decision") {
        "allow" => {}
        "deny" => return leave(&asked.denied()),
        _ => return Err(Invalid::at("decision", "is `allow` or `deny`").into()),
    }
    if let Some(first) = at.prove_first(&path_of(request)) {
        return Ok(first);
    }
    granted(&at, &asked).await
}

/// Lets the client in, and sends the browser back with a code.
async fn granted(at: &At<Browser>, asked: &Authorization) -> Result<Response, Failure> {
    match at.engine().let_in(&at.who.actor, &asked.access).await {
        Ok(code) => leave(&asked.granted(code.reveal())),
        Err(error) => match asked.failed(&error) {
            Some(location) => leave(&location),
            None => Err(error.into()),
        },
    }
}
