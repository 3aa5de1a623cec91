//! `client_credentials` (RFC 6749, section 4.4): a client asks for itself, as the agent that an operator named for it.
//!
//! Promises: whoever asks shows who they are; what they get is within what the agent holds and what the tool server has; there
//! is no refresh token.

use kavachos_core::client::GrantType;
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::ResourcePattern;
use kavachos_engine::{Engine, OwnAsk, Wanted};

use crate::answer::Answer;
use crate::authentication::{client, require};
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::resource::audience;
use crate::scope::scopes;
use crate::token::Call;

/// A token for the client itself.
pub(crate) async fn grant(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require((engine, call), &client, GrantType::ClientCredentials)?;
    let audience = audience(form)?.ok_or_else(|| {
        Refusal::new(
            Code::InvalidTarget,
            "name the tool server that the token is for, with `resource`",
        )
    })?;
    let asked = scopes(form)?;
    let ask = OwnAsk {
        audience,
        wanted: wanted(asked.as_deref())?,
        proof: call.proof.clone(),
    };
    // Where the agent is stopped, that is no reason for the client to forget who it is: `invalid_grant`, as of a refresh token.
    let minted = engine
        .token_for_itself(&call.nobody(), &client, ask)
        .await?;
    let asked = asked.map(|names| names.join(" "));
    Ok(Answer::of_client(minted, asked, engine.now()))
}

/// What is asked for: what the tool server gives by default, unless something is.
fn wanted(names: Option<&[String]>) -> Result<Wanted, Refusal> {
    let Some(names) = names else {
        return Ok(Wanted::Default);
    };
    let scopes: Result<Vec<ResourcePattern>, Invalid> =
        names.iter().map(|name| name.parse()).collect();
    let scopes = scopes.map_err(|error| Refusal::new(Code::InvalidScope, error.message()))?;
    Ok(Wanted::Scopes(scopes))
}
