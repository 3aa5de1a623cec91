//! Over real sockets: the issuer in memory behind a server on this machine, with and without TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kavachos_core::revocation::Mark;
use kavachos_core::token::{Leaf, Life};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::issuer::{FakeIssuer, TOOLS};
use super::scene::{bearer, human, leaf, token};
use crate::http::Http;
use crate::net::Client;
use crate::system::{Clock, SystemClock};
use crate::verifier::Verifier;

/// What takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);
const ROOT: &str = include_str!("testdata/root.pem");

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, issuer: FakeIssuer) {
    let service = service_fn(move |request: Request<Incoming>| {
        let issuer = issuer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = body.collect().await?.to_bytes();
            let answer = issuer.send(Request::from_parts(parts, body)).await.unwrap();
            let frames = |chunk: std::io::Result<Bytes>| chunk.map(Frame::data);
            let answer = answer.map(|chunks| StreamBody::new(chunks.map(frames)));
            Ok::<Response<_>, hyper::Error>(answer)
        }
    });
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

fn acceptor() -> TlsAcceptor {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Serves an issuer; gives its port. The server ends with the set.
async fn server(issuer: &FakeIssuer, tls: Option<TlsAcceptor>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (issuer, mut tasks) = (issuer.clone(), JoinSet::new());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (issuer, tls) = (issuer.clone(), tls.clone());
            connections.spawn(async move {
                match tls {
                    None => serve(stream, issuer).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, issuer).await;
                        }
                    }
                }
            });
        }
    });
    (port, tasks)
}

/// A token of this issuer, good for a minute from now.
fn fresh(issuer: &str) -> String {
    let now = SystemClock.read().wall;
    token(&Leaf {
        issuer: issuer.parse().unwrap(),
        life: Life {
            issued_at: now,
            expires_at: now.plus(Duration::from_secs(60)),
            ..leaf().life
        },
        ..leaf()
    })
}

async fn until(happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONGEST, wait).await.unwrap();
}

#[tokio::test]
async fn a_kill_reaches_a_verifier_over_the_network() {
    let issuer = FakeIssuer::new();
    let (port, _server) = server(&issuer, None).await;
    let name = format!("http://127.0.0.1:{port}");
    issuer.state().issuer.clone_from(&name);
    issuer.state().follower = "anonymous".to_owned();
    issuer.state().time = SystemClock.read().wall;
    let verifier = Verifier::builder(&name, TOOLS).build().await.unwrap();
    let token = fresh(&name);
    assert!(verifier.verify(&bearer(&token)).is_ok());
    until(|| issuer.listeners() == 1).await;
    let record = issuer.kill(Mark {
        generation: 2,
        ..human()
    });
    issuer.push(&format!("data: {}\n\n", json!(record)));
    until(|| verifier.stats().pushes == 1).await;
    let rejection = verifier.verify(&bearer(&token)).unwrap_err();
    assert_eq!(rejection.code(), "revoked");
}

#[tokio::test]
async fn the_certificate_of_the_issuer_and_its_name_are_checked() {
    let issuer = FakeIssuer::new();
    let (port, _server) = server(&issuer, Some(acceptor())).await;
    let trusting = || Client::trusting(ROOT).unwrap();
    let public = || Client::new().unwrap();
    for (host, client, built) in [
        ("localhost", trusting(), true),
        // The twins: nobody vouches for it; it is vouched for under another name.
        ("localhost", public(), false),
        ("127.0.0.1", trusting(), false),
    ] {
        let name = format!("https://{host}:{port}");
        issuer.state().issuer.clone_from(&name);
        issuer.state().follower = "anonymous".to_owned();
        issuer.state().time = SystemClock.read().wall;
        let builder = Verifier::builder(&name, TOOLS).http(Arc::new(client));
        match builder.build().await {
            Ok(verifier) => assert!(built && verifier.verify(&bearer(&fresh(&name))).is_ok()),
            Err(error) => {
                let said = error.to_string();
                assert!(!built && said.contains("certificate"), "{host}: {said}");
            }
        }
    }
    assert!(Client::trusting("no certificate").is_err());
}

#[tokio::test]
async fn an_issuer_that_does_not_listen_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let name = format!("http://127.0.0.1:{port}");
    let error = Verifier::builder(&name, TOOLS).build().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&name) && said.contains("refused"), "{said}");
}
