//! `POST /api/auth/totp/confirm`: a code makes a session fresh, which has passed a first proof before.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::factor::{self, Typed};
use super::{ID, IN_SESSION};
use crate::own::{self, Notice};
use crate::password::Passwords;

/// The kind of its records.
pub(super) const KIND: &str = "totp.confirmed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    code: String,
}

pub(super) async fn confirm(
    hashing: Passwords,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let Confirm { code } = request.json()?;
    let user = own::human(&context)?;
    let guess = context
        .guess(&own::account(IN_SESSION, user), Some(user))
        .await?;
    let typed = Typed::read(&context, &hashing, (user, &code)).await?;
    let notice = Notice::of(&context, user, (MailKind::BackupCodeUsed, "")).await?;
    let changed = context.change(KIND, || async {
        let proof = factor::proved(&context, user, &typed).await?;
        let Some(proof) = proof.filter(|_| guess.is_judged()) else {
            return Err(Error::Forbidden(super::WRONG.to_owned()));
        };
        Ok(proof
            .told(&notice, Change::of(proof.as_str()))
            .write(proof.used_by(user))
            .signs_in(SignIn::confirming(user, ID).strong().after(guess.clone()))
            .details(json!({ "by": proof.as_str() })))
    });
    factor::answered(&context, user, changed.await?).await
}
