//! `/re-authenticate`: somebody who is signed in proves once more who they are, and goes on where they were.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::request::Parts;
use kavachos_engine::plugin::Method as Known;
use serde_json::{Map, Value};

use crate::error::Failure;
use crate::pages::account::has_codes;
use crate::pages::api::{self, Refusal};
use crate::pages::at::{At, Who};
use crate::pages::browser::Browser;
use crate::pages::form::{Form, members};
use crate::pages::form_page::FormPage;
use crate::pages::return_to::HOME;
use crate::pages::view::{Door, Field, Frame, Icon, Notice};
use crate::state::State;

/// What tells how somebody may be asked again.
const FRESHNESS: &str = "/api/auth/freshness";
/// The route that takes a code of an app.
const CONFIRM: &str = "totp/confirm";

/// How somebody proves it on a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The route that asks again.
    Password,
    Code,
    /// Signing in anew with the same address: the session of before ends with it.
    SignIn,
}

impl Proof {
    const fn word(self) -> &'static str {
        match self {
            Self::Password | Self::SignIn => "password",
            Self::Code => "totp",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Password | Self::SignIn => "Use your password",
            Self::Code => "Use a code of your app",
        }
    }

    const fn route(self) -> &'static str {
        match self {
            Self::Password => "re-authenticate",
            Self::Code => CONFIRM,
            Self::SignIn => "sign-in/email",
        }
    }
}

/// Somebody who is signed in, with the proofs that they can give on a form, the usual one first.
pub(super) struct Doubted {
    browser: Browser,
    proofs: Vec<Proof>,
}

impl FromRequestParts<State> for Doubted {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Response> {
        let at = At::<Browser>::from_request_parts(parts, state).await?;
        let proofs = proofs(&at).await.map_err(IntoResponse::into_response)?;
        let browser = at.who;
        Ok(Self { browser, proofs })
    }
}

impl Who for Doubted {
    fn secret(&self) -> &str {
        self.browser.secret()
    }
}

async fn proofs(at: &At<Browser>) -> Result<Vec<Proof>, Failure> {
    let mut proofs = Vec::new();
    if has_password(at).await? {
        proofs.push(Proof::Password);
    } else if !api::has(&at.state, Known::Get, FRESHNESS) && knows_address(at) {
        proofs.push(Proof::SignIn);
    }
    if at.takes(CONFIRM) && has_codes(at).await? == Some(true) {
        proofs.push(Proof::Code);
    }
    Ok(proofs)
}

/// Whether the route that asks again takes a password of this human.
async fn has_password(at: &At<Browser>) -> Result<bool, Failure> {
    if !api::has(&at.state, Known::Get, FRESHNESS) {
        return Ok(false);
    }
    let reply = at.ask(Method::GET, FRESHNESS).await;
    let reply = reply.map_err(Refusal::into_failure)?;
    let methods = reply.data.get("methods").and_then(Value::as_array);
    Ok(methods.is_some_and(|methods| methods.iter().any(|one| one == "password")))
}

fn knows_address(at: &At<Browser>) -> bool {
    at.takes("sign-in/email") && at.who.user.email.is_some()
}

impl Doubted {
    /// The proof that is asked for, or the usual one.
    fn proof(&self, given: &Form) -> Option<Proof> {
        let mut wanted = self.proofs.iter().copied();
        let wanted = wanted.find(|proof| proof.word() == given.text("with"));
        wanted.or_else(|| self.proofs.first().copied())
    }

    /// The way to another proof.
    fn other(
        &self,
        proof: Option<Proof>,
        given: &Form,
    ) -> Option<(&'static str, String, &'static str)> {
        let other = self.proofs.iter().find(|other| Some(**other) != proof)?;
        let path = given.beside_with("/re-authenticate", other.word());
        Some(("", path, other.words()))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Again;

impl FormPage for Again {
    type Who = Doubted;

    fn path(self) -> &'static str {
        "/re-authenticate"
    }

    fn route(self, at: &At<Doubted>, given: &Form) -> Option<&'static str> {
        at.who.proof(given).map(Proof::route)
    }

    fn members(self, at: &At<Doubted>, given: &Form) -> Map<String, Value> {
        let email = at.who.browser.user.email.as_deref();
        let password = ("password", given.text("password"));
        match at.who.proof(given) {
            Some(Proof::Code) => given.members(&["code"]),
            Some(Proof::SignIn) => members([("email", email.unwrap_or_default()), password]),
            _ => members([("method", "password"), password]),
        }
    }

    fn door(self, at: &At<Doubted>, given: &Form) -> Door {
        let passkey = at.takes("passkey/authenticate/options");
        let proof = at.who.proof(given);
        let mut frame = Frame::titled("Is it still you?");
        if proof.is_none() {
            let words = "Use a passkey, or sign out and in again to go on.";
            frame.notice = Some(Notice::new("info", words));
        }
        let field = proof.map(|proof| match proof {
            Proof::Code => Field::code(),
            _ => Field::password("password", "Password").blamed(),
        });
        let mut hidden = given.kept(&["return_to"]);
        hidden.extend(proof.map(|proof| ("with", proof.word().to_owned())));
        let home = ("", HOME.to_owned(), "Back to your account");
        let name = at.who.browser.name();
        Door {
            frame,
            icon: Some(Icon::Lock),
            lead: format!(
                "You are signed in as {name}. What you are about to do matters, so please confirm it is you."
            ),
            fields: field.map(Field::focused).into_iter().collect(),
            hidden,
            button: proof.map_or("", |_| "Confirm"),
            passkey: if passkey { "again" } else { "" },
            links: at
                .who
                .other(proof, given)
                .into_iter()
                .chain([home])
                .collect(),
            ..Door::default()
        }
    }
}
