//! `POST /api/auth/change-email/confirm`: the human who asked shows that they read mail sent to the new address.

use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;

use super::{GONE, ID, link};
use crate::one_time::hash_of;
use crate::own;

/// The record of an address that was changed.
pub(super) const KIND: &str = "change_email.changed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    token: String,
}

pub(super) async fn handle(context: Context, request: Request) -> Result<Answer> {
    let shown: Shown = request.json()?;
    // The session that comes of it is as good as a new sign-in, so the one that asks must be, too.
    let user = own::fresh(&context)?;
    // The old address is told, with a way back: where that cannot be, nothing changes.
    context.require_mail()?;
    let hash = hash_of(&shown.token);
    let changed = context.change(KIND, || async {
        // Whoever is second finds it gone.
        let found = link::find(&context, (hash, user)).await?.ok_or(GONE)?;
        let human = context.own_account().await?;
        if human.email.as_deref() != Some(found.old.as_str()) {
            return Err(GONE);
        }
        if context.human_by_email(&found.new).await?.is_some() {
            let why = "somebody has an account with this address by now";
            return Err(Error::WrongState(why.to_owned()));
        }
        Ok(Change::of(user.to_string())
            .write(link::consume(hash, context.now()))
            .readdresses(user, found.new)
            .signs_in(SignIn::continuing(user, ID)))
    });
    own::signed_in(changed.await?)
}
