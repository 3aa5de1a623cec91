//! `POST /api/auth/passkey/register/verify`: a passkey that a browser made becomes its human's.

use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::credential::{Credential, Made, named};
use super::credentials::View;
use super::store::{self, CredentialRow, MAX_CREDENTIALS};
use super::webauthn::{Ceremony, ClientData, Fault, NewCredential};
use super::{NAME, challenge, site};
use crate::own::{self, Notice};

/// The kind of its records.
pub(super) const KIND: &str = "passkey.registered";
/// What a passkey is called that nobody named.
const UNNAMED: &str = "Passkey";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    credential: Credential<Made>,
    name: Option<String>,
}

pub(super) async fn verify(context: Context, request: Request) -> Result<Answer> {
    own::unrepeated(&request)?;
    let Verify { credential, name } = request.json()?;
    credential.check()?;
    let name = named(name.as_deref().unwrap_or(UNNAMED))?;
    let user = own::fresh(&context)?;
    let client_data = ClientData::read(&credential.response.client_data.0).map_err(refused)?;
    let gone =
        Error::WrongState("this challenge is over, or was answered before; begin again".to_owned());
    challenge::consume(
        &context,
        Ceremony::Registration,
        (client_data.challenge(), gone),
    )
    .await?;
    let made = site(&context)?.register(&client_data, &credential.response.attestation_object.0);
    let made = made.and_then(|made| match made.id == credential.id.0 {
        true => Ok(made),
        false => Err(Fault::Malformed(
            "`rawId` is not the id of the credential that was made",
        )),
    });
    let row = new_row(&context, user, (name, credential.response.transports()));
    let notice = Notice::of(&context, user, (MailKind::FactorAdded, NAME)).await?;
    let changed = context.change(KIND, || async {
        let row = with(row.clone(), made.clone().map_err(refused)?);
        refuse_known(&context, &row).await?;
        let change = Change::of(row.id.clone())
            .write(store::keep(row.clone()))
            .details(json!({ "passkey": row.id }));
        Ok(notice.told(change).about_human(user))
    });
    let id = changed.await?.thing;
    let kept = store::of_user(&context, user).await?;
    let kept = kept.iter().find(|row| row.id == id);
    Answer::created(&kept.map(View::of))
}

fn new_row(context: &Context, user: UserId, (name, transports): (String, String)) -> CredentialRow {
    CredentialRow {
        id: format!("pk_{:032x}", u128::from_be_bytes(context.random())),
        credential: Vec::new(),
        user,
        name,
        public_key: Vec::new(),
        counter: 0,
        may_be_copied: false,
        is_copied: false,
        transports,
        used_at: None,
        created_at: context.now(),
    }
}

fn with(row: CredentialRow, made: NewCredential) -> CredentialRow {
    CredentialRow {
        credential: made.id,
        public_key: made.key,
        counter: made.counter,
        may_be_copied: made.may_be_copied,
        is_copied: made.is_copied,
        ..row
    }
}

/// Says that the passkey is somebody's, or that there are too many; the insert makes sure of it.
async fn refuse_known(context: &Context, row: &CredentialRow) -> Result<()> {
    let refuse = |why: String| Err(Error::WrongState(why));
    if store::by_credential(context, &row.credential)
        .await?
        .is_some()
    {
        return refuse("this passkey is registered already".to_owned());
    }
    if store::of_user(context, row.user).await?.len() >= MAX_CREDENTIALS {
        return refuse(format!(
            "you have {MAX_CREDENTIALS} passkeys and may have no more; remove one first"
        ));
    }
    Ok(())
}

fn refused(fault: Fault) -> Error {
    match fault {
        Fault::Malformed(why) => Invalid::at("credential", why).into(),
        Fault::Unproven(why) => Error::Forbidden(format!("the passkey is not accepted: {why}")),
        Fault::Copied => Error::Forbidden("the passkey is not accepted".to_owned()),
    }
}
