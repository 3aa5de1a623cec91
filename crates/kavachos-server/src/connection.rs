//! One connection: HTTP/1.1, bounded in time however the other side behaves.
//!
//! Promises: a client that is slow with the head of a request, silent between two, or takes nothing of an answer is
//! given up after the idle time; a request whose answer does not begin in time is answered 408.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service;

use crate::patient::Patient;

/// How long a request may take, with its body, until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

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
pub(crate) async fn talk(socket: Socket, routes: Router, mut stopping: watch::Receiver<bool>) {
    let Socket { stream, peer, idle } = socket;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let service = service_fn(move |request| answer(request, peer, routes.clone()));
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
    request: Request<Incoming>,
    peer: SocketAddr,
    mut routes: Router,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    match timeout(ANSWER_TIMEOUT, routes.call(request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let mut late = Response::new(Body::empty());
            *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
            Ok(late)
        }
    }
}
