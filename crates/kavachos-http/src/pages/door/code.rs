//! Codes: one that was mailed, and one of the second factor. What a code belongs to is in a cookie of the browser that
//! asked, and never on a page.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use serde_json::{Map, Value};

use super::onward::{self, Ask, Query, step};
use super::sign_in::with_empty;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::return_to::safe;
use crate::pages::view::{Door, Field, Icon};
use crate::pages::{Shown, see_other};
use crate::params::Params;
use crate::state::State;

/// Which code.
#[derive(Debug, Clone, Copy)]
struct Kind {
    page: &'static str,
    route: &'static str,
    title: &'static str,
    lead: &'static str,
    hint: &'static str,
    icon: Icon,
    /// What the API calls what the code belongs to.
    step: &'static str,
}

const MAILED: Kind = Kind {
    page: "/sign-in/code",
    route: "email-otp/verify",
    title: "Look into your mail",
    lead: "If there is an account, a code of six digits is on its way. Type it here.",
    hint: "It works for ten minutes, in this browser only.",
    icon: Icon::Mail,
    step: "challenge",
};

const SECOND: Kind = Kind {
    page: "/sign-in/second-factor",
    route: "totp/verify",
    title: "One more step",
    lead: "Type the code that your app shows.",
    hint: "Six digits, or one of your backup codes.",
    icon: Icon::Phone,
    step: "signIn",
};

pub(super) async fn ask(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, "email-otp/send")?;
    address(ask, ("", Query::of(params).back()), None)
}

fn address(
    ask: Ask<'_>,
    (typed, hidden): (&str, Vec<(&'static str, String)>),
    refusal: Option<&Refusal>,
) -> Shown {
    let about = refusal.and_then(|refusal| refusal.about("email"));
    let page = Door {
        frame: ask.visitor.frame(
            ask.state,
            "Sign in by code",
            onward::above(refusal, &["email"]),
        ),
        icon: Some(Icon::Mail),
        lead: "We mail you a code of six digits.".to_owned(),
        action: "/sign-in/email-code".to_owned(),
        fields: vec![Field::email().focused().with_value(typed).with_error(about)],
        hidden,
        button: "Send the code",
        links: vec![("", "/sign-in".to_owned(), "Another way to sign in")],
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
    api::require(&state, "email-otp/send")?;
    match api
        .post(
            "/api/auth/email-otp/send",
            &parts,
            &with_empty(&form, &["email"]),
        )
        .await
    {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let hidden = onward::back(safe(form.given("return_to")));
            address(ask, (form.text("email"), hidden), Some(&refusal))
        }
    }
}

pub(super) async fn show(
    state: FromState<State>,
    visitor: Visitor,
    params: Params,
    request: Request,
) -> Shown {
    first(MAILED, (state.0, visitor), params, request)
}

pub(super) async fn show_second(
    state: FromState<State>,
    visitor: Visitor,
    params: Params,
    request: Request,
) -> Shown {
    first(SECOND, (state.0, visitor), params, request)
}

fn first(
    kind: Kind,
    (state, visitor): (State, Visitor),
    params: Params,
    request: Request,
) -> Shown {
    let (parts, _) = request.into_parts();
    api::require(&state, kind.route)?;
    if step(&parts.headers).is_none() {
        return Ok(see_other("/sign-in"));
    }
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    page(ask, kind, Query::of(params).back(), None)
}

fn page(
    ask: Ask<'_>,
    kind: Kind,
    hidden: Vec<(&'static str, String)>,
    refusal: Option<&Refusal>,
) -> Shown {
    let error = refusal.map(|refusal| refusal.reason.clone());
    let page = Door {
        frame: ask.visitor.frame(ask.state, kind.title, None),
        icon: Some(kind.icon),
        lead: kind.lead.to_owned(),
        action: kind.page.to_owned(),
        fields: vec![
            Field::code("Code")
                .focused()
                .with_hint(kind.hint)
                .with_error(error),
        ],
        hidden,
        button: "Continue",
        links: vec![("", "/sign-in".to_owned(), "Start again")],
        ..Door::default()
    };
    onward::show(ask, onward::status(refusal), &page)
}

pub(super) async fn submit(
    state: FromState<State>,
    api: Extension<Api>,
    visitor: Visitor,
    request: Request,
) -> Shown {
    checked(MAILED, (state.0, api.0, visitor), request).await
}

pub(super) async fn submit_second(
    state: FromState<State>,
    api: Extension<Api>,
    visitor: Visitor,
    request: Request,
) -> Shown {
    checked(SECOND, (state.0, api.0, visitor), request).await
}

async fn checked(
    kind: Kind,
    (state, api, visitor): (State, Api, Visitor),
    request: Request,
) -> Shown {
    let (parts, form) = onward::read(request, &visitor).await?;
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, kind.route)?;
    let Some(step) = step(&parts.headers) else {
        return Ok(see_other("/sign-in"));
    };
    match api
        .post(
            &format!("/api/auth/{}", kind.route),
            &parts,
            &proof(kind, step, &form),
        )
        .await
    {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let hidden = onward::back(safe(form.given("return_to")));
            page(ask, kind, hidden, Some(&refusal))
        }
    }
}

fn proof(kind: Kind, step: &str, form: &Form) -> Map<String, Value> {
    // People type codes in groups.
    let code: String = form
        .text("code")
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let members = [(kind.step, step), ("code", code.as_str())];
    members
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
        .collect()
}
