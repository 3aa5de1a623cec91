//! A link by mail that signs in.
//!
//! Promises: opening the page uses nothing up, the button does; a link is good once, for 10 minutes (ASVS 5.0, 6.5.5), in the browser that
//! asked for it, or in another one where the reader confirms it; whether there is an account changes neither the answer nor
//! the work.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{
    Answer, CallerType, Change, Context, Cookie, Method, Plugin, Request, Route, Sweep,
};
use kavachos_engine::{Door, Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::mailbox::{self, Asked};
use crate::one_time::{OneTime, hash_of};
use crate::own::signed_in;

/// Its id, and the method that sessions name.
const ID: &str = "magic_link";
/// How long a link is good.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// The cookie of the browser that asked.
const BROWSER: &str = "magic_link";
/// The record of a link that was asked for.
const SENT: &str = "magic_link.sent";
/// The record of a link that was used.
const USED: &str = "magic_link.used";

/// The one answer to links that are over, used, or were never made.
const GONE: Error = Error::Unauthenticated("this link is over or was used; ask for another one");

/// Sign-in by a link that is mailed: to those who have an account, and where strangers get one to all.
#[derive(Debug, Clone, Copy, Default)]
pub struct MagicLink;

impl Plugin for MagicLink {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "links",
            sql: "CREATE TABLE magic_link_link (
                      hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
                      email {text} NOT NULL,
                      browser {bytes} NOT NULL CHECK (length(browser) = 32),
                      expires_at {int} NOT NULL
                  ) {keyed};
                  CREATE INDEX magic_link_link_by_end ON magic_link_link (expires_at);",
            min_binary: 1,
        }]
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![Write::any("DELETE FROM magic_link_link WHERE email = ?1").bind(email.to_owned())]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["magic_link_link"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("magic_link_link", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![SENT, USED]
    }

    fn routes(&self) -> Vec<Route> {
        let open = CallerType::Door(Door::SignIn);
        vec![
            Route::new(Method::Post, "/api/auth/magic-link/send", open, send)
                .described(json!({ "summary": "Get a link by mail that signs you in" })),
            Route::new(Method::Post, "/api/auth/magic-link/verify", open, verify)
                .described(json!({ "summary": "Sign in by a link" })),
        ]
    }

    fn forgets(&self, _: UserId) -> Vec<Write> {
        // Links are of addresses, and over within minutes.
        Vec::new()
    }
}

async fn send(context: Context, request: Request) -> Result<Answer> {
    let asked = Asked::of(&context, &request)?;
    let (link, browser) = (OneTime::new(&context), OneTime::new(&context));
    let sent = context.change(SENT, || async {
        let change = Change::of("sent");
        if !asked.is_admitted(&context).await? {
            return Ok(change.as_if_mailing(asked.to.clone(), MailKind::MagicLink));
        }
        let url = context.url(&format!("/magic-link?token={}", link.reveal()));
        let row = insert(
            link.hash(),
            &asked.email,
            browser.hash(),
            context.now().plus(LIFE),
        );
        let mail = mailbox::mail(&asked.to, MailKind::MagicLink, ("url", url), LIFE);
        Ok(change.write(row).mailing(mail))
    });
    sent.await?;
    let browser = Cookie::new(BROWSER, browser.reveal()).lasting(LIFE);
    Ok(Answer::next("open_link")?.cookie(browser))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    token: String,
    /// In another browser than the one that asked: yes, here.
    #[serde(default)]
    confirm: bool,
}

async fn verify(context: Context, request: Request) -> Result<Answer> {
    let shown: Shown = request.json()?;
    let hash = hash_of(&shown.token);
    let asked_here = hash_of(request.cookie(BROWSER).unwrap_or_default());
    let (_, browser) = find(&context, hash).await?;
    if !shown.confirm && !bool::from(asked_here.ct_eq(&browser)) {
        return Answer::next("confirm");
    }
    let used = context.change(USED, || async {
        // Whoever is second finds it gone.
        let (email, _) = find(&context, hash).await?;
        let change = Change::of("used").write(consume(hash, context.now()));
        mailbox::sign_in(&context, (&email, ID), change).await
    });
    let answer = signed_in(used.await?)?;
    Ok(answer.cookie(Cookie::new(BROWSER, "").lasting(Duration::ZERO)))
}

async fn find(context: &Context, hash: [u8; 32]) -> Result<(String, [u8; 32])> {
    let query = Query::new(
        1,
        "SELECT email, browser FROM magic_link_link WHERE hash = ?1 AND expires_at > ?2",
    );
    let found = context.read(query.bind(hash).bind(context.now())).await?;
    found.into_iter().next().ok_or(GONE)
}

fn insert(hash: [u8; 32], email: &str, browser: [u8; 32], expires_at: Timestamp) -> Write {
    let row =
        "INSERT INTO magic_link_link (hash, email, browser, expires_at) VALUES (?1, ?2, ?3, ?4)";
    Write::exactly(1, row)
        .bind(hash)
        .bind(email.to_owned())
        .bind(browser)
        .bind(expires_at)
}

fn consume(hash: [u8; 32], now: Timestamp) -> Write {
    let row = "DELETE FROM magic_link_link WHERE hash = ?1 AND expires_at > ?2";
    Write::exactly(1, row).bind(hash).bind(now)
}
