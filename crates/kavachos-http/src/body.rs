//! Bodies: strict JSON of a bounded size, read into the type of the route.

use axum::body::{Body as Stream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_engine::actor::{Actor, Caller, Once};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::Failure;
use crate::params::Params;
use crate::state::State;

/// The largest body.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The longest `Idempotency-Key`.
pub(crate) const MAX_IDEMPOTENCY_KEY_BYTES: usize = 200;

/// The body of a route that needs nothing said: an empty one, or an empty object.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A body of strict JSON, of a route that takes no parameters in its query.
pub(crate) struct Body<T> {
    pub(crate) value: T,
    idempotency: Option<Idempotency>,
}

/// The body of a question: one that takes no `Idempotency-Key`, since an allow that was given once says nothing about
/// now.
pub(crate) struct Question<T>(pub(crate) T);

/// An `Idempotency-Key` and the request that it came with.
pub(crate) struct Idempotency {
    key: String,
    route: String,
    request: [u8; 32],
}

impl<T: DeserializeOwned> FromRequest<State> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &State) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        Params::from_request_parts(&mut parts, &()).await?.end()?;
        let json = parts
            .headers
            .get(CONTENT_TYPE)
            .is_none_or(|value| is_json(value.as_bytes()));
        if !json {
            return Err(Invalid::at("Content-Type", "send the body as `application/json`").into());
        }
        let key = idempotency_key(&parts.headers)?;
        let bytes = read(body).await?;
        let value = if bytes.is_empty() {
            Value::Object(serde_json::Map::new())
        } else {
            json::parse(&bytes)?
        };
        if !value.is_object() {
            return Err(Invalid::new("the body must be a JSON object").into());
        }
        let canonical = key.is_some().then(|| json::canonical(&value));
        let idempotency = key
            .zip(canonical)
            .map(|(key, body)| Idempotency::of(key, &parts, body.as_ref()));
        Ok(Self {
            value: json::read(&value)?,
            idempotency,
        })
    }
}

impl<T: DeserializeOwned> FromRequest<State> for Question<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &State) -> Result<Self, Failure> {
        let body = Body::from_request(request, state).await?;
        match body.idempotency {
            None => Ok(Self(body.value)),
            Some(_) => Err(Invalid::at(
                "Idempotency-Key",
                "an answer cannot be repeated; leave the header out and ask again",
            )
            .into()),
        }
    }
}

impl<T> Body<T> {
    /// The body, and the actor with what the `Idempotency-Key` means for this caller and route.
    pub(crate) fn with(self, actor: Actor) -> (T, Actor) {
        let actor = match self.idempotency {
            Some(idempotency) => idempotency.claimed_by(actor),
            None => actor,
        };
        (self.value, actor)
    }
}

impl Idempotency {
    /// Of a request whose body is these bytes, or these in canonical form.
    pub(crate) fn of(key: String, parts: &Parts, body: &[u8]) -> Self {
        Self {
            key,
            route: format!("{} {}", parts.method, parts.uri.path()),
            request: Sha256::digest(body).into(),
        }
    }

    /// The actor, with what the key means for this caller and route.
    pub(crate) fn claimed_by(self, actor: Actor) -> Actor {
        let caller = match &actor.caller {
            Caller::Local => "local".to_owned(),
            Caller::Operator(key) => key.id.to_string(),
            Caller::Agent(key) => key.agent.to_string(),
            Caller::Person(person) => person.user.id.to_string(),
            Caller::ToolServer(key) => key.id.to_string(),
            Caller::Provided(provided) => provided.user().id.to_string(),
            // No route takes one but the token endpoint, which does nothing twice.
            Caller::Root(holder) => holder.agent.to_string(),
            Caller::Stranger => "stranger".to_owned(),
        };
        let slot = format!("{caller}\n{}\n{}", self.route, self.key);
        let once = Some(Once {
            slot: Sha256::digest(slot).into(),
            request: self.request,
        });
        Actor { once, ..actor }
    }
}

/// The bytes of a body of bounded size.
pub(crate) async fn read(body: Stream) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge),
        Err(_) => Err(Invalid::new("the body broke off; send it again").into()),
    }
}

pub(crate) fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

pub(crate) fn idempotency_key(headers: &http::HeaderMap) -> Result<Option<String>, Invalid> {
    let wrong = || {
        Invalid::at(
            "Idempotency-Key",
            format!(
                "must be one value of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"
            ),
        )
    };
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(wrong()),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| wrong())?;
            let fits = !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY_BYTES;
            if fits {
                Ok(Some(text.to_owned()))
            } else {
                Err(wrong())
            }
        }
    }
}

/// Tells a member that is `null` from one that is not there, for changes.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
