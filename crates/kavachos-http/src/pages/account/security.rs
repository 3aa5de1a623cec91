//! `/account/security`: how the human signs in.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use http::request::Parts;
use http::{Method, StatusCode};
use kavachos_engine::plugin::Method as Known;
use serde_json::{Map, Value};

use super::sessions;
use crate::error::Failure;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Field, Notice, Passkey, Room};
use crate::pages::{Shown, words};
use crate::params::Params;
use crate::state::State;

pub(super) async fn handle(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    mut params: Params,
    request: Request,
) -> Shown {
    let (parts, _) = request.into_parts();
    let said = match params.take::<String>("done")?.as_deref() {
        Some("passkey_added") => {
            Said::done("The passkey was added. You can sign in with it from now on.")
        }
        Some("password_changed") => {
            Said::done("Your password was changed. You are signed in here only.")
        }
        _ => Said::default(),
    };
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    show(at, said).await
}

/// Where a page of how one signs in is made: for whom, and with what their request was.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) state: &'a State,
    pub(super) api: &'a Api,
    pub(super) browser: &'a Browser,
    pub(super) parts: &'a Parts,
}

/// What the page says besides: that something is done, or what was wrong with the password.
#[derive(Default)]
pub(super) struct Said {
    pub(super) notice: Option<Notice>,
    pub(super) password: Option<Refusal>,
}

impl Said {
    pub(super) fn done(text: &str) -> Self {
        Self {
            notice: Some(Notice::new("ok", text)),
            password: None,
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            notice: Some(Notice::new("bad", refusal.reason.clone())),
            password: None,
        }
    }
}

pub(super) async fn show(at: At<'_>, said: Said) -> Shown {
    let At { state, browser, .. } = at;
    let mut shell = browser.shell(state, Room::Security, "Security").await?;
    let passkeys = passkeys(at).await?;
    shell.frame.notice = said.notice;
    shell.frame.passkeys = passkeys.is_some();
    let fresh = browser.is_fresh(state);
    let status = said
        .password
        .as_ref()
        .map_or(StatusCode::OK, |refusal| refusal.status);
    let runs = if passkeys.is_some() {
        Runs::Passkeys
    } else {
        Runs::Nothing
    };
    let page = view::Security {
        shell,
        sessions: sessions::live(state, browser).await?.len(),
        fresh,
        fresh_words: fresh_words(at, fresh),
        password: api::takes(state, "change-password")
            .then(|| password_fields(said.password.as_ref())),
        passkeys,
        totp: totp(at).await?,
        can_ask_again: api::takes(state, "re-authenticate"),
    };
    html::answer(status, runs, &page)
}

fn fresh_words(at: At<'_>, fresh: bool) -> String {
    if fresh {
        let until = words::clock(at.browser.session.fresh_until);
        return format!("Until {until} you can approve, make agents and change how you sign in.");
    }
    "Approving, making agents and changing how you sign in will ask who you are once more."
        .to_owned()
}

fn password_fields(refusal: Option<&Refusal>) -> Vec<Field> {
    let about = |field: &str| refusal.and_then(|refusal| refusal.about(field));
    let unnamed = refusal
        .filter(|refusal| refusal.field.is_none())
        .map(|refusal| refusal.reason.clone());
    vec![
        Field::password("currentPassword", "Current password", "current-password")
            .with_error(about("currentPassword").or(unnamed)),
        Field::password("newPassword", "New password", "new-password")
            .with_hint("A few words that only you would put together are best.")
            .with_error(about("newPassword")),
    ]
}

/// The human's passkeys, if there can be any.
pub(super) async fn passkeys(at: At<'_>) -> Result<Option<Vec<Passkey>>, Failure> {
    const PATH: &str = "/api/auth/passkey/credentials";
    if !api::has(at.state, Known::Get, PATH) {
        return Ok(None);
    }
    let reply = at
        .api
        .send((Method::GET, PATH), at.parts, &Map::new())
        .await;
    let reply = reply.map_err(Refusal::into_failure)?;
    let now = at.state.engine.now();
    let one = |value: &Value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let time = |name: &str| text(name).parse().ok().map(|at| words::time(at, now).words);
        let added = time("createdAt").map(|words| format!("added {words}"));
        let used = time("lastUsedAt")
            .or_else(|| time("usedAt"))
            .map(|words| format!("last used {words}"));
        let note: Vec<String> = added.into_iter().chain(used).collect();
        Passkey {
            id: text("id").to_owned(),
            name: Some(text("name"))
                .filter(|name| !name.is_empty())
                .unwrap_or("Passkey")
                .to_owned(),
            note: note.join(", "),
        }
    };
    let rows = reply
        .data
        .as_array()
        .map(|rows| rows.iter().map(one).collect());
    Ok(Some(rows.unwrap_or_default()))
}

/// Whether there is a second factor, if there can be one.
async fn totp(at: At<'_>) -> Result<Option<bool>, Failure> {
    if !api::takes(at.state, "totp/setup") {
        return Ok(None);
    }
    const STATE: &str = "/api/auth/totp";
    if !api::has(at.state, Known::Get, STATE) {
        return Ok(Some(false));
    }
    let reply = at
        .api
        .send((Method::GET, STATE), at.parts, &Map::new())
        .await;
    let reply = reply.map_err(Refusal::into_failure)?;
    Ok(Some(
        reply
            .data
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    ))
}

pub(super) async fn change_password(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, browser.secret()).await?;
    api::require(&state, "change-password")?;
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    let members = api::members(&form, &["currentPassword", "newPassword"]);
    match api
        .post("/api/auth/change-password", &parts, &members)
        .await
    {
        // The session of the cookie may be another one now.
        Ok(reply) => Ok(reply.onto(crate::pages::see_other(
            "/account/security?done=password_changed",
        ))),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            show(
                at,
                Said {
                    notice: None,
                    password: Some(refusal),
                },
            )
            .await
        }
    }
}
