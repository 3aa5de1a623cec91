//! Who looks at a page: a human whose session the browser keeps, or somebody who is yet to sign in.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Method;
use http::header::USER_AGENT;
use http::request::Parts;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{ApprovalFilter, Error, Session, Stage, User};

use super::api::Reply;
use super::at::Who;
use super::view::{Frame, Room, Shell};
use super::{csrf, first, see_other};
use crate::call::{Owed, by_cookie, client_ip, request_id};
use crate::cookie;
use crate::error::Failure;
use crate::state::State;

/// The cookie under which the forms of somebody who is not signed in yet are marked.
const FORM_COOKIE: &str = "__Host-kavach_form";
/// How many characters it has.
const FORM_COOKIE_LENGTH: usize = 43;

/// A human with a live session, in front of a browser.
pub(super) struct Browser {
    pub(super) actor: Actor,
    pub(super) session: Session,
    pub(super) user: User,
    secret: String,
}

/// Marks the pages that also those get who are yet to show the second factor that is demanded of them: to set one up, to
/// show it, and to leave. All others lead there.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenToOwing;

/// Where they are led.
const SETTLES: &str = "/account/security";

/// Somebody in front of a browser, signed in or not.
pub(super) struct Visitor {
    secret: String,
    is_new: bool,
}

impl FromRequestParts<State> for Browser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let Some(secret) = cookie::value(&parts.headers, cookie::SESSION).map(str::to_owned) else {
            return Err(sign_in_first(parts));
        };
        refuse_foreign(parts, state, Unsaid::Refused).map_err(IntoResponse::into_response)?;
        let owed = match parts.extensions.get::<OpenToOwing>() {
            Some(OpenToOwing) => Owed::Admitted,
            None => Owed::Refused,
        };
        match signed_in(parts, (state, owed), &secret).await {
            Ok((actor, session, user)) => Ok(Self {
                actor,
                session,
                user,
                secret,
            }),
            Err(Failure::Engine(Error::Unauthenticated(_))) => Err(sign_in_first(parts)),
            Err(Failure::Engine(Error::SecondFactorRequired(_))) => Err(see_other(SETTLES)),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

/// What is made of a form whose browser does not say where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsaid {
    Refused,
    /// Its mark says enough: there is no session that somebody else could use.
    Taken,
}

/// Refuses what changes something and does not come from a page of ours. What only reads may come from a link anywhere.
fn refuse_foreign(parts: &Parts, state: &State, unsaid: Unsaid) -> Result<(), Failure> {
    let from = cookie::comes_from(&parts.headers, state.public_url());
    let fine = match from {
        cookie::From::Here => true,
        cookie::From::Unknown => unsaid == Unsaid::Taken,
        cookie::From::Elsewhere => false,
    };
    if fine || matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let why = "this did not come from a page of this server; open the page here and use its button";
    Err(Error::Forbidden(why.to_owned()).into())
}

async fn signed_in(
    parts: &Parts,
    (state, owed): (&State, Owed),
    secret: &str,
) -> Result<(Actor, Session, User), Failure> {
    let agent = parts.headers.get(USER_AGENT);
    let actor = Actor {
        caller: by_cookie(secret, (&state.engine, owed)).await?,
        request: request_id(parts, &state.engine),
        ip: client_ip(parts, state)?,
        user_agent: agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        once: None,
    };
    state.engine.admit(&actor).await?;
    let (session, user) = state.engine.own_session(&actor).await?;
    Ok((actor, session, user))
}

/// Sends to the page for signing in, and back again to what was asked for.
fn sign_in_first(parts: &Parts) -> Response {
    if parts.method != Method::GET {
        return see_other("/sign-in");
    }
    let asked = parts
        .uri
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    see_other(&with_return("/sign-in", asked))
}

/// A path that leads back to another one.
pub(super) fn with_return(path: &str, back: &str) -> String {
    let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    format!("{path}?return_to={back}")
}

impl Browser {
    /// Goes on with the session that an answer opened in the place of this one, if it did.
    pub(super) fn goes_on_with(&mut self, reply: &Reply) {
        if let Some(secret) = reply.session() {
            secret.clone_into(&mut self.secret);
        }
    }

    /// What stands around a page of the account.
    pub(super) async fn shell(
        &self,
        state: &State,
        room: Room,
        title: impl Into<String>,
    ) -> Result<Shell, Failure> {
        let waiting = match self.owes() {
            true => 0,
            false => self.waiting(state).await?,
        };
        Ok(Shell {
            frame: Frame {
                brand: state.assets().brand(),
                title: title.into(),
                csrf: csrf::mark(&self.secret),
                ..Frame::default()
            },
            room,
            name: self.name(),
            known_by: self.known_by(),
            waiting,
            impersonated: self.session.impersonated_by.is_some(),
            owes: self.owes(),
        })
    }

    /// How many requests wait for them.
    async fn waiting(&self, state: &State) -> Result<usize, Failure> {
        let pending = ApprovalFilter {
            stage: Some(Stage::Pending),
            ..ApprovalFilter::default()
        };
        let page = first(Shell::MOST_SHOWN + 1);
        let waiting = state.engine.approvals(&self.actor, pending, page).await?;
        Ok(waiting.items.len())
    }

    /// Whether they are yet to show the second factor that is demanded of them.
    pub(super) fn owes(&self) -> bool {
        self.actor.caller.owes_second_factor()
    }

    /// Their id, and the name that records have for them.
    pub(super) fn known_as(&self) -> [String; 2] {
        let id = self.user.id.to_string();
        let recorded = match &self.actor.caller {
            Caller::Person(person) => person.user.pseudonym.to_string(),
            _ => id.clone(),
        };
        [id, recorded]
    }

    /// How they are called.
    pub(super) fn name(&self) -> String {
        let named = self.user.name.as_deref().or(self.user.email.as_deref());
        named.unwrap_or("You").to_owned()
    }

    /// By what they are known when they sign in.
    pub(super) fn known_by(&self) -> String {
        let known = self.user.email.clone();
        known.unwrap_or_default()
    }
}

impl FromRequestParts<State> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        // Signing in ends the session that was there, so it must be sure whose browser it is.
        let unsaid = match cookie::value(&parts.headers, cookie::SESSION) {
            Some(_) => Unsaid::Refused,
            None => Unsaid::Taken,
        };
        refuse_foreign(parts, state, unsaid)?;
        let known = cookie::value(&parts.headers, FORM_COOKIE)
            .filter(|text| text.len() == FORM_COOKIE_LENGTH);
        let secret = known.map_or_else(
            || BASE64_URL_SAFE_NO_PAD.encode(state.engine.random::<32>()),
            str::to_owned,
        );
        Ok(Self {
            is_new: known.is_none(),
            secret,
        })
    }
}

impl Who for Browser {
    fn secret(&self) -> &str {
        &self.secret
    }
}

impl Who for Visitor {
    fn secret(&self) -> &str {
        &self.secret
    }

    /// With the cookie that the forms on it need.
    fn marked(&self, answer: Response) -> Response {
        if !self.is_new {
            return answer;
        }
        let secret = &self.secret;
        let cookie = format!("{FORM_COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax");
        super::html::with_cookie(answer, &cookie)
    }
}
