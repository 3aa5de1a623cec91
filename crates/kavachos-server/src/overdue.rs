//! Requests that take too long, answered in the form of all others: whose fault it was, and whether anything was done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::Request;
use hyper::body::{Frame, SizeHint};
use kavachos_http::{Asked, Overdue, State, overdue};
use tokio::time::timeout;
use tower::Service;

/// A body that notes whether somebody waits for more of it. Handlers act when they have read all of it, not before.
struct Watched<B> {
    body: B,
    is_awaited: Arc<AtomicBool>,
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_awaited
            .store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the routes answer, or that they did not within this time.
pub(crate) async fn answered_within<B>(
    limit: Duration,
    request: Request<B>,
    mut routes: Router,
    state: &State,
) -> Response
where
    B: hyper::body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    let is_awaited = Arc::new(AtomicBool::new(false));
    let watched = |body| Watched {
        body,
        is_awaited: Arc::clone(&is_awaited),
    };
    let asked = Asked::for_path(&request);
    let request = request.map(|body| Body::new(watched(body)));
    match timeout(limit, routes.call(request)).await {
        Ok(Ok(answer)) => answer,
        Err(_) if is_awaited.load(Ordering::Relaxed) => overdue(state, asked, Overdue::Request),
        Err(_) => overdue(state, asked, Overdue::Answer),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::post;
    use kavachos::Kavach;
    use kavachos_http::Brand;

    use super::*;

    /// A body of which nothing ever comes.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    async fn answer<B>(path: &str, body: B) -> (u16, serde_json::Value)
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    {
        let routes = Router::new()
            .route("/reads", post(|_: Bytes| async { "read" }))
            .route("/hangs", post(|_: Bytes| pending::<&str>()))
            .route("/never_reads", post(pending::<&str>));
        let kavach = Kavach::builder().sqlite_in_memory().build().await.unwrap();
        let request = Request::post(path).body(body).unwrap();
        let answer = answered_within(Duration::ZERO, request, routes, &kavach.state()).await;
        let status = answer.status().as_u16();
        let id = answer.headers().get("x-request-id").cloned();
        let bytes = axum::body::to_bytes(answer.into_body(), 10_000)
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let shown = body.pointer("/error/requestId").and_then(|id| id.as_str());
        assert_eq!(shown, id.as_ref().and_then(|id| id.to_str().ok()));
        (status, body)
    }

    fn code(body: &serde_json::Value) -> &str {
        let code = body.pointer("/error/code");
        code.and_then(|code| code.as_str()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_408_in_the_form_of_every_error() {
        for path in ["/reads", "/hangs"] {
            let (status, body) = answer(path, Silent).await;
            assert_eq!((status, code(&body)), (408, "request_timeout"), "{path}");
        }
        // The twin: one that comes is answered.
        let (status, _) = answer("/reads", Body::from("all of it")).await;
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_not_said_to_have_done_nothing() {
        let (status, body) = answer("/hangs", Body::from("all of it")).await;
        assert_eq!((status, code(&body)), (503, "outcome_unknown"));
        let (status, body) = answer("/never_reads", Silent).await;
        assert_eq!((status, code(&body)), (503, "outcome_unknown"));
    }

    /// What a browser or a program gets at this path that waits in vain.
    async fn in_vain(path: &str, accept: &str) -> (u16, String) {
        let routes = Router::new().fallback(pending::<&str>);
        let brand = Brand {
            name: "Acme".to_owned(),
            ..Brand::default()
        };
        let kavach = Kavach::builder().sqlite_in_memory().brand(brand);
        let kavach = kavach.build().await.unwrap();
        let request = Request::get(path).header("accept", accept);
        let request = request.body(Body::empty()).unwrap();
        let answer = answered_within(Duration::ZERO, request, routes, &kavach.state()).await;
        let status = answer.status().as_u16();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body = axum::body::to_bytes(answer.into_body(), 100_000).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_person_is_told_on_a_page_of_the_brand_and_a_program_in_the_form_of_its_route() {
        let (status, page) = in_vain("/account/security", "text/html").await;
        assert_eq!(status, 503);
        assert!(page.starts_with("<!doctype html>"), "{page}");
        assert!(
            page.contains("Acme") && page.contains("may have been done"),
            "{page}"
        );
        // The twins: another `Accept`, and routes that are no pages.
        for (path, accept, form) in [
            ("/account/security", "application/json", "outcome_unknown"),
            ("/api/v1/agents", "text/html", "outcome_unknown"),
            ("/oauth/token", "text/html", "temporarily_unavailable"),
        ] {
            let (status, body) = in_vain(path, accept).await;
            assert_eq!(status, 503);
            assert!(
                body.starts_with('{') && body.contains(form),
                "{path}: {body}"
            );
        }
        let (_, body) = in_vain("/access/v1/evaluation", "*/*").await;
        assert!(!body.starts_with(['{', '<']), "{body}");
    }
}
