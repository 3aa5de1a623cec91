//! A page with one form that becomes one request to the API: shown, sent on, and shown again with what was wrong.
//!
//! A page says what stands on it and what is sent ([`FormPage`]); how forms are read, refused and answered stands here,
//! once. What was typed is kept, but no password and no code; what is wrong stands beside the field that it is about.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Map, Value};

use super::api::{self, Refusal, Reply};
use super::at::{At, Sent, Who};
use super::door::onward;
use super::form::Form;
use super::view::{Door, Notice};
use super::{Shown, see_other};
use crate::error::Failure;
use crate::params::Params;
use crate::state::State;

/// A page with one form. `given` is what the address says of it, or what was sent.
pub(super) trait FormPage: Copy + Send + Sync + 'static {
    /// Who may open it.
    type Who: Who + 'static;

    /// Where it is, and where its form is sent.
    fn path(self) -> &'static str;

    /// The route below `/api/auth/` that takes the form; nothing where there is no form on the page.
    fn route(self, at: &At<Self::Who>, given: &Form) -> Option<&'static str>;

    /// What that route is sent.
    fn members(self, at: &At<Self::Who>, given: &Form) -> Map<String, Value>;

    /// What stands on it.
    fn door(self, at: &At<Self::Who>, given: &Form) -> Door;

    /// Whether this browser began what the form goes on with. Where it did not, it begins at `/sign-in`.
    fn is_begun(self, _: &At<Self::Who>) -> bool {
        true
    }

    /// What the form has besides from now on, where the API says that this is `next`.
    fn asks_for(self, _next: &str) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Where the answer of the API leads.
    fn onward(self, at: &At<Self::Who>, given: &Form, reply: &Reply) -> Shown {
        onward(at, given, reply)
    }
}

/// The routes of a page.
pub(super) fn routes<P: FormPage>(page: P) -> Router<State> {
    let open = move |at: At<P::Who>, params: Params| async move {
        open(page, &at, &Form::of_address(params))
    };
    let send = move |sent: Sent<P::Who>| send(page, sent);
    Router::new().route(page.path(), get(open).post(send))
}

fn open<P: FormPage>(page: P, at: &At<P::Who>, given: &Form) -> Shown {
    if let Some(route) = page.route(at, given) {
        api::require(&at.state, route)?;
    }
    if !page.is_begun(at) {
        return Ok(see_other("/sign-in"));
    }
    show(page, at, given, None)
}

async fn send<P: FormPage>(page: P, Sent { at, form }: Sent<P::Who>) -> Shown {
    let route = page.route(&at, &form).ok_or(Failure::NoSuchRoute)?;
    api::require(&at.state, route)?;
    if !page.is_begun(&at) {
        return Ok(see_other("/sign-in"));
    }
    match at.post(route, &page.members(&at, &form)).await {
        Ok(reply) => match page.asks_for(reply.text("next")) {
            Some(field) => show(page, &at, &form.with(field), None),
            None => page.onward(&at, &form, &reply),
        },
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => show(page, &at, &form, Some(&refusal)),
    }
}

fn show<P: FormPage>(page: P, at: &At<P::Who>, given: &Form, refusal: Option<&Refusal>) -> Shown {
    let mut door = page.door(at, given);
    page.path().clone_into(&mut door.action);
    for field in door.fields.iter_mut().filter(|field| field.may_be_kept()) {
        given.text(&field.name).clone_into(&mut field.value);
    }
    if let Some(refusal) = refusal {
        tell(&mut door, refusal);
    }
    at.door(
        refusal.map_or(StatusCode::OK, |refusal| refusal.status),
        door,
    )
}

/// Says what is wrong: beside the field, or above the form where no field is to blame.
fn tell(door: &mut Door, refusal: &Refusal) {
    let named = refusal.field.as_deref().unwrap_or_default();
    let by_name = door.fields.iter().position(|field| field.name == named);
    let place = by_name.or_else(|| door.fields.iter().position(|field| field.blamed));
    match place.and_then(|place| door.fields.get_mut(place)) {
        Some(field) => field.error = Some(refusal.reason.clone()),
        None => door.frame.notice = Some(Notice::new("bad", refusal.reason.clone())),
    }
}
