//! Devices that have no browser (RFC 8628): they are given a code to show and one to poll with.
//!
//! Promises: a client does so only if an operator let it, and shows who it is both times; the code that it polls with is good for
//! that client, and for the key that it proved.

use kavachos_core::client::GrantType;
use kavachos_core::secret::SecretKind;
use kavachos_engine::{DEVICE_LIFE, DEVICE_PAUSE, DeviceAsk, DevicePoll, Engine, Polled, Wish};
use serde::Serialize;

use crate::answer::Answer;
use crate::authentication::{client, require};
use crate::authorize::unmet;
use crate::code::credential;
use crate::form::Form;
use crate::nonce::require_nonce;
use crate::refusal::{Code, Refusal};
use crate::resource::{audience, audiences};
use crate::scope::{refuse_details, scopes};
use crate::token::Call;

/// What a device shows, and polls with (RFC 8628, section 3.2). It has no `Debug`: both codes are credentials.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceAnswer {
    /// What it polls with.
    device_code: String,
    /// What it shows, for a human to type.
    user_code: String,
    /// Where they type it.
    verification_uri: String,
    /// The same with the code in the address, for pictures that are scanned. They type it all the same.
    verification_uri_complete: String,
    /// For how many seconds both are good.
    expires_in: u64,
    /// How many seconds lie between two polls.
    interval: u64,
}

/// Has a device wait for a human.
///
/// # Errors
/// The client is not known by what it shows, may not begin like this, or asks for what it cannot have.
pub async fn device_authorization(
    engine: &Engine,
    call: &Call,
    body: &[u8],
) -> Result<DeviceAnswer, Refusal> {
    let mut form = Form::read(body)?;
    require_nonce(engine, call)?;
    let client = client(engine, call, &mut form).await?;
    require((engine, call), &client, GrantType::DeviceCode)?;
    let ask = DeviceAsk {
        wish: Wish {
            audiences: audiences(&mut form)?,
            scopes: scopes(&mut form)?,
        },
        proof: call.proof.clone(),
    };
    let codes = engine.ask_by_device(&call.nobody(), &client, &ask).await;
    let codes = codes.map_err(unmet)?;
    let page = format!("{}/device", engine.settings().issuer);
    let user_code = codes.user.reveal();
    Ok(DeviceAnswer {
        device_code: codes.device.reveal().to_owned(),
        verification_uri_complete: format!("{page}?user_code={user_code}"),
        verification_uri: page,
        user_code,
        expires_in: DEVICE_LIFE.as_secs(),
        interval: DEVICE_PAUSE.as_secs(),
    })
}

/// Tokens for a device that a human let in.
pub(crate) async fn grant(
    engine: &Engine,
    call: &Call,
    form: &mut Form,
) -> Result<Answer, Refusal> {
    let client = client(engine, call, form).await?;
    require((engine, call), &client, GrantType::DeviceCode)?;
    refuse_details(form)?;
    let ask = DevicePoll {
        code: credential(
            (engine, call),
            form,
            ("device_code", SecretKind::DeviceCode),
        )?,
        audience: audience(form)?,
        proof: call.proof.clone(),
    };
    let (code, why) = match engine.poll_by_device(&call.nobody(), &client, ask).await? {
        Polled::Tokens(tokens) => return Ok(Answer::of_tokens(*tokens, engine.now())),
        Polled::Pending => (Code::AuthorizationPending, "no human has answered yet"),
        Polled::TooSoon => (
            Code::SlowDown,
            "that was too soon: wait five seconds longer from now on",
        ),
        Polled::Denied => (Code::AccessDenied, "the human said no"),
        Polled::Expired => (Code::ExpiredToken, "no human answered in time: begin again"),
    };
    Err(Refusal::new(code, why))
}
