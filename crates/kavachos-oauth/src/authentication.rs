//! Which client calls, at every endpoint where clients do (RFC 6749, section 2.3): it shows who it is in the way in which it
//! registered to, and in no other. A secret is one way, in the header as in the body.
//!
//! Promises: whoever is not known by what they show is on record; a store that cannot be read makes nobody unknown.

use kavachos_core::client::{AuthMethod, GrantType};
use kavachos_engine::{Client, Engine, Error};

use crate::client::Credential;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::token::Call;

/// The client that calls.
///
/// # Errors
/// [`Code::InvalidClient`] where there is none, or it shows who it is in another way; those of the store.
pub(crate) async fn client(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Client, Refusal> {
    let known = known(engine, call, form).await;
    if let Err(refusal) = &known
        && refusal.code() == Code::InvalidClient
    {
        engine.note_stranger(call.stranger(), "unauthenticated");
    }
    known
}

async fn known(engine: &Engine, call: &Call, form: &mut Form) -> Result<Client, Refusal> {
    let named = form.peek("client_id").map(str::to_owned);
    let (client, is_way) = match Credential::read(&call.client, form)? {
        Some(Credential::Secret(id, secret)) => {
            let id = id.parse().map_err(|_| unknown())?;
            let found = engine.client_with_secret(&id, &secret).await;
            let found = found.map_err(refused)?;
            let is_way = found.metadata.token_endpoint_auth_method.has_secret();
            (found, is_way)
        }
        Some(Credential::Assertion(text)) => {
            let found = engine.client_with_assertion(&text, named.as_deref()).await;
            let found = found.map_err(refused)?;
            let method = found.metadata.token_endpoint_auth_method;
            (found, method == AuthMethod::PrivateKeyJwt)
        }
        Some(Credential::Key(_) | Credential::ToolServer(_)) => return Err(unknown()),
        None => {
            let missing = "the parameter `client_id` is missing";
            let id = named.ok_or_else(|| Refusal::new(Code::InvalidClient, missing))?;
            let id = id.parse().map_err(|_| unknown())?;
            let found = engine.client(&id).await?.ok_or_else(unknown)?;
            let method = found.metadata.token_endpoint_auth_method;
            (found, method == AuthMethod::None)
        }
    };
    match is_way {
        true => Ok(client),
        false => Err(Refusal::new(
            Code::InvalidClient,
            format!(
                "this client registered to show who it is by `{}`",
                client.metadata.token_endpoint_auth_method.as_str()
            ),
        )),
    }
}

/// Refuses a client that did not register for a grant, which is on record.
///
/// # Errors
/// [`Code::UnauthorizedClient`].
pub(crate) fn require(
    (engine, call): (&Engine, &Call),
    client: &Client,
    grant: GrantType,
) -> Result<(), Refusal> {
    if client.metadata.may(grant) {
        return Ok(());
    }
    engine.note_stranger(call.stranger(), "unauthorized_client");
    Err(Refusal::new(
        Code::UnauthorizedClient,
        format!("the client did not register for `{}`", grant.as_str()),
    ))
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::InvalidClient,
        "there is no client with these credentials",
    )
}

/// What is shown is wrong, or it cannot be said now.
fn refused(error: Error) -> Refusal {
    match error {
        Error::Unauthenticated(_) => unknown(),
        Error::Invalid(invalid) => Refusal::new(
            Code::InvalidClient,
            format!("{}: {}", invalid.field(), invalid.message()),
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::invalid::Invalid;

    use super::*;

    /// A client that is told that nobody knows it throws its tokens away.
    #[test]
    fn a_store_that_is_down_makes_no_client_unknown() {
        for (error, code) in [
            (Error::Unauthenticated("no"), Code::InvalidClient),
            (
                Error::Invalid(Invalid::at("client_assertion", "no")),
                Code::InvalidClient,
            ),
            (Error::Busy, Code::Unavailable),
            (
                Error::LedgerUnavailable("the disk".to_owned()),
                Code::Unavailable,
            ),
            (Error::OutcomeUnknown, Code::Unavailable),
            (Error::Internal("a row".to_owned()), Code::ServerError),
        ] {
            assert_eq!(refused(error.clone()).code(), code, "{error:?}");
        }
    }
}
