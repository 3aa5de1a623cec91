//! `POST /api/auth/passkey/authenticate/verify`: signs in with a passkey.

use kavachos_core::invalid::Invalid;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::challenge::{self, Open};
use super::credential::{Asserted, Credential};
use super::store::{self, CredentialRow};
use super::webauthn::{Assertion, Ceremony, ClientData, Fault, Known, Used};
use super::{ID, site};
use crate::own;

/// The kind of its records.
pub(super) const KIND: &str = "passkey.used";
/// The kind of those of passkeys that proved nothing.
pub(super) const REFUSED: &str = "passkey.refused";
/// The kind of those of passkeys that a copy of their device has used before.
pub(super) const COPIED: &str = "passkey.copied";
/// What is said of every passkey that is not accepted, known or not.
const WRONG: Error = Error::Unauthenticated(
    "this passkey is not accepted here; begin again, or use another way to sign in",
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    credential: Credential<Asserted>,
}

pub(super) async fn verify(context: Context, request: Request) -> Result<Answer> {
    own::unrepeated(&request)?;
    let Verify { credential } = request.json()?;
    credential.check()?;
    let client_data = ClientData::read(&credential.response.client_data.0).map_err(malformed)?;
    // Before anything else is looked at: a challenge is worth one try.
    let challenge = (client_data.challenge(), WRONG);
    let open = challenge::consume(&context, Ceremony::Authentication, challenge).await?;
    let row = store::by_credential(&context, &credential.id.0)
        .await?
        .ok_or(WRONG)?;
    let used = judge(&context, &row, (&credential.response, &client_data, &open))?;
    let used = match used {
        Ok(used) => used,
        Err(Fault::Copied) => return Err(context.failed(COPIED, row.user, WRONG).await?),
        // What cannot be read is no other answer either: it would tell which passkeys there are.
        Err(Fault::Unproven(_) | Fault::Malformed(_)) => {
            return Err(context.failed(REFUSED, row.user, WRONG).await?);
        }
    };
    let changed = context.change(KIND, || async {
        let now = store::by_credential(&context, &row.credential).await?;
        // Removed, or used by somebody else since it was judged.
        if now.is_none_or(|now| now.counter != row.counter || now.user != row.user) {
            return Err(WRONG);
        }
        Ok(Change::of(row.id.clone())
            .write(store::note_use(&row, used, context.now()))
            .signs_in(SignIn::of(row.user, ID).strong())
            .details(json!({ "passkey": row.id })))
    });
    own::signed_in(changed.await?)
}

/// Whether a known passkey was used, for this challenge, by the human whose it is.
fn judge(
    context: &Context,
    row: &CredentialRow,
    (response, client_data, open): (&Asserted, &ClientData, &Open),
) -> Result<std::result::Result<Used, Fault>> {
    let owner = row.user.to_string();
    let handle = response.user_handle.as_ref();
    // Where nobody was named before, the authenticator names them (section 7.2, step 6).
    let names_owner = match handle {
        Some(handle) => handle.0 == owner.as_bytes(),
        None => open.user.is_some(),
    };
    if !names_owner {
        return Ok(Err(Fault::Unproven("it names another human, or nobody")));
    }
    if open.user.is_some_and(|user| user != row.user) {
        return Ok(Err(Fault::Unproven(
            "it is of another human than the session",
        )));
    }
    let assertion = Assertion {
        client_data,
        authenticator_data: &response.authenticator_data.0,
        signature: &response.signature.0,
    };
    let known = Known {
        key: &row.public_key,
        counter: row.counter,
        may_be_copied: row.may_be_copied,
    };
    Ok(site(context)?.authenticate(assertion, known, context.engine().rsa()))
}

fn malformed(fault: Fault) -> Error {
    match fault {
        Fault::Malformed(why) => Invalid::at("credential", why).into(),
        Fault::Unproven(_) | Fault::Copied => WRONG,
    }
}
