//! `authorization_code` and `refresh_token` (RFC 6749, sections 4.1.3 and 6): tokens for what a human gave.

use kavachos_core::client::{AuthMethod, GrantType, RedirectUri};
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::tool_server::Audience;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Client, CodeAsk, Engine, RefreshAsk};

use crate::answer::Answer;
use crate::client::Credential;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::resource::resource;
use crate::token::Call;

/// Redeems a code.
pub(crate) async fn redeem(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require(&client, GrantType::AuthorizationCode)?;
    let ask = CodeAsk {
        code: credential(form, "code", SecretKind::Code)?,
        redirect_uri: redirect_uri(form)?,
        verifier: form.need("code_verifier")?,
        audience: audience(form)?,
        proof: call.proof.clone(),
    };
    let tokens = engine.redeem_code(&nobody(call), &client, &ask).await?;
    Ok(Answer::of_tokens(tokens, engine.now()))
}

/// The next tokens.
pub(crate) async fn refresh(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require(&client, GrantType::RefreshToken)?;
    let scopes = form.take("scope").map(|text| {
        let names = text
            .split(' ')
            .filter(|name| !name.is_empty() && *name != "offline_access");
        names.map(str::to_owned).collect::<Vec<String>>()
    });
    let ask = RefreshAsk {
        token: credential(form, "refresh_token", SecretKind::Refresh)?,
        audience: audience(form)?,
        scopes: scopes.filter(|names| !names.is_empty()),
        proof: call.proof.clone(),
    };
    let tokens = engine.refresh(&nobody(call), &client, &ask).await?;
    Ok(Answer::of_tokens(tokens, engine.now()))
}

/// The client that calls, by the way in which it registered to show who it is.
///
/// # Errors
/// [`Code::InvalidClient`] where there is none.
pub(crate) async fn client(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Client, Refusal> {
    let unknown = || {
        Refusal::new(
            Code::InvalidClient,
            "there is no client with these credentials",
        )
    };
    let id = form.peek("client_id").map(str::to_owned);
    match Credential::read(&call.client, form)? {
        Some(Credential::Secret(id, secret)) => {
            let id = id.parse().map_err(|_| unknown())?;
            let found = engine.client_with_secret(&id, &secret).await;
            let found = found.map_err(|_| {
                engine.note_stranger(call.stranger(), "unauthenticated");
                unknown()
            })?;
            match found.metadata.token_endpoint_auth_method.has_secret() {
                true => Ok(found),
                false => Err(unknown()),
            }
        }
        Some(Credential::Key(_) | Credential::ToolServer(_)) => Err(unknown()),
        None => {
            let id = id.ok_or_else(|| {
                Refusal::new(Code::InvalidClient, "the parameter `client_id` is missing")
            })?;
            let id = id.parse().map_err(|_| unknown())?;
            let found = engine.client(&id).await?.ok_or_else(unknown)?;
            match found.metadata.token_endpoint_auth_method {
                AuthMethod::None => Ok(found),
                _ => Err(Refusal::new(
                    Code::InvalidClient,
                    "this client registered to show a secret, or an assertion that it signs",
                )),
            }
        }
    }
}

fn require(client: &Client, grant: GrantType) -> Result<(), Refusal> {
    match client.metadata.may(grant) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::UnauthorizedClient,
            format!("the client did not register for `{}`", grant.as_str()),
        )),
    }
}

fn credential(form: &mut Form, name: &str, kind: SecretKind) -> Result<Secret, Refusal> {
    let text = form.need(name)?;
    let secret = Secret::parse(&text)
        .ok()
        .filter(|secret| secret.kind() == kind);
    secret.ok_or_else(|| {
        Refusal::new(
            Code::InvalidGrant,
            format!("`{name}` is none that was given here"),
        )
    })
}

fn redirect_uri(form: &mut Form) -> Result<RedirectUri, Refusal> {
    let text = form.need("redirect_uri")?;
    text.parse().map_err(|_| {
        Refusal::new(
            Code::InvalidGrant,
            "`redirect_uri` is not the one that the code was asked for with",
        )
    })
}

fn audience(form: &mut Form) -> Result<Option<Audience>, Refusal> {
    let named = form.take_all("resource");
    match named.as_slice() {
        [] => Ok(None),
        [only] => resource(only).map(Some),
        _ => Err(Refusal::new(
            Code::InvalidTarget,
            "a token is for one tool server: ask for one token after the other",
        )),
    }
}

/// The call, before anybody is known by it.
pub(crate) fn nobody(call: &Call) -> Actor {
    call.actor(Caller::Local)
}
