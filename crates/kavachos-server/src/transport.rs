//! How requests reach the API. Commands do not know which way theirs go.

pub(crate) mod http;
pub(crate) mod local;

use ::http::{Request, Response};
use axum::body::{Body, Bytes};
use kavachos_store::BoxFuture;

use crate::failure::Failure;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Sends requests to the routes of the API and brings back what they answer.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request whose URI is a path and a query.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>>;

    /// The same with a body and an answer of any length, which go as they come. The answer's head may take as long as the
    /// body does.
    fn stream(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, Failure>>;

    /// Gives back what it holds: a database, say.
    fn close(&self) -> BoxFuture<'_, ()>;
}
