//! Clients register themselves (RFC 7591), and look at, change and end what they registered (RFC 7592).
//!
//! Promises: what is not known is passed over; what is answered is what was taken, and has no member without a value, since
//! clients read those as something else. Credentials are stored as hashes: a registration token stays what it is, and is told
//! again to whoever shows it (RFC 7592, section 3); a secret is told once.

use kavachos_core::client::{BadMetadata, ClientId, ClientKeys, ClientMetadata, Source};
use kavachos_core::json;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::actor::Actor;
use kavachos_engine::{Engine, Error, Registration, SelfRegistered};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::refusal::{Code, Refusal};
use crate::subject;
use crate::token::Call;

/// The longest request, in bytes.
pub const MAX_REGISTRATION_BYTES: usize = 16 * 1024;

/// A client as it is registered. It has no `Debug`: some of it are credentials.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RegisteredByItself"))]
pub struct Registered {
    /// By what it is known.
    client_id: String,
    /// Since when, in seconds since 1970.
    client_id_issued_at: i64,
    /// Its secret, which only this answer shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0: a secret does not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    /// By which it changes what it registered.
    registration_access_token: String,
    /// Where.
    registration_client_uri: String,
    /// What it calls itself.
    client_name: String,
    /// Its page for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<String>,
    /// Where browsers are sent back to: those that may be.
    redirect_uris: Vec<String>,
    /// What it may ask for.
    grant_types: Vec<&'static str>,
    /// What a browser brings back.
    response_types: Vec<&'static str>,
    /// How it shows who it is.
    token_endpoint_auth_method: &'static str,
    /// The keys with which it signs that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    jwks: Option<ClientKeys>,
    /// Whether all its tokens are bound to a key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens: bool,
    /// Whether it asks for codes with requests that it pushed alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_pushed_authorization_requests: bool,
}

impl Registered {
    fn of(engine: &Engine, made: SelfRegistered, manager: &Secret) -> Self {
        const SECOND: i64 = 1_000_000;
        let SelfRegistered {
            id,
            metadata,
            created_at,
            secret,
        } = made;
        Self {
            client_id_issued_at: created_at.as_micros().div_euclid(SECOND),
            client_secret_expires_at: secret.as_ref().map(|_| 0),
            client_secret: secret.map(|secret| secret.reveal().to_owned()),
            registration_access_token: manager.reveal().to_owned(),
            registration_client_uri: format!("{}/oauth/register/{id}", engine.settings().issuer),
            client_id: id.to_string(),
            client_name: metadata.client_name,
            client_uri: metadata.client_uri,
            redirect_uris: metadata
                .redirect_uris
                .iter()
                .map(ToString::to_string)
                .collect(),
            grant_types: metadata
                .grant_types
                .iter()
                .map(|grant| grant.as_str())
                .collect(),
            response_types: vec!["code"],
            token_endpoint_auth_method: metadata.token_endpoint_auth_method.as_str(),
            jwks: metadata.jwks,
            dpop_bound_access_tokens: metadata.dpop_bound_access_tokens,
            require_pushed_authorization_requests: metadata.require_pushed_authorization_requests,
        }
    }
}

/// Registers the client that calls.
///
/// # Errors
/// Nobody registers here, or what it says cannot be taken.
pub async fn register(engine: &Engine, call: &Call, body: &[u8]) -> Result<Registered, Refusal> {
    let caller = match engine.settings().registration {
        Registration::Off => {
            return Err(Refusal::new(
                Code::AccessDenied,
                "clients do not register themselves here: be known by the document at your `client_id`, or have whoever runs this server register you",
            ));
        }
        Registration::Open => call.nobody(),
        Registration::Token => operator(engine, call).await?,
    };
    let metadata = read(&object(body)?)?;
    let made = engine.register_itself(&caller, &metadata).await;
    let (made, manager) = made.map_err(|error| match error {
        Error::Forbidden(why) => Refusal::new(Code::InsufficientScope, why),
        error => unmanaged(engine, call, error),
    })?;
    Ok(Registered::of(engine, made, &manager))
}

/// What a client registered.
///
/// # Errors
/// [`Code::InvalidToken`] where it does not show that it is the client.
pub async fn look(engine: &Engine, call: &Call, id: &str) -> Result<Registered, Refusal> {
    let (id, manager) = manager(engine, call, id)?;
    let known = engine.self_registered(&id, &manager).await;
    let known = known.map_err(|error| unmanaged(engine, call, error))?;
    Ok(Registered::of(engine, known, &manager))
}

