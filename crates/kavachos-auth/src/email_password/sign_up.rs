//! `POST /api/auth/sign-up/email`: an account, or a mail that leads to one.

use std::sync::Arc;

use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Cookie, Request};
use kavachos_engine::{Error, Result, SignIn, email_address};
use serde::Deserialize;
use serde_json::json;

use super::{BROWSER, ID, Inner, LINK_LIFE, Verification, verify};
use crate::mailbox;
use crate::one_time::OneTime;
use crate::own::signed_in;
use crate::password::{Chosen, Password, Standing};

/// The record of somebody who asked for an account.
pub(super) const KIND: &str = "email_password.signed_up";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    email: String,
    password: Password,
    name: Option<String>,
}

/// What was asked for, in the form in which it is kept.
struct Wanted {
    email: String,
    name: Option<String>,
    phc: String,
    sighting: &'static str,
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let email = email_address(&asked.email)?;
    let known = [email.as_str(), asked.name.as_deref().unwrap_or_default()];
    // Refuses a name before anything is worked for it.
    context.new_human(Some(&email), asked.name.as_deref())?;
    let chosen = (&asked.password, Standing::Alone);
    let Chosen { phc, sighting } = inner.choosing.keep(&context, chosen, &known).await?;
    let wanted = Wanted {
        email,
        name: asked.name,
        phc,
        sighting,
    };
    match inner.verification {
        Verification::First => invite(&context, &wanted).await,
        Verification::Later => create(&context, &wanted).await,
    }
}

/// Makes the account at once.
async fn create(context: &Context, wanted: &Wanted) -> Result<Answer> {
    let made = context.change(KIND, || async {
        if context.human_by_email(&wanted.email).await?.is_some() {
            let why = "there is an account with this e-mail address; sign in instead";
            return Err(Error::WrongState(why.to_owned()));
        }
        let human = context.new_human(Some(&wanted.email), wanted.name.as_deref())?;
        let id = human.id();
        Ok(Change::of(id.to_string())
            .creates(human)
            .sets_password(id, wanted.phc.clone())
            .details(json!({ "breached": wanted.sighting }))
            .signs_in(SignIn::of(id, ID)))
    });
    signed_in(made.await?)
}

/// Mails a link that makes the account, or says that there is one. Both are one commit and one mail.
async fn invite(context: &Context, wanted: &Wanted) -> Result<Answer> {
    let to: EmailAddress = wanted.email.parse()?;
    let (link, browser) = (OneTime::new(context), OneTime::new(context));
    context.require_mail()?;
    let asked = context.change(KIND, || async {
        let human = context.human_by_email(&wanted.email).await?;
        let change = Change::of("asked").details(json!({ "breached": wanted.sighting }));
        if human.is_some_and(|human| human.email_verified) {
            let exists =
                Mail::new(to.clone(), MailKind::AccountExists).with("url", context.url("/sign-in"));
            return Ok(change.mailing(exists));
        }
        let row = verify::Link {
            email: wanted.email.clone(),
            user: None,
            name: wanted.name.clone(),
            phc: Some(wanted.phc.clone()),
            browser: browser.hash(),
            expires_at: context.now().plus(LINK_LIFE),
        };
        let url = context.url(&format!("/verify-email?token={}", link.reveal()));
        let mail = mailbox::mail(&to, MailKind::VerifyEmail, ("url", url), LINK_LIFE);
        Ok(change.write(row.insert(link.hash())).mailing(mail))
    });
    asked.await?;
    Ok(Answer::next("verify_email")?
        .cookie(Cookie::new(BROWSER, browser.reveal()).lasting(LINK_LIFE)))
}
