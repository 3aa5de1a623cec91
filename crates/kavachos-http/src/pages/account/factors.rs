//! The second factor and the passkeys of an account: set up, switched on and off, removed. Each is a call of the plugin's
//! own route, so what it asks for (a fresh session, a code) is asked for here too.

use axum::Extension;
use axum::extract::{Path, Request, State as FromState};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::security::{At, Said, passkeys, show};
use crate::error::Failure;
use crate::pages::api::{self, Api, Refusal, Reply};
use crate::pages::browser::{Browser, with_return};
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, ConfirmAct, Field, Room};
use crate::pages::{Shown, see_other};
use crate::state::State;

const SECURITY: &str = "/account/security";

pub(super) async fn set_up(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await?;
    if let Some(first) = fresh_first(&state, &browser) {
        return Ok(first);
    }
    api::require(&state, "totp/setup")?;
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    let reply = match api.post("/api/auth/totp/setup", &parts, &Map::new()).await {
        Ok(reply) => reply,
        Err(refusal) => return refused(at, refusal).await,
    };
    totp_page(at, &reply, None).await
}

async fn totp_page(at: At<'_>, reply: &Reply, refusal: Option<&Refusal>) -> Shown {
    let first = |names: &[&str]| {
        let mut texts = names.iter().map(|name| reply.text(name));
        texts
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let picture = first(&["svg"]);
    let page = view::Totp {
        shell: at
            .browser
            .shell(at.state, Room::Security, "Codes from an app")
            .await?,
        picture: (!picture.is_empty()).then(|| as_picture(&picture)),
        uri: first(&["uri"]),
        secret: first(&["secret"]),
        code: Field::code("Code")
            .focused()
            .with_error(refusal.map(|refusal| refusal.reason.clone())),
    };
    let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
    html::answer(status, Runs::Nothing, &page)
}

/// A picture in the address of an `img`, where nothing in it can run.
fn as_picture(svg: &str) -> String {
    use base64::Engine as _;
    if svg.starts_with("data:image/") {
        return svg.to_owned();
    }
    let text = base64::prelude::BASE64_STANDARD.encode(svg);
    format!("data:image/svg+xml;base64,{text}")
}

pub(super) async fn enable(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, browser.secret()).await?;
    api::require(&state, "totp/enable")?;
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    let members = api::members(&form, &["code"]);
    match api.post("/api/auth/totp/enable", &parts, &members).await {
        Ok(reply) => codes_page(at, &reply, "Codes from an app are on.").await,
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let mut kept = Map::new();
            for name in ["secret", "uri"] {
                kept.insert(name.to_owned(), Value::from(form.text(name)));
            }
            let reply = Reply {
                data: Value::Object(kept),
                cookies: Vec::new(),
            };
            totp_page(at, &reply, Some(&refusal)).await
        }
    }
}

/// The backup codes that the answer has, shown once; or that it is done.
async fn codes_page(at: At<'_>, reply: &Reply, done: &str) -> Shown {
    let codes = reply
        .data
        .get("backupCodes")
        .or_else(|| reply.data.get("codes"));
    let Some(codes) = codes.and_then(Value::as_array) else {
        return Ok(reply.onto(show(at, Said::done(done)).await?));
    };
    let mut shell = at
        .browser
        .shell(at.state, Room::Security, "Your backup codes")
        .await?;
    shell.frame.notice = Said::done(done).notice;
    let codes = codes
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Ok(reply.onto(html::page(
        Runs::Nothing,
        &view::BackupCodes { shell, codes },
    )?))
}

pub(super) async fn backup_codes(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await?;
    if let Some(first) = fresh_first(&state, &browser) {
        return Ok(first);
    }
    api::require(&state, "totp/backup-codes")?;
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    match api
        .post("/api/auth/totp/backup-codes", &parts, &Map::new())
        .await
    {
        Ok(reply) => codes_page(at, &reply, "The codes of before are dead.").await,
        Err(refusal) => refused(at, refusal).await,
    }
}

