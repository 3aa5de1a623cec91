//! Forgotten passwords: a link that is mailed, and a new password for whoever follows it.

use axum::Extension;
use axum::extract::{Request, State as FromState};

use super::onward::{self, Ask, Query};
use super::sign_in::with_empty;
use crate::pages::Shown;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Visitor;
use crate::pages::view::{Door, Field, Icon};
use crate::params::Params;
use crate::state::State;

pub(super) async fn ask(FromState(state): FromState<State>, visitor: Visitor) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, "forgot-password")?;
    address(ask, "", None)
}

fn address(ask: Ask<'_>, typed: &str, refusal: Option<&Refusal>) -> Shown {
    let about = refusal.and_then(|refusal| refusal.about("email"));
    let page = Door {
        frame: ask.visitor.frame(
            ask.state,
            "Forgot your password?",
            onward::above(refusal, &["email"]),
        ),
        icon: Some(Icon::Key),
        lead: "We mail you a link by which you choose another one.".to_owned(),
        action: "/forgot-password".to_owned(),
        fields: vec![Field::email().focused().with_value(typed).with_error(about)],
        button: "Send the link",
        links: vec![("Remembered it?", "/sign-in".to_owned(), "Sign in")],
        ..Door::default()
    };
    onward::show(ask, onward::status(refusal), &page)
}

pub(super) async fn send(
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
    api::require(&state, "forgot-password")?;
    match api
        .post(
            "/api/auth/forgot-password",
            &parts,
            &with_empty(&form, &["email"]),
        )
        .await
    {
        Ok(reply) => Ok(reply.onto(onward::sent(ask, form.text("email"))?)),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => address(ask, form.text("email"), Some(&refusal)),
    }
}

pub(super) async fn show(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, "reset-password")?;
    choose(ask, Query::of(params).text("token"), None)
}

fn choose(ask: Ask<'_>, token: &str, refusal: Option<&Refusal>) -> Shown {
    let about = refusal.and_then(|refusal| refusal.about("newPassword"));
    let field = Field::password("newPassword", "New password", "new-password")
        .focused()
        .with_hint("A few words that only you would put together are best.")
        .with_error(about);
    let page = Door {
        frame: ask.visitor.frame(
            ask.state,
            "Choose a new password",
            onward::above(refusal, &["newPassword"]),
        ),
        icon: Some(Icon::Key),
        lead: "You will be signed out everywhere, and agents made there are stopped.".to_owned(),
        action: "/reset-password".to_owned(),
        fields: vec![field],
        hidden: vec![("token", token.to_owned())],
        button: "Set the password",
        links: vec![(
            "The link is too old?",
            "/forgot-password".to_owned(),
            "Get another one",
        )],
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
    api::require(&state, "reset-password")?;
    let sent = with_empty(&form, &["token", "newPassword"]);
    match api.post("/api/auth/reset-password", &parts, &sent).await {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => choose(ask, form.text("token"), Some(&refusal)),
    }
}
