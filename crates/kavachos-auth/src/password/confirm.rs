//! Showing again who one is by one's password.

use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_engine::plugin::{Change, Context};
use kavachos_engine::{Error, Result, User};
use kavachos_store::BoxFuture;
use serde_json::{Map, Value};

use super::{Choosing, Password};
use crate::session_freshness::{Confirm, Confirmed};

/// What is said of a password that its human must set anew.
pub(crate) const MUST_RESET: &str =
    "this password must be set anew: ask for a link by mail at `/forgot-password`";

/// The password, once more.
pub struct ConfirmByPassword(pub Arc<Choosing>);

impl Confirm for ConfirmByPassword {
    fn method(&self) -> &'static str {
        "password"
    }

    fn applies<'a>(&'a self, context: &'a Context, human: &'a User) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(context.password_of(human.id).await?.is_some()) })
    }

    fn confirm<'a>(
        &'a self,
        context: &'a Context,
        human: &'a User,
        shown: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Confirmed>> {
        Box::pin(async move {
            if let Some(odd) = shown.keys().find(|name| *name != "password") {
                return Err(Invalid::at(odd.clone(), "is not asked for by this method").into());
            }
            let typed = shown.get("password").and_then(Value::as_str);
            let typed = typed.ok_or_else(|| Invalid::at("password", "is missing"))?;
            let typed = Password::parse(typed).map_err(|wrong| wrong.within("password"))?;
            let guess = context
                .guess_password(&account(human), Some(human.id))
                .await?;
            let stored = context.password_of(human.id).await?;
            let phc = stored.as_ref().map(|stored| stored.phc.as_str());
            let verdict = self
                .0
                .passwords
                .verify(context.engine(), phc, &typed)
                .await?;
            match stored {
                // Somebody else knows it.
                Some(stored) if stored.must_reset => Err(Error::WrongState(MUST_RESET.to_owned())),
                Some(stored) if verdict.matches && guess.is_judged() => {
                    let (id, phc) = (human.id, stored.phc);
                    let change = move |change: Change| change.by_password(id, phc.clone());
                    Ok(Confirmed {
                        guess,
                        change: Box::new(change),
                    })
                }
                _ => Err(Error::Forbidden("the password is wrong".to_owned())),
            }
        })
    }
}

/// How guesses at somebody's password are counted: as at sign-in.
pub(crate) fn account(human: &User) -> String {
    match &human.email {
        Some(email) => account_of(email),
        None => account_of(&human.id.to_string()),
    }
}

/// The same, by the name that somebody signs in with, whether it is anybody's or not.
pub(crate) fn account_of(name: &str) -> String {
    format!("password:{name}")
}
