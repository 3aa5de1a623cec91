//! `/re-authenticate`: somebody who is signed in proves once more who they are, and goes on where they were.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use http::StatusCode;
use serde_json::{Map, Value};

use super::onward::Query;
use crate::error::Failure;
use crate::pages::api::{self, Api, Refusal};
use crate::pages::browser::{Browser, with_return};
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::return_to::{HOME, safe};
use crate::pages::view::{Door, Field, Frame, Icon, Notice};
use crate::pages::{Shown, csrf, see_other};
use crate::params::Params;
use crate::state::State;

/// How somebody proves it on a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The route that asks again.
    Password,
    Code,
    /// Signing in anew with the same address: the session of before ends with it.
    SignIn,
}

pub(super) async fn show(
    FromState(state): FromState<State>,
    browser: Browser,
    params: Params,
) -> Shown {
    let query = Query::of(params);
    let back = safe(Some(query.text("return_to"))).to_owned();
    let proof = proof(&state, &browser, query.text("with"));
    page(&state, &browser, (proof, &back), None)
}

/// The proof that is asked for: of the ways of the session's own sign-in the one that there is.
fn proof(state: &State, browser: &Browser, wanted: &str) -> Option<Proof> {
    let has_password = api::takes(state, "sign-in/email") || api::takes(state, "sign-in/username");
    if api::takes(state, "re-authenticate") {
        return match wanted {
            "code" if api::takes(state, "totp/verify") => Some(Proof::Code),
            _ if has_password => Some(Proof::Password),
            _ => None,
        };
    }
    let by_address = api::takes(state, "sign-in/email") && browser.user.email.is_some();
    by_address.then_some(Proof::SignIn)
}

fn page(
    state: &State,
    browser: &Browser,
    (proof, back): (Option<Proof>, &str),
    refusal: Option<&Refusal>,
) -> Shown {
    let passkey = api::takes(state, "passkey/authenticate/options");
    let error = refusal.map(|refusal| refusal.reason.clone());
    let field = match proof {
        Some(Proof::Code) => vec![Field::code("Code").focused().with_error(error)],
        Some(_) => vec![
            Field::password("password", "Password", "current-password")
                .focused()
                .with_error(error),
        ],
        None => Vec::new(),
    };
    let mut hidden = vec![("return_to", back.to_owned())];
    if proof == Some(Proof::Code) {
        hidden.push(("with", "code".to_owned()));
    }
    let nothing = proof.is_none() && !passkey;
    let notice = nothing.then(|| Notice::new("info", "Sign out and in again to go on."));
    let other = (proof == Some(Proof::Password) && api::takes(state, "totp/verify")).then(|| {
        let path = format!("{}&with=code", with_return("/re-authenticate", back));
        ("", path, "Use a code of your app")
    });
    let page = Door {
        frame: Frame {
            brand: state.assets().brand(),
            title: "Is it still you?".to_owned(),
            passkeys: passkey,
            csrf: csrf::mark(browser.secret()),
            notice,
        },
        icon: Some(Icon::Lock),
        lead: format!(
            "You are signed in as {}. What you are about to do matters, so please confirm it is you.",
            browser.name()
        ),
        action: "/re-authenticate".to_owned(),
        fields: field,
        hidden,
        button: if proof.is_some() { "Confirm" } else { "" },
        passkey: if passkey { "again" } else { "" },
        links: other
            .into_iter()
            .chain([("", HOME.to_owned(), "Back to your account")])
            .collect(),
        ..Door::default()
    };
    let runs = if passkey {
        Runs::Passkeys
    } else {
        Runs::Nothing
    };
    html::answer(
        refusal.map_or(StatusCode::OK, |refusal| refusal.status),
        runs,
        &page,
    )
}

pub(super) async fn submit(
    FromState(state): FromState<State>,
    Extension(api): Extension<Api>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, browser.secret()).await?;
    let back = safe(form.given("return_to")).to_owned();
    let proof = proof(&state, &browser, form.text("with")).ok_or(Failure::NoSuchRoute)?;
    let (path, members) = sent(&browser, proof, &form);
    match api.post(path, &parts, &members).await {
        Ok(reply) if reply.text("next").is_empty() => Ok(reply.onto(see_other(&back))),
        Ok(_) => Ok(see_other("/sign-in")),
        Err(refusal) if refusal.status.is_server_error() => Err(refusal.into_failure()),
        Err(refusal) => page(&state, &browser, (Some(proof), &back), Some(&refusal)),
    }
}

fn sent(browser: &Browser, proof: Proof, form: &Form) -> (&'static str, Map<String, Value>) {
    const AGAIN: &str = "/api/auth/re-authenticate";
    let (path, members) = match proof {
        Proof::Password => (
            AGAIN,
            [("method", "password"), ("password", form.text("password"))],
        ),
        Proof::Code => (AGAIN, [("method", "totp"), ("code", form.text("code"))]),
        Proof::SignIn => (
            "/api/auth/sign-in/email",
            [
                ("email", browser.user.email.as_deref().unwrap_or_default()),
                ("password", form.text("password")),
            ],
        ),
    };
    let members = members
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Value::from(*text)));
    (path, members.collect())
}
