//! A code by mail that signs in.
//!
//! Promises: a code has 6 digits and is good once, for 10 minutes, for whoever holds the challenge that was answered to the
//! request; at most 5 attempts at it are looked at, each counted before, however many come at once; whether there is an
//! account changes neither the answer nor the work.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{
    Answer, CallerType, Change, Context, Method, Plugin, Request, Route, Sweep,
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
const ID: &str = "email_otp";
/// How long a code is good.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// How many attempts at a code are looked at.
const ATTEMPTS: u64 = 5;
/// How many codes there are.
const CODES_THERE_ARE: u64 = 1_000_000;
/// The record of a code that was asked for.
const SENT: &str = "email_otp.sent";
/// The record of a code that was used, and of an attempt that was wrong.
const USED: &str = "email_otp.used";

/// The one answer to codes that are wrong, over, used, or were never made.
const WRONG: Error = Error::Unauthenticated(
    "this is not the code, or it is over, or it was tried too often; ask for another one",
);

/// Sign-in by a code that is mailed: to those who have an account, and where strangers get one to all.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmailOtp;

impl Plugin for EmailOtp {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "codes",
            sql: "CREATE TABLE email_otp_code (
                      challenge {bytes} NOT NULL PRIMARY KEY CHECK (length(challenge) = 32),
                      email {text} NOT NULL,
                      -- Under a key that is not in the database: six digits are soon tried.
                      code {bytes} NOT NULL CHECK (length(code) = 32),
                      attempts {int} NOT NULL,
                      expires_at {int} NOT NULL
                  ) {keyed};
                  CREATE INDEX email_otp_code_by_end ON email_otp_code (expires_at);",
            min_binary: 1,
        }]
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![Write::any("DELETE FROM email_otp_code WHERE email = ?1").bind(email.to_owned())]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["email_otp_code"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("email_otp_code", "challenge", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![SENT, USED]
    }

    fn routes(&self) -> Vec<Route> {
        let by = CallerType::Door;
        vec![
            Route::new(
                Method::Post,
                "/api/auth/email-otp/send",
                by(Door::SignIn),
                send,
            )
            .described(json!({ "summary": "Get a code by mail that signs you in" })),
            Route::new(
                Method::Post,
                "/api/auth/email-otp/verify",
                by(Door::Code),
                verify,
            )
            .described(json!({ "summary": "Sign in by a code" })),
        ]
    }

    fn forgets(&self, _: UserId) -> Vec<Write> {
        // Codes are of addresses, and over within minutes.
        Vec::new()
    }
}

async fn send(context: Context, request: Request) -> Result<Answer> {
    let asked = Asked::of(&context, &request)?;
    let challenge = OneTime::new(&context);
    let code = new_code(&context);
    let sent = context.change(SENT, || async {
        let now = context.now();
        let is_admitted = asked.is_admitted(&context).await?;
        // Who gets no mail has a row too, of a code that nobody can type: the same work now, and when it is tried.
        let kept = match is_admitted {
            true => kept(&context, challenge.hash(), &code)?,
            false => context.random(),
        };
        let row = "INSERT INTO email_otp_code (challenge, email, code, attempts, expires_at) VALUES (?1, ?2, ?3, 0, ?4)";
        let row = Write::exactly(1, row)
            .bind(challenge.hash())
            .bind(asked.email.clone())
            .bind(kept)
            .bind(now.plus(LIFE));
        let change = Change::of("sent").write(row);
        if !is_admitted {
            return Ok(change.as_if_mailing(asked.to.clone(), MailKind::EmailOtp));
        }
        let code = ("code", code.clone());
        Ok(change.mailing(mailbox::mail(&asked.to, MailKind::EmailOtp, code, LIFE)))
    });
    sent.await?;
    Answer::data(&json!({ "token": null, "next": "enter_code", "challenge": challenge.reveal() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    challenge: String,
    code: String,
}

async fn verify(context: Context, request: Request) -> Result<Answer> {
    let shown: Shown = request.json()?;
    let challenge = hash_of(&shown.challenge);
    let counted = "UPDATE email_otp_code SET attempts = attempts + 1 \
        WHERE challenge = ?1 AND attempts < ?2 AND expires_at > ?3";
    let counted = Write::exactly(1, counted)
        .bind(challenge)
        .bind(ATTEMPTS)
        .bind(context.now());
    if !context.attempt(counted).await? {
        return Err(WRONG);
    }
    let Some((email, code)) = find(&context, challenge).await? else {
        return Err(WRONG);
    };
    let human = context.human_by_email(&email).await?.map(|human| human.id);
    // Also over many codes.
    let account = format!("email_otp:{email}");
    let guess = context.guess_code(&account, human).await?;
    let guess = match human.is_some() || context.require_sign_ups().is_ok() {
        true => guess,
        // Found by nobody; where no more codes are taken, it is refused like those of others.
        false => guess.at_nobodys_code(),
    };
    let typed: String = shown.code.chars().filter(|c| !c.is_whitespace()).collect();
    let typed = kept(&context, challenge, &typed)?;
    if !bool::from(typed.ct_eq(&code)) {
        return Err(context.wrong_guess(USED, (&guess, human), WRONG).await?);
    }
    let used = context.change(USED, || async {
        // Whoever is second finds it gone.
        let Some((email, _)) = find(&context, challenge).await? else {
            return Err(WRONG);
        };
        let row = "DELETE FROM email_otp_code WHERE challenge = ?1 AND expires_at > ?2";
        let row = Write::exactly(1, row).bind(challenge).bind(context.now());
        let change = Change::of("used").write(row).gives_back(guess.clone());
        mailbox::sign_in(&context, (&email, ID), change).await
    });
    signed_in(used.await?)
}

async fn find(context: &Context, challenge: [u8; 32]) -> Result<Option<(String, [u8; 32])>> {
    let query = "SELECT email, code FROM email_otp_code WHERE challenge = ?1 AND expires_at > ?2";
    let query = Query::new(1, query).bind(challenge).bind(context.now());
    Ok(context.read(query).await?.into_iter().next())
}

/// Six digits, each as likely as any other: of 64 bits the rest of a division by a million is.
fn new_code(context: &Context) -> String {
    let number = u64::from_be_bytes(context.random()) % CODES_THERE_ARE;
    format!("{number:06}")
}

/// What is stored of a code.
fn kept(context: &Context, challenge: [u8; 32], code: &str) -> Result<[u8; 32]> {
    context.mac("code", &[&challenge, code.as_bytes()])
}
