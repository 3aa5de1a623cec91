//! The routes in this process, on a database that no server holds.

use ::http::{Request, Response};
use axum::Router;
use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Limited};
use kavachos::Kavach;
use kavachos_http::LocalCaller;
use kavachos_store::BoxFuture;
use tower::Service;

use super::{MAX_ANSWER_BYTES, Transport};
use crate::failure::Failure;

/// A database that this process holds until it is closed.
pub(crate) struct Local {
    kavach: Kavach,
    routes: Router,
}

impl Local {
    /// Sends requests to this one.
    pub(crate) fn new(kavach: Kavach) -> Self {
        let routes = kavach.service();
        Self { kavach, routes }
    }

    async fn routed(&self, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(LocalCaller);
        let Ok(response) = self.routes.clone().call(request).await;
        response
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let response = self.routed(request.map(Body::from)).await;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body =
            body.map_err(|error| Failure::Database(format!("the answer cannot be read: {error}")))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

impl Transport for Local {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        Box::pin(self.answer(request))
    }

    fn stream(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, Failure>> {
        Box::pin(async move { Ok(self.routed(request).await) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.kavach.close())
    }
}
