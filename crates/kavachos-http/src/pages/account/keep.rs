//! `/account/keep`: a guest makes an account of what they have.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{Door, Field, Frame, Icon, Notice};
use crate::pages::{Shown, csrf, see_other};
use crate::state::State;

const ROUTE: &str = "anonymous/upgrade";
const FIELDS: [&str; 3] = ["name", "email", "password"];

/// Whether this human is a guest who can make an account of what they have.
pub(super) fn is_guest(state: &State, browser: &Browser) -> bool {
    let came_as_guest = browser.session.method.as_deref() == Some("anonymous");
    came_as_guest && browser.user.email.is_none() && api::takes(state, ROUTE)
}

pub(super) async fn show(FromState(state): FromState<State>, browser: Browser) -> Shown {
    api::require(&state, ROUTE)?;
    page(&state, &browser, (&Form::default(), None))
}

fn page(state: &State, browser: &Browser, (form, refusal): (&Form, Option<&Refusal>)) -> Shown {
    let about = |field: &str| refusal.and_then(|refusal| refusal.about(field));
    let unnamed =
        refusal.filter(|refusal| FIELDS.iter().all(|field| refusal.about(field).is_none()));
    let page = Door {
        frame: Frame {
            brand: state.assets().brand(),
            title: "Keep this account".to_owned(),
            csrf: csrf::mark(browser.secret()),
            notice: unnamed.map(|refusal| Notice::new("bad", refusal.reason.clone())),
            ..Frame::default()
        },
        lead: "You keep your agents and everything they may do.".to_owned(),
        icon: Some(Icon::Person),
        action: "/account/keep".to_owned(),
        fields: vec![
            Field {
                max: 200,
                ..Field::text("name", "Name")
            }
            .optional()
            .with_autocomplete("name")
            .with_value(form.text("name"))
            .with_error(about("name")),
            Field::email()
                .with_value(form.text("email"))
                .with_error(about("email")),
            Field::password("password", "Password", "new-password")
                .with_hint("A few words that only you would put together are best.")
                .with_error(about("password")),
        ],
        button: "Keep it",
        links: vec![("", "/account".to_owned(), "Not now")],
        ..Door::default()
    };
    html::answer(
        refusal.map_or(StatusCode::OK, |refusal| refusal.status),
        Runs::Nothing,
        &page,
    )
}

pub(super) async fn submit(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, browser.secret()).await?;
    api::require(&state, ROUTE)?;
    let mut sent: Map<String, Value> = Map::new();
    for name in ["email", "password"] {
        sent.insert(name.to_owned(), form.text(name).into());
    }
    sent.extend(api::members(&form, &["name"]));
    match api.post("/api/auth/anonymous/upgrade", &parts, &sent).await {
        Ok(reply) if reply.text("next") == "verify_email" => {
            Ok(reply.onto(see_other("/account?done=mail_sent")))
        }
        Ok(reply) => Ok(reply.onto(see_other("/account"))),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => page(&state, &browser, (&form, Some(&refusal))),
    }
}
