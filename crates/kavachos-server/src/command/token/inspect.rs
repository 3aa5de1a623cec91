//! `kavach token inspect`: without a server, without a key, and without believing anything.

use clap::Args;
use kavachos::SystemClock;
use kavachos::store::Clock as _;
use kavachos_core::secret::{Secret, SecretKind};
use serde_json::{Value, json};

use super::jwt::Jwt;
use super::{Given, facts};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::view;

/// What every one of our opaque credentials begins with.
const PREFIX: &str = "kv_";
/// The members of what is told of a credential.
const MEMBERS: [&str; 4] = ["kind", "shown", "about", "verified"];
/// The first line for people.
const NOT_VERIFIED: &str =
    "NOT VERIFIED: anyone could have written this; `kavach token verify` tells whether it holds";

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    given: Given,
}

impl Inspect {
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Failure> {
        let members: Vec<&str> = MEMBERS.into_iter().chain(facts::MEMBERS).collect();
        output.check_member(&members)?;
        let text = self.given.read()?;
        if text.starts_with(PREFIX) {
            show_credential(&text, output)?;
        } else {
            show_token(&Jwt::read(&text)?, output)?;
        }
        Ok(Outcome::Done)
    }
}

fn show_token(jwt: &Jwt, output: &mut Output) -> Result<(), Failure> {
    let mut told = facts::of(jwt)?;
    if output.form() == Form::Json {
        told.insert("verified".to_owned(), false.into());
        output.data(&Value::Object(told));
        return Ok(());
    }
    output.line(NOT_VERIFIED);
    output.lines(facts::lines(jwt, &told, SystemClock.now()));
    Ok(())
}

/// Says what a credential is, and of itself no more than lists show.
fn show_credential(text: &str, output: &mut Output) -> Result<(), Failure> {
    let secret = Secret::parse(text).map_err(|error| Failure::Token(error.to_string()))?;
    let (kind, about) = of(secret.kind());
    let told = json!({ "kind": kind, "shown": secret.display_prefix(), "about": about, "verified": false });
    if output.form() == Form::Json {
        output.data(&told);
        return Ok(());
    }
    output.line("NOT VERIFIED: its checksum is right; only its server knows whether it works");
    output.lines(view::record(&told, &["kind", "shown", "about"]));
    Ok(())
}

/// The name of a kind of credential, and what it is.
const fn of(kind: SecretKind) -> (&'static str, &'static str) {
    match kind {
        SecretKind::Agent => ("agent_key", "an agent's own key: it acts as the agent"),
        SecretKind::Operator => (
            "operator_key",
            "a key of an operator or a program: it calls the API",
        ),
        SecretKind::Session => ("session", "a human who is signed in"),
        SecretKind::Resource => ("tool_server_key", "a tool server's own key"),
        SecretKind::SignIn => (
            "sign_in",
            "a sign-in whose second factor is still to be proved: it is no session",
        ),
        SecretKind::Device => (
            "device",
            "what a browser is remembered by: it authenticates nobody",
        ),
        SecretKind::Code => (
            "authorization_code",
            "what a browser brings back to a client, for one token, within a minute",
        ),
        SecretKind::DeviceCode => (
            "device_code",
            "by which a device asks whether a human let it in, for minutes",
        ),
        SecretKind::Refresh => (
            "refresh_token",
            "what a client shows for the next token: good once",
        ),
        SecretKind::Client => ("client_secret", "an OAuth client's own secret"),
        SecretKind::Registration => (
            "registration_token",
            "by which a client that registered itself changes what it says of itself",
        ),
        SecretKind::Request => (
            "request_uri",
            "the name of what a client pushed, which a human is asked for with it",
        ),
        SecretKind::Master => (
            "master_key",
            "a server's master key, of which all other secrets are made: it belongs on that server alone",
        ),
    }
}