pub(super) async fn ask_to_disable(FromState(state): FromState<State>, browser: Browser) -> Shown {
    if let Some(first) = fresh_first(&state, &browser) {
        return Ok(first);
    }
    disabling(&state, &browser, None).await
}

async fn disabling(state: &State, browser: &Browser, refusal: Option<&Refusal>) -> Shown {
    let code = Field::code("Code")
        .focused()
        .with_hint("Of the app, or one of your backup codes.");
    let page = ConfirmAct {
        shell: browser
            .shell(state, Room::Security, "Switch off codes from an app?")
            .await?,
        text: "Your password alone will then be enough to sign in.".to_owned(),
        consequences: vec![
            "Your backup codes stop working.".to_owned(),
            "You can switch it on again at any time.".to_owned(),
        ],
        fields: vec![code.with_error(refusal.map(|refusal| refusal.reason.clone()))],
        action: "/account/security/totp/disable".to_owned(),
        button: "Switch off",
        back: SECURITY.to_owned(),
    };
    html::answer(
        refusal.map_or(StatusCode::OK, |refusal| refusal.status),
        Runs::Nothing,
        &page,
    )
}

pub(super) async fn disable(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, browser.secret()).await?;
    if let Some(first) = fresh_first(&state, &browser) {
        return Ok(first);
    }
    api::require(&state, "totp/disable")?;
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    match api
        .post(
            "/api/auth/totp/disable",
            &parts,
            &api::members(&form, &["code"]),
        )
        .await
    {
        Ok(reply) => Ok(reply.onto(show(at, Said::done("Codes from an app are off.")).await?)),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => disabling(&state, &browser, Some(&refusal)).await,
    }
}

pub(super) async fn ask_to_remove(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    Path(id): Path<String>,
    request: Request,
) -> Shown {
    let (parts, _) = request.into_parts();
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    let all = passkeys(at).await?.unwrap_or_default();
    let one = all
        .into_iter()
        .find(|one| one.id == id)
        .ok_or(Failure::NoSuchRoute)?;
    let page = ConfirmAct {
        shell: browser
            .shell(&state, Room::Security, format!("Remove {}?", one.name))
            .await?,
        text: "It will no longer sign you in.".to_owned(),
        consequences: vec!["The device may go on offering it; remove it there as well.".to_owned()],
        fields: Vec::new(),
        action: format!("/account/security/passkeys/{}/remove", one.id),
        button: "Remove it",
        back: SECURITY.to_owned(),
    };
    html::page(Runs::Nothing, &page)
}

pub(super) async fn remove(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    Path(id): Path<String>,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await?;
    if let Some(first) = fresh_first(&state, &browser) {
        return Ok(first);
    }
    let at = At {
        state: &state,
        api: &api,
        browser: &browser,
        parts: &parts,
    };
    let path = format!("/api/auth/passkey/credentials/{}", api::segment(&id)?);
    match api.send((Method::DELETE, &path), &parts, &Map::new()).await {
        Ok(reply) => Ok(reply.onto(show(at, Said::done("The passkey was removed.")).await?)),
        Err(refusal) => refused(at, refusal).await,
    }
}

/// Asks who it is first, where that was proved a while ago.
fn fresh_first(state: &State, browser: &Browser) -> Option<Response> {
    let asks = !browser.is_fresh(state);
    asks.then(|| see_other(&with_return("/re-authenticate", SECURITY)))
}

/// The page of before, with why it was not done.
async fn refused(at: At<'_>, refusal: Refusal) -> Shown {
    if refusal.is_final() || refusal.status == StatusCode::NOT_FOUND {
        return Err(refusal.into_failure());
    }
    let mut page = show(at, Said::refused(&refusal)).await?;
    *page.status_mut() = refusal.status;
    Ok(page)
}
