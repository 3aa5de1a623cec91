//! `/re-authenticate`: somebody who is signed in proves once more who they are, and goes on where they were.

use axum::Extension;
use axum::extract::{Request, State as FromState};
use http::request::Parts;
use http::{Method, StatusCode};
use kavachos_engine::plugin::Method as Known;
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
    Extension(api): Extension<Api>,
    browser: Browser,
    params: Params,
    request: Request,
) -> Shown {
    let (parts, _) = request.into_parts();
    let query = Query::of(params);
    let back = safe(Some(query.text("return_to"))).to_owned();
    let proofs = proofs(&state, &api, &browser, &parts).await?;
    let wanted = proofs
        .iter()
        .find(|proof| proof.word() == query.text("with"));
    let proof = wanted.or_else(|| proofs.first()).copied();
    page(&state, &browser, (proof, &proofs), (&back, None))
}

impl Proof {
    const fn word(self) -> &'static str {
        match self {
            Self::Password | Self::SignIn => "password",
            Self::Code => "totp",
        }
    }
}

/// The proofs that this human can give on a form, the usual one first.
async fn proofs(
    state: &State,
    api: &Api,
    browser: &Browser,
    parts: &Parts,
) -> Result<Vec<Proof>, Failure> {
    const FRESHNESS: &str = "/api/auth/freshness";
    if !api::has(state, Known::Get, FRESHNESS) {
        let by_address = api::takes(state, "sign-in/email") && browser.user.email.is_some();
        return Ok(by_address.then_some(Proof::SignIn).into_iter().collect());
    }
    let reply = api.send((Method::GET, FRESHNESS), parts, &Map::new()).await;
    let reply = reply.map_err(Refusal::into_failure)?;
    let methods = reply.data.get("methods").and_then(Value::as_array);
    let has = |word: &str| methods.is_some_and(|methods| methods.iter().any(|one| one == word));
    let known = [Proof::Password, Proof::Code];
    Ok(known
        .into_iter()
        .filter(|proof| has(proof.word()))
        .collect())
}

fn page(
    state: &State,
    browser: &Browser,
    (proof, proofs): (Option<Proof>, &[Proof]),
    (back, refusal): (&str, Option<&Refusal>),
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
    if let Some(proof) = proof {
        hidden.push(("with", proof.word().to_owned()));
    }
    let nothing = proof.is_none() && !passkey;
    let notice = nothing.then(|| Notice::new("info", "Sign out and in again to go on."));
    let other = proofs
        .iter()
        .find(|other| Some(**other) != proof)
        .map(|other| {
            let path = format!(
                "{}&with={}",
                with_return("/re-authenticate", back),
                other.word()
            );
            let words = if *other == Proof::Code {
                "Use a code of your app"
            } else {
                "Use your password"
            };
            ("", path, words)
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
    let proofs = proofs(&state, &api, &browser, &parts).await?;
    let wanted = proofs
        .iter()
        .find(|proof| proof.word() == form.text("with"));
    let proof = *wanted.ok_or(Failure::NoSuchRoute)?;
    let (path, members) = sent(&browser, proof, &form);
    match api.post(path, &parts, &members).await {
        Ok(reply) if reply.text("next").is_empty() => Ok(reply.onto(see_other(&back))),
        Ok(_) => Ok(see_other("/sign-in")),
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => page(
            &state,
            &browser,
            (Some(proof), &proofs),
            (&back, Some(&refusal)),
        ),
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
