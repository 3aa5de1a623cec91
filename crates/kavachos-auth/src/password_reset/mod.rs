//! A new password for those who forgot theirs.
//!
//! Promises: a link is signed, stored as a hash, good once and for 30 minutes, and leads to the configured address alone; a
//! reset signs nobody in, so it skips no second factor; whatever was open before ends with it, every agent and grant that was
//! made by whoever was signed in, and what ties the account to an identity at a provider; whether there is an account
//! changes neither the answer nor the work.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{
    Answer, CallerType, Change, Context, Method, Plugin, Request, Route, Sweep, TellAs, Told,
};
use kavachos_engine::{Door, Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::mailbox::{self, Asked};
use crate::one_time::hash_of;
use crate::password::{Choosing, Chosen, Password, account_of};

/// Its id.
const ID: &str = "password_reset";
/// How long a link is good.
const LIFE: Duration = Duration::from_secs(30 * 60);
/// How many bytes of a token are its signature.
const SIGNATURE: usize = 16;
/// The record of a link that was asked for.
const SENT: &str = "password_reset.sent";
/// The record of a password that was reset.
const RESET: &str = "password_reset.reset";

/// The one answer to links that are over, used, or were never made.
const GONE: Error = Error::Unauthenticated("this link is over or was used; ask for another one");

/// Forgotten passwords.
#[derive(Clone)]
pub struct PasswordReset {
    choosing: Arc<Choosing>,
}

impl PasswordReset {
    /// New passwords under the same rules as all others.
    pub fn new(choosing: Arc<Choosing>) -> Self {
        Self { choosing }
    }
}

impl Plugin for PasswordReset {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "links",
            sql: "CREATE TABLE password_reset_link (
                      hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
                      user_id {text} NOT NULL,
                      email {text} NOT NULL,
                      expires_at {int} NOT NULL
                  ) {keyed};
                  CREATE INDEX password_reset_link_by_user ON password_reset_link (user_id);
                  CREATE INDEX password_reset_link_by_end ON password_reset_link (expires_at);",
            min_binary: 1,
        }]
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![Write::any("DELETE FROM password_reset_link WHERE email = ?1").bind(email.to_owned())]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "link",
            members: &[("email", TellAs::Text), ("expiresAt", TellAs::Time)],
            query: Query::new(
                100,
                "SELECT email, expires_at FROM password_reset_link WHERE user_id = ?1 LIMIT 100",
            )
            .bind(human),
        }]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["password_reset_link"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("password_reset_link", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![SENT, RESET]
    }

    fn routes(&self) -> Vec<Route> {
        let open = CallerType::Door(Door::SignIn);
        let choosing = Arc::clone(&self.choosing);
        let reset = move |context, request| reset(context, request, Arc::clone(&choosing));
        vec![
            Route::new(Method::Post, "/api/auth/forgot-password", open, send)
                .described(json!({ "summary": "Get a link by mail to set a new password" })),
            Route::new(Method::Post, "/api/auth/reset-password", open, reset)
                .described(json!({ "summary": "Set a new password by a link" })),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![forget(human)]
    }
}

fn forget(human: UserId) -> Write {
    Write::any("DELETE FROM password_reset_link WHERE user_id = ?1").bind(human)
}

async fn send(context: Context, request: Request) -> Result<Answer> {
    let asked = Asked::of(&context, &request)?;
    let token = new_token(&context)?;
    let sent = context.change(SENT, || async {
        let change = Change::of("sent");
        let Some(human) = context.human_by_email(&asked.email).await? else {
            return Ok(change.as_if_mailing(asked.to.clone(), MailKind::ResetPassword));
        };
        let row = "INSERT INTO password_reset_link (hash, user_id, email, expires_at) VALUES (?1, ?2, ?3, ?4)";
        let row = Write::exactly(1, row)
            .bind(hash_of(&token))
            .bind(human.id)
            .bind(asked.email.clone())
            .bind(context.now().plus(LIFE));
        let url = context.url(&format!("/reset-password?token={token}"));
        let mail = mailbox::mail(&asked.to, MailKind::ResetPassword, ("url", url), LIFE);
        Ok(change.about_human(human.id).write(row).mailing(mail))
    });
    sent.await?;
    Answer::next("open_link")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    token: String,
    new_password: Password,
}

async fn reset(context: Context, request: Request, choosing: Arc<Choosing>) -> Result<Answer> {
    let wanted: Wanted = request.json()?;
    if !is_ours(&context, &wanted.token)? {
        return Err(GONE);
    }
    let hash = hash_of(&wanted.token);
    let (user, email) = find(&context, hash).await?;
    let program = context.program();
    let human = context.engine().user(&program, user).await?;
    let chosen = choosing
        .choose(&context, &human, &wanted.new_password)
        .await;
    let Chosen { phc, sighting } = chosen.map_err(|error| match error {
        Error::Invalid(wrong) => Invalid::at("newPassword", wrong.message()).into(),
        other => other,
    })?;
    let to: EmailAddress = email.parse()?;
    let done = context.change(RESET, || async {
        let (user, email) = find(&context, hash).await?;
        let human = context.engine().user(&program, user).await?;
        if human.email.as_deref() != Some(email.as_str()) {
            return Err(GONE);
        }
        let row = "DELETE FROM password_reset_link WHERE hash = ?1 AND expires_at > ?2";
        let row = Write::exactly(1, row).bind(hash).bind(context.now());
        let change = Change::of(user.to_string()).write(row).write(forget(user));
        // Whoever reads mail there shows it by this; what somebody else made before is worth nothing.
        let change = match human.email_verified {
            true => change.recovers(user),
            false => change.claims(user),
        };
        Ok(change
            .sets_password(user, phc.clone())
            // Whoever guesses at it meanwhile keeps them out no more: not in this browser.
            .gives_back(context.forgiven(&account_of(&email)))
            .remembers(user)
            .details(json!({ "breached": sighting }))
            .about_human(user)
            .mailing(Mail::new(to.clone(), MailKind::PasswordChanged)))
    });
    let done = done.await?;
    Ok(Answer::next("sign_in")?.remembering(done.device))
}

async fn find(context: &Context, hash: [u8; 32]) -> Result<(UserId, String)> {
    let query =
        "SELECT user_id, email FROM password_reset_link WHERE hash = ?1 AND expires_at > ?2";
    let query = Query::new(1, query).bind(hash).bind(context.now());
    context.read(query).await?.into_iter().next().ok_or(GONE)
}

/// 32 random bytes, and a signature over them: what nobody mailed is refused before anything is looked up.
fn new_token(context: &Context) -> Result<String> {
    let random: [u8; 32] = context.random();
    let signature = signature(context, &random)?;
    let token: Vec<u8> = random.into_iter().chain(signature).collect();
    Ok(URL_SAFE_NO_PAD.encode(token))
}

fn signature(context: &Context, random: &[u8]) -> Result<[u8; SIGNATURE]> {
    let mac = context.mac("link", &[random])?;
    Ok(mac.first_chunk().copied().unwrap_or_default())
}

fn is_ours(context: &Context, token: &str) -> Result<bool> {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else {
        return Ok(false);
    };
    let Some((random, signed)) = bytes.split_last_chunk::<SIGNATURE>() else {
        return Ok(false);
    };
    Ok(signature(context, random)?.ct_eq(signed).into())
}
