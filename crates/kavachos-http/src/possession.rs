//! The proof that the sender of a request holds a key (RFC 9449), where a token is to be bound to it.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_core::token::{Proof, ProofRequest};

use crate::error::Failure;
use crate::state::State;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The proof in the header `DPoP`, if there is one; it holds for this request.
pub(crate) struct Possession(pub(crate) Option<Proof>);

impl FromRequestParts<State> for Possession {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        let mut values = parts.headers.get_all(DPOP).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let wrong = |message: String| Failure::from(Invalid::at("DPoP", message));
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
            .map(|proof| Self(Some(proof)))
            .map_err(|failure| wrong(failure.message().to_owned()))
    }
}
