//! A client gives back what it needs no more (RFC 7009).
//!
//! Promises: a refresh token ends its line with every token that was made of it; an access token ends those that are still
//! good of its line, and the line goes on. Whether there was such a token is not told.

use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::Engine;

use crate::authentication::client;
use crate::form::Form;
use crate::refusal::Refusal;
use crate::token::Call;

/// Kills a token of the client that calls.
///
/// # Errors
/// The client is not known by what it shows, or names no token.
pub async fn revoke(engine: &Engine, call: &Call, body: &[u8]) -> Result<(), Refusal> {
    let mut form = Form::read(body)?;
    let client = client(engine, call, &mut form).await?;
    let token = form.need("token")?;
    let actor = call.nobody();
    match Secret::parse(&token) {
        Ok(secret) if secret.kind() == SecretKind::Refresh => {
            engine.give_back(&actor, &client, &secret).await?;
        }
        Ok(_) => {}
        Err(_) => engine.give_back_access(&actor, &client, &token).await?,
    }
    Ok(())
}
