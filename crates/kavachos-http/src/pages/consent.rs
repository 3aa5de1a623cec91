//! `/oauth/authorize`, where clients send browsers, and `/consent`, where a human says yes or no to what a client asks for.
//!
//! Promises: what is asked is read and judged at every step anew, so that nothing which a browser carries along is believed;
//! nothing is noted of it before a human is signed in, but that the browser came with what a client pushed. A yes comes from a form
//! of ours, in the session of the human who saw it, and who proved lately who they are.

use axum::Router;
use axum::extract::{FromRequestParts, State as FromState};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use kavachos_core::client::{RedirectKind, RedirectUri, Source};
use kavachos_core::invalid::Invalid;
use kavachos_engine::{Access, AccessScopes, Error};
use kavachos_oauth::{
    Authorization, Code, Fault, Prompt, Refusal, SentBack, authorization, authorization_of_anybody,
};

use super::at::{At, Sent, Who};
use super::browser::{Browser, with_return};
use super::html;
use super::view::{Consent, Door, Frame, Notice, Offer};
use super::{Shown, csrf, see_other, words};
use crate::error::Failure;
use crate::params::Params;
use crate::state::State;

/// The longest query of a request: a browser that signs in first carries it along, encoded.
const MAX_QUERY_BYTES: usize = 2_800;
/// In a second.
const MICROS: i64 = 1_000_000;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/oauth/authorize", get(begin))
        .route("/consent", get(ask).post(answer))
}

/// What comes from a client: judged as far as nobody need be signed in, then put before a human.
async fn begin(FromState(state): FromState<State>, mut parts: Parts) -> Shown {
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if query.len() > MAX_QUERY_BYTES {
        let message = format!("what is asked is longer than {MAX_QUERY_BYTES} bytes");
        return Err(Refusal::new(Code::InvalidRequest, message).into());
    }
    let asked = match authorization_of_anybody(&state.engine, query.as_bytes()).await {
        Ok(asked) => asked,
        Err(Fault::Told(refusal)) => return Err(refusal.into()),
        Err(Fault::Sent(back)) => return leave(&back.location),
    };
    let silent = asked.filter(|asked| asked.prompt == Prompt::Nothing);
    if let Some(asked) = silent {
        let who = Browser::from_request_parts(&mut parts, &state).await;
        if who.is_err() {
            let why = "nobody is signed in";
            return leave(&asked.refused(Code::LoginRequired, why).location);
        }
    }
    let request = BASE64_URL_SAFE_NO_PAD.encode(query);
    let since = state.engine.now().as_micros() / MICROS;
    Ok(see_other(&path_of(&request, since)))
}

/// Where the human is asked. `since` is when the client asked, in seconds: whoever is to sign in anew does so after that.
fn path_of(request: &str, since: i64) -> String {
    format!("/consent?request={request}&since={since}")
}

/// Sends a browser back to a client.
fn leave(location: &str) -> Shown {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Error::Internal("a redirect address is no header".to_owned()))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}

/// Sends a browser back with what went wrong. Where strangers registered the place, and this human never let them in, a page says
/// so first (RFC 9700, section 4.11.2).
async fn turn_back(at: &At<Browser>, back: &SentBack) -> Shown {
    let is_vouched_for = back.client.source == Source::Operator;
    if is_vouched_for || (at.engine().is_connected(&at.who.actor, &back.client)).await? {
        return leave(&back.location);
    }
    let page = Door {
        frame: Frame::titled("This came to nothing"),
        lead: format!(
            "{} asked for something that it cannot have: {}.",
            back.client.metadata.client_name,
            back.refusal.description()
        ),
        links: vec![("It waits for an answer:", back.location.clone(), "tell it")],
        ..Door::default()
    };
    at.door(StatusCode::BAD_REQUEST, page)
}

/// What is asked, as the browser carries it.
struct Carried<'a> {
    request: &'a str,
    since: i64,
}

impl Carried<'_> {
    fn path(&self) -> String {
        path_of(self.request, self.since)
    }

    async fn read(&self, at: &At<Browser>) -> Result<Result<Authorization, Fault>, Failure> {
        let wrong = || {
            Invalid::at(
                "request",
                "cannot be read; go back to the application and begin again",
            )
        };
        let query = BASE64_URL_SAFE_NO_PAD
            .decode(self.request)
            .map_err(|_| wrong())?;
        if query.len() > MAX_QUERY_BYTES {
            return Err(wrong().into());
        }
        Ok(authorization(at.engine(), &at.who.actor, &query).await)
    }

    /// Where the human goes first to prove who they are: lately, or since the client asked for that.
    fn prove_first(&self, at: &At<Browser>, prompt: Prompt) -> Option<Response> {
        let fresh = at.engine().settings().session_fresh;
        let proved = at.who.session.fresh_until.minus(fresh).as_micros() / MICROS;
        if prompt == Prompt::SignIn && proved < self.since {
            return Some(see_other(&with_return("/re-authenticate", &self.path())));
        }
        at.prove_first(&self.path())
    }
}

