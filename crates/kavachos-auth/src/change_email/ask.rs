//! `POST /api/auth/change-email`: a link for whoever reads mail at the new address.

use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, email_address};
use serde::Deserialize;

use super::link::{self, Link};
use super::{LIFE, PER_HUMAN};
use crate::one_time::OneTime;
use crate::own;

/// The record of a link that was asked for.
pub(super) const KIND: &str = "change_email.asked";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    new_email: String,
}

pub(super) async fn handle(context: Context, request: Request) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let user = own::fresh(&context)?;
    let in_body = |error: Invalid| Invalid::at("newEmail", error.message().to_owned());
    let new = email_address(&asked.new_email).map_err(in_body)?;
    let to: EmailAddress = new.parse().map_err(in_body)?;
    context.require_mail()?;
    let old = context.own_account().await?.email;
    let old = old.ok_or_else(|| {
        Error::WrongState("your account has no e-mail address that could be changed".to_owned())
    })?;
    if old == new {
        return Err(Invalid::at("newEmail", "is the address of your account already").into());
    }
    let mailed = OneTime::new(&context);
    let sent = context.change(KIND, || async {
        let now = context.now();
        let row = Link {
            user,
            old: old.clone(),
            new: new.clone(),
            expires_at: now.plus(LIFE),
        };
        // Where somebody has the address the link is made as well, and nobody is told of it.
        let change = Change::of("asked")
            .about_human(user)
            .taking(format!("human:{user}"), PER_HUMAN)
            .write(link::forget(user))
            .write(row.insert(mailed.hash()));
        if context.human_by_email(&new).await?.is_some() {
            return Ok(change.as_if_mailing(to.clone(), MailKind::ChangeEmail));
        }
        let url = context.url(&format!("/change-email?token={}", mailed.reveal()));
        let minutes = LIFE.as_secs() / 60;
        Ok(change.mailing(
            Mail::new(to.clone(), MailKind::ChangeEmail)
                .with("url", url)
                .with("minutes", minutes.to_string()),
        ))
    });
    sent.await?;
    Answer::next("open_link")
}
