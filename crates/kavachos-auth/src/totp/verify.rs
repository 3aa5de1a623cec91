//! `POST /api/auth/totp/verify`: a code, or a backup code, ends a sign-in whose first proof was accepted.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::ID;
use super::factor::{self, Typed};
use crate::own::{self, Notice};
use crate::password::Passwords;

/// The kind of its records.
pub(super) const KIND: &str = "totp.verified";
/// The kind of those of wrong codes.
pub(super) const REFUSED: &str = "totp.refused";
/// What is said of every wrong code.
const WRONG: Error = Error::Unauthenticated(super::WRONG);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Verify {
    sign_in: String,
    code: String,
}

pub(super) async fn verify(
    hashing: Passwords,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let Verify { sign_in, code } = request.json()?;
    // Counted, of the sign-in and of the account, before the code is looked at.
    let pending = context.engine().attempt_second_factor(&sign_in).await?;
    let user = pending.user;
    let guess = context.guess(&own::account(ID, user), Some(user)).await?;
    let typed = Typed::read(&context, &hashing, (user, &code)).await?;
    let notice = Notice::of(&context, user, (MailKind::BackupCodeUsed, "")).await?;
    let changed = context.change(KIND, || async {
        let proof = factor::proved(&context, user, &typed).await?;
        let proof = proof.filter(|_| guess.is_judged()).ok_or(WRONG)?;
        let sign_in = SignIn::completing(&pending, ID).after(guess.clone());
        Ok(proof
            .told(&notice, Change::of(proof.as_str()))
            .write(proof.used_by(user))
            .signs_in(sign_in)
            .details(json!({ "by": proof.as_str() })))
    });
    match changed.await {
        Ok(changed) => factor::answered(&context, user, changed).await,
        Err(WRONG) => Err(context.failed(REFUSED, user, WRONG).await?),
        Err(error) => Err(error),
    }
}
