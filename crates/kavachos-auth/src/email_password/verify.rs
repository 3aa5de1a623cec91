//! `POST /api/auth/verify-email`: whoever opens a mailed link reads mail sent to that address. That they are who asked for
//! the link is another thing, shown by the browser or by the password.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::mail::{EmailAddress, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Cookie, Request};
use kavachos_engine::{Error, Result, SignIn};
use kavachos_store::{FromRow, Malformed, Query, Row, Write};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{BROWSER, ID, Inner, LINK_LIFE};
use crate::mailbox;
use crate::one_time::{OneTime, hash_of};
use crate::own::signed_in;
use crate::password::Password;

/// The record of a link that was asked for.
pub(super) const SENT: &str = "email_password.link_sent";
/// The record of an address that was verified.
pub(super) const KIND: &str = "email_password.verified";

/// The one answer to links that are over, used, or were never made.
const GONE: Error =
    Error::Unauthenticated("this link is over or was used; sign up again, or ask for another link");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token: String,
    /// The password that was chosen, from another browser than the one that asked for the link.
    password: Option<Password>,
}

/// A link that was mailed.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) email: String,
    /// The human whose address it verifies; none of somebody who signs up.
    pub(super) user: Option<UserId>,
    pub(super) name: Option<String>,
    /// The password of somebody who signs up.
    pub(super) phc: Option<String>,
    pub(super) browser: [u8; 32],
    pub(super) expires_at: Timestamp,
}

impl FromRow for Link {
    fn from_row(row: Row) -> std::result::Result<Self, Malformed> {
        let (email, user, name, phc, browser, expires_at) = row.decode()?;
        Ok(Self {
            email,
            user,
            name,
            phc,
            browser,
            expires_at,
        })
    }
}

impl Link {
    pub(super) fn insert(self, hash: [u8; 32]) -> Write {
        Write::exactly(
            1,
            "INSERT INTO email_password_link (hash, email, user_id, name, phc, browser, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(hash)
        .bind(self.email)
        .bind(self.user)
        .bind(self.name)
        .bind(self.phc)
        .bind(self.browser)
        .bind(self.expires_at)
    }
}

fn by_hash(hash: [u8; 32], now: Timestamp) -> Query {
    Query::new(
        1,
        "SELECT email, user_id, name, phc, browser, expires_at FROM email_password_link \
         WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
}

fn consume(hash: [u8; 32], now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM email_password_link WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let hash = hash_of(&asked.token);
    let found = context.read(by_hash(hash, context.now())).await?;
    let link: Link = found.into_iter().next().ok_or(GONE)?;
    let browser = hash_of(request.cookie(BROWSER).unwrap_or_default());
    let mut is_theirs = bool::from(browser.ct_eq(&link.browser));
    if !is_theirs {
        let Some(password) = &asked.password else {
            return Answer::next("enter_password");
        };
        is_theirs = inner.chose(&context, (&link, hash), password).await?;
    }
    if !is_theirs {
        return Err(Error::Unauthenticated(
            "this is not the password that was chosen for this account",
        ));
    }
    let verified = context.change(KIND, || async {
        // Whoever is second finds it gone.
        let found: Vec<Link> = context.read(by_hash(hash, context.now())).await?;
        if found.is_empty() {
            return Err(GONE);
        }
        let change = Change::of("verified").write(consume(hash, context.now()));
        account(&context, &link, change).await
    });
    signed_in(verified.await?)
}

/// The account that the link leads to: a new one, or one that is there.
async fn account(context: &Context, link: &Link, change: Change) -> Result<Change> {
    let human = context.human_by_email(&link.email).await?;
    let (change, id) = match (human, link.user) {
        (None, None) => {
            let human = context.new_human(Some(&link.email), link.name.as_deref())?;
            let id = human.id();
            (change.creates(human.verified()), id)
        }
        (Some(human), Some(user)) if human.id == user => (change.verifies(user), user),
        // Somebody made the account without reading mail there; nothing of what they made is kept.
        (Some(human), None) if !human.email_verified => (change.claims(human.id), human.id),
        (Some(_), None) => {
            let why = "there is an account with this address by now; sign in";
            return Err(Error::WrongState(why.to_owned()));
        }
        // The address was changed since.
        (_, Some(_)) => return Err(GONE),
    };
    let change = match &link.phc {
        Some(phc) => change.sets_password(id, phc.clone()),
        None => change,
    };
    Ok(change.signs_in(SignIn::of(id, ID)))
}

impl Inner {
    /// Whether this is the password of whoever asked for the link.
    async fn chose(
        &self,
        context: &Context,
        (link, hash): (&Link, [u8; 32]),
        password: &Password,
    ) -> Result<bool> {
        let account = format!("link:{}", kavachos_core::hex::encode(&hash));
        // It is used up with the link.
        let guess = context.guess_password(&account, link.user).await?;
        let Some(user) = link.user else {
            let phc = link.phc.as_deref();
            let verdict = self
                .choosing
                .passwords
                .verify(context.engine(), phc, password);
            return Ok(verdict.await?.matches);
        };
        Ok(self
            .choosing
            .compare(context, Some(user), password)
            .await?
            .is_some_and(|_| guess.is_judged()))
    }
}

/// `POST /api/auth/verify-email/send`: a link for the address of the human who asks.
pub(super) async fn send(_: Arc<Inner>, context: Context, request: Request) -> Result<Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    let Nothing {} = request.json()?;
    context.require_mail()?;
    let human = context.own_account().await?;
    let (false, Some(email)) = (human.email_verified, &human.email) else {
        let why = "there is no address to verify, or it is verified";
        return Err(Error::WrongState(why.to_owned()));
    };
    let to: EmailAddress = email.parse()?;
    let (link, browser) = (OneTime::new(&context), OneTime::new(&context));
    let sent = context.change(SENT, || async {
        let row = Link {
            email: email.clone(),
            user: Some(human.id),
            name: None,
            phc: None,
            browser: browser.hash(),
            expires_at: context.now().plus(LINK_LIFE),
        };
        let url = context.url(&format!("/verify-email?token={}", link.reveal()));
        let mail = mailbox::mail(&to, MailKind::VerifyEmail, ("url", url), LINK_LIFE);
        Ok(Change::of("sent")
            .about_human(human.id)
            .write(row.insert(link.hash()))
            .mailing(mail))
    });
    sent.await?;
    let browser = Cookie::new(BROWSER, browser.reveal()).lasting(LINK_LIFE);
    Ok(Answer::next("verify_email")?.cookie(browser))
}
