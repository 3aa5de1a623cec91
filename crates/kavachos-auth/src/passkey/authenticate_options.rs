//! `POST /api/auth/passkey/authenticate/options`: what a browser uses a passkey for.
//!
//! Nobody is named: the browser offers the passkeys that it has for this site. In a session of their own it is told those of
//! the human, who proves once more who they are.

use kavachos_engine::Result;
use kavachos_engine::plugin::{Answer, Context, Request};
use serde_json::{Value, json};

use super::credential::descriptor;
use super::webauthn::Ceremony;
use super::{challenge, site, store};
use crate::own;

pub(super) async fn ask(context: Context, request: Request) -> Result<Answer> {
    own::nothing(&request)?;
    let site = site(&context)?;
    let person = context.actor().and_then(|actor| actor.person());
    // Anyone may call this: whoever acts in a human's name, or has a provider's token of theirs, is told what anyone is.
    let person =
        person.filter(|person| person.session().is_some() && person.impersonator.is_none());
    let known = match person {
        Some(person) => store::of_user(&context, person.user.id).await?,
        None => Vec::new(),
    };
    let challenge = challenge::ask(&context, Ceremony::Authentication).await?;
    Answer::data(&json!({
        "challenge": challenge,
        "timeout": challenge::LIFE.as_millis(),
        "rpId": site.id(),
        "allowCredentials": known.iter().map(descriptor).collect::<Vec<Value>>(),
        "userVerification": "required",
    }))
}
