//! A second factor: codes of an authenticator app (RFC 6238), with backup codes on paper.
//!
//! Promises: whoever has turned it on gets no session for one proof; a step is accepted once, by a conditional write in the
//! commit that opens the session; every try is counted before it is looked at, at most five for one sign-in and so many an
//! hour for the account, over restarts; the seed stands nowhere in clear. It is turned on with a code, so that nobody locks
//! themselves out with an app that was never set up, and off with a code as well.

mod backup;
mod code;
mod confirm;
mod disable;
mod enable;
mod enrolment;
mod factor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod renew;
mod setup;
mod status;
mod store;
mod verify;

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::plugin::{
    Answer, CallerType, Context, FactorRows, Method, MovedRow, Owing, Plugin, Request, Route,
    Sweep, TellAs, Told,
};
use kavachos_engine::{Door, Engine, Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde_json::{Value, json};

use crate::password::Passwords;

/// The id, which is the name of the method too.
const ID: &str = "totp";
/// The name, as people know it.
const NAME: &str = "codes of an authenticator app";
/// Under what guesses in a session are counted: a stranger with a password does not use them up.
const IN_SESSION: &str = "totp in a session";
/// What is said of every wrong code.
const WRONG: &str = "the code is wrong, too old, or was used before";
/// How long an app that was set up waits for its first code.
const SETUP_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// For what seeds are sealed.
const PURPOSE: &str = "totp";

/// The plugin.
#[derive(Clone, Default)]
pub struct Totp {
    hashing: Passwords,
}

impl Totp {
    /// Backup codes are hashed as passwords are here, on the same threads.
    pub fn new(hashing: Passwords) -> Self {
        Self { hashing }
    }

    fn route<H, F>(&self, path: &'static str, caller: CallerType, handler: H) -> Route
    where
        H: Fn(Passwords, Context, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        let hashing = self.hashing.clone();
        let handle = move |context, request| handler(hashing.clone(), context, request);
        Route::new(Method::Post, path, caller, handle)
    }
}

impl Plugin for Totp {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![
            Migration {
                owner: ID,
                number: 1,
                name: "factors and backup codes",
                sql: store::TABLES,
                min_binary: 1,
            },
            Migration {
                owner: ID,
                number: 2,
                name: "backup codes under a password hash",
                sql: store::STRETCHED,
                min_binary: 1,
            },
        ]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "app",
            members: &[("createdAt", TellAs::Time), ("enabledAt", TellAs::Time)],
            query: Query::new(
                1,
                "SELECT created_at, enabled_at FROM totp_factor WHERE user_id = ?1",
            )
            .bind(human),
        }]
    }

    fn factor(&self) -> Option<FactorRows> {
        Some(FactorRows {
            table: "totp_factor",
            human: "user_id",
            since: "enabled_at",
        })
    }

    fn good_once(&self) -> Vec<&'static str> {
        vec!["totp_backup_code"]
    }

    fn factors(&self, human: UserId) -> Option<Query> {
        let sql = "SELECT COUNT(*) FROM totp_factor WHERE user_id = ?1 AND enabled_at IS NOT NULL";
        Some(Query::new(1, sql).bind(human))
    }

    /// Codes that cannot be opened here would lock their human out, so they do not come in.
    fn admit(&self, engine: &Engine, row: &MovedRow<'_>) -> std::result::Result<(), String> {
        let user = row.human("user_id")?;
        // What was set up and never turned on is asked of nobody.
        if row.number("enabled_at").is_none() {
            return Ok(());
        }
        let sealed = row.bytes("sealed").unwrap_or_default();
        match factor::Material::unsealed(engine, (user, sealed)) {
            Ok(_) if row.number("last_step").is_some_and(|step| step >= 0) => Ok(()),
            Ok(_) => Err("`last_step` is no step".to_owned()),
            Err(Error::WrongState(_)) => Err(
                "its codes are sealed under the master key of the server that they come from: start this one with that key \
                 (KAVACH_MASTER_KEY_FILE), or they are lost"
                    .to_owned(),
            ),
            Err(_) => Err("`sealed` was changed, or is of somebody else".to_owned()),
        }
    }

    /// What was set up and never turned on.
    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep {
            life: SETUP_LIFE,
            only: Some("enabled_at IS NULL"),
            ..Sweep::ended("totp_factor", "user_id", "created_at")
        }]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![
            setup::KIND,
            enable::KIND,
            verify::KIND,
            verify::REFUSED,
            confirm::KIND,
            disable::KIND,
            renew::KIND,
        ]
    }

    fn routes(&self) -> Vec<Route> {
        let (session, open) = (CallerType::Session, CallerType::Door(Door::Code));
        vec![
            Route::new(Method::Get, "/api/auth/totp", session, status::status)
                .owing(Owing::Admitted)
                .described(told("Whether codes of an app are asked for", None)),
            Route::new(Method::Post, "/api/auth/totp/setup", session, setup::setup)
                .owing(Owing::WithoutFactor)
                .described(told(
                    "Begins with an app: its secret, as a link and as a picture",
                    None,
                )),
            self.route("/api/auth/totp/enable", session, enable::enable)
                .owing(Owing::WithoutFactor)
                .described(told(
                    "Turns codes on, and shows the backup codes",
                    Some(&["code"]),
                )),
            self.route("/api/auth/totp/verify", open, verify::verify)
                .described(told(
                    "Ends a sign-in with a code",
                    Some(&["signIn", "code"]),
                )),
            self.route("/api/auth/totp/confirm", session, confirm::confirm)
                .owing(Owing::Admitted)
                .described(told(
                    "Makes your session fresh with a code",
                    Some(&["code"]),
                )),
            self.route("/api/auth/totp/disable", session, disable::disable)
                .described(told("Turns codes off", Some(&["code"]))),
            self.route("/api/auth/totp/backup-codes", session, renew::renew)
                .described(told(
                    "Makes new backup codes; the old ones are worth nothing",
                    Some(&["code"]),
                )),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![store::forget_factor(human), store::forget_codes(human)]
    }

    fn distrusts(&self, human: UserId, since: Timestamp) -> Vec<Write> {
        store::forget_since(human, since).into()
    }
}

/// What the OpenAPI document says of a route whose body has these members, all of them texts.
fn told(summary: &str, members: Option<&[&str]>) -> Value {
    let Some(members) = members else {
        return json!({ "summary": summary });
    };
    let properties = members
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "type": "string" })));
    let properties: serde_json::Map<String, Value> = properties.collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": members, "additionalProperties": false
    });
    json!({
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
    })
}
