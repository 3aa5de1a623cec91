//! `POST /api/auth/sign-in/username`.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Guess, Result, SignIn};
use serde::Deserialize;

use super::ID;
use super::account::{holder, still};
use super::name::Username;
use crate::own::signed_in;
use crate::password::{Choosing, Password};

/// The record of a sign-in, and of one that was refused.
pub(super) const KIND: &str = "username_password.signed_in";

/// The one answer to whoever does not know both, whatever the reason.
const WRONG: Error = Error::Unauthenticated("the name or the password is wrong");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    username: String,
    password: Password,
}

pub(super) async fn handle(
    choosing: Arc<Choosing>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    // What can be no name is one that nobody has.
    let name = Username::parse(&asked.username).ok();
    let user = match &name {
        Some(name) => holder(&context, name).await?,
        None => None,
    };
    let account = name.as_ref().map_or(&*asked.username, Username::as_str);
    let guess = context
        .guess_password(&format!("username:{account}"), user)
        .await?;
    let known = choosing.compare(&context, user, &asked.password).await?;
    let known = known.filter(|_| guess.is_judged());
    let (Some(name), Some(user), Some((stored, verdict))) = (name, user, known) else {
        return Err(context.wrong_guess(KIND, (&guess, user), WRONG).await?);
    };
    if stored.must_reset {
        return Answer::next("reset_password");
    }
    let renewed = choosing.renewed(&context, verdict, &asked.password).await?;
    let renewed = renewed.as_ref().map(|phc| phc.as_str());
    open(&context, (&name, user, guess), (&stored.phc, renewed)).await
}

/// Signs in, if the name and the password are still the ones that were compared.
async fn open(
    context: &Context,
    (name, user, guess): (&Username, UserId, Guess),
    (phc, renewed): (&str, Option<&str>),
) -> Result<Answer> {
    let opened = context.change(KIND, || async {
        let is_theirs = holder(context, name).await? == Some(user);
        let password = context.password_of(user).await?;
        if !is_theirs || password.is_none_or(|stored| stored.phc != phc) {
            return Err(WRONG);
        }
        let change = Change::of(user.to_string()).write(still(name, user));
        let change = match renewed {
            Some(new) => change.rehashing(user, phc, new),
            None => change.by_password(user, phc),
        };
        Ok(change.signs_in(SignIn::of(user, ID).after(guess.clone())))
    });
    signed_in(opened.await?)
}