async fn ask(at: At<Browser>, mut params: Params) -> Shown {
    let request: String = params.take("request")?.unwrap_or_default();
    let since: i64 = params.take("since")?.unwrap_or_default();
    let carried = Carried {
        request: &request,
        since,
    };
    let asked = match carried.read(&at).await? {
        Ok(asked) => asked,
        Err(Fault::Told(refusal)) => return Err(refusal.into()),
        Err(Fault::Sent(back)) => return turn_back(&at, &back).await,
    };
    if matches!(asked.prompt, Prompt::AsNeeded | Prompt::Nothing) {
        let again = at.engine().let_in_again(&at.who.actor, &asked.access);
        match again.await {
            Ok(Some(code)) => return leave(&asked.granted(code.reveal())),
            Ok(None) => {}
            Err(error) => return failed(&at, &asked, error).await,
        }
    }
    if asked.prompt == Prompt::Nothing {
        let why = "the human has to say yes first";
        return turn_back(&at, &asked.refused(Code::ConsentRequired, why)).await;
    }
    if let Some(first) = carried.prove_first(&at, asked.prompt) {
        return Ok(first);
    }
    show(&at, &asked, &carried, None)
}

fn show(
    at: &At<Browser>,
    asked: &Authorization,
    carried: &Carried<'_>,
    notice: Option<Notice>,
) -> Shown {
    let access = &asked.access;
    let page = Consent {
        frame: Frame {
            brand: at.state.assets().brand(),
            csrf: csrf::mark(at.who.secret()),
            notice,
            ..Frame::titled("Let it in?")
        },
        client: access.client.metadata.client_name.clone(),
        human: at.who.name(),
        places: offers(access),
        word: words::said_by(access.client.source.as_str(), access.client.id.host()),
        place: asked.redirect_uri().place().to_owned(),
        local: asked.redirect_uri().kind() != RedirectKind::Site,
        request: carried.request.to_owned(),
        since: carried.since,
        shown: shown(asked),
    };
    html::leading_to(&leads_to(asked.redirect_uri()), &page)
}

/// What a client gets of each tool server, as people read it.
pub(super) fn offers(access: &Access) -> Vec<Offer> {
    let offer = |target: &AccessScopes| Offer {
        name: target.name.clone(),
        address: target.audience.to_string(),
        scopes: target
            .scopes
            .iter()
            .map(|scope| (scope.description.clone(), scope.name.to_string()))
            .collect(),
    };
    access.targets.iter().map(offer).collect()
}

/// Tells what a human saw from anything else: that alone they say yes to.
fn shown(asked: &Authorization) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(asked.access.digest())
}

/// Where the answer's form may lead. A browser holds a form to its policy through all redirects, and a client may send its human on
/// from where it takes the code, so that sites are not told apart.
fn leads_to(redirect_uri: &RedirectUri) -> String {
    let origin = redirect_uri.origin();
    match redirect_uri.kind() {
        RedirectKind::Site => "https:".to_owned(),
        // The grammar of policies has no addresses of IPv6.
        RedirectKind::Loopback if origin.contains('[') => "http: https:".to_owned(),
        RedirectKind::Loopback => format!("{origin} https:"),
        RedirectKind::Private => origin.to_owned(),
    }
}

async fn answer(Sent { at, form }: Sent<Browser>) -> Shown {
    let carried = Carried {
        request: form.text("request"),
        since: form.text("since").parse().unwrap_or_default(),
    };
    let asked = match carried.read(&at).await? {
        Ok(asked) => asked,
        Err(Fault::Told(refusal)) => return Err(refusal.into()),
        Err(Fault::Sent(back)) => return turn_back(&at, &back).await,
    };
    let (engine, human) = (at.engine(), &at.who.actor);
    match form.text("decision") {
        "allow" => {}
        "deny" => {
            engine.keep_out(human, &asked.access).await?;
            return leave(&asked.denied().location);
        }
        _ => return Err(Invalid::at("decision", "is `allow` or `deny`").into()),
    }
    if let Some(first) = carried.prove_first(&at, asked.prompt) {
        return Ok(first);
    }
    if form.text("shown") != shown(&asked) {
        let changed = "What is asked changed while you read it. Here is what it is now.";
        return show(&at, &asked, &carried, Some(Notice::new("warn", changed)));
    }
    match engine.let_in(human, &asked.access).await {
        Ok(code) => leave(&asked.granted(code.reveal())),
        Err(error) => failed(&at, &asked, error).await,
    }
}

/// Tells an error to the client where it is the client's to know, and else to the human.
async fn failed(at: &At<Browser>, asked: &Authorization, error: Error) -> Shown {
    match asked.failed(&error) {
        Some(back) => turn_back(at, &back).await,
        None => Err(error.into()),
    }
}
