//! The second factor and the passkeys of an account: set up, switched on and off, removed. Each is a call of the plugin's
//! own route, so what it asks for (a fresh session, a code) is asked for here too.

use axum::extract::{FromRequest, Path, Request};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::security::{PROVIDER, Said, passkeys, provider, show};
use crate::cookie;
use crate::error::Failure;
use crate::pages::api::{self, Refusal, Reply};
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, ConfirmAct, Field, Room};
use crate::pages::{Shown, see_other};
use crate::state::State;

const SECURITY: &str = "/account/security";
/// How a picture in the address of an `img` begins, where nothing in it can run.
const PICTURE: &str = "data:image/svg+xml;base64,";

/// A form of somebody who proved just now who they are; others do that first.
pub(super) struct Fresh(pub(super) Sent<Browser>);

impl FromRequest<State> for Fresh {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let sent = Sent::from_request(request, state).await?;
        match sent.at.prove_first(SECURITY) {
            Some(first) => Err(first),
            None => Ok(Self(sent)),
        }
    }
}

pub(super) async fn set_up(Fresh(Sent { at, .. }): Fresh) -> Shown {
    match at.post("totp/setup", &Map::new()).await {
        Ok(reply) => totp_page(&at, Enrolment::of(&reply), None).await,
        Err(refusal) => refused(&at, refusal).await,
    }
}

/// What an app is given: a picture with all of it, the same as an address, and the key alone.
struct Enrolment {
    picture: Option<String>,
    uri: String,
    secret: String,
}

impl Enrolment {
    fn of(reply: &Reply) -> Self {
        use base64::Engine as _;
        let svg = Some(reply.text("svg")).filter(|svg| !svg.is_empty());
        let encode = |svg| base64::prelude::BASE64_STANDARD.encode(svg);
        Self {
            picture: svg.map(|svg| format!("{PICTURE}{}", encode(svg))),
            uri: reply.text("uri").to_owned(),
            secret: reply.text("secret").to_owned(),
        }
    }

    /// As the form was sent along with it.
    fn kept(form: &Form) -> Self {
        let picture = form
            .given("picture")
            .filter(|text| text.starts_with(PICTURE));
        Self {
            picture: picture.map(str::to_owned),
            uri: form.text("uri").to_owned(),
            secret: form.text("secret").to_owned(),
        }
    }
}

async fn totp_page(at: &At<Browser>, given: Enrolment, refusal: Option<&Refusal>) -> Shown {
    let page = view::Totp {
        shell: at.shell(Room::Security, "Codes from an app").await?,
        picture: given.picture,
        uri: given.uri,
        secret: given.secret,
        code: asked(Field::code(), "Six digits, new every 30 seconds.", refusal),
    };
    html::answer(status(refusal), Runs::Nothing, &page)
}

fn asked(code: Field, hint: &str, refusal: Option<&Refusal>) -> Field {
    let error = refusal.map(|refusal| refusal.reason.clone());
    code.focused().with_hint(hint).with_error(error)
}

fn status(refusal: Option<&Refusal>) -> StatusCode {
    refusal.map_or(StatusCode::OK, |refusal| refusal.status)
}

pub(super) async fn enable(Sent { at, form }: Sent<Browser>) -> Shown {
    match at.post("totp/enable", &form.members(&["code"])).await {
        Ok(reply) => codes_page(at, &reply, "Codes from an app are on.").await,
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => totp_page(&at, Enrolment::kept(&form), Some(&refusal)).await,
    }
}

/// The backup codes that the answer has, shown once.
async fn codes_page(mut at: At<Browser>, reply: &Reply, done: &str) -> Shown {
    at.who.goes_on_with(reply);
    let mut shell = at.shell(Room::Security, "Your backup codes").await?;
    shell.frame.notice = Said::done(done).notice;
    let codes = reply.data.get("backupCodes").and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(Value::as_str);
    let codes = codes.map(str::to_owned).collect();
    let page = html::page(Runs::Nothing, &view::BackupCodes { shell, codes })?;
    Ok(reply.onto(page))
}

/// What is asked about, and takes a code.
#[derive(Debug, Clone, Copy)]
enum WithCode {
    Renew,
    Disable,
}

