//! One connection: HTTP/1.1, bounded in time however the other side behaves.
//!
//! Promises: a client that is slow with the head of a request, silent between two, or takes nothing of an answer is
//! given up after the idle time; a request whose answer does not begin in time gets one that says so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kavachos_http::IMPORT_PATH;
use kavachos_http::State;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::overdue::answered_within;
use crate::patient::Patient;

/// How long a request may take, with its body, until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The same, where the body is a whole tenant. The route itself gives up a body of which nothing comes.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// An accepted connection.
pub(crate) struct Socket {
    /// The connection itself.
    pub(crate) stream: TcpStream,
    /// Who is at its other end.
    pub(crate) peer: SocketAddr,
    /// How long it may be idle.
    pub(crate) idle: Duration,
}

/// One connection, to its end; once the server stops, to the end of the request under way.
pub(crate) async fn talk(
    socket: Socket,
    (routes, state): (Router, State),
    mut stopping: watch::Receiver<bool>,
) {
    let Socket { stream, peer, idle } = socket;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let service = service_fn(move |request| {
        let (routes, state) = (routes.clone(), state.clone());
        async move { answer(request, peer, routes, &state).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(Patient::new(stream, idle)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until the server stops.
pub(crate) async fn until(stopping: &mut watch::Receiver<bool>) {
    // Without a sender there is no server any more.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    routes: Router,
    state: &State,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let limit = if request.uri().path() == IMPORT_PATH {
        IMPORT_TIMEOUT
    } else {
        ANSWER_TIMEOUT
    };
    Ok(answered_within(limit, request, routes, state).await)
}
