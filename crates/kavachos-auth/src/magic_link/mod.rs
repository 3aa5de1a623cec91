//! A link by mail that signs in.
//!
//! Promises: opening the page uses nothing up, the button does; a link is good once, for 15 minutes, in the browser that
//! asked for it, or in another one where the reader confirms it; whether there is an account changes neither the answer nor
//! the work.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Cookie, Method, Plugin, Request, Route};
use kavachos_engine::{Error, Result, email_address};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::limits::SIGN_INS;
use crate::mailbox::{self, SignUps};
use crate::one_time::{OneTime, hash_of};
use crate::signed_in;

/// Its id, and the method that sessions name.
const ID: &str = "magic_link";
/// How long a link is good.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// The cookie of the browser that asked.
const BROWSER: &str = "magic_link";
/// The record of a link that was asked for.
const SENT: &str = "magic_link.sent";
/// The record of a link that was used.
const USED: &str = "magic_link.used";

/// The one answer to links that are over, used, or were never made.
const GONE: Error = Error::Unauthenticated("this link is over or was used; ask for another one");

/// Sign-in by a link that is mailed.
#[derive(Debug, Clone, Copy)]
pub struct MagicLink {
    sign_ups: SignUps,
}

impl MagicLink {
    /// Links go to those who have an account, and make one for those who have none where sign-ups are open.
    pub const fn new(sign_ups: SignUps) -> Self {
        Self { sign_ups }
    }
}

impl Default for MagicLink {
    fn default() -> Self {
        Self::new(SignUps::Open)
    }
}

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

    fn kinds(&self) -> Vec<&'static str> {
        vec![SENT, USED]
    }

    fn routes(&self) -> Vec<Route> {
        let sign_ups = self.sign_ups;
        let send = move |context, request| send(context, request, sign_ups);
        vec![
            Route::new(Method::Post, "/api/auth/magic-link/send", SIGN_INS, send)
                .described(json!({ "summary": "Get a link by mail that signs you in" })),
            Route::new(
                Method::Post,
                "/api/auth/magic-link/verify",
                SIGN_INS,
                verify,
            )
            .described(json!({ "summary": "Sign in by a link" })),
        ]
    }

    fn forgets(&self, _: UserId) -> Vec<Write> {
        // Links are of addresses, and over within minutes.
        Vec::new()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    email: String,
}

async fn send(context: Context, request: Request, sign_ups: SignUps) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let email = email_address(&asked.email)?;
    context.require_mail()?;
    let to: EmailAddress = email.parse()?;
    let (link, browser) = (OneTime::new(&context), OneTime::new(&context));
    let sent = context.change(SENT, || async {
        let now = context.now();
        let change = Change::of("sent").write(sweep(now));
        let human = context.human_by_email(&email).await?;
        if !sign_ups.admits(human.as_ref()) {
            return Ok(change.as_if_mailing(to.clone()));
        }
        let url = context.url(&format!("/magic-link?token={}", link.reveal()));
        let minutes = LIFE.as_secs() / 60;
        let row = insert(link.hash(), &email, browser.hash(), now.plus(LIFE));
        Ok(change.write(row).mailing(
            Mail::new(to.clone(), MailKind::MagicLink)
                .with("url", url)
                .with("minutes", minutes.to_string()),
        ))
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

fn sweep(now: Timestamp) -> Write {
    Write::any("DELETE FROM magic_link_link WHERE expires_at < ?1").bind(now)
}
