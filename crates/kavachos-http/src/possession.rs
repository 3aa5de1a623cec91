//! The proofs that the sender of a request holds a key (RFC 9449): of the one to which a token is to be bound, of the
//! calling agent's own, and of one that it registers. One header says one of them.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_core::token::{Proof, ProofRequest};

use crate::error::Failure;
use crate::state::State;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const KEY_PROOF: HeaderName = HeaderName::from_static("kavach-key-proof");

/// The proof in the header `DPoP`, if there is one; it holds for this request.
pub(crate) struct Possession(pub(crate) Option<Proof>);

/// The same where no token is made: of the proof key that the calling agent has.
pub(crate) struct OwnKey(pub(crate) Option<Proof>);

/// The proof in the header `Kavach-Key-Proof`, if there is one: of the key that the request registers.
pub(crate) struct NewKey(pub(crate) Option<Proof>);

impl FromRequestParts<State> for Possession {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        proof(parts, state, (DPOP, "DPoP")).map(Self)
    }
}

impl FromRequestParts<State> for OwnKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        proof(parts, state, (DPOP, "DPoP")).map(Self)
    }
}

impl FromRequestParts<State> for NewKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        proof(parts, state, (KEY_PROOF, "Kavach-Key-Proof")).map(Self)
    }
}

/// The proof in a header, which people know by this name.
fn proof(
    parts: &Parts,
    state: &State,
    (header, name): (HeaderName, &str),
) -> Result<Option<Proof>, Failure> {
    let mut values = parts.headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let wrong = |message: String| Failure::from(Invalid::at(name, message));
    if values.next().is_some() {
        return Err(wrong("send one proof".to_owned()));
    }
    let text = value
        .to_str()
        .map_err(|_| wrong("is not plain ASCII".to_owned()))?;
    let uri = format!("{}{}", state.public_url(), parts.uri.path());
    let request = ProofRequest {
        method: parts.method.as_str(),
        uri: &uri,
        ..ProofRequest::default()
    };
    Proof::open(text, &request, state.engine.now())
        .map(Some)
        .map_err(|failure| wrong(failure.message().to_owned()))
}
