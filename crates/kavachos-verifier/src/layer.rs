//! The verifier before a service: requests with a good token pass, with their principal; all others are answered here.

use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use kavachos_core::token::{Code, body_digest};
use kavachos_core::tool_server::Proof;
use tokio::time::timeout;
use tower::{Layer, Service};

use crate::authorize::foresee;
use crate::credentials::DPOP;
use crate::rejection::{Cause, DPOP_NONCE, Rejection};
use crate::tokens::Held;
use crate::verifier::Verifier;

/// How long a body that is read here may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Puts a [`Verifier`] before a service. It answers requests for the tool server's metadata by itself.
#[derive(Debug, Clone)]
pub struct VerifierLayer(Verifier);

impl VerifierLayer {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self(verifier)
    }
}

impl<S> Layer<S> for VerifierLayer {
    type Service = VerifierService<S>;

    fn layer(&self, inner: S) -> VerifierService<S> {
        VerifierService {
            verifier: self.0.clone(),
            inner,
        }
    }
}

/// A service behind a [`VerifierLayer`].
#[derive(Debug, Clone)]
pub struct VerifierService<S> {
    verifier: Verifier,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for VerifierService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let verifier = self.verifier.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if let Some(answer) = answered(&verifier, &parts) {
                return Ok(answer);
            }
            let proved = parts.headers.contains_key(&DPOP);
            match admit(&verifier, parts, body).await {
                Ok(request) if proved => {
                    let answer = inner.call(request).await?;
                    Ok(with_next_nonce(&verifier, answer))
                }
                Ok(request) => inner.call(request).await,
                Err(rejection) => Ok(rejection.to_response()),
            }
        })
    }
}

/// Tells whoever sent a proof which nonce the next one must repeat.
fn with_next_nonce<R>(verifier: &Verifier, mut answer: Response<R>) -> Response<R> {
    let nonce = verifier.nonce();
    if let Some(Ok(nonce)) = nonce.map(HeaderValue::try_from) {
        answer.headers_mut().insert(DPOP_NONCE, nonce);
    }
    answer
}

/// The answer to a request that no token matters for: it is for another host, or for what is open to everybody.
fn answered<R: From<Bytes>>(verifier: &Verifier, parts: &Parts) -> Option<Response<R>> {
    let hosts = verifier.settings().hosts.as_ref();
    if let Some(Err(rejection)) = hosts.map(|hosts| hosts.check(parts)) {
        return Some(rejection.to_response());
    }
    let metadata = verifier.metadata();
    (metadata.is_at(parts.uri.path())).then(|| metadata.answer(&parts.method))
}

async fn admit<B>(verifier: &Verifier, mut parts: Parts, body: B) -> Result<Request<B>, Rejection>
where
    B: Body<Data = Bytes> + From<Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let credentials = verifier.credentials(&parts)?;
    // Before the body: nobody without a good token makes us keep one.
    let held = hold(verifier, credentials.token).await?;
    let settings = verifier.settings();
    let is_proved = settings.proof == Proof::DpopBody && held.leaf.bound_to.is_some();
    let tools = settings.tools.as_ref();
    let tools = tools.filter(|tools| tools.may_be_called_by(&parts));
    let (body, bytes) = if is_proved || tools.is_some() {
        let _room = verifier.room_for_body(&held, &parts, &credentials).await?;
        let bytes = read(body, settings.sizes.body).await?;
        (B::from(bytes.clone()), bytes)
    } else {
        (body, Bytes::new())
    };
    let digest = is_proved.then(|| body_digest(&bytes));
    let principal = verifier.admit_request(held, &parts, &credentials, digest)?;
    if let Some(tools) = tools
        && let called @ [_, ..] = tools.called_by(&bytes)
    {
        foresee(verifier, &principal, tools.action(), called)?;
    }
    parts.extensions.insert(principal);
    Ok(Request::from_parts(parts, body))
}

/// The token as it was read; where its key is not known, after another look at the issuer's keys.
async fn hold(verifier: &Verifier, token: &str) -> Result<Arc<Held>, Rejection> {
    let held = verifier.hold(token);
    match held {
        Err(rejection) if rejection.cause() == Cause::Token(Code::UnknownKey) => {
            if verifier.learn_keys().await {
                verifier.hold(token)
            } else {
                Err(rejection)
            }
        }
        held => held,
    }
}

/// The whole body, if it comes in time.
async fn read<B>(body: B, most: usize) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_WITHIN, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(unread(error.as_ref(), most)),
        Err(_) => {
            let message = format!(
                "the body did not come within {} seconds",
                BODY_WITHIN.as_secs()
            );
            Err(Rejection::new(Cause::MalformedRequest, message))
        }
    }
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static), most: usize) -> Rejection {
    if error.is::<LengthLimitError>() {
        let message = format!("the body is longer than {most} bytes");
        return Rejection::new(Cause::TooLarge, message);
    }
    let error: &dyn Display = error;
    let message = format!("the body did not come whole: {error}");
    Rejection::new(Cause::MalformedRequest, message)
}
