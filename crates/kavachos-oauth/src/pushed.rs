//! The pushed authorization request endpoint (RFC 9126): a client that shows who it is says here what it asks a human for, and
//! its browser comes with a name for that alone.
//!
//! Promises: what would be told to a human or a browser later is told to the client now.

use kavachos_core::client::GrantType;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::{Engine, PUSHED_LIFE};
use serde::Serialize;

use crate::authentication::{client, require};
use crate::authorize::{Fault, Pushing, judged};
use crate::form::Form;
use crate::nonce::require_nonce;
use crate::refusal::{Code, Refusal};
use crate::token::Call;

/// What stands before the name of a request.
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// The longest request.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// What a client sends its browser with.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pushed {
    /// The name of what was pushed.
    request_uri: String,
    /// For how long a browser may come with it, in seconds.
    expires_in: u64,
}

/// Takes what a client asks a human for.
///
/// # Errors
/// The client is not known by what it shows, or what it asks cannot be put before a human.
pub async fn push(engine: &Engine, call: &Call, body: &[u8]) -> Result<Pushed, Refusal> {
    let mut form = Form::read(body)?;
    require_nonce(engine, call)?;
    let client = client(engine, call, &mut form).await?;
    require((engine, call), &client, GrantType::AuthorizationCode)?;
    let invalid = |message: &str| Refusal::new(Code::InvalidRequest, message);
    if form.peek("request_uri").is_some() {
        return Err(invalid("`request_uri` is what this answers with"));
    }
    if let Some(proof) = &call.proof {
        let key = proof.key.to_string();
        match form.peek("dpop_jkt") {
            Some(named) if *named != key => {
                return Err(invalid("`dpop_jkt` is another key than that of the proof"));
            }
            Some(_) => {}
            None => form.put("dpop_jkt", key),
        }
    }
    let whole = form.clone();
    let what = (&mut form, Pushing::Now);
    let asked = judged(engine, Ok(Some(client.clone())), what).await;
    asked.map_err(|fault| match fault {
        Fault::Told(refusal) => refusal,
        Fault::Sent(back) => back.refusal,
    })?;
    // What is not known here means nothing, and is not kept.
    let request = whole.taken(&form);
    if request.len() > MAX_REQUEST_BYTES {
        let message = format!("what is asked is longer than {MAX_REQUEST_BYTES} bytes");
        return Err(invalid(&message));
    }
    let what = (request.as_str(), call.proof.as_ref());
    let name = engine.push_request(&call.nobody(), &client, what).await?;
    Ok(Pushed {
        request_uri: format!("{PREFIX}{}", name.reveal()),
        expires_in: PUSHED_LIFE.as_secs(),
    })
}

/// The name of a request, if it is one that is given here.
pub(crate) fn name_of(request_uri: &str) -> Option<Secret> {
    let secret = Secret::parse(request_uri.strip_prefix(PREFIX)?).ok()?;
    Some(secret).filter(|secret| secret.kind() == SecretKind::Request)
}