/// Puts something else in the place of what a client registered.
///
/// # Errors
/// Those of [`look`], and what it says cannot be taken.
pub async fn change(
    engine: &Engine,
    call: &Call,
    (id, body): (&str, &[u8]),
) -> Result<Registered, Refusal> {
    let (id, manager) = manager(engine, call, id)?;
    let known = engine.self_registered(&id, &manager).await;
    let known = known.map_err(|error| unmanaged(engine, call, error))?;
    let said = object(body)?;
    require_own(engine, &id, &said).await?;
    let metadata = read(&said)?;
    if metadata.token_endpoint_auth_method != known.metadata.token_endpoint_auth_method {
        return Err(Refusal::new(
            Code::InvalidClientMetadata,
            "`token_endpoint_auth_method` stays what it was: register another client",
        ));
    }
    let changed = engine
        .change_itself(&call.nobody(), (&id, &manager), &metadata)
        .await;
    let changed = changed.map_err(|error| unmanaged(engine, call, error))?;
    Ok(Registered::of(engine, changed, &manager))
}

/// Ends a client.
///
/// # Errors
/// Those of [`look`].
pub async fn remove(engine: &Engine, call: &Call, id: &str) -> Result<(), Refusal> {
    let (id, manager) = manager(engine, call, id)?;
    let removed = engine.remove_itself(&call.nobody(), (&id, &manager)).await;
    removed.map_err(|error| unmanaged(engine, call, error))
}

fn wrong(message: &str) -> Refusal {
    Refusal::new(Code::InvalidClientMetadata, message)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.len() > MAX_REGISTRATION_BYTES {
        return Err(wrong("what a client says of itself has at most 16 KiB"));
    }
    match json::parse(body) {
        Ok(Value::Object(said)) => Ok(said),
        Ok(_) => Err(wrong("the body is no JSON object")),
        Err(error) => Err(wrong(error.message())),
    }
}

/// What a client changes is its own registration, and it chooses neither its id nor its secret (RFC 7592, section 2.2).
async fn require_own(
    engine: &Engine,
    id: &ClientId,
    said: &Map<String, Value>,
) -> Result<(), Refusal> {
    if said.get("client_id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(wrong(
            "`client_id` is missing, or another client's: say this one's, it stays",
        ));
    }
    let Some(secret) = said.get("client_secret") else {
        return Ok(());
    };
    let secret = secret.as_str().unwrap_or_default();
    match engine.client_with_secret(id, secret).await {
        Ok(_) => Ok(()),
        Err(Error::Unauthenticated(_)) => Err(wrong(
            "`client_secret` is not the one that was given: leave it out, it stays",
        )),
        Err(error) => Err(error.into()),
    }
}

fn read(said: &Map<String, Value>) -> Result<ClientMetadata, Refusal> {
    ClientMetadata::read(said, Source::Itself).map_err(|bad| {
        let code = match bad {
            BadMetadata::RedirectUri(_) => Code::InvalidRedirectUri,
            BadMetadata::Metadata(_) => Code::InvalidClientMetadata,
        };
        Refusal::new(code, bad.message())
    })
}

async fn operator(engine: &Engine, call: &Call) -> Result<Actor, Refusal> {
    const NONE: &str = "clients register here with an operator's key as `Bearer`";
    let none = || unmanaged(engine, call, Error::Unauthenticated(NONE));
    let key = bearer(call).ok_or_else(none)?;
    let key = Secret::parse(key).map_err(|_| none())?;
    subject::with_credential(engine, call, &key)
        .await
        .map_err(|refusal| match refusal.code() {
            // It is on record.
            Code::InvalidGrant => Refusal::new(Code::InvalidToken, NONE),
            _ => refusal,
        })
}

fn manager(engine: &Engine, call: &Call, id: &str) -> Result<(ClientId, Secret), Refusal> {
    const NONE: &str = "show the registration token of this client as `Bearer`";
    let none = || unmanaged(engine, call, Error::Unauthenticated(NONE));
    let id: ClientId = id.parse().map_err(|_| none())?;
    let manager = bearer(call).and_then(|text| Secret::parse(text).ok());
    let manager = manager.filter(|secret| secret.kind() == SecretKind::Registration);
    Ok((id, manager.ok_or_else(none)?))
}

/// Why a client is neither registered nor managed; a credential that is none for that is on record.
fn unmanaged(engine: &Engine, call: &Call, error: Error) -> Refusal {
    match error {
        Error::Unauthenticated(message) => {
            engine.note_stranger(call.stranger(), "unauthenticated");
            Refusal::new(Code::InvalidToken, message)
        }
        error => error.into(),
    }
}

fn bearer(call: &Call) -> Option<&str> {
    let Client::Authenticating(Some(header)) = &call.client else {
        return None;
    };
    let (scheme, text) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text)
}
