//! `authorization_code` and `refresh_token` (RFC 6749, sections 4.1.3 and 6): tokens for what a human gave.

use kavachos_core::client::{GrantType, RedirectUri};
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::{Brought, CodeAsk, Engine, RefreshAsk};

use crate::answer::Answer;
use crate::authentication::{client, require};
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::resource::audience;
use crate::scope::{refuse_details, scopes};
use crate::token::Call;

/// Redeems a code.
pub(crate) async fn redeem(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require((engine, call), &client, GrantType::AuthorizationCode)?;
    refuse_details(form)?;
    let ask = CodeAsk {
        code: credential((engine, call), form, ("code", SecretKind::Code))?,
        brought: Some(Brought {
            redirect_uri: redirect_uri(form)?,
            verifier: form.need("code_verifier")?,
        }),
        audience: audience(form)?,
        proof: call.proof.clone(),
    };
    let tokens = engine.redeem_code(&call.nobody(), &client, &ask).await?;
    Ok(Answer::of_tokens(tokens, engine.now()))
}

/// The next tokens.
pub(crate) async fn refresh(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require((engine, call), &client, GrantType::RefreshToken)?;
    let ask = RefreshAsk {
        token: credential((engine, call), form, ("refresh_token", SecretKind::Refresh))?,
        audience: audience(form)?,
        scopes: scopes(form)?,
        proof: call.proof.clone(),
    };
    let tokens = engine.refresh(&call.nobody(), &client, &ask).await?;
    Ok(Answer::of_tokens(tokens, engine.now()))
}

/// What is none is a guess, and on record.
pub(crate) fn credential(
    (engine, call): (&Engine, &Call),
    form: &mut Form,
    (name, kind): (&str, SecretKind),
) -> Result<Secret, Refusal> {
    let text = form.need(name)?;
    let secret = Secret::parse(&text)
        .ok()
        .filter(|secret| secret.kind() == kind);
    secret.ok_or_else(|| {
        engine.note_stranger(call.stranger(), "invalid_grant");
        Refusal::new(
            Code::InvalidGrant,
            format!("`{name}` is none that was given here: begin again"),
        )
    })
}

/// Clients of OAuth 2.1 alone do not say where the code was sent; what is said must be so (OAuth 2.1, section 10.2).
fn redirect_uri(form: &mut Form) -> Result<Option<RedirectUri>, Refusal> {
    let said = form.take("redirect_uri").map(|text| text.parse());
    said.transpose().map_err(|_| {
        Refusal::new(
            Code::InvalidGrant,
            "`redirect_uri` is not the one that the code was asked for with",
        )
    })
}
