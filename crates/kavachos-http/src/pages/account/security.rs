//! `/account/security`: how the human signs in.

use http::{Method, StatusCode};
use kavachos_engine::plugin::Method as Known;
use serde_json::Value;

use super::factors::Fresh;
use super::{owing, sessions};
use crate::error::Failure;
use crate::pages::api::{self, Refusal};
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Codes, Field, Notice, Passkey, Room};
use crate::pages::{Shown, see_other, words};
use crate::params::Params;

/// Where an identity at a provider is taken away.
pub(super) const PROVIDER: &str = "/api/auth/link/provider";

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let said = match params.take::<String>("done")?.as_deref() {
        Some("passkey_added") => {
            Said::factor("The passkey was added. You can sign in with it from now on.")
        }
        Some("mail_sent") => Said::done(
            "A mail is on its way to the new address. Open its link in this browser: until then nothing changes.",
        ),
        Some("password_changed") => {
            Said::done("Your password was changed. You are signed in here only.")
        }
        Some("password_set") => Said::done(
            "You can sign in with your password from now on. You are signed in here only.",
        ),
        _ => Said::default(),
    };
    show(&at, said).await
}

/// What the page says besides: that something is done, or what was wrong with a form.
#[derive(Default)]
pub(super) struct Said {
    pub(super) notice: Option<Notice>,
    /// What was wrong, in which form.
    wrong: Option<(Part, Refusal)>,
    /// The address that was asked for.
    new_email: String,
    /// Whether a way to sign in came or went: whoever is signed in elsewhere may have used one that they should not have.
    factor: bool,
}

/// A form of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Password,
    Email,
}

impl Said {
    pub(super) fn done(text: &str) -> Self {
        Self {
            notice: Some(Notice::new("ok", text)),
            ..Self::default()
        }
    }

    /// A way to sign in was added or removed.
    pub(super) fn factor(text: &str) -> Self {
        Self {
            factor: true,
            ..Self::done(text)
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            notice: Some(Notice::new("bad", refusal.reason.clone())),
            ..Self::default()
        }
    }

    fn wrong(part: Part, refusal: Refusal) -> Self {
        Self {
            wrong: Some((part, refusal)),
            ..Self::default()
        }
    }

    /// What was wrong in this form.
    fn of(&self, part: Part) -> Option<&Refusal> {
        let wrong = self.wrong.as_ref().filter(|(wrong, _)| *wrong == part);
        wrong.map(|(_, refusal)| refusal)
    }
}

pub(super) async fn show(at: &At<Browser>, said: Said) -> Shown {
    if at.who.owes() {
        return owing::show(at, said).await;
    }
    let mut shell = at.shell(Room::Security, "Security").await?;
    let passkeys = passkeys(at).await?;
    shell.frame.notice.clone_from(&said.notice);
    shell.frame.passkeys = passkeys.is_some();
    let fresh = at.is_fresh();
    let runs = Runs::of(passkeys.is_some());
    let wrong = said.wrong.as_ref();
    let status = wrong.map_or(StatusCode::OK, |(_, refusal)| refusal.status);
    let sessions = sessions::live(at).await?.len();
    let has_password = at.engine().has_password(&at.who.actor).await?;
    // One alone would let nobody in.
    let can_use_password = has_password || at.who.user.email.is_some();
    let page = view::Security {
        shell,
        sessions,
        leave_others: said.factor && sessions > 1,
        fresh,
        fresh_words: fresh_words(at, fresh),
        password: (can_use_password && at.takes("change-password"))
            .then(|| password_fields(has_password, said.of(Part::Password))),
        has_password,
        email: email(at, &said),
        provider: provider(at),
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

/// The address of the account, and the form for another one, where it has one that can be changed.
fn email(at: &At<Browser>, said: &Said) -> Option<(String, Field)> {
    let own = at.who.user.email.clone();
    let own = own.filter(|_| at.takes("change-email"))?;
    let error = said.of(Part::Email).map(|refusal| refusal.reason.clone());
    let field = Field {
        name: "newEmail".to_owned(),
        label: "New address".to_owned(),
        autocomplete: "email",
        // It stands far down on the page.
        focus: error.is_some(),
        ..Field::email()
    };
    let field = field.with_value(said.new_email.as_str()).with_error(error);
    Some((own, field))
}

/// The provider at which the account has an identity that can be taken away.
pub(super) fn provider(at: &At<Browser>) -> Option<String> {
    let external = at.who.user.external.as_ref()?;
    let can = api::has(&at.state, Known::Delete, PROVIDER);
    can.then(|| external.provider.clone())
}

fn password_fields(has_one: bool, refusal: Option<&Refusal>) -> Vec<Field> {
    let about = |field: &str| refusal.and_then(|refusal| refusal.about(field));
    let unnamed = refusal
        .filter(|refusal| refusal.field.is_none())
        .map(|refusal| refusal.reason.clone());
    let current = Field::password("currentPassword", "Current password");
    let new = Field::new_password("newPassword", "New password");
    let wrong = about("newPassword");
    match has_one {
        true => vec![
            current.with_error(about("currentPassword").or(unnamed)),
            new.with_error(wrong),
        ],
        false => vec![new.with_error(wrong.or(unnamed))],
    }
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
    let mut members = form.members(&["newPassword"]);
    members.extend(form.filled(&["currentPassword"]));
    let is_first = !form.has("currentPassword");
    if is_first && let Some(first) = at.prove_first("/account/security") {
        return Ok(first);
    }
    let done = if is_first {
        "/account/security?done=password_set"
    } else {
        "/account/security?done=password_changed"
    };
    match at.post("change-password", &members).await {
        // The session of the cookie may be another one now.
        Ok(reply) => Ok(reply.onto(see_other(done))),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => show(&at, Said::wrong(Part::Password, refusal)).await,
    }
}

/// Mails a link to a new address.
pub(super) async fn change_email(Fresh(Sent { at, form }): Fresh) -> Shown {
    match at.post("change-email", &form.members(&["newEmail"])).await {
        Ok(_) => Ok(see_other("/account/security?done=mail_sent")),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => {
            let said = Said {
                new_email: form.text("newEmail").to_owned(),
                ..Said::wrong(Part::Email, refusal)
            };
            show(&at, said).await
        }
    }
}
