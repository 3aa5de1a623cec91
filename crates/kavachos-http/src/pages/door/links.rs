//! Links that were mailed: asked for, and followed. Opening one only shows a button, since mail is opened by machines too;
//! the button is what uses it.

use super::onward::{self, Ask, Query};
use super::sign_in::with_empty;
use crate::pages::Shown;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Visitor;
use crate::pages::return_to::safe;
use crate::pages::view::{Door, Field, Icon};
use crate::params::Params;
use crate::state::State;
use axum::Extension;
use axum::extract::{Request, State as FromState};

pub(super) async fn ask(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, "magic-link/send")?;
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
            "Sign in by link",
            onward::above(refusal, &["email"]),
        ),
        icon: Some(Icon::Mail),
        lead: "We mail you a link that signs you in.".to_owned(),
        action: "/sign-in/link".to_owned(),
        fields: vec![Field::email().focused().with_value(typed).with_error(about)],
        hidden,
        button: "Send the link",
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
    api::require(&state, "magic-link/send")?;
    match api
        .post(
            "/api/auth/magic-link/send",
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

pub(super) async fn show_magic(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    api::require(&state, "magic-link/verify")?;
    magic(ask, (Query::of(params).text("token"), Whence::Here), None)
}

/// In which browser a link was asked for, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whence {
    Here,
    Elsewhere,
}

/// The button, with a warning where another browser asked for the link.
fn magic(ask: Ask<'_>, (token, whence): (&str, Whence), refusal: Option<&Refusal>) -> Shown {
    let mut hidden = vec![("token", token.to_owned())];
    let here = whence == Whence::Here;
    let lead = if here {
        "You are one step away."
    } else {
        hidden.push(("confirm", "yes".to_owned()));
        "This link was asked for in another browser. Go on only if it was you who asked: somebody else who sends you a \
         link wants you in an account of theirs."
    };
    let page = Door {
        frame: ask
            .visitor
            .frame(ask.state, "Sign in", onward::above(refusal, &[])),
        icon: Some(if here { Icon::Mail } else { Icon::Warning }),
        lead: lead.to_owned(),
        action: "/magic-link".to_owned(),
        hidden,
        button: if here {
            "Sign in"
        } else {
            "It was me, sign in here"
        },
        links: vec![("", "/sign-in".to_owned(), "Another way to sign in")],
        ..Door::default()
    };
    onward::show(ask, onward::status(refusal), &page)
}

pub(super) async fn follow_magic(
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
    api::require(&state, "magic-link/verify")?;
    let mut members = with_empty(&form, &["token"]);
    let whence = if form.has("confirm") {
        Whence::Elsewhere
    } else {
        Whence::Here
    };
    if whence == Whence::Elsewhere {
        members.insert("confirm".to_owned(), true.into());
    }
    let token = form.text("token");
    match api
        .post("/api/auth/magic-link/verify", &parts, &members)
        .await
    {
        Ok(reply) if reply.text("next") == "confirm" => {
            magic(ask, (token, Whence::Elsewhere), None)
        }
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => magic(ask, (token, whence), Some(&refusal)),
    }
}

/// A link that confirms an address: of an account, or of a guest who wants one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Account,
    Guest,
}

impl Whose {
    fn of(guest: &str) -> Self {
        if guest.is_empty() {
            Self::Account
        } else {
            Self::Guest
        }
    }

    const fn route(self) -> &'static str {
        match self {
            Self::Account => "verify-email",
            Self::Guest => "anonymous/upgrade/verify",
        }
    }
}

pub(super) async fn show_verify(
    FromState(state): FromState<State>,
    visitor: Visitor,
    params: Params,
) -> Shown {
    let ask = Ask {
        state: &state,
        visitor: &visitor,
    };
    let query = Query::of(params);
    let whose = Whose::of(query.text("guest"));
    api::require(&state, whose.route())?;
    verify(ask, (query.text("token"), whose), (Asks::Nothing, None))
}

/// What a link that confirms an address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// In another browser than the one that asked for the link.
    Password,
}

fn verify(
    ask: Ask<'_>,
    (token, whose): (&str, Whose),
    (asks, refusal): (Asks, Option<&Refusal>),
) -> Shown {
    let about = refusal.and_then(|refusal| refusal.about("password"));
    let (lead, fields) = if asks == Asks::Password {
        let field = Field::password("password", "Password", "current-password");
        (
            "You began in another browser. Type the password that you chose there.",
            vec![field.focused().with_error(about)],
        )
    } else {
        ("One press, and your account is ready.", Vec::new())
    };
    let mut hidden = vec![("token", token.to_owned())];
    if whose == Whose::Guest {
        hidden.push(("guest", "1".to_owned()));
    }
    let notice = onward::above(refusal, &["password"]);
    let page = Door {
        frame: ask.visitor.frame(ask.state, "Confirm your address", notice),
        icon: Some(Icon::Mail),
        lead: lead.to_owned(),
        action: "/verify-email".to_owned(),
        fields,
        hidden,
        button: "Confirm",
        ..Door::default()
    };
    onward::show(ask, onward::status(refusal), &page)
}

pub(super) async fn follow_verify(
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
    let whose = Whose::of(form.text("guest"));
    api::require(&state, whose.route())?;
    let mut sent = with_empty(&form, &["token"]);
    sent.extend(api::members(&form, &["password"]));
    let link = (form.text("token"), whose);
    let asks = if form.has("password") {
        Asks::Password
    } else {
        Asks::Nothing
    };
    match api
        .post(&format!("/api/auth/{}", whose.route()), &parts, &sent)
        .await
    {
        Ok(reply) if reply.text("next") == "enter_password" => {
            verify(ask, link, (Asks::Password, None))
        }
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => verify(ask, link, (asks, Some(&refusal))),
    }
}
