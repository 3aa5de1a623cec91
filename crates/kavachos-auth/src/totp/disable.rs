//! `POST /api/auth/totp/disable`: codes are asked for no more. Whoever found an open session does not do it: it takes a code.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::factor::{self, Typed};
use super::{ID, IN_SESSION, NAME, store};
use crate::own::{self, Notice};
use crate::password::Passwords;

/// The kind of its records.
pub(super) const KIND: &str = "totp.disabled";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    code: String,
}

pub(super) async fn disable(
    hashing: Passwords,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let Disable { code } = request.json()?;
    let user = own::fresh(&context)?;
    // Not given back: nobody turns codes off twenty times an hour. Codes in a session have a budget of their own.
    let guess = context
        .guess(&own::account(IN_SESSION, user), Some(user))
        .await?;
    let typed = Typed::read(&context, &hashing, (user, &code)).await?;
    let notice = Notice::of(&context, user, (MailKind::FactorRemoved, NAME)).await?;
    let changed = context.change(KIND, || async {
        if factor::enabled(&context, user).await?.is_none() {
            return Err(Error::WrongState("no codes are asked for".to_owned()));
        }
        context.keep_a_factor(user).await?;
        let proof = factor::proved(&context, user, &typed).await?;
        let Some(proof) = proof.filter(|_| guess.is_judged()) else {
            let why =
                "the code is wrong, too old, or was used before; a backup code will do as well";
            return Err(Error::Forbidden(why.to_owned()));
        };
        let change = Change::of(ID)
            .write(proof.used_by(user))
            .write(store::disable(user))
            .write(store::forget_codes(user))
            .details(json!({ "by": proof.as_str() }));
        Ok(notice.told(change).disarms(user).about_human(user))
    });
    changed.await?;
    Ok(Answer::empty())
}
