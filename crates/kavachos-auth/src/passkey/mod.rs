//! Passkeys: keys of a device that sign in alone (Web Authentication, Level 3).
//!
//! Promises: a challenge is consumed before what answers it is looked at, by one conditional write, so it is worth one
//! try; what is accepted is for this site alone (`webauthn`); the authenticator knew who was there, so a passkey is two
//! factors by itself and opens a session whatever else is asked for. Sign-in names nobody: it offers no list by which
//! accounts could be found. Who turns out to have used a copy of a device is refused, on record.

mod authenticate;
mod authenticate_options;
mod challenge;
mod credential;
mod credentials;
mod register;
mod register_options;
mod remove;
mod rename;
mod store;
mod webauthn;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::plugin::{
    CallerType, Context, Method, MovedRow, Owing, Plugin, Route, Sweep, TellAs, Told,
};
use kavachos_engine::{Door, Engine, Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde_json::{Value, json};

use webauthn::RelyingParty;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use webauthn::fuzzing;

/// The id, which is the name of the method too.
const ID: &str = "passkey";
/// The name, as people know it.
const NAME: &str = "a passkey";

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Passkey;

impl Plugin for Passkey {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "credentials and challenges",
            sql: store::TABLES,
            min_binary: 1,
        }]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "passkey",
            members: &[("name", TellAs::Text), ("createdAt", TellAs::Time), ("usedAt", TellAs::Time)],
            query: Query::new(100, "SELECT name, created_at, used_at FROM passkey_credential WHERE user_id = ?1 ORDER BY created_at, id LIMIT 100").bind(human),
        }]
    }

    fn factors(&self, human: UserId) -> Option<Query> {
        let sql = "SELECT COUNT(*) FROM passkey_credential WHERE user_id = ?1";
        Some(Query::new(1, sql).bind(human))
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["passkey_challenge"]
    }

    fn admit(&self, _: &Engine, row: &MovedRow<'_>) -> std::result::Result<(), String> {
        row.human("user_id")?;
        let number = |column, most: u32| {
            let number = row.number(column).unwrap_or_default();
            (0..=i64::from(most)).contains(&number)
        };
        if !number("counter", u32::MAX) || !number("may_be_copied", 1) || !number("is_copied", 1) {
            return Err("a number of it cannot be".to_owned());
        }
        if !webauthn::is_known_key(row.bytes("public_key").unwrap_or_default()) {
            return Err("`public_key` is no key that signs".to_owned());
        }
        Ok(())
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("passkey_challenge", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![
            challenge::ASKED,
            challenge::ANSWERED,
            register::KIND,
            authenticate::KIND,
            authenticate::REFUSED,
            authenticate::COPIED,
            rename::KIND,
            remove::KIND,
        ]
    }

    fn routes(&self) -> Vec<Route> {
        let (session, open) = (CallerType::Session, CallerType::Door(Door::SignIn));
        let credentials = "/api/auth/passkey/credentials";
        let one = "/api/auth/passkey/credentials/{id}";
        vec![
            Route::new(
                Method::Post,
                "/api/auth/passkey/register/options",
                session,
                register_options::ask,
            )
            .owing(Owing::WithoutFactor)
            .described(json!({ "summary": "What a browser makes a passkey from" })),
            Route::new(
                Method::Post,
                "/api/auth/passkey/register/verify",
                session,
                register::verify,
            )
            .owing(Owing::WithoutFactor)
            .described(told("Keeps a passkey that a browser made")),
            Route::new(
                Method::Post,
                "/api/auth/passkey/authenticate/options",
                open,
                authenticate_options::ask,
            )
            .described(json!({ "summary": "What a browser uses a passkey for" })),
            Route::new(
                Method::Post,
                "/api/auth/passkey/authenticate/verify",
                open,
                authenticate::verify,
            )
            .described(told("Signs in with a passkey")),
            Route::new(Method::Get, credentials, session, credentials::list)
                .owing(Owing::Admitted)
                .described(json!({ "summary": "The passkeys of a human, oldest first" })),
            Route::new(Method::Patch, one, session, rename::rename)
                .described(json!({ "summary": "Gives a passkey another name" })),
            Route::new(Method::Delete, one, session, remove::remove)
                .described(json!({ "summary": "Removes a passkey, and says how many are left" })),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![
            store::forget_credentials(human),
            store::forget_challenges(human),
        ]
    }

    fn distrusts(&self, human: UserId, since: Timestamp) -> Vec<Write> {
        vec![
            store::forget_credentials_since(human, since),
            store::forget_challenges(human),
        ]
    }
}

/// What the OpenAPI document says of a route that takes what a browser made.
fn told(summary: &str) -> Value {
    let credential = json!({
        "type": "object",
        "description": "What `PublicKeyCredential.toJSON()` gives (Web Authentication, Level 3, 5.1).",
    });
    let schema = json!({
        "type": "object", "required": ["credential"],
        "properties": { "credential": credential, "name": { "type": "string" } },
    });
    json!({
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
    })
}

/// The site that passkeys are for: that of the public address.
fn site(context: &Context) -> Result<RelyingParty> {
    RelyingParty::of(&context.engine().settings().issuer)
        .map_err(|why| Error::WrongState(why.message().to_owned()))
}
