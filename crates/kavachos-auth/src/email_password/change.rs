//! `POST /api/auth/change-password`: another password, and nothing that was open before stays so.

use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::sign_in::account;
use super::sign_up::{read, signed_in};
use super::{ID, Inner};
use crate::password::Standing;

/// The record of a password that was changed.
pub(super) const KIND: &str = "email_password.password_changed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    /// Left out by those who have none; they must have signed in just now.
    current_password: Option<String>,
    new_password: String,
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let human = context.own_account().await?;
    let new = read("newPassword", &asked.new_password)?;
    let email = human.email.clone().unwrap_or_default();
    let mut guess = None;
    let stored = context.password_of(human.id).await?;
    match (&asked.current_password, &stored) {
        (Some(current), Some(_)) => {
            let current = read("currentPassword", current)?;
            guess = Some(context.guess(&account(&email), Some(human.id)).await?);
            if inner
                .compare(&context, Some(human.id), &current)
                .await?
                .is_none()
            {
                let wrong = Error::Forbidden("the current password is wrong".to_owned());
                return Err(context.failed(KIND, human.id, wrong).await?);
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
    let standing = match context.has_second_factor(human.id).await? {
        true => Standing::WithSecondFactor,
        false => Standing::Alone,
    };
    let known = [email.as_str(), human.name.as_deref().unwrap_or_default()];
    let kept = inner.keep(&context, (&new, standing), &known).await;
    let (phc, sighting) = kept.map_err(|error| match error {
        Error::Invalid(wrong) => Invalid::at("newPassword", wrong.message()).into(),
        other => other,
    })?;
    let told = human.email.as_deref().map(str::parse::<EmailAddress>);
    let told = told.transpose()?.filter(|_| context.engine().can_mail());
    let changed = context.change(KIND, || async {
        // The session that asks is what proved the factors; it ends with all others, and its holder gets the next one.
        let mut proof = SignIn::of(human.id, ID).strong();
        if let Some(guess) = &guess {
            proof = proof.after(guess.clone());
        }
        let mut change = Change::of(human.id.to_string())
            .signs_out(human.id)
            .sets_password(human.id, phc.clone())
            .details(json!({ "breached": sighting }))
            .signs_in(proof);
        if let Some(to) = &told {
            change = change.mailing(Mail::new(to.clone(), MailKind::PasswordChanged));
        }
        Ok(change)
    });
    signed_in(changed.await?)
}
