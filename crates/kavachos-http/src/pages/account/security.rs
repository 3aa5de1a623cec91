//! `/account/security`: how the human signs in.

use http::{Method, StatusCode};
use kavachos_engine::plugin::Method as Known;
use serde_json::Value;

use super::{owing, sessions};
use crate::error::Failure;
use crate::pages::api::{self, Refusal};
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Codes, Field, Notice, Passkey, Room};
use crate::pages::{Shown, see_other, words};
use crate::params::Params;

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let said = match params.take::<String>("done")?.as_deref() {
        Some("passkey_added") => {
            Said::done("The passkey was added. You can sign in with it from now on.")
        }
        Some("password_changed") => {
            Said::done("Your password was changed. You are signed in here only.")
        }
        _ => Said::default(),
    };
    show(&at, said).await
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

    fn wrong_password(refusal: Refusal) -> Self {
        Self {
            notice: None,
            password: Some(refusal),
        }
    }
}

pub(super) async fn show(at: &At<Browser>, said: Said) -> Shown {
    if at.who.owes() {
        return owing::show(at, said).await;
    }
    let mut shell = at.shell(Room::Security, "Security").await?;
    let passkeys = passkeys(at).await?;
    shell.frame.notice = said.notice;
    shell.frame.passkeys = passkeys.is_some();
    let fresh = at.is_fresh();
    let runs = Runs::of(passkeys.is_some());
    let status = said
        .password
        .as_ref()
        .map_or(StatusCode::OK, |refusal| refusal.status);
    let page = view::Security {
        shell,
        sessions: sessions::live(at).await?.len(),
        fresh,
        fresh_words: fresh_words(at, fresh),
        password: at
            .takes("change-password")
            .then(|| password_fields(said.password.as_ref())),
        passkeys,
        totp: codes(at).await?,
        can_ask_again: at.takes("re-authenticate"),
    };
    html::answer(status, runs, &page)
}

fn fresh_words(at: &At<Browser>, fresh: bool) -> String {
    if fresh {
        let until = words::clock(at.who.session.fresh_until);
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
        Field::password("currentPassword", "Current password")
            .with_error(about("currentPassword").or(unnamed)),
        Field::new_password("newPassword", "New password").with_error(about("newPassword")),
    ]
}

/// The human's passkeys, if there can be any.
pub(super) async fn passkeys(at: &At<Browser>) -> Result<Option<Vec<Passkey>>, Failure> {
    const PATH: &str = "/api/auth/passkey/credentials";
    if !api::has(&at.state, Known::Get, PATH) {
        return Ok(None);
    }
    let reply = at.ask(Method::GET, PATH).await;
    let reply = reply.map_err(Refusal::into_failure)?;
    let now = at.engine().now();
    let one = |value: &Value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let time = |name: &str| text(name).parse().ok().map(|at| words::time(at, now).words);
        let added = time("createdAt").map(|words| format!("added {words}"));
        let used = time("usedAt").map(|words| format!("last used {words}"));
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
pub(in crate::pages) async fn has_codes(at: &At<Browser>) -> Result<Option<bool>, Failure> {
    let codes = codes(at).await?;
    Ok(codes.map(|codes| codes.is_on()))
}

/// The codes of an app, if there can be any.
async fn codes(at: &At<Browser>) -> Result<Option<Codes>, Failure> {
    if !at.takes("totp/setup") {
        return Ok(None);
    }
    const STATE: &str = "/api/auth/totp";
    if !api::has(&at.state, Known::Get, STATE) {
        return Ok(Some(Codes::Off));
    }
    let reply = at.ask(Method::GET, STATE).await;
    let reply = reply.map_err(Refusal::into_failure)?;
    let enabled = reply.data.get("enabled").and_then(Value::as_bool);
    if enabled != Some(true) {
        return Ok(Some(Codes::Off));
    }
    let left = reply.data.get("backupCodesLeft").and_then(Value::as_u64);
    Ok(Some(Codes::On {
        backup: left.unwrap_or_default(),
    }))
}

pub(super) async fn change_password(Sent { at, form }: Sent<Browser>) -> Shown {
    let members = form.members(&["currentPassword", "newPassword"]);
    match at.post("change-password", &members).await {
        // The session of the cookie may be another one now.
        Ok(reply) => Ok(reply.onto(see_other("/account/security?done=password_changed"))),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => show(&at, Said::wrong_password(refusal)).await,
    }
}
