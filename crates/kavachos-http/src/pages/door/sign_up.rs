//! `/sign-up`: a new account.

use axum::Extension;
use axum::extract::{Request, State as FromState};

use super::onward::{self, Ask, Query};
use super::sign_in::{Name, with_empty};
use crate::error::Failure;
use crate::pages::Shown;
use crate::pages::api::{Api, Refusal, members};
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::return_to::safe;
use crate::pages::view::{Door, Field};
use crate::params::Params;
use crate::state::State;

pub(super) async fn show(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    let query = Query::of(params);
    let name = Name::chosen(&state, "sign-up", query.text("with")).ok_or(Failure::NoSuchRoute)?;
    page(ask, name, (&Form::default(), query.back()), None)
}

fn page(
    ask: Ask<'_>,
    name: Name,
    (form, hidden): (&Form, Vec<(&'static str, String)>),
    refusal: Option<&Refusal>,
) -> Shown {
    let about = |field: &str| refusal.and_then(|refusal| refusal.about(field));
    let password = Field::password("password", "Password", "new-password")
        .with_hint("A few words that only you would put together are best.")
        .with_error(about("password"));
    let fields = match name {
        Name::Email => vec![
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
            password,
        ],
        Name::Username => vec![
            Field {
                look: "mono",
                max: 64,
                ..Field::text("username", "Username")
            }
            .with_autocomplete("username")
            .with_value(form.text("username"))
            .with_error(about("username")),
            password,
        ],
    };
    let notice = onward::above(refusal, &["name", "email", "username", "password"]);
    let page = Door {
        frame: ask.visitor.frame(ask.state, "Create your account", notice),
        lead: "One account for you, and a key of its own for each agent that acts for you."
            .to_owned(),
        action: "/sign-up".to_owned(),
        fields,
        button: "Create account",
        links: vec![(
            "Have one already?",
            onward::beside("/sign-in", &hidden),
            "Sign in",
        )],
        hidden,
        ..Door::default()
    };
    onward::show(ask, onward::status(refusal), &page)
}

pub(super) async fn submit(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    visitor: Visitor,
    request: Request,
) -> Shown {
    let (parts, form) = onward::read(request, &visitor).await?;
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    let wanted = if form.has("username") { "username" } else { "" };
    let name = Name::chosen(&state, "sign-up", wanted).ok_or(Failure::NoSuchRoute)?;
    let path = format!("/api/auth/sign-up/{}", name.field());
    let mut sent = with_empty(&form, &[name.field(), "password"]);
    if name == Name::Email {
        sent.extend(members(&form, &["name"]));
    }
    match api.post(&path, &parts, &sent).await {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let hidden = onward::back(safe(form.given("return_to")));
            page(ask, name, (&form, hidden), Some(&refusal))
        }
    }
}
