//! `/sign-in`: whatever ways there are, the usual one first.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use serde_json::Map;

use super::onward::{self, Ask, Query};
use crate::error::Failure;
use crate::pages::Shown;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::return_to::safe;
use crate::pages::view::{Door, Field, Icon, Notice, Other};
use crate::params::Params;
use crate::state::State;

/// How somebody is known who signs in with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Email,
    Username,
}

impl Name {
    /// The one that is asked for, or the one that there is.
    pub(super) fn chosen(state: &State, what: &str, wanted: &str) -> Option<Self> {
        let email = api::takes(state, &format!("{what}/email"));
        let username = api::takes(state, &format!("{what}/username"));
        match (email, username) {
            (_, true) if wanted == "username" || !email => Some(Self::Username),
            (true, _) => Some(Self::Email),
            _ => None,
        }
    }

    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
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
    let query = Query::of(params);
    let notice = match query.text("done") {
        "signed_out" => Some(Notice::new("ok", "You are signed out.")),
        "password_changed" => Some(Notice::new(
            "ok",
            "Your password was changed. Sign in with the new one.",
        )),
        _ => None,
    };
    let name = Name::chosen(&state, "sign-in", query.text("with"));
    let seen = Seen {
        name,
        hidden: query.back(),
        typed: String::new(),
    };
    page(ask, seen, None, notice)
}

/// What the form shows.
struct Seen {
    name: Option<Name>,
    hidden: Vec<(&'static str, String)>,
    typed: String,
}

fn page(ask: Ask<'_>, seen: Seen, refusal: Option<&Refusal>, notice: Option<Notice>) -> Shown {
    let state = ask.state;
    let notice = onward::above(refusal, &["email", "username", "password"]).or(notice);
    let passkey = api::takes(state, "passkey/authenticate/options");
    let mut frame = ask.visitor.frame(state, "Welcome back", notice);
    frame.passkeys = passkey;
    let others = others(state, &seen.hidden);
    let page = Door {
        frame,
        lead: "Sign in to see who acts for you.".to_owned(),
        action: "/sign-in".to_owned(),
        fields: seen
            .name
            .map_or_else(Vec::new, |name| fields(state, name, &seen.typed, refusal)),
        button: if seen.name.is_some() { "Sign in" } else { "" },
        passkey: if passkey { "sign-in" } else { "" },
        others,
        links: links(state, &seen),
        hidden: seen.hidden,
        icon: None,
    };
    onward::show(ask, onward::status(refusal), &page)
}

fn fields(state: &State, name: Name, typed: &str, refusal: Option<&Refusal>) -> Vec<Field> {
    let about = |field: &str| refusal.and_then(|refusal| refusal.about(field));
    let known = match name {
        Name::Email => Field::email(),
        Name::Username => Field {
            look: "mono",
            ..Field::text("username", "Username")
        },
    };
    let known = known
        .with_autocomplete("username webauthn")
        .with_value(typed);
    let known = known.with_error(about(name.field()));
    let mut password = Field::password("password", "Password", "current-password");
    if api::takes(state, "forgot-password") {
        password = password.with_aside("/forgot-password", "Forgot it?");
    }
    let password = password.with_error(about("password"));
    if typed.is_empty() {
        vec![known.focused(), password]
    } else {
        vec![known, password.focused()]
    }
}

fn others(state: &State, hidden: &[(&'static str, String)]) -> Vec<Other> {
    let mut others = Vec::new();
    let link = |action, button, icon| Other {
        action,
        button,
        icon,
        hidden: hidden.to_vec(),
        is_link: true,
    };
    if api::takes(state, "magic-link/send") {
        others.push(link("/sign-in/link", "Email me a link", Icon::Mail));
    }
    if api::takes(state, "email-otp/send") {
        others.push(link("/sign-in/email-code", "Email me a code", Icon::Mail));
    }
    if api::takes(state, "anonymous") {
        others.push(Other {
            is_link: false,
            ..link("/sign-in/guest", "Continue as a guest", Icon::Person)
        });
    }
    others
}

fn links(state: &State, seen: &Seen) -> Vec<(&'static str, String, &'static str)> {
    let mut links = Vec::new();
    if Name::chosen(state, "sign-up", "").is_some() {
        links.push((
            "New here?",
            onward::beside("/sign-up", &seen.hidden),
            "Create an account",
        ));
    }
    let both = api::takes(state, "sign-in/email") && api::takes(state, "sign-in/username");
    match seen.name {
        Some(Name::Email) if both => {
            links.push((
                "Or sign in with",
                "/sign-in?with=username".to_owned(),
                "a username",
            ));
        }
        Some(Name::Username) if both => {
            links.push(("Or sign in with", "/sign-in".to_owned(), "an email address"));
        }
        _ => {}
    }
    links
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
    let name = Name::chosen(&state, "sign-in", wanted).ok_or(Failure::NoSuchRoute)?;
    let path = format!("/api/auth/sign-in/{}", name.field());
    let members = with_empty(&form, &[name.field(), "password"]);
    match api.post(&path, &parts, &members).await {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let seen = Seen {
                name: Some(name),
                hidden: onward::back(safe(form.given("return_to"))),
                typed: form.text(name.field()).to_owned(),
            };
            page(ask, seen, Some(&refusal), None)
        }
    }
}

/// The members of a request, also those that were left empty: the API says what is wrong with them.
pub(super) fn with_empty(form: &Form, names: &[&'static str]) -> Map<String, serde_json::Value> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), form.text(name).into()))
        .collect()
}

pub(super) async fn as_guest(
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
    api::require(&state, "anonymous")?;
    match api.post("/api/auth/anonymous", &parts, &Map::new()).await {
        Ok(reply) => onward::onward(ask, &reply, &form),
        Err(refusal) => Err(refusal.into_failure()),
    }
}
