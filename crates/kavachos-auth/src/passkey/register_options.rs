//! `POST /api/auth/passkey/register/options`: what a browser makes a passkey from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_engine::Result;
use kavachos_engine::plugin::{Answer, Context, Request};
use serde_json::{Value, json};

use super::credential::descriptor;
use super::webauthn::{ALGORITHMS, Ceremony};
use super::{challenge, site, store};
use crate::own;

pub(super) async fn ask(context: Context, request: Request) -> Result<Answer> {
    own::nothing(&request)?;
    let user = own::fresh(&context)?;
    let site = site(&context)?;
    let known = store::of_user(&context, user).await?;
    let human = context.engine().user(&context.program(), user).await?;
    let id = user.to_string();
    let name = human
        .email
        .as_deref()
        .or(human.name.as_deref())
        .unwrap_or(&id);
    let challenge = challenge::ask(&context, Ceremony::Registration).await?;
    let algorithms = ALGORITHMS.map(|number| json!({ "type": "public-key", "alg": number }));
    Answer::data(&json!({
        "rp": { "id": site.id(), "name": site.id() },
        "user": {
            "id": URL_SAFE_NO_PAD.encode(&id),
            "name": name,
            "displayName": human.name.as_deref().unwrap_or(name),
        },
        "challenge": challenge,
        "pubKeyCredParams": algorithms,
        "timeout": challenge::LIFE.as_millis(),
        "excludeCredentials": known.iter().map(descriptor).collect::<Vec<Value>>(),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": true,
            "userVerification": "required",
        },
        "attestation": "none",
    }))
}
