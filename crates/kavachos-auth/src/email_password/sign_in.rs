//! `POST /api/auth/sign-in/email`.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Guess, Result, SignIn, email_address};
use serde::Deserialize;

use super::{ID, Inner, Verification};
use crate::own::signed_in;
use crate::password::{Password, account_of};

/// The record of a sign-in, and of one that was refused.
pub(super) const KIND: &str = "email_password.signed_in";

/// The one answer to whoever does not know both, whatever the reason.
const WRONG: Error = Error::Unauthenticated("the e-mail address or the password is wrong");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    email: String,
    password: Password,
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let email = email_address(&asked.email)?;
    let human = context.human_by_email(&email).await?;
    let id = human.as_ref().map(|human| human.id);
    let guess = context.guess_password(&account_of(&email), id).await?;
    let choosing = &inner.choosing;
    let known = choosing.compare(&context, id, &asked.password).await?;
    let known = known.filter(|_| guess.is_judged());
    let (Some(human), Some((stored, verdict))) = (human, known) else {
        return Err(context.wrong_guess(KIND, (&guess, id), WRONG).await?);
    };
    if inner.verification == Verification::First && !human.email_verified {
        return Answer::next("verify_email");
    }
    if stored.must_reset {
        return Answer::next("reset_password");
    }
    let renewed = choosing.renewed(&context, verdict, &asked.password).await?;
    let renewed = renewed.as_ref().map(|phc| phc.as_str());
    open(&context, (human.id, guess), (&stored.phc, renewed)).await
}

/// Signs in, if the password is still the one that was compared.
async fn open(
    context: &Context,
    (human, guess): (UserId, Guess),
    (phc, renewed): (&str, Option<&str>),
) -> Result<Answer> {
    let opened = context.change(KIND, || async {
        let stored = context.password_of(human).await?;
        if stored.is_none_or(|stored| stored.phc != phc || stored.must_reset) {
            return Err(WRONG);
        }
        let change = Change::of(human.to_string());
        let change = match renewed {
            Some(new) => change.rehashing(human, phc, new),
            None => change.by_password(human, phc),
        };
        Ok(change.signs_in(SignIn::of(human, ID).after(guess.clone())))
    });
    signed_in(opened.await?)
}
