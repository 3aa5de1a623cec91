//! What a page is asked with: by whom, under which address, and perhaps with a form that was filled in.
//!
//! Promises: whoever gets a [`Sent`] gets a form of ours. That it is one is looked at before a handler begins, so that none
//! can forget it.

use axum::Extension;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode};
use kavachos_core::id::UserId;
use kavachos_engine::Engine;
use serde_json::{Map, Value};

use super::api::{self, Api, Refusal, Reply};
use super::browser::{Browser, with_return};
use super::form::Form;
use super::html::{self, Runs};
use super::view::{Door, Room, Shell};
use super::{Shown, csrf, see_other};
use crate::error::Failure;
use crate::state::State;

/// Somebody in front of a browser.
pub(super) trait Who:
    FromRequestParts<State, Rejection: IntoResponse> + Send + Sync
{
    /// The secret under which their forms are marked.
    fn secret(&self) -> &str;

    /// The same answer, with what their browser must keep.
    fn marked(&self, answer: Response) -> Response {
        answer
    }
}

/// A page that is asked for.
pub(super) struct At<W> {
    pub(super) state: State,
    pub(super) api: Api,
    pub(super) who: W,
    pub(super) parts: Parts,
}

/// A form that was sent from a page of ours.
pub(super) struct Sent<W> {
    pub(super) at: At<W>,
    pub(super) form: Form,
}

impl<W: Who> FromRequestParts<State> for At<W> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let who = W::from_request_parts(parts, state).await;
        let who = who.map_err(IntoResponse::into_response)?;
        let api = Extension::<Api>::from_request_parts(parts, state).await;
        let Extension(api) = api.map_err(IntoResponse::into_response)?;
        Ok(Self {
            state: state.clone(),
            api,
            who,
            parts: parts.clone(),
        })
    }
}

impl<W: Who> FromRequest<State> for Sent<W> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let at = At::<W>::from_request_parts(&mut parts, state).await?;
        let form = Form::read(&at.parts, body, at.who.secret()).await;
        let form = form.map_err(IntoResponse::into_response)?;
        Ok(Self { at, form })
    }
}

impl<W: Who> At<W> {
    pub(super) fn engine(&self) -> &Engine {
        &self.state.engine
    }

    /// Whether a plugin takes what is posted to this route below `/api/auth/`.
    pub(super) fn takes(&self, route: &str) -> bool {
        api::takes(&self.state, route)
    }

    /// Posts to a route below `/api/auth/`.
    pub(super) async fn post(
        &self,
        route: &str,
        members: &Map<String, Value>,
    ) -> Result<Reply, Refusal> {
        api::require(&self.state, route)?;
        let path = format!("/api/auth/{route}");
        self.api
            .send((Method::POST, &path), &self.parts, members)
            .await
    }

    /// Asks a route, or has it remove what stands there; both take nothing but the path.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<Reply, Refusal> {
        self.api
            .send((method, path), &self.parts, &Map::new())
            .await
    }

    /// A page by which people come in.
    pub(super) fn door(&self, status: StatusCode, mut door: Door) -> Shown {
        door.frame.brand = self.state.assets().brand();
        door.frame.csrf = csrf::mark(self.who.secret());
        door.frame.passkeys = !door.passkey.is_empty();
        let runs = Runs::of(door.frame.passkeys);
        Ok(self.who.marked(html::answer(status, runs, &door)?))
    }
}

impl At<Browser> {
    /// What stands around a page of the account.
    pub(super) async fn shell(
        &self,
        room: Room,
        title: impl Into<String>,
    ) -> Result<Shell, Failure> {
        self.who.shell(&self.state, room, title).await
    }

    /// How a human is called here: the one in front of the browser, or one whom they look after.
    pub(super) async fn called(&self, human: UserId) -> Result<String, Failure> {
        if human == self.who.user.id {
            return Ok("You".to_owned());
        }
        let user = self.engine().user(&self.who.actor, human).await?;
        Ok(user
            .name
            .or(user.email)
            .unwrap_or_else(|| human.to_string()))
    }

    /// Whether the human proved just now who they are.
    pub(super) fn is_fresh(&self) -> bool {
        self.engine().now() < self.who.session.fresh_until
    }

    /// Where somebody goes first who proved a while ago who they are; from there they come back to `path`.
    pub(super) fn prove_first(&self, path: &str) -> Option<Response> {
        let first = || see_other(&with_return("/re-authenticate", path));
        (!self.is_fresh()).then(first)
    }
}
