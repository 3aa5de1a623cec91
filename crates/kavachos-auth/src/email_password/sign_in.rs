//! `POST /api/auth/sign-in/email`.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Guess, Result, SignIn, User, email_address};
use kavachos_store::password::PasswordRow;
use serde::Deserialize;

use super::sign_up::{read, signed_in};
use super::{ID, Inner, Verification};
use crate::password::{Password, Verdict};

/// The record of a sign-in, and of one that was refused.
pub(super) const KIND: &str = "email_password.signed_in";

/// The one answer to whoever does not know both, whatever the reason.
const WRONG: Error = Error::Unauthenticated("the e-mail address or the password is wrong");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    email: String,
    password: String,
}

pub(super) async fn handle(
    inner: Arc<Inner>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let email = email_address(&asked.email)?;
    let password = read("password", &asked.password)?;
    let human = context.human_by_email(&email).await?;
    let id = human.as_ref().map(|human| human.id);
    let guess = context.guess(&account(&email), id).await?;
    let known = inner.compare(&context, id, &password).await?;
    let (Some(human), Some((stored, verdict))) = (human, known) else {
        return Err(match id {
            Some(id) => context.failed(KIND, id, WRONG).await?,
            None => WRONG,
        });
    };
    if inner.verification == Verification::First && !human.email_verified {
        return Answer::next("verify_email");
    }
    if stored.must_reset {
        return Answer::next("reset_password");
    }
    let renewed = match verdict.needs_rehash {
        true => Some(inner.passwords.hash(context.engine(), &password).await?),
        false => None,
    };
    let renewed = renewed.as_ref().map(|phc| phc.as_str());
    open(&context, (&human, &stored), guess, renewed).await
}

/// How guesses at an account are counted, whether it exists or not.
pub(super) fn account(email: &str) -> String {
    format!("password:{email}")
}

async fn open(
    context: &Context,
    (human, stored): (&User, &PasswordRow),
    guess: Guess,
    renewed: Option<&str>,
) -> Result<Answer> {
    let opened = context.change(KIND, || async {
        let change = Change::of(human.id.to_string());
        let change = match renewed {
            Some(new) => change.rehashing(human.id, stored.phc.clone(), new),
            None => change.by_password(human.id, stored.phc.clone()),
        };
        Ok(change.signs_in(SignIn::of(human.id, ID).after(guess.clone())))
    });
    signed_in(opened.await?)
}

impl Inner {
    /// Whether this is the human's password, with what is stored of it. For somebody unknown it is as much work.
    pub(super) async fn compare(
        &self,
        context: &Context,
        human: Option<UserId>,
        password: &Password,
    ) -> Result<Option<(PasswordRow, Verdict)>> {
        let stored = match human {
            Some(human) => context.password_of(human).await?,
            None => None,
        };
        let phc = stored.as_ref().map(|stored| stored.phc.as_str());
        let verdict = self
            .passwords
            .verify(context.engine(), phc, password)
            .await?;
        Ok(stored
            .filter(|_| verdict.matches)
            .map(|stored| (stored, verdict)))
    }
}
