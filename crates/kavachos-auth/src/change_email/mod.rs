//! Another e-mail address for an account.
//!
//! Promises: whoever asks proved lately who they are, and whoever confirms did so too, as the same human; the link is mailed
//! to the new address alone, stored as a hash, and good once and for an hour; whether somebody has that address changes
//! neither the answer nor the work. With the new address nothing is good any more that was mailed to either, every session
//! but the next one ends, and the old address is told.

mod ask;
mod confirm;
mod link;

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::Error;
use kavachos_engine::plugin::{Allowance, CallerType, Method, Plugin, Route, Sweep, TellAs, Told};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde_json::{Value, json};

/// Its id, and the method that the session of a confirmed address names.
const ID: &str = "change_email";
/// How long a link is good.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// How many links one human may ask for: each goes to somebody who need not know them.
const PER_HUMAN: Allowance = Allowance::new(10, Duration::from_secs(60 * 60));

/// The one answer to links that are over, used, of somebody else, or were never made.
const GONE: Error = Error::Unauthenticated(
    "this link is over, was used, or is for another account; ask for another one",
);

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ChangeEmail;

impl Plugin for ChangeEmail {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "links",
            sql: link::TABLES,
            min_binary: 1,
        }]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "link",
            members: &[("email", TellAs::Text), ("expiresAt", TellAs::Time)],
            query: Query::new(
                1,
                "SELECT new_email, expires_at FROM change_email_link WHERE user_id = ?1",
            )
            .bind(human),
        }]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["change_email_link"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("change_email_link", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![ask::KIND, confirm::KIND]
    }

    fn routes(&self) -> Vec<Route> {
        let session = CallerType::Session;
        vec![
            Route::new(Method::Post, "/api/auth/change-email", session, ask::handle)
                .described(told("Get a link at another e-mail address", "newEmail")),
            Route::new(
                Method::Post,
                "/api/auth/change-email/confirm",
                session,
                confirm::handle,
            )
            .described(told("Change the e-mail address, by the link", "token")),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![link::forget(human)]
    }

    fn distrusts(&self, human: UserId, _: Timestamp) -> Vec<Write> {
        vec![link::forget(human)]
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![link::forget_address(email)]
    }
}

/// What the OpenAPI document says of a route whose body has this one member.
fn told(summary: &str, member: &str) -> Value {
    let schema = json!({
        "type": "object", "properties": { member: { "type": "string" } }, "required": [member],
        "additionalProperties": false,
    });
    json!({
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
    })
}
