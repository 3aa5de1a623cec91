//! How requests reach the API. Commands do not know which way theirs go.

pub(crate) mod http;
pub(crate) mod local;

use ::http::{Request, Response};
use axum::body::Bytes;
use kavachos_store::BoxFuture;

use crate::failure::Failure;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Sends requests to the routes of the API and brings back what they answer.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request whose URI is a path and a query.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>>;

    /// Gives back what it holds: a database, say.
    fn close(&self) -> BoxFuture<'_, ()>;
}
