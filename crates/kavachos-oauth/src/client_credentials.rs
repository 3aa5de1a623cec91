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
use crate::code::{audience, nobody};
use crate::form::Form;
use crate::refusal::{Code, Refusal};
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
    let scopes = scopes(form)?;
    let asked: Vec<&str> = scopes.iter().map(ResourcePattern::as_str).collect();
    let asked = Some(asked.join(" ")).filter(|asked| !asked.is_empty());
    let ask = OwnAsk {
        audience,
        wanted: match asked {
            Some(_) => Wanted::Scopes(scopes),
            None => Wanted::Default,
        },
        proof: call.proof.clone(),
    };
    // Where the agent is stopped, that is no reason for the client to forget who it is: `invalid_grant`, as of a refresh token.
    let minted = engine.token_for_itself(&nobody(call), &client, ask).await?;
    Ok(Answer::of_client(minted, asked, engine.now()))
}

/// What is asked for; nothing for what the tool server gives by default.
fn scopes(form: &mut Form) -> Result<Vec<ResourcePattern>, Refusal> {
    let text = form.take("scope").unwrap_or_default();
    let names = text
        .split(' ')
        .filter(|name| !name.is_empty() && *name != "offline_access");
    let scopes: Result<Vec<ResourcePattern>, Invalid> = names.map(str::parse).collect();
    scopes.map_err(|error| Refusal::new(Code::InvalidScope, error.message()))
}
