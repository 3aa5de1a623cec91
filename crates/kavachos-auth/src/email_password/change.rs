//! `POST /api/auth/change-password`: another password, and nothing that was open before stays so.

use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::{ID, Inner};
use crate::own::signed_in;
use crate::password::{Chosen, MUST_RESET, Password, account};

/// The record of a password that was changed.
pub(super) const KIND: &str = "email_password.password_changed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    /// Left out by those who have none; they must have signed in just now.
    current_password: Option<Password>,
    new_password: Password,
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let human = context.own_account().await?;
    let new = &asked.new_password;
    let mut guess = None;
    let stored = context.password_of(human.id).await?;
    match (&asked.current_password, &stored) {
        (Some(current), Some(_)) => {
            let account = account(&human);
            let paid = context.guess_password(&account, Some(human.id)).await?;
            let known = inner.choosing.compare(&context, Some(human.id), current);
            let known = known.await?.filter(|_| paid.is_judged());
            guess = Some(paid);
            match known {
                Some((stored, _)) if stored.must_reset => {
                    return Err(Error::WrongState(MUST_RESET.to_owned()));
                }
                Some(_) => {}
                None => {
                    let wrong = Error::Forbidden("the current password is wrong".to_owned());
                    return Err(context.failed(KIND, human.id, wrong).await?);
                }
            }
        }
        (None, None) => context.require_fresh()?,
        (Some(_), None) => {
            let why = "you have no password yet; leave `currentPassword` out";
            return Err(Error::WrongState(why.to_owned()));
        }
        (None, Some(_)) => {
            let why = "is needed to change your password";
            return Err(Invalid::at("currentPassword", why).into());
        }
    }
    let chosen = inner.choosing.choose(&context, &human, new).await;
    let Chosen { phc, sighting } = chosen.map_err(|error| match error {
        Error::Invalid(wrong) => Invalid::at("newPassword", wrong.message()).into(),
        other => other,
    })?;
    // Addresses of before these rules may be none by them.
    let told = human.email.as_deref();
    let told = told.and_then(|email| email.parse::<EmailAddress>().ok());
    let told = told.filter(|_| context.engine().can_mail());
    let changed = context.change(KIND, || async {
        // The session that asks is what proved the factors; it ends with all others, and its holder gets the next one.
        let mut proof = SignIn::continuing(human.id, ID);
        if let Some(guess) = &guess {
            proof = proof.after(guess.clone());
        }
        let mut change = Change::of(human.id.to_string())
            .signs_out(human.id)
            .sets_password(human.id, phc.clone())
            .details(json!({ "breached": sighting }))
            .signs_in(proof);
        if let Some(to) = &told {
            change = change.mailing(match stored {
                Some(_) => Mail::new(to.clone(), MailKind::PasswordChanged),
                // Nobody had a password to change: it is one more way in.
                None => Mail::new(to.clone(), MailKind::FactorAdded).with("method", "a password"),
            });
        }
        Ok(change)
    });
    signed_in(changed.await?)
}