impl WithCode {
    async fn ask(self, at: &At<Browser>, refusal: Option<&Refusal>) -> Shown {
        let (title, text, consequences, button, path) = match self {
            Self::Renew => (
                "Make new backup codes?",
                "You get ten new ones, which are shown once.",
                [
                    "The codes of before stop working.",
                    "Your app goes on as it is.",
                ],
                "Make new codes",
                "backup-codes",
            ),
            Self::Disable => (
                "Switch off codes from an app?",
                "Your password alone will then be enough to sign in.",
                [
                    "Your backup codes stop working.",
                    "You can switch it on again at any time.",
                ],
                "Switch off",
                "totp/disable",
            ),
        };
        let code = Field {
            label: "Code".to_owned(),
            ..Field::backup_code()
        };
        let page = ConfirmAct {
            shell: at.shell(Room::Security, title).await?,
            text: text.to_owned(),
            consequences: consequences.map(str::to_owned).to_vec(),
            fields: vec![asked(
                code,
                "Of the app, or one of your backup codes.",
                refusal,
            )],
            action: format!("{SECURITY}/{path}"),
            button,
            back: SECURITY.to_owned(),
        };
        html::answer(status(refusal), Runs::Nothing, &page)
    }

    /// The same with why it was not done.
    async fn refused(self, at: &At<Browser>, refusal: Refusal) -> Shown {
        if refusal.is_final() {
            return Err(refusal.into_failure());
        }
        self.ask(at, Some(&refusal)).await
    }
}

pub(super) async fn ask_to_renew(at: At<Browser>) -> Shown {
    ask_first(&at, WithCode::Renew).await
}

pub(super) async fn ask_to_disable(at: At<Browser>) -> Shown {
    ask_first(&at, WithCode::Disable).await
}

async fn ask_first(at: &At<Browser>, what: WithCode) -> Shown {
    match at.prove_first(SECURITY) {
        Some(first) => Ok(first),
        None => what.ask(at, None).await,
    }
}

pub(super) async fn renew(Fresh(Sent { at, form }): Fresh) -> Shown {
    match at.post("totp/backup-codes", &form.members(&["code"])).await {
        Ok(reply) => codes_page(at, &reply, "The codes of before are dead.").await,
        Err(refusal) => WithCode::Renew.refused(&at, refusal).await,
    }
}

pub(super) async fn disable(Fresh(Sent { at, form }): Fresh) -> Shown {
    match at.post("totp/disable", &form.members(&["code"])).await {
        Ok(reply) => done(&at, &reply, "Codes from an app are off.").await,
        Err(refusal) => WithCode::Disable.refused(&at, refusal).await,
    }
}

pub(super) async fn ask_to_remove(at: At<Browser>, Path(id): Path<String>) -> Shown {
    let mut all = passkeys(&at).await?.unwrap_or_default().into_iter();
    let one = all.find(|one| one.id == id).ok_or(Failure::NoSuchRoute)?;
    let page = ConfirmAct {
        shell: at
            .shell(Room::Security, format!("Remove {}?", one.name))
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

pub(super) async fn remove(Path(id): Path<String>, Fresh(Sent { at, .. }): Fresh) -> Shown {
    let path = format!("/api/auth/passkey/credentials/{}", api::segment(&id)?);
    match at.ask(Method::DELETE, &path).await {
        Ok(reply) => done(&at, &reply, "The passkey was removed.").await,
        Err(refusal) => refused(&at, refusal).await,
    }
}

pub(super) async fn ask_to_unlink(at: At<Browser>) -> Shown {
    if let Some(first) = at.prove_first(SECURITY) {
        return Ok(first);
    }
    let provider = provider(&at).ok_or(Failure::NoSuchRoute)?;
    let page = ConfirmAct {
        shell: at
            .shell(Room::Security, format!("Unlink {provider}?"))
            .await?,
        text: "It will no longer sign you in.".to_owned(),
        consequences: vec![
            "You are signed out everywhere, also here, and your agents need new keys.".to_owned(),
            "You come in again by the other way that you used for this session.".to_owned(),
        ],
        fields: Vec::new(),
        action: format!("{SECURITY}/provider/unlink"),
        button: "Unlink it",
        back: SECURITY.to_owned(),
    };
    html::page(Runs::Nothing, &page)
}

pub(super) async fn unlink(Fresh(Sent { at, .. }): Fresh) -> Shown {
    match at.ask(Method::DELETE, PROVIDER).await {
        // All sessions have ended, and this one is among them.
        Ok(_) => Ok(html::with_cookie(
            see_other("/sign-in?done=unlinked"),
            &cookie::remove_session(),
        )),
        Err(refusal) => refused(&at, refusal).await,
    }
}

/// The page of before, with what is done.
async fn done(at: &At<Browser>, reply: &Reply, words: &str) -> Shown {
    Ok(reply.onto(show(at, Said::factor(words)).await?))
}

/// The page of before, with why it was not done.
async fn refused(at: &At<Browser>, refusal: Refusal) -> Shown {
    if refusal.is_final() || refusal.status == StatusCode::NOT_FOUND {
        return Err(refusal.into_failure());
    }
    let mut page = show(at, Said::refused(&refusal)).await?;
    *page.status_mut() = refusal.status;
    Ok(page)
}
